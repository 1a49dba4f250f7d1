//! What becomes of processes when those that started them end.

use std::time::Duration;

use rustix::process::Signal;

use super::{METHODS, processes};
use crate::support::{Deadline, Process};

#[test]
fn the_normal_end_waits_for_processes_and_ends_daemons() {
    for method in METHODS {
        let mut main = processes(method);
        let held = main.hold("a", "");
        let daemon = main.hold("b", "daemon");
        main.say("drop a");
        assert_eq!(main.line_of("main"), "ok");

        main.say("quit");
        // It waits: a process that did not could have ended by now.
        assert!(
            !main
                .process()
                .ends_by(Deadline::after(Duration::from_millis(50)))
        );
        assert!(held.is_alive() && daemon.is_alive());
        held.signal(Signal::TERM);

        assert_eq!(main.wait().code(), Some(0), "{}", main.errors());
        assert!(!daemon.is_alive());
    }
}

#[test]
fn the_normal_end_waits_for_no_daemon() {
    for method in METHODS {
        let mut main = processes(method);
        let daemon = main.hold("a", "daemon");

        main.say("quit");

        assert_eq!(main.wait().code(), Some(0), "{}", main.errors());
        assert!(!daemon.is_alive());
    }
}

#[test]
fn everything_goes_within_a_second_when_main_is_killed() {
    for method in METHODS {
        let mut main = processes(method);
        main.hold("a", "");
        main.hold("b", "daemon");
        main.start_process("c", "family");
        main.process_of("c");
        assert_eq!(main.line_of("c"), "here");
        assert_eq!(main.line_of("c:1"), "here");
        let everything = main.everything();
        assert_eq!(everything.len(), 7, "two fork servers among them");

        main.process().signal(Signal::KILL);

        let deadline = Deadline::after(Duration::from_secs(1));
        for process in everything {
            assert!(process.ends_by(deadline), "{process:?} is left");
        }
    }
}

#[test]
fn what_a_process_started_goes_when_it_is_killed() {
    for method in METHODS {
        let mut main = processes(method);
        let parent = main.start_process("a", "family");
        let parent = Process::find(parent).expect("it waits to be released");
        let child = main.process_of("a");
        assert_eq!(main.line_of("a"), "here");
        assert_eq!(main.line_of("a:1"), "here");

        parent.signal(Signal::KILL);

        assert!(child.ends_by(Deadline::after(Duration::from_secs(1))));
        assert_eq!(main.ask("join a"), "signal 9 ended the process");
        main.wait_for_no_zombie();
    }
}

#[test]
fn the_terminal_interrupts_main_alone() {
    let mut main = processes("fork");
    let held = main.hold("a", "");
    let main_group = main.process().stat().expect("main runs").group;

    let group = held.stat().expect("the process runs").group;

    assert_ne!(group, main_group);
}
