//! A process that executes the program anew is like one that was forked, but for its memory.

use std::time::Duration;

use rustix::process::Signal;

use super::{METHODS, processes};
use crate::support::{Deadline, Main, eventually};

/// Starts a main process whose processes execute the program anew.
#[track_caller]
fn anew(method: &str) -> Main {
    let mut main = processes(method);
    main.tell("anew");
    main
}

#[test]
fn a_fork_sees_the_fork_servers_memory_and_a_process_executed_anew_does_not() {
    let mut main = processes("fork");
    main.tell("preload");

    main.start_process("a", "memory");
    main.tell("anew");
    main.start_process("b", "memory");

    let forked = "returned changed: true, preloaded: preloaded";
    assert_eq!(main.ask("join a"), forked);
    let executed = "returned changed: false, preloaded: nothing";
    assert_eq!(main.ask("join b"), executed);
}

#[test]
fn its_result_its_exit_code_its_panic_and_its_signal_are_reported() {
    for method in METHODS {
        let mut main = anew(method);
        main.start_process("a", "echo some text");
        assert_eq!(main.ask("join a"), "returned some text");
        assert_eq!(main.ask("code a"), "Some(0)");

        main.start_process("a", "large 10485760");
        assert_eq!(main.ask("join a"), "returned 10485760 bytes");

        main.start_process("a", "exit 8");
        assert_eq!(main.ask("join a"), "the process ended with exit code 8");

        main.start_process("a", "panic something");
        let panicked = main.ask("join a");
        assert!(panicked.ends_with(": told: something"), "{panicked}");
        assert_eq!(main.ask("code a"), "Some(101)");

        main.hold("a", "");
        main.tell("terminate a");
        assert_eq!(main.ask("join a"), "signal 15 ended the process");
    }
}

#[test]
fn it_knows_its_name_and_its_parent_and_has_the_descriptors_of_its_arguments() {
    for method in METHODS {
        let mut main = anew(method);
        let main_pid = main.process().pid();
        let pid = main.start_process("a", "describe");
        let described = format!("returned a {pid} false of main {main_pid} true");
        assert_eq!(main.ask("join a"), described);

        let held = main.hold("b", "");
        assert_eq!(held.stat().map(|stat| stat.name), Some("b".to_owned()));
        main.tell("release b by a pipe");
        assert_eq!(main.ask("join b"), "returned by a pipe");
    }
}

#[test]
fn it_starts_processes_of_its_own() {
    for method in METHODS {
        let mut main = anew(method);

        main.start_process("a", "deep 2");

        assert_eq!(main.ask("join a"), "returned a a:1 a:1:1");
    }
}

#[test]
fn it_goes_within_a_second_when_main_is_killed() {
    for method in METHODS {
        let mut main = anew(method);
        main.hold("a", "");
        main.hold("b", "daemon");
        let everything = main.everything();
        assert_eq!(everything.len(), 4);

        main.process().signal(Signal::KILL);

        let deadline = Deadline::after(Duration::from_secs(1));
        for process in everything {
            assert!(process.ends_by(deadline));
        }
    }
}

#[test]
fn it_outlives_the_fork_server_and_its_end_is_seen() {
    for method in METHODS {
        let mut main = anew(method);
        main.hold("a", "");
        let fork_server = main.fork_server();
        fork_server.signal(Signal::KILL);
        assert!(fork_server.ends_by(Deadline::usual()));

        main.tell("release a late");

        assert_eq!(main.ask("join a"), "returned late");
        main.hold("b", "");
        let both_gone = || main.fork_server().pid() != fork_server.pid();
        eventually(Deadline::usual(), "there is a new fork server", both_gone);
    }
}

#[test]
fn it_goes_when_fork_server_and_main_are_killed_at_once() {
    let mut main = anew("fork");
    let held = main.hold("a", "");
    let fork_server = main.fork_server();
    fork_server.signal(Signal::STOP);

    main.process().signal(Signal::KILL);
    fork_server.signal(Signal::KILL);

    assert!(held.ends_by(Deadline::after(Duration::from_secs(1))));
}
