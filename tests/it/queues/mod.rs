//! Queues between processes, under the fixture `queues`.

mod crashes;
mod waiting;

use std::env;

use crate::support::fixture;

/// The start methods, for what both promise.
const METHODS: [&str; 2] = ["fork", "spawn"];

const TRANSPORTS: [&str; 2] = ["ring", "pipe"];

#[track_caller]
fn check(arguments: &str) {
    let mut setup = fixture!("queues");
    // A backtrace takes longer than all the rest.
    let mut main = setup.args(arguments).env("RUST_BACKTRACE", "0").start();
    assert_eq!(main.line_of("main"), "ok", "{arguments}");
    assert_eq!(main.wait().code(), Some(0), "{}", main.errors());
}

#[test]
fn four_consumers_get_all_of_one_producer_once_and_in_order() {
    // A million takes a while without optimisation, and longer than a test waits.
    let items = env::var("HATCHERY_TEST_ITEMS").unwrap_or_else(|_| "50000".to_owned());

    for transport in TRANSPORTS {
        check(&format!("fork order {transport} {items}"));
    }
}

#[test]
fn each_of_four_tasks_in_four_processes_gets_a_share() {
    for transport in TRANSPORTS {
        check(&format!("fork shares {transport}"));
    }
}

#[test]
fn the_memory_of_a_queue_that_was_full_is_given_back() {
    check("fork memory");
}

#[test]
fn a_thousand_queues_that_were_sent_leave_no_descriptor() {
    for transport in TRANSPORTS {
        check(&format!("fork churn {transport}"));
    }
}

#[test]
fn queues_that_a_full_table_has_no_room_for_leave_no_descriptor() {
    for method in METHODS {
        check(&format!("{method} full-table"));
    }
}

#[test]
fn queues_that_a_full_table_of_a_usual_user_has_no_room_for_leave_no_descriptor() {
    // Only root can be another user, whom nobody disturbs.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let user = 20_000 + std::process::id() % 40_000;

    for test in ["full-table", "churn ring", "churn pipe"] {
        let arguments = format!("fork {test}");
        let mut main = fixture!("queues").args(&arguments).user(user).start();
        assert_eq!(main.line_of("main"), "ok", "{}", main.errors());
    }
}
