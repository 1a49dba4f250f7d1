//! Joining, waiting and being told of processes while they run.

use rustix::process::Signal;

use super::{METHODS, processes};
use crate::support::{Deadline, eventually};

#[test]
fn a_join_with_a_timeout_keeps_it_and_can_be_repeated() {
    let mut main = processes("fork");
    main.hold("a", "");

    for timeout in [0, 30] {
        let answer = main.ask(&format!("join-ms a {timeout}"));
        let late = answer.strip_prefix("the process has not ended in time, ");
        let late = late.and_then(|late| late.strip_suffix(" ms late"));
        let late: u32 = late.and_then(|late| late.parse().ok()).expect(&answer);
        assert!(late < 500, "{answer}");
    }

    main.tell("release a now");
    assert!(main.ask("join-ms a 5000").starts_with("returned now, "));
}

#[test]
fn two_threads_that_join_get_the_same() {
    for method in METHODS {
        for _ in 0..10 {
            let mut main = processes(method);
            main.hold("a", "");
            main.say("join-twice a");
            assert_eq!(main.line_of("main"), "waits");

            // The fixture is busy joining, so the process is ended from outside.
            let process = main.everything();
            let process = process
                .into_iter()
                .find(|process| process.stat().is_some_and(|stat| stat.name == "a"));
            let process = process.expect("the process runs");
            process.signal(Signal::KILL);

            let once = "signal 9 ended the process";
            assert_eq!(main.line_of("main"), format!("{once} and {once}"));
        }
    }
}

#[test]
fn a_join_that_is_given_up_loses_nothing() {
    for method in METHODS {
        let mut main = processes(method);
        let process = main.hold("a", "");
        main.say("join-async a");
        assert_eq!(main.line_of("main"), "waits");

        process.signal(Signal::TERM);
        assert_eq!(main.line_of("main"), "signal 15 ended the process");

        main.start_process("b", "echo text");
        main.say("join-async b");
        assert_eq!(main.line_of("main"), "waits");
        assert_eq!(main.line_of("main"), "returned text");
    }
}

#[test]
fn a_process_knows_itself_and_its_parent() {
    for method in METHODS {
        let mut main = processes(method);
        let pid = main.process().pid();

        for (name, how, is_daemon) in [("ann", "", false), ("ben", "daemon", true)] {
            let started = main.start_process(name, &format!("describe {how}"));
            let expected = format!("returned {name} {started} {is_daemon} of main {pid} true");
            assert_eq!(main.ask(&format!("join {name}")), expected);
        }
    }
}

#[test]
fn the_children_that_run_are_listed_also_when_nobody_holds_them() {
    let mut main = processes("fork");
    main.hold("a", "");
    main.hold("b", "");
    let c = main.hold("c", "daemon");
    assert_eq!(main.ask("active"), "active: a b c");

    main.tell("drop a");
    main.tell("release b now");
    assert_eq!(main.ask("join b"), "returned now");
    assert_eq!(main.ask("active"), "active: a c");

    main.tell("kill c");
    assert!(c.ends_by(Deadline::usual()));
    main.tell("release a now");
    eventually(Deadline::usual(), "none is left", || {
        main.ask("active") == "active: "
    });
}

#[test]
fn a_running_process_is_not_closed() {
    let mut main = processes("fork");
    main.hold("a", "");

    let running = "the process is still running: end it or join it first";
    assert_eq!(main.ask("close a"), running);

    main.tell("kill a");
    assert_eq!(main.ask("join a"), "signal 9 ended the process");
    assert_eq!(main.ask("close a"), "closed");
}

#[test]
fn waiting_is_for_processes_and_pipes_together() {
    for method in METHODS {
        processes(method).tell("check wait");
    }
}

#[test]
fn a_hundred_processes_run_at_once() {
    for method in METHODS {
        let mut main = processes(method);
        main.tell("check hundred");
        main.wait_for_no_zombie();
    }
}

#[test]
fn a_thousand_processes_leave_no_descriptor_and_no_zombie() {
    let mut main = processes("fork");

    for _ in 0..10 {
        assert_eq!(main.ask("churn 100"), "0 left, 0 descriptors more");
    }

    main.wait_for_no_zombie();
    assert_eq!(main.everything().len(), 2, "main and its fork server");
}

#[test]
fn processes_outlive_the_fork_server_and_their_end_is_seen() {
    for method in METHODS {
        let mut main = processes(method);
        main.hold("a", "");
        let held = main.hold("b", "");
        main.fork_server().signal(Signal::KILL);

        main.start_process("c", "echo new");

        assert_eq!(main.ask("join c"), "returned new");
        main.tell("release a old");
        assert_eq!(main.ask("join a"), "returned old");
        held.signal(Signal::KILL);
        assert_eq!(main.ask("join b"), "signal 9 ended the process");
        main.wait_for_no_zombie();
    }
}

#[test]
fn the_end_of_a_process_is_known_without_the_fork_server() {
    for method in METHODS {
        let mut main = processes(method);
        main.hold("a", "");
        let fork_server = main.fork_server();
        fork_server.signal(Signal::STOP);

        main.tell("release a old");

        assert_eq!(main.ask("join a"), "returned old");
        assert_eq!(main.ask("code a"), "Some(0)");
        fork_server.signal(Signal::CONT);
        main.wait_for_no_zombie();
    }
}
