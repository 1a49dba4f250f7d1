//! The load generator of the command, as somebody who types it sees it.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Deadline, Setup, eventually, fixture};

/// How soon all that a main process started is gone after it.
const GONE: Duration = Duration::from_secs(1);

/// The bench; main, fork server and two workers of each of ours; one of tokio's; three of the last.
const PROCESSES: usize = 1 + 4 + 4 + 1 + 3;

fn bench(arguments: &str) -> Setup {
    let mut setup = fixture!("hatchery-command");
    setup.args("bench").args(arguments);
    setup
}

#[test]
fn the_servers_that_it_compares_end_with_it_however_it_ends() {
    for signal in [Signal::TERM, Signal::HUP, Signal::KILL, Signal::INT] {
        let main = bench("--connections 4 --duration 60s").start();
        let mut everything = Vec::new();
        eventually(Deadline::usual(), "all servers run", || {
            everything = main.everything();
            everything.len() == PROCESSES
        });

        main.process().signal(signal);

        assert!(main.process().ends_by(Deadline::usual()), "{signal:?}");
        let deadline = Deadline::after(GONE);
        for process in &everything {
            assert!(process.ends_by(deadline), "{signal:?}: {process:?} is left");
        }
    }
}

#[test]
fn a_picture_that_cannot_be_written_is_an_error_before_anything_is_measured() {
    let mut main = bench("--duration 60s --plot /nowhere/x.svg").start();

    assert_eq!(main.wait().code(), Some(1), "{}", main.errors());

    let errors = main.errors();
    assert!(
        errors.starts_with("error: --plot: cannot write /nowhere/x.svg; allowed: "),
        "{errors}"
    );
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

#[test]
fn more_idle_connections_than_there_is_room_for_are_given_up_with_one_message() {
    for overload in ["wait", "reject"] {
        let server = format!(
            "echo --listen 127.0.0.1:0 --workers 1 --max-concurrency 10 --overload {overload}"
        );
        let mut server = fixture!("hatchery-command").args(&server).start();
        let ready = server.line_of("ready");
        let address = ready
            .split(['=', ' '])
            .nth(1)
            .expect("the line has an address");

        let load = format!("--connect {address} --idle 40 --timeout 300ms --duration 60s");
        let mut main = bench(&load).start();

        assert_eq!(main.wait().code(), Some(1), "{}", main.errors());
        let errors = main.errors();
        let line = format!("error: {address} has no room for 40 idle connections: ");
        assert!(errors.starts_with(&line), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert_eq!(main.rest(), [""; 0]);
    }
}
