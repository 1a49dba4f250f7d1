//! What becomes of connections that nobody has room for.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::client::{Client, Heard};
use super::{Server, server};
use crate::support::{Deadline, eventually};

/// Lets this process have as many clients as it may.
fn raise_descriptor_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
    raised.expect("the soft limit may be raised to the hard one");
}

/// Connects so many clients and waits until each is served.
#[track_caller]
fn held(server: &Server, count: usize) -> Vec<Client> {
    let mut clients = server.clients(count);
    for client in &mut clients {
        assert_eq!(client.ask("on"), "ON");
    }
    clients
}

/// Waits as long as something that must not happen would take.
fn let_time_pass() {
    let end = Deadline::after(Duration::from_millis(100));
    eventually(Deadline::usual(), "time passes", || end.has_passed());
}

#[test]
fn who_finds_no_room_waits_until_a_connection_ends() {
    for settings in ["workers.max_concurrency=2", "server.max_connections=4"] {
        let server = Server::new("talk", settings);
        let mut clients = held(&server, 4);
        let mut waiting = server.clients(20);
        waiting.iter().for_each(|client| client.say("me too"));
        let_time_pass();
        assert!(waiting.iter().all(Client::hears_nothing), "{settings}");

        while let Some(client) = clients.pop() {
            drop(client);
            if waiting.is_empty() {
                continue;
            }
            let mut served = waiting.remove(0);
            assert_eq!(served.line(), "ME TOO", "{settings}");
            clients.push(served);
        }
    }
}

#[test]
fn a_thousand_clients_make_no_more_processes_than_configured() {
    raise_descriptor_limit();
    let server = Server::new("talk", "workers.count=3");
    let clients = held(&server, 1000);

    let count = server.everything().len();

    assert_eq!(count, 5, "main, fork server, three workers");
    drop(clients);
    server.settle(3);
}

#[test]
fn who_is_rejected_gets_the_message_and_the_end() {
    let settings = "workers.max_concurrency=1 server.overload=reject server.queue_length=0";
    let server = Server::start(
        server("talk", settings).env("HATCHERY_SERVER_REJECT_MESSAGE", "no room,\ngo away\n"),
    );
    let mut clients = held(&server, 2);

    for speaks_first in [false, true].repeat(20) {
        let mut rejected = server.client();
        if speaks_first {
            rejected.say("I have sent something already");
        }
        assert_eq!(rejected.line(), "no room,");
        assert_eq!(rejected.line(), "go away");
        assert_eq!(rejected.hear(), Heard::End);
    }

    assert!(clients.iter_mut().all(|client| client.ask("on") == "ON"));
    drop(clients);
    eventually(Deadline::usual(), "there is room again", || {
        server.client().ask("back") == "BACK"
    });
}

#[test]
fn who_is_reset_sees_a_reset() {
    let settings = "workers.max_concurrency=1 server.overload=reset server.queue_length=0";
    let server = Server::new("talk", settings);
    let mut clients = held(&server, 2);

    for _ in 0..20 {
        assert_eq!(server.client().hear(), Heard::Reset);
    }

    assert!(clients.iter_mut().all(|client| client.ask("on") == "ON"));
}

#[test]
fn so_many_wait_in_the_queue_and_the_next_is_rejected() {
    let settings = "workers.count=1 workers.max_concurrency=1 server.overload=reject \
                    server.queue_length=3 server.queue_timeout=1h";
    let server = Server::new("talk", settings);
    let first = held(&server, 1);
    let mut waiting = server.clients(3);
    waiting.iter().for_each(|client| client.say("next"));

    let mut rejected = server.client();

    assert_eq!(rejected.line(), "server is busy");
    assert_eq!(rejected.hear(), Heard::End);
    assert!(waiting.iter().all(Client::hears_nothing));
    drop(first);
    for mut client in waiting.drain(..) {
        assert_eq!(client.line(), "NEXT");
    }
}

#[test]
fn who_waits_too_long_in_the_queue_is_rejected() {
    let settings = "workers.count=1 workers.max_concurrency=1 server.overload=reject \
                    server.queue_length=3 server.queue_timeout=200ms";
    let server = Server::new("talk", settings);
    let mut served = held(&server, 1);
    let mut waiting = server.clients(3);

    for client in &mut waiting {
        assert_eq!(client.line(), "server is busy");
        assert_eq!(client.hear(), Heard::End);
    }

    assert_eq!(served[0].ask("on"), "ON");
}
