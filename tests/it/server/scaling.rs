//! More workers and fewer, while clients come and stay.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::Signal;

use super::Server;
use super::client::{Client, Heard};
use super::control::Controlled;
use crate::support::{Deadline, eventually};

/// Connects, asks and hangs up until told to stop, and checks that all of it goes well.
pub(super) fn churn(address: &str, is_over: &AtomicBool) -> u32 {
    let mut visits = 0;
    while !is_over.load(Ordering::Relaxed) {
        let mut client = Client::connect(address);
        assert_eq!(client.ask("on"), "ON");
        client.hang_up();
        assert_eq!(client.hear(), Heard::End);
        visits += 1;
    }
    visits
}

/// Asks over one connection until told to stop; one that its worker has to end is opened again.
pub(super) fn persist(address: &str, is_over: &AtomicBool) -> u32 {
    let mut requests = 0;
    let mut client = Client::connect(address);
    while !is_over.load(Ordering::Relaxed) {
        assert_eq!(client.ask("on"), "ON");
        requests += 1;
        if requests % 50 == 0 {
            client.hang_up();
            assert_eq!(client.hear(), Heard::End);
            client = Client::connect(address);
        }
    }
    requests
}

/// Runs `act` while clients of both kinds are served, none of whom may notice.
#[track_caller]
pub(super) fn under_load(address: &str, act: impl FnOnce()) {
    let is_over = AtomicBool::new(false);
    thread::scope(|threads| {
        let is_over = &is_over;
        let clients: [fn(&str, &AtomicBool) -> u32; 4] = [churn, churn, persist, persist];
        let clients = clients.map(|client| threads.spawn(move || client(address, is_over)));
        let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        is_over.store(true, Ordering::Relaxed);
        for client in clients {
            assert!(client.join().expect("a client noticed") > 0);
        }
        acted.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

#[test]
fn a_server_grows_and_shrinks_under_load_and_nobody_notices() {
    let mut controlled = Controlled::new("talk", "workers.count=1");
    let address = controlled.server.addresses[0].clone();

    under_load(&address, || {
        for count in [8, 2, 8, 1, 2] {
            controlled.ask(&format!(r#"{{"v":1,"do":"scale","workers":{count}}}"#));
            controlled.server.settle(count);
        }
    });

    assert_eq!(controlled.server.errors(), "");
    controlled.server.end();
}

#[test]
fn workers_are_recycled_under_load_and_nobody_notices() {
    let mut controlled = Controlled::new("talk", "workers.count=2 workers.max_unavailable=2");
    let address = controlled.server.addresses[0].clone();
    let started = || {
        let status = controlled.ask(r#"{"v":1,"do":"status"}"#);
        status["started"].as_u64().unwrap()
    };

    under_load(&address, || {
        for round in 1..=20 {
            controlled.ask(r#"{"v":1,"do":"recycle"}"#);
            eventually(Deadline::usual(), "both are replaced", || {
                started() >= 2 * (round + 1)
            });
            controlled.server.settle(2);
        }
    });

    assert_eq!(controlled.server.errors(), "");
    controlled.server.end();
}

#[test]
fn signals_give_a_worker_more_or_fewer_and_never_none() {
    let mut server = Server::new("talk", "workers.count=1");

    server.process().signal(Signal::TTIN);
    server.settle(2);
    server.process().signal(Signal::TTIN);
    server.settle(3);
    server.process().signal(Signal::TTOU);
    server.settle(2);
    server.process().signal(Signal::TTOU);
    server.settle(1);
    server.process().signal(Signal::TTOU);

    let complaint = "there cannot be 0 workers; allowed: 1 to 1024";
    eventually(Deadline::usual(), "it says why not", || {
        server.errors().contains(complaint)
    });
    assert_eq!(server.client().ask("on"), "ON");
    server.end();
}

#[test]
fn workers_that_accept_for_themselves_are_not_scaled() {
    let controlled = Controlled::new("talk", "server.dispatch=direct");

    let answer = controlled
        .voice()
        .say(r#"{"v":1,"do":"scale","workers":3}"#);

    assert_eq!(answer["error"]["kind"], "direct", "{answer}");
}
