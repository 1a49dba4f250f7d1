//! When descriptors run out.

use std::fs;
use std::time::Duration;

use rustix::process::geteuid;

use super::client::Client;
use super::{Server, server};
use crate::support::{Deadline, Process, Setup, eventually};

/// How many files each process of the server may have open.
const FILES_MAX: u64 = 64;

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
