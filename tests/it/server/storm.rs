//! Workers are killed at random while connections come and go.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::client::{Client, Heard};
use super::{Server, server};
use crate::support::{Deadline, eventually};

/// How many clients there are at once.
const CLIENTS: usize = 8;

/// The time between two kills: long enough that no connection meets three of them.
const PACE: Duration = Duration::from_millis(100);

/// What became of the requests of a storm.
#[derive(Debug, Default)]
struct Outcome {
    answered: AtomicUsize,
    /// Ended after a handler had read the request.
    lost_in_hand: AtomicUsize,
    /// Ended before that.
    lost_unread: AtomicUsize,
    silent: AtomicUsize,
}

impl Outcome {
    /// Makes one request over a connection of its own, and notes what came of it.
    fn visit(&self, address: &str) {
        let Ok(mut client) = Client::try_connect(address) else {
            self.lost_unread.fetch_add(1, Ordering::Relaxed);
            return;
        };
        client.say("who");
        let count = match client.try_hear() {
            Some(Heard::Line(_)) => &self.answered,
            // The kernel resets a connection that ends with something unread.
            Some(Heard::End) => &self.lost_in_hand,
            Some(Heard::Reset) => &self.lost_unread,
            None => &self.silent,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lets clients come and go for so long while workers are killed.
fn storm(server: &Server, duration: Duration) -> Outcome {
    let outcome = Outcome::default();
    let is_over = AtomicBool::new(false);
    let end = Deadline::after(duration);
    thread::scope(|threads| {
        for number in 0..CLIENTS {
            let address = &server.addresses[number % server.addresses.len()];
            let (outcome, is_over) = (&outcome, &is_over);
            threads.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    outcome.visit(address);
                }
            });
        }
        let mut number = 0;
        while !end.has_passed() {
            let workers = server.workers();
            if let Some(worker) = workers.get(number * 7 % workers.len().max(1)) {
                worker.signal(Signal::KILL);
            }
            number += 1;
            let next = Deadline::after(PACE);
            eventually(Deadline::usual(), "time passes", || next.has_passed());
        }
        is_over.store(true, Ordering::Relaxed);
    });
    outcome
}

/// Adds up a number that the log has for each worker that died.
pub(super) fn sum_of(errors: &str, name: &str) -> usize {
    let values = errors.split_ascii_whitespace();
    let values = values.filter_map(|word| word.strip_prefix(name)?.parse::<usize>().ok());
    values.sum()
}

#[track_caller]
fn assert_nothing_is_lost(settings: &str) {
    let mut server = Server::start(&server("talk", settings));
    let count = server.workers.len();
    let open_before = server.process().descriptors().len();

    let outcome = storm(&server, Duration::from_secs(3));

    let lost = outcome.lost_in_hand.load(Ordering::Relaxed);
    assert!(outcome.answered.load(Ordering::Relaxed) > 0, "{outcome:?}");
    let unexplained = [&outcome.lost_unread, &outcome.silent];
    let unexplained = unexplained.map(|count| count.load(Ordering::Relaxed));
    assert_eq!(unexplained, [0, 0], "{outcome:?}\n{}", server.errors());
    server.settle(count);
    let in_hand = sum_of(&server.errors(), "in_hand=");
    assert!(lost <= in_hand, "{lost} were lost, {in_hand} were in hand");
    assert_eq!(server.client().ask("on"), "ON");
    let is_tidy = || server.process().descriptors().len() == open_before;
    eventually(Deadline::usual(), "main has closed what it opened", is_tidy);
    server.end();
}

#[test]
fn only_what_a_handler_had_read_is_lost_when_workers_are_killed() {
    assert_nothing_is_lost("workers.count=4");
}

#[test]
fn only_what_a_handler_had_read_is_lost_when_workers_have_little_room() {
    assert_nothing_is_lost("workers.count=2 workers.max_concurrency=2 server.dispatch=round-robin");
}

#[test]
fn two_thousand_connections_leave_no_descriptor_in_main_or_workers() {
    let mut server = Server::new("talk", "");
    let everything = server.everything();
    let open = || -> Vec<usize> {
        let counts = everything.iter().map(|process| process.descriptors().len());
        counts.collect()
    };
    let before = open();

    for _ in 0..40 {
        let mut clients = server.clients(50);
        clients.iter_mut().skip(25).for_each(|client| {
            client.worker();
        });
    }

    eventually(Deadline::usual(), "all is closed again", || {
        open() == before
    });
    assert_eq!(server.errors(), "");
    server.end();
}
