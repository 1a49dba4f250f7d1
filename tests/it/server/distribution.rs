//! Which worker gets which connection.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rustix::process::Signal;

use super::Server;
use super::client::Client;
use crate::support::{Deadline, eventually};

/// The sources of connections that are told apart by their address.
const SOURCES: u8 = 40;

/// Which worker each source gets now.
fn workers_by_source(server: &Server) -> BTreeMap<u8, i32> {
    let source = |last| Client::connect_from([127, 0, 0, last], &server.addresses[0]);
    (1..=SOURCES)
        .map(|last| (last, source(last).worker()))
        .collect()
}

#[test]
fn four_hundred_held_connections_stand_a_hundred_on_each_of_four_workers() {
    let server = Server::new("talk", "workers.count=4");
    let mut counts = BTreeMap::new();
    let mut clients = Vec::new();

    for count in 1..=400_usize {
        let mut client = server.client();
        *counts.entry(client.worker()).or_insert(0) += 1;
        clients.push(client);

        let most = counts.values().max().copied();
        assert_eq!(most, Some(count.div_ceil(4)), "{counts:?}");
    }

    let expected = server.workers.iter().map(|&pid| (pid, 100)).collect();
    assert_eq!(counts, expected);
}

#[test]
fn a_burst_after_a_silence_goes_to_the_worker_with_the_fewest() {
    let server = Server::new("talk", "");
    let mut clients = server.clients(40);
    let few = clients[0].worker();
    let mut left = 0;
    clients.retain_mut(|client| {
        let stays = client.worker() != few || left == 0;
        left += usize::from(client.worker() == few);
        stays
    });
    let many = clients.len() - 1;
    let silence = Deadline::after(Duration::from_millis(50));
    eventually(Deadline::usual(), "it was silent", || silence.has_passed());

    server.process().signal(Signal::STOP);
    let mut burst = server.clients(many - 1);
    server.process().signal(Signal::CONT);

    let workers: Vec<i32> = burst.iter_mut().map(Client::worker).collect();
    assert_eq!(workers, vec![few; many - 1], "{many} on the other");
}

#[test]
fn workers_take_turns_under_round_robin() {
    let server = Server::new("talk", "workers.count=3 server.dispatch=round-robin");

    let turns: Vec<i32> = (0..30).map(|_| server.client().worker()).collect();

    let first: BTreeSet<i32> = turns[..3].iter().copied().collect();
    assert_eq!(first.len(), 3);
    assert!(turns.chunks(3).all(|turn| turn == &turns[..3]), "{turns:?}");
}

#[test]
fn one_address_always_gets_the_same_worker_under_hash() {
    let server = Server::new("talk", "workers.count=4 server.dispatch=hash");

    let first = workers_by_source(&server);
    let second = workers_by_source(&server);

    assert_eq!(first, second);
    let used: BTreeSet<i32> = first.values().copied().collect();
    assert_eq!(used.len(), 4, "forty addresses reach every worker");
}

#[test]
fn only_the_peers_of_a_dead_worker_move_under_hash() {
    let server = Server::new("talk", "workers.count=4 server.dispatch=hash");
    let before = workers_by_source(&server);
    let victim = server.worker(1);

    victim.kill();
    let meanwhile = workers_by_source(&server);
    server.settle(4);

    for (source, worker) in before {
        if worker == victim.pid() {
            assert_ne!(meanwhile[&source], worker);
        } else {
            assert_eq!(meanwhile[&source], worker, "127.0.0.{source}");
        }
    }
}
