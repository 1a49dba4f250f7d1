//! Workers that accept for themselves.

use std::collections::BTreeSet;

use rustix::process::Signal;

use super::Server;
use super::client::{Client, Heard};
use crate::support::{Deadline, eventually};

#[test]
fn workers_that_accept_for_themselves_serve_every_kind_of_address() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let bind = format!(
        "server.bind=127.0.0.1:0,unix:{},127.0.0.1:0",
        path.display()
    );
    let mut server = Server::new("talk", &format!("{bind} server.dispatch=direct"));

    for listener in [0, 1, 2].repeat(10) {
        let mut client = Client::connect(&server.addresses[listener]);
        let about = client.about();
        assert_eq!(about.listener, listener);
        assert!(server.workers.contains(&about.worker));
        assert!(about.peer == "unix" || about.peer == client.address());
        client.hang_up();
        assert_eq!(client.hear(), Heard::End);
    }

    server.end();
}

#[test]
fn the_kernel_gives_every_worker_its_share() {
    let server = Server::new("talk", "workers.count=3 server.dispatch=direct");

    let mut clients = server.clients(90);

    let workers: BTreeSet<i32> = clients.iter_mut().map(Client::worker).collect();
    assert_eq!(workers.len(), 3);
}

#[test]
fn what_waits_for_a_killed_worker_is_served_by_its_successor() {
    for bind in ["127.0.0.1:0", "unix:@hatchery-direct-heir"] {
        let settings = format!("server.dispatch=direct server.bind={bind}");
        let server = Server::new("talk", &settings);
        let workers = server.workers();
        workers
            .iter()
            .for_each(|worker| worker.signal(Signal::STOP));
        let mut clients = server.clients(60);
        clients.iter().for_each(|client| client.say("who"));

        workers
            .iter()
            .for_each(|worker| worker.signal(Signal::KILL));

        for client in &mut clients {
            let pid = client.hear_about().worker;
            assert!(!server.workers.contains(&pid));
        }
        server.settle(2);
    }
}

#[test]
fn each_worker_has_no_more_than_its_share_and_the_rest_waits() {
    let settings = "workers.count=1 server.dispatch=direct server.max_connections=4";
    let server = Server::new("talk", settings);
    let mut served = server.clients(4);
    assert!(served.iter_mut().all(|client| client.ask("on") == "ON"));
    let mut waiting = server.clients(20);
    waiting.iter().for_each(|client| client.say("me too"));
    assert_eq!(served[3].ask("still"), "STILL");
    assert!(waiting.iter().all(Client::hears_nothing));

    while let Some(client) = served.pop() {
        drop(client);
        if !waiting.is_empty() {
            let mut next = waiting.remove(0);
            assert_eq!(next.line(), "ME TOO");
            served.push(next);
        }
    }
}

#[test]
fn what_is_in_hand_or_in_the_kernel_is_served_when_the_server_is_told_to_end() {
    for bind in ["127.0.0.1:0", "unix:@hatchery-direct-end"] {
        let settings = format!("server.dispatch=direct server.bind={bind}");
        let mut server = Server::new("talk", &settings);
        let mut clients = server.clients(8);
        assert!(clients.iter_mut().all(|client| client.ask("on") == "ON"));
        let workers = server.workers();
        workers
            .iter()
            .for_each(|worker| worker.signal(Signal::STOP));
        let mut late = server.clients(60);
        late.iter().for_each(|client| client.say("late"));

        server.process().signal(Signal::TERM);
        workers
            .iter()
            .for_each(|worker| worker.signal(Signal::CONT));

        assert!(late.iter_mut().all(|client| client.line() == "LATE"));
        assert!(clients.iter_mut().all(|client| client.ask("on") == "ON"));
        drop((clients, late));
        assert_eq!(server.wait().code(), Some(0), "{}", server.errors());
    }
}

#[test]
fn a_worker_that_has_served_enough_is_replaced() {
    let settings = "server.dispatch=direct workers.max_connections=20 workers.count=1";
    let mut server = Server::new("talk", settings);
    let mut workers = BTreeSet::new();

    eventually(Deadline::usual(), "a successor serves", || {
        let mut client = server.client();
        workers.insert(client.worker());
        client.hang_up();
        assert_eq!(client.hear(), Heard::End);
        workers.len() > 1
    });

    server.settle(1);
    server.end();
}
