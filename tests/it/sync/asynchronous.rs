//! The asynchronous forms, given up by a timer over and over: no wake-up is lost.

use super::Locks;

/// How often each process does it.
const TIMES: u64 = 500;

#[test]
fn tasks_of_four_processes_that_give_up_waiting_for_a_lock_lose_nothing() {
    for kind in ["lock", "rlock"] {
        let mut main = Locks::new(1);
        let names = ["a", "b", "c", "d"];
        main.children(&names);

        main.tell_all(&names, &format!("async-{kind} {TIMES}"));

        main.all_succeed(&names);
        assert_eq!(main.ask("a", "value-get"), (4 * TIMES).to_string());
    }
}

#[test]
fn tasks_that_give_up_waiting_for_permits_leave_all_of_them() {
    let mut main = Locks::new(1);
    let names = ["a", "b", "c", "d"];
    main.children(&names);

    main.tell_all(&names, &format!("async-semaphore {TIMES}"));

    main.all_succeed(&names);
    assert_eq!(main.ask("a", "semaphore-value"), "2");
}

#[test]
fn tasks_that_give_up_waiting_for_a_condition_hand_their_notification_on() {
    let mut main = Locks::new(1);
    main.child("maker");
    let takers = ["a", "b"];
    main.children(&takers);
    main.tell_all(&takers, "async-condition 100");

    for _ in 0..200 {
        assert_eq!(main.ask("maker", "value-add 1"), "ok");
        main.ask("maker", "condition-notify 1");
    }

    main.all_succeed(&takers);
}

#[test]
fn a_task_waits_for_an_event_and_a_barrier_with_other_processes() {
    let mut main = Locks::new(2);
    let task = main.child("task");
    main.child("other");
    main.have_wait("task", &task, "async-event");

    assert_eq!(main.ask("other", "event-set"), "ok");

    assert_eq!(main.line_of("task"), "ok");
    main.tell("task", "async-barrier");
    let index = main.ask("other", "barrier-wait");
    let task = main.line_of("task");
    assert!(
        (index == "index 1" && task == "Ok(0)") || (index == "index 0" && task == "Ok(1)"),
        "{index}, {task}"
    );
}
