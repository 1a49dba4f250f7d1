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
