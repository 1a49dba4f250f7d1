//! How a child ended, exactly.

use rustix::process::Signal;

use crate::support::{Main, Process, fixture};

use super::{METHODS, children};

/// Ends a child from outside, and returns what its owner is told.
fn ending_by(main: &mut Main, end: impl FnOnce(&Process)) -> String {
    let child = main.child_here("ended", "idle");
    end(&child);
    main.ask("wait ended")
}

#[test]
fn every_exit_code_is_reported_as_it_was() {
    for method in METHODS {
        let mut main = children(method);
        for code in ["0", "1", "8", "101", "255"] {
            main.start_process("a", &format!("exit {code}"));

            assert_eq!(main.ask("wait a"), format!("exited {code}"));
        }
    }
}

#[test]
fn a_panic_is_exit_code_101_with_its_message_on_standard_error() {
    let mut main = children("fork");

    main.start_process("a", "end panic");

    assert_eq!(main.ask("wait a"), "exited 101");
    assert!(
        main.errors().contains("as it was told"),
        "{}",
        main.errors()
    );
}

#[test]
fn the_signal_that_ended_a_child_is_reported() {
    for method in METHODS {
        let mut main = Main::start(fixture!("children").args(method).limit("core", 0));

        let terminated = ending_by(&mut main, |child| child.signal(Signal::TERM));
        let killed = ending_by(&mut main, |child| child.signal(Signal::KILL));
        let hung_up = ending_by(&mut main, |child| child.signal(Signal::HUP));
        let real_time = ending_by(&mut main, |child| child.signal_by_number(40));

        assert_eq!(terminated, "killed 15");
        assert_eq!(killed, "killed 9");
        assert_eq!(hung_up, "killed 1");
        assert_eq!(real_time, "killed 40");
    }
}

#[test]
fn a_core_is_reported_where_there_is_one() {
    // Whether there is one is the machine's choice, so a program without Hatchery is the measure.
    for (method, limit) in [
        ("fork", 0),
        ("fork", u64::MAX >> 1),
        ("spawn", u64::MAX >> 1),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let mut main = Main::start(
            fixture!("children")
                .args(method)
                .limit("core", limit)
                .directory(directory.path()),
        );
        for (way, signal) in [("segv", "killed 11"), ("abort", "killed 6")] {
            main.start_process("a", &format!("end {way}"));

            let told = main.ask("wait a");

            assert_eq!(told, main.ask(&format!("control {way}")));
            assert!(told.starts_with(signal), "{told}");
        }
    }
}

#[test]
fn waiting_for_a_running_child_is_a_timeout_and_can_be_repeated() {
    let mut main = children("fork");
    main.child_here("a", "hold");

    let timeout = "error: the process has not ended in time";
    assert_eq!(main.ask("wait-ms a 0"), timeout);
    assert_eq!(main.ask("wait-ms a 20"), timeout);
    main.tell("release a 6");

    assert_eq!(main.ask("wait-long a"), "exited 6");
    assert_eq!(main.ask("wait-ms a 0"), "exited 6");
    assert_eq!(main.ask("wait a"), "exited 6");
}

#[test]
fn ending_a_child_that_has_ended_is_no_error() {
    let mut main = children("fork");
    main.start_process("a", "exit 4");
    main.ask("wait a");

    main.tell("terminate a");
    main.tell("kill a");

    assert_eq!(main.ask("wait a"), "exited 4");
}

#[test]
fn a_child_whose_handle_is_dropped_runs_on() {
    let mut main = children("fork");
    let child = main.child_here("a", "hold");

    main.tell("drop a");

    main.start_process("b", "exit 0");
    assert_eq!(main.ask("wait b"), "exited 0");
    assert!(child.is_alive());
    main.tell("release a 0");
    assert!(child.ends_by(crate::support::Deadline::usual()));
    main.wait_for_no_zombie();
}
