//! What handlers do, and what they are given.

use super::Server;
use super::client::{Client, Heard};
use crate::support::{Deadline, eventually};

/// Waits for a line of the log that has all of these words.
#[track_caller]
fn wait_for_log(server: &Server, words: &[&str]) {
    let has_all = |line: &str| words.iter().all(|word| line.contains(word));
    eventually(
        Deadline::usual(),
        &format!("a log line with {words:?}"),
        || server.errors().lines().any(has_all),
    );
}

#[test]
fn a_handler_that_fails_ends_its_own_connection_alone_and_is_logged() {
    for body in ["talk", "blocking"] {
        for (command, level) in [("fail", "WARN"), ("panic", "ERROR")] {
            let mut server = Server::new(body, "workers.count=1 workers.max_concurrency=8");
            let mut others = if body == "talk" {
                server.clients(3)
            } else {
                Vec::new()
            };
            let workers: Vec<i32> = others.iter_mut().map(Client::worker).collect();
            let mut client = server.client();
            let about = client.about();

            client.say(&format!("{command} of my own making"));

            assert_eq!(client.hear(), Heard::End, "{body} {command}");
            let id = format!("connection={}", about.id);
            let peer = format!("peer={}", about.peer);
            wait_for_log(&server, &[level, &id, &peer, "the handler"]);
            assert!(server.errors().contains("of my own making"));
            let still: Vec<i32> = others.iter_mut().map(Client::worker).collect();
            assert_eq!(still, workers);
            assert_eq!(server.client().worker(), about.worker, "it lives on");
            drop(others);
            server.end();
        }
    }
}

#[test]
fn a_handler_that_ends_its_process_costs_that_worker_alone() {
    let server = Server::new("talk", "");
    let mut clients = server.clients(10);
    let workers: Vec<i32> = clients.iter_mut().map(Client::worker).collect();

    clients[0].say("abort");

    assert_eq!(clients[0].hear(), Heard::End);
    for (client, worker) in clients.iter_mut().zip(&workers).skip(1) {
        if *worker != workers[0] {
            assert_eq!(client.worker(), *worker);
        }
    }
    server.settle(2);
}

#[test]
fn the_state_reaches_every_worker_and_their_successors() {
    let server = Server::new("talk state=spelt", "workers.count=3");
    let mut clients = server.clients(30);
    assert!(
        clients
            .iter_mut()
            .all(|client| client.ask("state") == "spelt")
    );

    for seat in 0..3 {
        server.worker(seat).kill();
    }

    let mut clients = server.clients(30);
    assert!(
        clients
            .iter_mut()
            .all(|client| client.ask("state") == "spelt")
    );
}

#[test]
fn a_handler_that_asks_for_a_state_that_was_not_given_panics_and_is_logged() {
    let server = Server::new("talk", "");
    let mut client = server.client();

    client.say("state");

    assert_eq!(client.hear(), Heard::End);
    wait_for_log(&server, &["ERROR", "connection=1", "the handler panicked"]);
}

#[test]
fn what_was_preloaded_is_shared_and_made_again_by_a_new_fork_server() {
    let server = Server::new("talk egg", "");
    let first = server.fork_server();
    let mut clients = server.clients(10);
    let laid = format!("laid by {}", first.pid());
    assert!(clients.iter_mut().all(|client| client.ask("egg") == laid));

    first.kill();
    let second = server.fork_server();
    for seat in 0..2 {
        server.worker(seat).kill();
    }

    assert_ne!(second.pid(), first.pid());
    let mut clients = server.clients(10);
    let laid = format!("laid by {}", second.pid());
    assert!(clients.iter_mut().all(|client| client.ask("egg") == laid));
}

#[test]
fn a_body_of_ones_own_is_told_who_it_is_and_when_to_end() {
    let mut server = Server::new("run", "workers.count=3");
    let mut clients = server.clients(9);
    let mut welcomes: Vec<String> = clients.iter_mut().map(Client::line).collect();

    server.process().signal(rustix::process::Signal::TERM);

    for client in &mut clients {
        assert_eq!(client.line(), "goodbye");
        assert_eq!(client.hear(), Heard::End);
    }
    welcomes.sort_unstable();
    welcomes.dedup();
    let expected = [0, 1, 2].map(|id| format!("worker {id} generation {id}"));
    assert_eq!(welcomes, expected);
    assert_eq!(server.wait().code(), Some(0), "{}", server.errors());
}

#[test]
fn a_successor_has_the_number_of_the_worker_before_it_and_a_later_generation() {
    let server = Server::new("run", "workers.count=1");
    assert_eq!(server.client().line(), "worker 0 generation 0");

    server.worker(0).kill();

    assert_eq!(server.client().line(), "worker 0 generation 1");
}
