//! Clients that say nothing occupy nobody, where their first bytes are waited for.

use rustix::process::Signal;

use super::Server;
use super::client::Heard;
use crate::support::{Deadline, eventually};

/// More than all workers together could have.
const SILENT: usize = 1_000;

#[test]
fn a_thousand_clients_that_send_nothing_occupy_no_worker() {
    let settings = "server.wait_for_data=true workers.count=1 workers.max_concurrency=2";
    let mut server = Server::new("talk", settings);
    let before = server.worker(0).descriptors().len();
    let mut silent = server.clients(SILENT);

    let mut speaker = server.client();

    assert_eq!(speaker.ask("hello"), "HELLO");
    assert!(server.worker(0).descriptors().len() <= before + 2);
    speaker.close();
    for client in &mut silent {
        assert_eq!(client.ask("at last"), "AT LAST");
        client.close();
    }
    assert_eq!(server.errors(), "");
    server.end();
}

#[test]
fn a_blocking_worker_is_not_kept_by_a_client_that_sends_nothing() {
    let settings = "server.wait_for_data=true workers.count=1";
    let server = Server::new("blocking", settings);
    let mut silent = server.clients(3);

    assert_eq!(server.client().ask("hello"), "HELLO");

    assert_eq!(silent[1].ask("at last"), "AT LAST");
}

#[test]
fn who_stays_silent_is_closed_after_a_while_and_who_speaks_is_not() {
    let settings = "server.wait_for_data=true server.first_byte_timeout=200ms";
    let server = Server::new("talk", settings);
    let mut speaker = server.client();
    assert_eq!(speaker.ask("hello"), "HELLO");
    let mut silent = server.client();

    assert_eq!(silent.hear(), Heard::End);

    assert_eq!(speaker.ask("still here"), "STILL HERE");
}

#[test]
fn a_client_that_ends_without_a_word_is_served_as_ever() {
    let server = Server::new("talk", "server.wait_for_data=true");
    let mut client = server.client();

    client.hang_up();

    assert_eq!(client.hear(), Heard::End);
}

#[test]
fn only_those_who_speak_are_turned_away() {
    let settings = "server.wait_for_data=true server.overload=reject server.queue_length=0 \
                    workers.count=1 workers.max_concurrency=1";
    let server = Server::new("talk", settings);
    let mut busy = server.client();
    assert_eq!(busy.ask("hello"), "HELLO");
    let mut silent = server.clients(20);

    let refused = silent[0].ask("me, too");

    assert_eq!(refused, "server is busy");
    assert!(silent[1..].iter().all(|client| client.hears_nothing()));
    busy.hang_up();
    assert_eq!(busy.hear(), Heard::End);
    assert_eq!(silent[1].ask("and now"), "AND NOW");
}

#[test]
fn silent_clients_count_among_the_connections_that_there_may_be() {
    let settings = "server.wait_for_data=true server.overload=reject server.queue_length=0 \
                    server.max_connections=3";
    let server = Server::new("talk", settings);
    let mut silent = server.clients(3);

    assert_eq!(server.client().line(), "server is busy");

    assert_eq!(silent[0].ask("hello"), "HELLO");
    silent[1].hang_up();
    assert_eq!(silent[1].hear(), Heard::End);
    let has_room = || server.client().ask("now") == "NOW";
    eventually(Deadline::usual(), "there is room again", has_room);
}

#[test]
fn a_server_that_stops_closes_silent_clients_at_once() {
    let mut server = Server::new("talk", "server.wait_for_data=true");
    let mut silent = server.clients(10);
    let mut speaker = server.client();
    assert_eq!(speaker.ask("hello"), "HELLO");

    server.process().signal(Signal::TERM);

    assert!(silent.iter_mut().all(|client| client.hear() == Heard::End));
    assert_eq!(speaker.ask("last words"), "LAST WORDS");
    speaker.close();
    assert_eq!(server.wait().code(), Some(0), "{}", server.errors());
}
