//! Clients that are killed while they hold something, or wait: the others go on.

use crate::support::{Deadline, Process, eventually};

use super::Main;

/// Starts children of these names.
fn crew<const N: usize>(names: [&str; N]) -> (Main, [Process; N]) {
    let mut main = Main::new("");
    let children = names.map(|name| main.start(name));
    (main, children)
}

#[test]
fn a_lock_passes_on_when_its_holder_is_killed() {
    for command in ["lock", "rlock"] {
        let (mut main, [holder, _]) = crew(["a", "b"]);
        main.tell("a", command);
        main.begin("b", command);

        holder.kill();

        assert_eq!(main.line_of("b"), "ok");
    }
}

#[test]
fn a_lock_is_not_taken_by_a_waiter_that_was_killed() {
    let (mut main, [_, waiter, _]) = crew(["a", "b", "c"]);
    main.tell("a", "lock");
    main.begin("b", "lock");
    main.begin("c", "lock");
    waiter.kill();

    main.tell("a", "unlock");

    assert_eq!(main.line_of("c"), "ok");
}

#[test]
fn a_permit_comes_back_when_its_holder_is_killed() {
    let (mut main, [holder, _]) = crew(["a", "b"]);
    main.tell("a", "acquire");
    main.begin("b", "acquire");

    holder.kill();

    assert_eq!(main.line_of("b"), "ok");
}

#[test]
fn a_queue_goes_on_when_a_getter_is_killed() {
    let (mut main, [getter, _]) = crew(["a", "b"]);
    main.begin("a", "get");
    main.begin("b", "get");
    getter.kill();

    main.tell("main", "put 7");

    assert_eq!(main.line_of("b"), "7");
}

#[test]
fn an_item_is_there_although_whoever_put_it_was_killed() {
    let (mut main, [putter]) = crew(["a"]);
    main.tell("a", "put 7");

    putter.kill();

    assert_eq!(main.ask("main", "get"), "7");
}

#[test]
fn an_item_in_hand_is_delivered_again_when_its_holder_is_killed() {
    let (mut main, [holder, _, _]) = crew(["a", "b", "c"]);
    main.tell("main", "job egg");
    assert_eq!(main.ask("a", "take"), "egg 1");
    main.begin("b", "join");
    main.begin("c", "take");

    holder.kill();

    assert_eq!(main.line_of("c"), "egg 2");
    main.tell("c", "done");
    assert_eq!(main.line_of("b"), "ok");
}

#[test]
fn a_condition_and_an_event_wake_those_who_live() {
    let (mut main, [killed, _]) = crew(["a", "b"]);
    for name in ["a", "b"] {
        main.tell(name, "enter");
        main.begin(name, "await");
    }
    main.tell("main", "enter");
    killed.kill();

    // That it is gone, the manager learns in its own time.
    let notified = main.ask("main", "notify");
    main.tell("main", "exit");

    assert!(["1", "2"].contains(&&*notified), "{notified} were woken");
    assert_eq!(main.line_of("b"), "ok");
    main.tell("b", "exit");
    let waiter = main.start("c");
    main.begin("b", "wait");
    main.begin("c", "wait");
    waiter.kill();
    main.tell("main", "set");
    assert_eq!(main.line_of("b"), "ok");
}

#[test]
fn a_condition_passes_on_when_its_holder_is_killed() {
    let (mut main, [holder, _]) = crew(["a", "b"]);
    main.tell("a", "enter");
    main.begin("b", "enter");

    holder.kill();

    assert_eq!(main.line_of("b"), "ok");
}

#[test]
fn a_barrier_breaks_when_a_party_is_killed() {
    let (mut main, [party, _]) = crew(["a", "b"]);
    main.begin("b", "barrier-timeout");
    main.begin("a", "barrier-timeout");

    // One that is killed before it has come lets the others wait until their time is up.
    party.kill();

    assert_eq!(main.line_of("b"), "error: the barrier is broken");
}

#[test]
fn nothing_is_left_open_of_clients_that_were_killed() {
    let (mut main, [first]) = crew(["a"]);
    main.tell("a", "lock");
    let manager = main.manager();
    first.kill();
    main.tell("main", "lock");
    main.tell("main", "unlock");
    let open = manager.descriptors().len();

    for round in 0..10 {
        let name = format!("c{round}");
        let child = main.start(&name);
        main.tell(&name, "lock");
        main.tell(&name, "acquire");
        child.kill();
    }

    let is_as_before = || manager.descriptors().len() <= open;
    eventually(Deadline::usual(), "all is closed", is_as_before);
}

#[test]
fn a_manager_goes_when_its_program_is_killed() {
    for arguments in ["", "state"] {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let snapshot = if arguments.is_empty() {
            ""
        } else {
            state.to_str().unwrap()
        };
        let mut main = Main::new(snapshot);
        let manager = main.manager();

        main.process().kill();

        let promise = Deadline::after(std::time::Duration::from_secs(1));
        assert!(manager.ends_by(promise));
    }
}

#[test]
fn a_manager_goes_when_its_program_ends() {
    let mut main = Main::new("");
    let manager = main.manager();

    main.hang_up();

    assert!(main.wait().success(), "{}", main.errors());
    assert!(manager.ends_by(Deadline::usual()));
}
