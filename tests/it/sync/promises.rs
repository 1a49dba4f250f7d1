//! What each object does among processes that live.

use super::Locks;

#[test]
fn an_rlock_needs_as_many_releases_as_it_was_taken() {
    let mut main = Locks::new(1);
    main.child("owner");
    main.child("other");
    assert_eq!(main.ask("owner", "rlock"), "locked");
    assert_eq!(main.ask("owner", "rlock"), "locked");
    let not_owner = "error: the lock is released by a thread that does not hold it";
    assert_eq!(main.ask("other", "rlock-release"), not_owner);

    assert_eq!(main.ask("owner", "rlock-release"), "ok");
    assert_eq!(main.ask("other", "rlock-ms 10"), "held");
    assert_eq!(main.ask("owner", "rlock-release"), "ok");

    assert_eq!(main.ask("other", "rlock-ms 1000"), "locked");
    assert_eq!(main.ask("owner", "rlock-release"), not_owner);
}

#[test]
fn the_value_of_a_semaphore_walks_across_processes() {
    let mut main = Locks::new(1);
    main.child("a");
    main.child("b");
    let none = "error: all permits are held by others";
    assert_eq!(main.ask("a", "semaphore-keep"), "ok");
    assert_eq!(main.ask("b", "semaphore-value"), "1");
    assert_eq!(main.ask("b", "semaphore-hold"), "ok");
    assert_eq!(main.ask("b", "semaphore-ms 10"), none);

    assert_eq!(main.ask("b", "semaphore-release"), "ok", "that of a");
    assert_eq!(main.ask("a", "semaphore-value"), "1");
    assert_eq!(main.ask("b", "semaphore-release"), "ok", "a new one");
    assert_eq!(main.ask("a", "semaphore-value"), "2");

    let over = "error: a permit is released that nobody keeps, and there may be no more than 1";
    assert_eq!(main.ask("a", "bounded-keep"), "ok");
    assert_eq!(main.ask("b", "bounded-release"), "ok");
    assert_eq!(main.ask("b", "bounded-release"), over);
}

#[test]
fn four_processes_get_their_permits_again_and_again() {
    let mut main = Locks::new(1);
    let names = ["a", "b", "c", "d"];
    main.children(&names);

    main.tell_all(&names, "semaphore-churn 5000");

    main.all_succeed(&names);
    assert_eq!(main.ask("a", "semaphore-value"), "2");
}

#[test]
fn four_processes_that_add_to_a_value_lose_nothing() {
    let mut main = Locks::new(1);
    let names = ["a", "b", "c", "d"];
    main.children(&names);

    main.tell_all(&names, "value-add 20000");

    main.all_succeed(&names);
    assert_eq!(main.ask("a", "value-get"), "80000");
}

#[test]
fn a_notification_of_two_wakes_exactly_two_of_six_and_then_the_rest_is_woken() {
    let mut main = Locks::new(1);
    let names = ["a", "b", "c", "d", "e", "f"];
    main.child("notifier");
    for name in names {
        main.child(name);
        assert_eq!(main.ask(name, "condition-wait"), "waits");
        // The lock is free only once it waits.
        assert_eq!(main.ask("notifier", "condition-notify 0"), "0");
    }

    assert_eq!(main.ask("notifier", "condition-notify 2"), "2");

    assert_eq!([main.line_of("a"), main.line_of("b")], ["ok", "ok"]);
    assert_eq!(main.ask("notifier", "condition-notify 6"), "4");
    main.all_succeed(&["c", "d", "e", "f"]);
    assert_eq!(main.ask("a", "condition-ms 10"), "false");
}

#[test]
fn an_event_wakes_all_who_wait_although_it_is_cleared_at_once() {
    let mut main = Locks::new(1);
    let names = ["a", "b", "c"];
    main.child("setter");
    for name in names {
        let child = main.child(name);
        main.have_wait(name, &child, "event-wait");
    }

    assert_eq!(main.ask("setter", "event-blink"), "ok");

    main.all_succeed(&names);
    assert_eq!(main.ask("setter", "event-ms 10"), "false");
}

#[test]
fn a_barrier_of_five_passes_ten_times_in_lockstep_and_abort_breaks_all() {
    let mut main = Locks::new(5);
    let names = ["a", "b", "c", "d", "e"];
    main.children(&names);

    main.tell_all(&names, "barrier-lockstep 10");

    main.all_succeed(&names);
    main.tell_all(&names[1..], "barrier-wait");
    assert_eq!(main.ask("a", "barrier-abort"), "ok");
    for name in &names[1..] {
        let broken = main.line_of(name);
        assert!(
            broken.starts_with("error: the barrier is broken"),
            "{broken}"
        );
    }
    assert_eq!(main.ask("a", "barrier-reset"), "ok");
    main.tell_all(&names, "barrier-wait");
    let mut indices = names.map(|name| main.line_of(name));
    indices.sort();
    assert_eq!(
        indices,
        [0, 1, 2, 3, 4].map(|index| format!("index {index}"))
    );
}
