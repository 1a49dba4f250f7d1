//! Who dies with whom, and who does not.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Deadline, Main, Process, eventually};

use super::{METHODS, children};

/// How long anything may outlive the main process.
const PROMISE: Duration = Duration::from_secs(1);

/// Starts a program with every kind of child, some of them older than the fork server.
fn populated(method: &str) -> (Main, Vec<Process>) {
    let mut main = children(method);
    main.child_here("old-idle", "idle");
    let spins = main.child_here("old-spin", "spin");
    main.fork_server().kill();
    main.child_here("idle", "idle");
    main.child_here("spin", "spin");
    main.child_here("hold", "hold");
    let has_spun = || spins.stat().is_some_and(|stat| !stat.cpu_time.is_zero());
    eventually(Deadline::usual(), "the old spinner spins", has_spun);
    let everything = main.everything();
    assert_eq!(everything.len(), 7, "main, fork server, five children");
    (main, everything)
}

#[track_caller]
fn assert_gone_in_time(processes: &[Process]) {
    let deadline = Deadline::after(PROMISE);
    for process in processes {
        assert!(process.ends_by(deadline), "alive: {:?}", process.stat());
    }
}

#[test]
fn everything_goes_when_main_is_killed() {
    for method in METHODS {
        let (main, everything) = populated(method);

        main.process().signal(Signal::KILL);

        assert_gone_in_time(&everything);
    }
}

#[test]
fn everything_goes_when_main_returns() {
    for method in METHODS {
        let (mut main, everything) = populated(method);

        main.say("quit");

        assert!(main.wait().success());
        assert_gone_in_time(&everything);
        assert_eq!(main.rest(), [""; 0], "nobody has anything left to say");
    }
}

#[test]
fn everything_goes_when_main_and_the_fork_server_are_killed_at_once() {
    for round in 0..6 {
        let (main, everything) = populated(METHODS[round % 2]);
        let fork_server = main.fork_server();

        let (first, second) = match round % 3 {
            0 => (main.process(), &fork_server),
            _ => (&fork_server, main.process()),
        };
        first.signal(Signal::KILL);
        second.signal(Signal::KILL);

        assert_gone_in_time(&everything);
    }
}

/// So a fork server leaves its children if it is killed while it ends them, for it stops them all first.
#[test]
fn what_is_stopped_goes_when_main_and_the_fork_server_are_killed() {
    for method in METHODS {
        let (main, everything) = populated(method);
        let fork_server = main.fork_server();
        fork_server.signal(Signal::STOP);
        for process in &everything {
            process.signal(Signal::STOP);
        }

        main.process().signal(Signal::KILL);
        fork_server.signal(Signal::KILL);

        assert_gone_in_time(&everything);
    }
}

#[test]
fn who_is_continued_goes_on() {
    for method in METHODS {
        let (mut main, everything) = populated(method);
        for process in &everything {
            process.signal(Signal::STOP);
            let is_stopped = || process.stat().is_some_and(|stat| stat.state == 'T');
            eventually(Deadline::usual(), "it is stopped", is_stopped);

            process.signal(Signal::CONT);

            let goes_on = || process.stat().is_some_and(|stat| "RS".contains(stat.state));
            eventually(Deadline::usual(), "it goes on", goes_on);
        }
        main.child_here("new", "idle");
        for process in &everything {
            let is_there = process.stat().is_some_and(|stat| "RS".contains(stat.state));
            assert!(is_there, "gone: {process:?}");
        }
        main.say("quit");
        assert!(main.wait().success());
    }
}

#[test]
fn a_child_that_left_its_process_group_goes_when_main_is_killed() {
    for method in METHODS {
        let mut main = children(method);
        main.child_here("a", "wander");
        let everything = main.everything();

        main.process().signal(Signal::KILL);

        assert_gone_in_time(&everything);
    }
}

#[test]
fn what_a_child_started_goes_when_main_is_killed() {
    for method in METHODS {
        let mut main = children(method);
        main.child_here("a", "family");
        let everything = main.everything();
        assert_eq!(everything.len(), 4, "main, fork server, child, its own");

        main.process().signal(Signal::KILL);

        assert_gone_in_time(&everything);
    }
}

#[test]
fn everything_goes_when_main_is_killed_while_it_starts_children() {
    for round in 0..10 {
        let mut main = children(METHODS[round % 2]);
        main.say("crowd 100");
        main.line_of(&format!("c{}", 3 * round));

        main.process().signal(Signal::KILL);

        let gone = Deadline::after(PROMISE);
        assert!(main.process().ends_by(gone));
        let nobody_is_left = || !main.everything().iter().any(Process::is_alive);
        eventually(gone, "everything is gone", nobody_is_left);
    }
}

#[test]
fn children_outlive_a_killed_fork_server_and_their_ends_are_known() {
    for method in METHODS {
        let mut main = children(method);
        main.tell("preload word");
        for round in 0..20 {
            let holds = main.child_here("hold", "hold");
            let idles = main.child_here("idle", "idle");
            let fork_server = main.fork_server();

            fork_server.signal(Signal::KILL);
            if round % 2 == 0 {
                // In odd rounds the next order may yet reach the dying fork server.
                assert!(fork_server.ends_by(Deadline::usual()));
                main.tell("revive");
            }

            main.start_process("word", "word");
            assert_eq!(main.line_of("word"), "egg");
            assert_eq!(main.ask("wait word"), "exited 0");
            assert!(holds.is_alive() && idles.is_alive());
            main.tell(&format!("release hold {round}"));
            assert_eq!(main.ask("wait hold"), format!("exited {round}"));
            idles.signal(Signal::KILL);
            assert_eq!(main.ask("wait idle"), "killed 9");
            main.wait_for_no_zombie();
            assert_ne!(main.fork_server().pid(), fork_server.pid());
        }
    }
}

#[test]
fn a_child_that_ended_before_its_fork_server_was_killed_has_its_status() {
    for round in 0..20 {
        let mut main = children(METHODS[round % 2]);
        let child = main.child_here("a", "hold");
        main.tell("release a 9");
        assert!(child.ends_by(Deadline::usual()));

        main.fork_server().signal(Signal::KILL);

        assert_eq!(main.ask("wait a"), "exited 9");
    }
}
