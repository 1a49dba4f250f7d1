//! A hundred processes that wait for the same thing.

use std::collections::HashSet;

use super::Locks;

const CROWD: usize = 100;

/// Names a hundred children.
fn names() -> Vec<String> {
    (0..CROWD).map(|number| format!("w{number}")).collect()
}

/// Has a hundred children wait, and returns their names.
#[track_caller]
fn crowd(main: &mut Locks, command: &str) -> Vec<String> {
    let names = names();
    for name in &names {
        let child = main.child(name);
        main.have_wait(name, &child, command);
    }
    names
}

/// Reads who of them says that it is done.
#[track_caller]
fn done(main: &mut Locks) -> String {
    let line = main.line();
    let name = line.strip_suffix(" ok");
    name.unwrap_or_else(|| panic!("it says {line}")).to_owned()
}

#[test]
fn an_event_wakes_a_hundred() {
    let mut main = Locks::new(1);
    main.child("free");
    let names = crowd(&mut main, "event-wait");

    assert_eq!(main.ask("free", "event-set"), "ok");

    for name in names {
        assert_eq!(main.line_of(&name), "ok");
    }
}

#[test]
fn each_permit_that_is_released_goes_to_one_of_a_hundred() {
    let mut main = Locks::new(1);
    main.child("free");
    for _ in 0..2 {
        assert_eq!(main.ask("free", "semaphore-keep"), "ok");
    }
    let names = crowd(&mut main, "semaphore-keep");

    let mut served = HashSet::new();
    for _ in 0..CROWD {
        assert_eq!(main.ask("free", "semaphore-release"), "ok");
        served.insert(done(&mut main));
        assert_eq!(main.ask("free", "semaphore-value"), "0");
    }

    assert_eq!(served, names.into_iter().collect());
}

#[test]
fn a_notification_of_two_wakes_two_of_a_hundred_and_one_of_all_wakes_the_rest() {
    let mut main = Locks::new(1);
    main.child("free");
    let names = names();
    for name in &names {
        main.child(name);
        assert_eq!(main.ask(name, "condition-wait"), "waits");
        // The lock is free only once it waits.
        assert_eq!(main.ask("free", "condition-notify 0"), "0");
    }

    assert_eq!(main.ask("free", "condition-notify 2"), "2");

    for name in &names[..2] {
        assert_eq!(main.line_of(name), "ok", "{name}");
    }
    assert_eq!(main.ask("free", "condition-notify 1000"), "98");
    for name in &names[2..] {
        assert_eq!(main.line_of(name), "ok", "{name}");
    }
}
