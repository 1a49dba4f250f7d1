//! The examples do what they say.
//!
//! `cargo test --workspace` builds them. Where tests are chosen by name or package, cargo does
//! not: then it takes `cargo build -p hatchery-examples --examples` first.

mod app;
mod embedding;
mod grpc;
mod images;
mod pools;
mod processes;
mod queues;
mod redis;
mod servers;
mod sharing;
mod tls;
mod web;
mod websocket;

use std::env::current_exe;
use std::process::{Command, Stdio};

use crate::support::{Deadline, Fixture, Process, Setup, eventually};

/// Sets up an example, by its name.
fn example(name: &str) -> Setup {
    let test = current_exe().expect("this program has a path");
    let folder = test.parent().and_then(|deps| deps.parent());
    let program = folder.expect("cargo puts it two folders down");
    let program = program.join("examples").join(name);
    assert!(
        program.is_file(),
        "first run `cargo build -p hatchery-examples --examples`"
    );
    Setup::new(program.to_str().expect("the path is text"))
}

/// Runs an example to its good end, which leaves nothing, and returns what it printed.
#[track_caller]
fn run(name: &str, arguments: &str) -> Vec<String> {
    let mut program = example(name).args(arguments).start();
    let said = program.rest();
    let code = program.wait().code();
    assert_eq!((code, program.errors()), (Some(0), String::new()));
    wait_for_nothing_left(&program);
    said
}

/// Waits until nothing runs that the example has started.
#[track_caller]
fn wait_for_nothing_left(program: &Fixture) {
    eventually(Deadline::usual(), "nothing is left", || {
        !program.everything().iter().any(Process::is_alive)
    });
}

/// Returns what a speaker said, in order, without its name.
fn lines_of<'a>(speaker: &str, said: &'a [String]) -> Vec<&'a str> {
    let start = format!("{speaker}: ");
    let lines = said.iter();
    lines.filter_map(|line| line.strip_prefix(&start)).collect()
}

/// Runs a tool of others that is a client, for at most a minute, and returns what it printed.
///
/// Where there is no such tool it returns `None`, and says that the test was left out.
#[track_caller]
#[expect(clippy::print_stderr, reason = "a test that is left out is said to be")]
fn tool(name: &str, arguments: &[&str]) -> Option<String> {
    let mut version = Command::new(name);
    let version = version.arg("--version").stdout(Stdio::null());
    if !version.status().is_ok_and(|status| status.success()) {
        eprintln!("left out: {name} is not installed");
        return None;
    }
    let mut client = Command::new("timeout");
    let done = client.arg("60").arg(name).args(arguments).output();
    let done = done.expect("timeout(1) is part of every system");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{name}: {said}\n{errors}");
    Some(said)
}
