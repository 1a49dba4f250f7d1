//! Workers that accept for themselves.

use std::collections::BTreeSet;

use rustix::process::Signal;

use super::Server;
use super::client::{Client, Heard};
use crate::support::{Deadline, Process, eventually};

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

/// Lists the first workers that live, but one.
fn others(server: &Server, victim: i32) -> Vec<Process> {
    let others = server.workers.iter().filter(|&&pid| pid != victim);
    others.filter_map(|&pid| Process::find(pid)).collect()
}

#[test]
fn a_handler_past_its_hard_deadline_costs_its_own_worker_and_no_other() {
    for command in ["stay", "spin"] {
        let settings = "server.dispatch=direct workers.hard_deadline=600ms";
        let mut server = Server::new("talk", settings);
        let mut held = server.client();
        let about = held.about();
        held.ask(command);

        let victim = Process::find(about.worker).unwrap();
        assert!(victim.ends_by(Deadline::usual()), "{command}");

        assert_eq!(held.hear(), Heard::End);
        assert!(others(&server, about.worker).iter().all(Process::is_alive));
        server.settle(2);
        assert_eq!(server.client().ask("on"), "ON");
        let errors = server.errors();
        let said = format!("pid={} connection={}", about.worker, about.id);
        let lines = errors.lines();
        let told: Vec<_> = lines
            .filter(|line| line.contains("past its hard deadline, and its worker"))
            .collect();
        assert!(told.len() == 1 && told[0].contains(&said), "{errors}");
        server.end();
    }
}

#[test]
fn a_soft_deadline_is_told_and_a_handler_that_is_done_in_time_is_left_alone() {
    let settings = "server.dispatch=direct workers.soft_deadline=300ms workers.hard_deadline=10s";
    let mut server = Server::new("talk soft", settings);
    let mut quick = server.client();
    quick.close();
    let mut late = server.client();
    let about = late.about();
    late.ask("stay");

    let told = server.line_of("soft");

    assert!(told.starts_with(&format!("{} ", about.id)), "{told}");
    let errors = server.errors();
    assert_eq!(
        errors.matches("past its soft deadline").count(),
        1,
        "{errors}"
    );
    assert!(Process::find(about.worker).unwrap().is_alive());
}

#[test]
fn a_worker_whose_loop_stands_still_is_killed_and_what_waits_for_it_is_served_by_others() {
    let settings = "server.dispatch=direct workers.stall_timeout=500ms";
    let mut server = Server::new("talk", settings);
    let mut keeper = server.client();
    let victim = keeper.worker();
    keeper.ask("spin");

    // The kernel does not know that the worker stands still: some of these wait in its queue.
    let mut clients = server.clients(40);

    for client in &mut clients {
        assert_ne!(client.worker(), victim);
    }
    assert_eq!(keeper.hear(), Heard::End);
    let errors = server.errors();
    let told = format!("and it is killed; it runs worker=0 pid={victim}");
    let told = [told.clone(), told.replace("worker=0", "worker=1")];
    assert!(told.iter().any(|it| errors.contains(it)), "{errors}");
    assert!(others(&server, victim).iter().all(Process::is_alive));
    server.settle(2);
    drop((clients, keeper));
    server.end();
}
