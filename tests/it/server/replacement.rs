//! Workers and fork servers that die are replaced.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::Server;
use super::control::Controlled;
use crate::support::{Deadline, eventually};

#[test]
fn a_killed_worker_has_a_successor_at_once() {
    let server = Server::new("talk", "");
    for _ in 0..20 {
        let before = server.workers();
        let (victim, other) = (&before[0], &before[1]);

        victim.kill();

        let promised = Deadline::after(Duration::from_millis(100) * 5);
        eventually(promised, "there is a successor", || {
            let now = server.workers();
            now.len() == 2 && now.iter().any(|worker| worker.pid() == other.pid())
        });
        server.settle(2);
    }
}

#[test]
fn all_workers_killed_at_once_are_replaced_and_nobody_is_refused() {
    let server = Server::new("talk", "workers.count=4");
    for _ in 0..5 {
        let workers = server.workers();
        workers
            .iter()
            .for_each(|worker| worker.signal(Signal::KILL));

        let mut clients = server.clients(20);

        for client in &mut clients {
            let pid = client.worker();
            assert!(workers.iter().all(|worker| worker.pid() != pid));
        }
        drop(clients);
        server.settle(4);
    }
}

#[test]
fn how_each_worker_ended_is_logged_exactly() {
    let server = Server::new("talk", "");
    for (number, (signal, name)) in [
        (Signal::KILL, "signal: 9 (SIGKILL)"),
        (Signal::USR1, "signal: 10 (SIGUSR1)"),
    ]
    .into_iter()
    .enumerate()
    {
        for round in 0..2 {
            if round == 1 {
                server.fork_server().kill();
            }
            let worker = server.workers().remove(0);
            worker.signal(signal);
            let line = format!("pid={}", worker.pid());
            eventually(Deadline::usual(), "its end is logged", || {
                let errors = server.errors();
                let mut lines = errors.lines();
                lines.any(|log| log.contains(&line) && log.contains(name))
            });
            server.settle(2);
        }
        let errors = server.errors();
        let deaths = errors.matches("a worker ended with").count();
        assert_eq!(deaths, 2 * (number + 1), "{errors}");
    }
}

#[test]
fn the_service_goes_on_without_its_fork_server() {
    let mut server = Server::new("talk", "");
    let mut client = server.client();
    let worker = client.worker();
    for _ in 0..5 {
        let dead = server.fork_server();
        dead.kill();

        assert_eq!(client.worker(), worker);
        assert_eq!(server.client().ask("on"), "ON");
        let has_another = || server.fork_server().pid() != dead.pid();
        eventually(Deadline::usual(), "there is another", has_another);
    }
    drop(client);
    server.worker(0).kill();
    server.settle(2);
    assert_eq!(server.client().ask("on"), "ON");
    server.end();
}

#[test]
fn a_worker_whose_fork_server_was_killed_before_it_answered_is_asked_for_again() {
    for dispatch in ["round-robin", "direct"] {
        let settings = format!("workers.count=1 server.dispatch={dispatch}");
        let controlled = Controlled::new("talk", &settings);
        let (mut voice, mut events) = (controlled.voice(), controlled.events());
        let mut client = controlled.server.client();
        client.worker();
        let fork_server = controlled.ask_for_successor(&mut voice);

        fork_server.kill();

        let given_up = events.event("worker-exited");
        assert_eq!(given_up["pid"], Value::Null, "{given_up}");
        events.event("worker-ready");
        assert_eq!(client.ask("on"), "ON");
        client.close();
        controlled.server.settle(1);
        assert_eq!(controlled.server.client().ask("on"), "ON");
    }
}

#[test]
fn a_worker_and_the_fork_server_killed_at_once_are_both_replaced() {
    let mut server = Server::new("talk", "");
    for round in 0..10 {
        let worker = server.workers().remove(0);
        let fork_server = server.fork_server();
        let (first, second) = match round % 2 {
            0 => (&worker, &fork_server),
            _ => (&fork_server, &worker),
        };
        first.signal(Signal::KILL);
        second.signal(Signal::KILL);

        assert_eq!(server.client().ask("on"), "ON");
        server.settle(2);
    }
    server.end();
}

#[test]
fn the_workers_of_an_old_fork_server_end_with_the_server() {
    for _ in 0..5 {
        let mut server = Server::new("talk", "");
        server.fork_server().kill();
        assert_eq!(server.client().ask("on"), "ON");

        server.end();

        assert!(server.everything().is_empty());
    }
}
