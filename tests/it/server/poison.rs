//! Connections that workers die of are found, and refused with those like them.

use super::Server;
use super::client::{Client, Heard};
use super::control::Controlled;
use crate::support::{Deadline, eventually};

/// How many crashes there were.
fn crashes(server: &Server) -> usize {
    server
        .errors()
        .matches("a worker ended with signal: 6")
        .count()
}

/// Has a worker crash, and waits until that is known and there is another.
fn crash(server: &Server, mut client: Client) {
    let before = crashes(server);
    client.say("abort");
    assert!(matches!(client.hear(), Heard::End | Heard::Reset));
    eventually(Deadline::usual(), "the crash is known", || {
        crashes(server) > before
    });
    server.settle(2);
}

#[test]
fn what_workers_died_of_three_times_is_refused_and_nothing_else() {
    let controlled = Controlled::new("talk", "");
    let server = &controlled.server;
    let mut events = controlled.voice();
    events.ask(r#"{"v":1,"do":"events"}"#);

    // The first has the server look at what comes from there.
    (0..4).for_each(|_| crash(server, server.client()));

    let poisoned = events.event("poisoned");
    assert_eq!(
        (&poisoned["peer"], &poisoned["deaths"]),
        (&"127.0.0.1".into(), &3.into())
    );
    let mut deadly = server.client();
    deadly.say("abort");
    assert!(matches!(deadly.hear(), Heard::End | Heard::Reset));
    assert_eq!(server.client().ask("on"), "ON");
    server.settle(2);
    assert_eq!(crashes(server), 4);
    assert!(
        server
            .errors()
            .contains("refused: workers have died of connections like it")
    );
    crash(
        server,
        Client::connect_from([127, 0, 0, 2], &server.addresses[0]),
    );
}

#[test]
fn what_was_in_hand_by_chance_is_acquitted_when_its_like_ends_well() {
    let server = Server::new("talk", "");

    for _ in 0..4 {
        let mut bystanders = server.clients(4);
        bystanders.iter_mut().for_each(|client| {
            client.worker();
        });
        crash(&server, server.client());
        let mut well = server.client();
        well.worker();
        well.close();
    }

    let log = server.errors();
    assert_eq!(
        log.matches("workers die of a connection").count(),
        1,
        "{log}"
    );
    for mut client in server.clients(8) {
        client.worker();
    }
}

#[test]
fn whoever_says_nothing_is_served_a_little_later_where_somebody_is_suspected() {
    let server = Server::new("talk", "");
    crash(&server, server.client());
    let mut silent = server.client();

    silent.hang_up();

    assert_eq!(silent.hear(), Heard::End);
}
