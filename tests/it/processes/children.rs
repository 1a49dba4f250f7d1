//! Processes that start processes.

use super::{METHODS, processes};
use crate::support::Deadline;

#[test]
fn a_process_starts_a_process_and_so_on() {
    for method in METHODS {
        let mut main = processes(method);
        main.start_process("a", "deep 3");

        let names = "returned a a:1 a:1:1 a:1:1:1";
        assert_eq!(main.ask("join a"), names);

        main.wait_for_no_zombie();
        assert_eq!(main.everything().len(), 2, "main and its fork server");
    }
}

#[test]
fn a_process_waits_at_its_end_for_those_that_it_started() {
    for method in METHODS {
        let mut main = processes(method);
        main.start_process("a", "heir");
        let child = main.process_of("a");
        assert_eq!(main.line_of("a:1"), "here");
        assert_eq!(main.ask("alive a"), "true");

        main.tell("release a now");

        assert_eq!(main.line_of("a:1"), "released");
        assert_eq!(main.ask("join a"), "returned done");
        assert!(!child.is_alive());
    }
}

#[test]
fn a_process_does_not_wait_at_its_end_for_a_daemon() {
    for method in METHODS {
        let mut main = processes(method);
        main.start_process("a", "family");
        let child = main.process_of("a");
        assert_eq!(main.line_of("a"), "here");

        main.tell("release a now");

        assert_eq!(main.ask("join a"), "returned now");
        assert!(child.ends_by(Deadline::usual()));
        main.wait_for_no_zombie();
    }
}

#[test]
fn a_daemon_may_have_children() {
    let mut main = processes("fork");
    main.start_process("a", "deep daemon 1");

    assert_eq!(main.ask("join a"), "returned a a:1");
}

#[test]
fn a_process_with_threads_starts_processes_too() {
    for method in METHODS {
        let mut main = processes(method);
        let parent = main.start_process("a", "threaded");

        let outcome = main.ask("join a");

        let expected = format!(" false of a {parent} true");
        assert!(outcome.starts_with("returned a:1 "), "{outcome}");
        assert!(outcome.ends_with(&expected), "{outcome}");
    }
}

#[test]
fn a_process_in_a_runtime_starts_one_that_has_a_runtime() {
    for method in METHODS {
        let mut main = processes(method);
        let parent = main.start_process("a", "runtime");

        let outcome = main.ask("join a");

        let expected = format!(" false of a {parent} true");
        assert!(outcome.starts_with("returned inner "), "{outcome}");
        assert!(outcome.ends_with(&expected), "{outcome}");
    }
}

#[test]
fn what_was_preloaded_is_there_however_a_child_starts_its_own() {
    for method in METHODS {
        let mut main = processes(method);
        main.tell("preload word");
        main.start_process("a", "preloaded");

        let read = "returned preloaded, returned preloaded, returned returned preloaded";

        assert_eq!(main.ask("join a"), read);
    }
}
