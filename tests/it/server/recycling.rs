//! Workers that have served enough, or grown too large, are replaced without a loss.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use super::client::{Client, Heard};
use super::{Server, server};
use crate::support::{Deadline, Process, eventually};

/// Connects, asks, hangs up, and checks that all of it went well.
#[track_caller]
fn visit(address: &str) -> i32 {
    let mut client = Client::connect(address);
    let worker = client.worker();
    client.hang_up();
    assert_eq!(client.hear(), Heard::End);
    worker
}

#[test]
fn workers_that_have_served_enough_are_replaced_and_nobody_notices() {
    let mut server = Server::new("talk", "workers.max_connections=20");

    let mut workers: BTreeSet<i32> = (0..400).map(|_| visit(&server.addresses[0])).collect();
    thread::scope(|threads| {
        let visits = || (0..100).map(|_| visit(&server.addresses[0])).collect();
        let visitors: Vec<_> = (0..4).map(|_| threads.spawn(visits)).collect();
        for visitor in visitors {
            let seen: BTreeSet<i32> = visitor.join().unwrap();
            workers.extend(seen);
        }
    });

    assert!(
        workers.len() > 10,
        "800 visits had {} workers",
        workers.len()
    );
    server.settle(2);
    let errors = server.errors();
    assert_eq!(errors, "", "to be recycled is no trouble");
    server.end();
}

#[test]
fn a_connection_that_lasts_outlives_the_recycling_of_its_worker() {
    let server = Server::new(
        "talk",
        "server.dispatch=round-robin workers.max_connections=5",
    );
    let mut lasting = server.client();
    let worker = lasting.worker();

    for _ in 0..50 {
        visit(&server.addresses[0]);
    }

    assert_eq!(lasting.worker(), worker);
    lasting.hang_up();
    assert_eq!(lasting.hear(), Heard::End);
    server.settle(2);
}

#[test]
fn a_worker_that_does_not_finish_when_it_retires_is_ended() {
    let settings =
        "server.dispatch=round-robin workers.max_connections=5 workers.drain_timeout=200ms";
    let server = Server::new("talk", settings);
    let mut lasting = server.client();
    let worker = lasting.worker();

    for _ in 0..50 {
        visit(&server.addresses[0]);
    }

    assert!(matches!(lasting.hear(), Heard::End | Heard::Reset));
    server.settle(2);
    assert!(server.workers().iter().all(|other| other.pid() != worker));
}

#[test]
fn a_worker_that_has_grown_too_large_is_replaced_and_nobody_notices() {
    let mut server = Server::new("talk", "workers.max_memory=64MiB");
    let mut large = server.client();
    let worker = large.worker();

    assert_eq!(large.ask("hoard 80"), "hoarded");

    let has_successor = || server.workers().len() == 3;
    eventually(Deadline::usual(), "there is a successor", has_successor);
    for _ in 0..10 {
        visit(&server.addresses[0]);
    }
    assert_eq!(large.worker(), worker);
    large.hang_up();
    assert_eq!(large.hear(), Heard::End);
    server.settle(2);
    assert!(server.workers().iter().all(|other| other.pid() != worker));
    server.end();
}

#[test]
fn what_all_processes_share_counts_in_part_where_memory_is_measured_so() {
    // 90 MiB are shared by the fork server and three workers, and later by one or two more.
    let settings = "workers.count=3 workers.max_memory=64MiB";
    let mut main = server("talk nest", settings).start();
    assert_eq!(main.wait().code(), Some(2));
    let errors = main.errors();
    assert!(
        errors.contains("workers.max_memory: 64MiB is less"),
        "{errors}"
    );

    let settings = format!("{settings} workers.memory_measure=pss");
    let mut server = Server::new("talk nest", &settings);
    let workers = server.workers.clone();
    let mut large = server.client();
    assert_eq!(large.ask("hoard 10"), "hoarded");
    let large_one = large.worker();
    // More than the limit is resident of it. One that was too heavy would be found within a second.
    let deadline = Deadline::after(Duration::from_millis(1500));
    while !deadline.has_passed() {
        assert_eq!(server.workers().len(), 3);
    }
    assert_eq!(large.ask("hoard 80"), "hoarded");

    let is_replaced = || server.workers().len() == 4;
    eventually(Deadline::usual(), "there is a successor", is_replaced);

    large.hang_up();
    assert_eq!(large.hear(), Heard::End);
    server.settle(3);
    let left: Vec<i32> = server.workers().iter().map(Process::pid).collect();
    for pid in workers {
        assert_eq!(left.contains(&pid), pid != large_one);
    }
    server.end();
}

#[test]
fn a_worker_that_wishes_to_retire_is_replaced_and_finishes_what_it_has() {
    let mut server = Server::new("talk", "");
    let mut tired = server.client();
    let worker = tired.worker();

    assert_eq!(tired.ask("retire"), "retire true");

    let has_successor = || server.workers().len() == 3;
    eventually(Deadline::usual(), "there is a successor", has_successor);
    for _ in 0..10 {
        visit(&server.addresses[0]);
    }
    assert_eq!(tired.worker(), worker);
    tired.hang_up();
    assert_eq!(tired.hear(), Heard::End);
    server.settle(2);
    assert!(server.workers().iter().all(|other| other.pid() != worker));
    server.end();
}

#[test]
fn a_worker_that_leaks_descriptors_is_replaced() {
    let mut server = Server::new("talk", "workers.max_descriptors=64");
    let mut leaky = server.client();
    let worker = leaky.worker();

    assert_eq!(leaky.ask("open 80"), "opened");

    let has_successor = || server.workers().len() == 3;
    eventually(Deadline::usual(), "there is a successor", has_successor);
    assert_eq!(leaky.worker(), worker);
    leaky.close();
    server.settle(2);
    assert!(server.workers().iter().all(|other| other.pid() != worker));
    server.end();
}

#[test]
fn connections_do_not_count_as_leaked_descriptors() {
    let server = Server::new("talk", "workers.count=1 workers.max_descriptors=64");
    let mut clients = server.clients(80);
    let worker = server.workers[0];
    for client in &mut clients {
        assert_eq!(client.worker(), worker);
    }

    // One that was too open would be found at the next look, within a second.
    let deadline = Deadline::after(Duration::from_millis(1500));
    while !deadline.has_passed() {
        assert_eq!(clients[0].worker(), worker);
        assert_eq!(server.workers().len(), 1);
    }
}

#[test]
fn workers_that_are_old_enough_are_replaced_one_after_the_other() {
    let mut server = Server::new("talk", "workers.count=3 workers.max_age=300ms");
    let first = server.workers.clone();

    let is_renewed = || {
        visit(&server.addresses[0]);
        // One in three is in the middle of it, and has its successor beside it.
        let workers = server.workers();
        assert!(workers.len() <= 5, "{workers:?}");
        workers.iter().all(|worker| !first.contains(&worker.pid()))
    };

    eventually(Deadline::usual(), "all were replaced", is_renewed);
    assert_eq!(server.errors(), "");
    server.end();
}
