//! How workers start, and what happens when they do not.

use std::fs;
use std::time::Duration;

use super::{Server, server};
use crate::support::{Deadline, Process, eventually};

#[test]
fn a_hook_that_fails_ends_a_fresh_server_after_five_attempts_with_its_words() {
    let folder = tempfile::tempdir().unwrap();
    let order = folder.path().join("order");
    fs::write(&order, "fail the licence has expired").unwrap();
    let mut setup = server("talk hook", "workers.count=1");
    let mut main = setup.env("FIXTURE_ORDER", &order).start();

    assert_eq!(main.wait().code(), Some(1));

    let errors = main.errors();
    let last = "error: no worker became ready in 5 attempts; \
                the last one said: the licence has expired";
    assert_eq!(errors.lines().last(), Some(last), "{errors}");
    let attempts = errors.matches("a worker ended with exit status: 1").count();
    assert_eq!(attempts, 5, "{errors}");
    assert!(main.everything().is_empty());
}

#[test]
fn a_hook_that_kills_its_worker_ends_a_fresh_server_with_the_signal() {
    let folder = tempfile::tempdir().unwrap();
    let order = folder.path().join("order");
    fs::write(&order, "abort").unwrap();
    let mut setup = server("talk hook", "");
    let mut main = setup.env("FIXTURE_ORDER", &order).start();

    assert_eq!(main.wait().code(), Some(1));

    let errors = main.errors();
    let last = errors.lines().last().unwrap_or_default();
    assert!(
        last.contains("5 attempts") && last.contains("signal: 6"),
        "{errors}"
    );
    assert!(main.everything().is_empty());
}

#[test]
fn workers_that_fail_to_start_later_are_tried_again_while_the_others_serve() {
    let folder = tempfile::tempdir().unwrap();
    let order = folder.path().join("order");
    let mut setup = server("talk hook", "");
    let mut server = Server::start(setup.env("FIXTURE_ORDER", &order));
    fs::write(&order, "fail the disk is full").unwrap();

    server.worker(0).kill();
    let complaints = || server.errors().matches("the disk is full").count();
    eventually(Deadline::usual(), "it was tried again", || {
        complaints() >= 3
    });

    let other = server.workers[1];
    assert!((0..10).all(|_| server.client().worker() == other));
    fs::remove_file(&order).unwrap();
    server.settle(2);
    // Tries are spaced out: 100, 200, 400 ms and so on.
    assert!(complaints() < 8, "{}", server.errors());
    server.end();
}

#[test]
fn a_worker_that_never_asks_for_connections_is_killed_in_time() {
    let mut main = server("sulk", "workers.count=1 workers.start_timeout=100ms").start();

    let ended = main
        .process()
        .ends_by(Deadline::after(Duration::from_secs(10)));

    assert!(ended, "{}", main.errors());
    assert_eq!(main.wait().code(), Some(1));
    let errors = main.errors();
    let last = errors.lines().last().unwrap_or_default();
    let words = "no worker became ready in 5 attempts; the last one was not ready in time";
    assert!(last.contains(words), "{errors}");
    assert!(main.everything().is_empty());
}

#[test]
fn an_address_that_is_taken_starts_nothing() {
    let first = Server::new("talk", "");
    let bind = format!("server.bind={}", first.addresses[0]);
    for dispatch in ["least-loaded", "direct"] {
        let settings = format!("{bind} server.dispatch={dispatch}");
        let mut second = server("talk", &settings).start();

        assert_eq!(second.wait().code(), Some(1));

        let errors = second.errors();
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert!(errors.contains(&first.addresses[0]), "{errors}");
        let is_left = second.everything().iter().any(Process::is_alive);
        assert!(!is_left);
    }
}
