//! What was not yet used outlives the worker that had it.

use rustix::process::Signal;

use super::Server;
use super::client::{Client, Heard};
use crate::support::{Deadline, Process, eventually};

/// How many workers may die with a connection.
const DEATHS_MAX: usize = 3;

/// Waits until the front end has no copy of any connection, so that all are with the workers.
#[track_caller]
fn wait_until_used(server: &Server, sockets_before: usize) {
    eventually(Deadline::usual(), "every lease has ended", || {
        sockets(server.process()) == sockets_before
    });
}

fn sockets(process: &Process) -> usize {
    let descriptors = process.descriptors();
    let names = descriptors.values().map(|path| path.to_string_lossy());
    names.filter(|name| name.starts_with("socket:")).count()
}

/// Waits until the workers have so many connections more than they had.
#[track_caller]
fn wait_until_taken(workers: &[Process], sockets_before: usize, connections: usize) {
    eventually(Deadline::usual(), "the workers have them all", || {
        workers.iter().map(sockets).sum::<usize>() == sockets_before + connections
    });
}

#[test]
fn silent_connections_of_a_killed_worker_are_served_by_another() {
    let server = Server::new("talk", "");
    let workers = [server.worker(0), server.worker(1)];
    let sockets_before = workers.iter().map(sockets).sum();
    let mut clients = server.clients(100);
    wait_until_taken(&workers, sockets_before, clients.len());

    workers[0].kill();

    for client in &mut clients {
        assert_ne!(client.worker(), workers[0].pid());
    }
}

#[test]
fn silent_connections_outlive_all_workers_killed_at_once() {
    let server = Server::new("talk", "workers.count=4");
    let workers = [0, 1, 2, 3].map(|seat| server.worker(seat));
    let sockets_before = workers.iter().map(sockets).sum();
    let mut clients = server.clients(40);
    wait_until_taken(&workers, sockets_before, clients.len());

    workers
        .iter()
        .for_each(|worker| worker.signal(Signal::KILL));

    for client in &mut clients {
        assert!(!server.workers.contains(&client.worker()));
    }
}

#[test]
fn what_workers_were_sent_while_they_died_is_served_by_their_successors() {
    let server = Server::new("talk", "workers.count=4");
    let workers = [0, 1, 2, 3].map(|seat| server.worker(seat));
    workers
        .iter()
        .for_each(|worker| worker.signal(Signal::STOP));
    let mut clients = server.clients(40);
    clients.iter().for_each(|client| client.say("who"));

    workers
        .iter()
        .for_each(|worker| worker.signal(Signal::KILL));

    for client in &mut clients {
        assert!(!server.workers.contains(&client.hear_about().worker));
    }
}

#[test]
fn only_connections_that_were_read_end_with_their_worker() {
    let server = Server::new("talk", "");
    let mut used = server.clients(20);
    let workers: Vec<i32> = used.iter_mut().map(Client::worker).collect();
    let mut silent = server.clients(20);
    let victim = server.worker(0);

    victim.kill();

    for (client, &worker) in used.iter_mut().zip(&workers) {
        if worker == victim.pid() {
            assert_eq!(client.hear(), Heard::End);
        } else {
            assert_eq!(client.worker(), worker);
        }
    }
    assert_eq!(
        workers.iter().filter(|&&pid| pid == victim.pid()).count(),
        10
    );
    for client in &mut silent {
        assert_ne!(client.worker(), victim.pid());
    }
}

#[test]
fn what_a_stopped_worker_was_sent_is_served_once_it_is_killed() {
    let server = Server::new("talk", "");
    let victim = server.worker(0);
    victim.signal(Signal::STOP);
    let mut clients = server.clients(40);
    for client in &clients {
        client.say("who");
    }

    victim.kill();

    for client in &mut clients {
        assert_ne!(client.hear_about().worker, victim.pid());
    }
}

#[test]
fn a_stopped_worker_holds_up_no_more_than_its_window() {
    let server = Server::new("talk", "");
    let victim = server.worker(0);
    victim.signal(Signal::STOP);
    let mut clients = server.clients(200);
    for client in &clients {
        client.say("who");
    }
    let other = server.worker(1).pid();
    let is_served = |client: &&mut Client| !client.hears_nothing();

    eventually(
        Deadline::usual(),
        "the other worker serves the rest",
        || clients.iter_mut().filter(is_served).count() >= 200 - 32,
    );
    victim.signal(Signal::CONT);

    let served_by: Vec<i32> = clients
        .iter_mut()
        .map(|client| client.hear_about().worker)
        .collect();
    assert!(served_by.contains(&victim.pid()) && served_by.contains(&other));
}

#[test]
fn a_connection_that_kills_its_workers_is_closed_after_the_third() {
    let mut server = Server::new("fragile", "server.bind=127.0.0.1:0,127.0.0.1:0");
    let mut deadly = Client::connect(&server.addresses[1]);

    let ending = deadly.hear();

    // A client that had sent nothing sees an end, and one that had a reset.
    assert_eq!(ending, Heard::End);
    let deaths = |errors: &str| errors.matches("signal: 6").count();
    eventually(Deadline::usual(), "three deaths are reported", || {
        deaths(&server.errors()) == DEATHS_MAX
    });
    assert!(server.errors().contains("closed: 3 workers died with it"));
    server.settle(2);
    assert_eq!(server.client().ask("still here"), "STILL HERE");
    assert_eq!(deaths(&server.errors()), DEATHS_MAX);
    server.end();
}

#[test]
fn a_silent_connection_outlives_any_number_of_workers_killed_from_outside() {
    for signal in [Signal::KILL, Signal::TERM] {
        let mut server = Server::new("talk", "workers.count=1");
        let sockets_before = sockets(&server.worker(0));
        let mut silent = server.client();

        for _ in 0..=DEATHS_MAX {
            let workers = server.workers();
            wait_until_taken(&workers, sockets_before, 1);
            workers[0].signal(signal);
            assert!(workers[0].ends_by(Deadline::usual()));
            server.settle(1);
        }

        assert_eq!(silent.ask("still here"), "STILL HERE", "{signal:?}");
        silent.close();
        server.end();
    }
}

#[test]
fn a_lease_ends_when_the_handler_reads() {
    let server = Server::new("talk", "");
    let before = sockets(server.process());
    let mut clients = server.clients(20);
    for client in &mut clients {
        client.worker();
    }

    wait_until_used(&server, before);

    assert!(clients.iter_mut().all(|client| client.ask("on") == "ON"));
}

#[test]
fn a_client_hears_the_end_when_its_handler_ends_though_it_never_spoke() {
    let server = Server::new("talk", "");
    let mut client = server.client();

    client.hang_up();

    assert_eq!(client.hear(), Heard::End);
}
