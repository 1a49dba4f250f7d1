//! When descriptors run out.

use std::fs;
use std::time::Duration;

use rustix::process::{Signal, geteuid};
use serde_json::Value;

use super::client::Client;
use super::control::Controlled;
use super::{Server, server};
use crate::support::{Deadline, Process, Setup, eventually};

/// How many files each process of the server may have open.
const FILES_MAX: u64 = 64;

/// How many it may have open otherwise.
const FILES_USUAL: u64 = 1024;

/// The CPU time that a server with nothing to do may use in a second.
const IDLE: Duration = Duration::from_millis(50);

/// Whose name is on what belongs to nobody.
const NOBODY: u32 = 65534;

fn cpu_time(processes: &[Process]) -> Duration {
    let stats = processes.iter().filter_map(Process::stat);
    stats.map(|stat| stat.cpu_time).sum()
}

/// Checks that nobody is lost and nothing spins where many more come than there is room for.
#[track_caller]
fn assert_all_are_served_in_the_end(setup: &Setup, count: usize) {
    let mut server = Server::start(setup);
    let everything = server.everything();
    let open_before = server.process().descriptors().len();
    let mut clients = server.clients(count);
    let is_full = || server.errors().contains("no room") || server.errors().contains("is full");
    eventually(
        Deadline::usual(),
        "the server says that it is full",
        is_full,
    );

    let before = cpu_time(&everything);
    let second = Deadline::after(Duration::from_secs(1));
    eventually(Deadline::usual(), "a second passes", || second.has_passed());
    let used = cpu_time(&everything) - before;

    assert!(used <= IDLE, "{used:?} in an idle second");
    clients.iter().for_each(|client| client.say("who"));
    let patient = Deadline::after(Duration::from_secs(20));
    eventually(patient, "everybody is served", || {
        clients.retain_mut(|client| {
            let waits = client.hears_nothing();
            if !waits {
                client.hear_about();
                client.close();
            }
            waits
        });
        clients.is_empty()
    });
    let is_empty = || server.process().descriptors().len() == open_before;
    eventually(
        Deadline::usual(),
        "main has closed what it opened",
        is_empty,
    );
    server.settle(2);
    server.end();
}

#[test]
fn nobody_is_lost_and_nothing_spins_when_there_are_few_descriptors() {
    let mut setup = server("talk", "");
    assert_all_are_served_in_the_end(setup.files_max(FILES_MAX), 300);
}

#[test]
fn nobody_is_lost_and_nothing_spins_when_there_are_few_descriptors_without_root() {
    if !geteuid().is_root() {
        eprintln!("left out: only root can become another user");
        return;
    }
    let mut setup = server("talk", "");
    assert_all_are_served_in_the_end(setup.files_max(FILES_MAX).user(NOBODY), 300);
}

#[test]
fn what_a_full_worker_sends_back_is_served_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let order = folder.path().join("order");
    fs::write(&order, "leave 16").unwrap();
    let mut setup = server("talk hook", "");
    setup.files_max(256).env("FIXTURE_ORDER", &order);
    assert_all_are_served_in_the_end(&setup, 100);
}

#[test]
fn those_who_spoke_at_once_are_all_answered_when_workers_are_full() {
    let folder = tempfile::tempdir().unwrap();
    let order = folder.path().join("order");
    fs::write(&order, "leave 16").unwrap();
    let mut setup = server("talk hook", "");
    let server = Server::start(setup.files_max(256).env("FIXTURE_ORDER", &order));
    let mut clients = server.clients(200);
    clients.iter().for_each(|client| client.say("who"));
    clients.iter().for_each(Client::hang_up);

    for client in &mut clients {
        assert!(server.workers.contains(&client.hear_about().worker));
    }

    assert!(
        server
            .errors()
            .contains("a worker's descriptor table is full")
    );
}

#[test]
fn a_fresh_server_without_descriptors_for_its_workers_ends_and_says_so() {
    for files_max in (20..=32).step_by(2) {
        let mut setup = server("talk", "workers.count=4");
        let mut main = setup.files_max(files_max).start();

        let patient = Deadline::after(Duration::from_secs(20));
        assert!(main.process().ends_by(patient), "{}", main.errors());

        assert_eq!(main.wait().code(), Some(1), "{}", main.errors());
        let errors = main.errors();
        let last = errors.lines().last().unwrap_or_default();
        assert!(last.starts_with("error: "), "{errors}");
        let names_cause = |line: &str| line.contains("Too many open files");
        assert!(names_cause(last), "{errors}");
        let mut tries = errors.lines().filter(|it| it.contains("could not be"));
        assert!(tries.all(names_cause), "{errors}");
        assert!(!main.everything().iter().any(Process::is_alive));
    }
}

/// Has a server recycle its worker, but find no descriptor for the process of the new one, until it
/// gives that up.
#[track_caller]
fn give_a_worker_up(controlled: &Controlled) {
    let main = controlled.server.process();
    let (mut voice, mut events) = (controlled.voice(), controlled.events());
    // All below are taken, and stay so.
    let open = main.descriptors();
    let full = (0..).find(|number| !open.contains_key(number));
    let fork_server = controlled.ask_for_successor(&mut voice);

    main.limit_files(full.map_or(0, i32::unsigned_abs).into());
    fork_server.signal(Signal::CONT);

    let given_up = events.event("worker-exited");
    assert_eq!(given_up["pid"], Value::Null, "{given_up}");
    main.limit_files(FILES_USUAL);
}

#[test]
fn a_worker_that_is_given_up_because_its_process_is_not_known_has_accepted_nobody() {
    let controlled = Controlled::new("talk", "server.dispatch=direct workers.count=1");
    let first = controlled.server.worker(0);
    first.signal(Signal::STOP);
    let mut clients = controlled.server.clients(8);
    clients.iter().for_each(|client| client.say("first"));

    give_a_worker_up(&controlled);
    first.signal(Signal::CONT);

    for client in &mut clients {
        assert_eq!(client.line(), "FIRST");
        assert_eq!(client.ask("second"), "SECOND");
    }
}

#[test]
fn a_worker_that_is_given_up_because_its_process_is_not_known_was_given_nobody() {
    let settings = "workers.count=1 workers.max_concurrency=1 server.overload=reject \
         server.queue_timeout=1m";
    let controlled = Controlled::new("talk", settings);
    let open = controlled.server.process().descriptors().len();
    let mut first = controlled.server.client();
    first.worker();
    eventually(Deadline::usual(), "its lease has ended", || {
        controlled.server.process().descriptors().len() == open
    });
    let mut waiting = controlled.server.client();
    waiting.say("first");
    // With that many descriptors that are no connections a worker is heard, although there is no room.
    // One that it was given would have made some, and the new worker would not be given up.
    let _listeners: Vec<_> = (0..50).map(|_| controlled.events()).collect();

    give_a_worker_up(&controlled);

    assert_eq!(waiting.line(), "FIRST");
    assert_eq!(waiting.ask("second"), "SECOND");
    assert_eq!(first.ask("on"), "ON");
}
