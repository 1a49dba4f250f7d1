//! A process that is killed takes nothing with it that others wait for.

use rustix::process::Signal;

use super::{Locks, sleeps};

#[test]
fn the_next_who_locks_is_told_that_the_owner_died() {
    let mut main = Locks::new(1);
    let owner = main.child("owner");
    main.child("next");
    assert_eq!(main.ask("owner", "lock"), "locked");
    assert_eq!(main.ask("next", "lock-ms 10"), "held");

    owner.kill();

    assert_eq!(main.ask("next", "lock"), "owner died");
    assert_eq!(main.ask("next", "lock-release"), "ok");
    assert_eq!(main.ask("next", "lock"), "locked");
}

#[test]
fn one_who_waits_already_finds_that_the_owner_died() {
    let mut main = Locks::new(1);
    let owner = main.child("owner");
    let next = main.child("next");
    assert_eq!(main.ask("owner", "lock"), "locked");
    main.have_wait("next", &next, "lock");

    owner.kill();

    assert_eq!(main.line_of("next"), "owner died");
}

#[test]
fn an_rlock_taken_twice_by_one_that_died_is_free_again() {
    let mut main = Locks::new(1);
    let owner = main.child("owner");
    main.child("next");
    assert_eq!(main.ask("owner", "rlock"), "locked");
    assert_eq!(main.ask("owner", "rlock"), "locked");

    owner.kill();

    assert_eq!(main.ask("next", "rlock"), "error: owner died");
    assert_eq!(main.ask("next", "rlock"), "locked");
    assert_eq!(main.ask("next", "rlock-release"), "ok");
}

#[test]
fn permits_of_one_that_died_come_back() {
    let mut main = Locks::new(1);
    let holder = main.child("holder");
    let next = main.child("next");
    assert_eq!(main.ask("holder", "semaphore-hold"), "ok");
    assert_eq!(main.ask("holder", "semaphore-keep"), "ok");
    assert_eq!(main.ask("next", "semaphore-value"), "0");
    main.have_wait("next", &next, "semaphore-keep");

    holder.kill();

    assert_eq!(main.line_of("next"), "ok");
    assert_eq!(main.ask("next", "semaphore-value"), "1");
}

#[test]
fn a_condition_forgets_a_waiter_that_died() {
    let mut main = Locks::new(1);
    let dies = main.child("dies");
    let lives = main.child("lives");
    main.child("notifier");
    assert_eq!(main.ask("dies", "condition-wait"), "waits");
    sleeps(&dies);
    assert_eq!(main.ask("lives", "condition-wait"), "waits");
    sleeps(&lives);

    dies.kill();

    assert_eq!(main.ask("notifier", "condition-notify 1"), "1");
    assert_eq!(main.line_of("lives"), "ok", "it waited less long");
    assert_eq!(main.ask("notifier", "condition-all"), "ok");
    assert_eq!(main.ask("notifier", "condition-notify 1"), "0");
}

#[test]
fn an_event_is_set_for_the_living_when_a_waiter_died() {
    let mut main = Locks::new(1);
    let dies = main.child("dies");
    let lives = main.child("lives");
    main.child("setter");
    for (name, child) in [("dies", &dies), ("lives", &lives)] {
        main.have_wait(name, child, "event-wait");
    }

    dies.kill();

    assert_eq!(main.ask("setter", "event-set"), "ok");
    assert_eq!(main.line_of("lives"), "ok");
}

#[test]
fn a_party_that_dies_breaks_the_barrier_for_those_who_wait() {
    let mut main = Locks::new(3);
    let dies = main.child("dies");
    let waits = main.child("waits");
    main.have_wait("dies", &dies, "barrier-wait");
    main.have_wait("waits", &waits, "barrier-ms 60000");
    main.child("looks");
    assert_eq!(main.ask("looks", "barrier-waiting"), "2");

    dies.kill();

    let broken = "error: the barrier is broken: a party gave up, died or aborted";
    assert_eq!(main.line_of("waits"), broken);
    assert_eq!(main.ask("looks", "barrier-wait"), broken);
}

#[test]
fn nobody_passes_a_barrier_with_a_party_that_is_dead() {
    let mut main = Locks::new(2);
    let dies = main.child("dies");
    main.child("comes");
    main.have_wait("dies", &dies, "barrier-wait");

    dies.kill();

    let comes = main.ask("comes", "barrier-ms 3000");
    assert!(comes.starts_with("error: the barrier is broken"), "{comes}");
}

#[test]
fn nobody_sees_another_die_when_main_does() {
    const WAITERS: u32 = 12;
    let mut main = Locks::new(2 * WAITERS);
    let owner = main.child("owner");
    assert_eq!(main.ask("owner", "lock"), "locked");
    // It would end by itself if it saw the end of its commands.
    main.have_wait("owner", &owner, "barrier-wait");
    for number in 0..WAITERS {
        for command in ["barrier-wait", "lock"] {
            let name = format!("{command}-{number}");
            let child = main.child(&name);
            main.have_wait(&name, &child, command);
        }
    }

    // As Ctrl-C does, which reaches nobody else.
    main.process().signal(Signal::INT);

    assert_eq!(main.rest(), Vec::<String>::new());
    assert_eq!(main.errors(), "");
}
