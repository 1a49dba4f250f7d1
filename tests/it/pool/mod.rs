//! Pools as users have them, under the fixture `pool`.
//!
//! Each test runs one of the fixture's, which says `ok`, and looks whether anything is left of it.

mod chaos;
mod deaths;
mod ending;
mod mapping;
mod queueing;
mod stopping;
mod tasks;

use std::time::Duration;

use crate::support::{Deadline, fixture};

/// How long the longest of the fixture's tests may take.
const PATIENCE: Duration = Duration::from_secs(30);

#[track_caller]
fn check(test: &str) {
    check_with("fork", test);
}

/// As [`check`], with a fork server of each kind.
#[track_caller]
fn check_both(test: &str) {
    for method in ["fork", "spawn"] {
        check_with(method, test);
    }
}

#[track_caller]
fn check_with(method: &str, test: &str) {
    check_for(PATIENCE, method, test);
}

#[track_caller]
fn check_for(patience: Duration, method: &str, test: &str) {
    let mut setup = fixture!("pool");
    // A backtrace takes longer than all the rest.
    let setup = setup.args(method).args(test).env("RUST_BACKTRACE", "0");
    let mut main = setup.start();
    let deadline = Deadline::after(patience);
    let has_ended = main.process().ends_by(deadline);
    assert!(has_ended, "{test} does not end\n{}", main.errors());
    assert_eq!(
        main.line_of("main"),
        "ok",
        "{method} {test}\n{}",
        main.errors()
    );
    assert_eq!(main.wait().code(), Some(0), "{}", main.errors());
    let left = main.everything();
    let left: Vec<_> = left
        .iter()
        .filter_map(crate::support::Process::stat)
        .collect();
    assert!(left.is_empty(), "{method} {test} has left {left:?}");
}
