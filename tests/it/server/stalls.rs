//! Workers whose event loop stands still, and those that only seem to.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::client::{Client, Heard};
use super::control::Controlled;
use super::{Server, configure, server};
use crate::support::{Deadline, Process, eventually};

/// Starts a server that gives its workers connections in turn.
#[track_caller]
fn watchful(settings: &str) -> Server {
    let mut setup = server("talk", "server.dispatch=round-robin");
    configure(&mut setup, settings);
    Server::start(&setup)
}

/// Lets time pass, which nothing tells of.
pub(super) fn let_pass(time: Duration) {
    let start = Instant::now();
    let deadline = Deadline::after(time * 2);
    eventually(deadline, "time passes", || start.elapsed() >= time);
}

/// Waits until a process has come to rest, and returns how often it has slept.
#[track_caller]
pub(super) fn rest(process: &Process) -> u64 {
    let mut before = process.sleeps();
    eventually(Deadline::usual(), "it has come to rest", || {
        let_pass(Duration::from_millis(100));
        std::mem::replace(&mut before, process.sleeps()) == process.sleeps()
    });
    before
}

/// Connects clients to both workers, and returns those of the first worker before those of the second.
#[track_caller]
fn one_each(server: &Server) -> [Client; 2] {
    let mut clients = [server.client(), server.client()];
    assert_ne!(clients[0].worker(), clients[1].worker());
    clients
}

#[track_caller]
fn wait_for_log(server: &Server, words: &str) {
    eventually(Deadline::usual(), words, || server.errors().contains(words));
}

#[test]
fn a_worker_whose_loop_is_kept_is_passed_over_then_killed_and_replaced() {
    let mut server = watchful("workers.stall_timeout=2s");
    let [mut keeper, mut other] = one_each(&server);
    let victim = Process::find(keeper.worker()).unwrap();

    keeper.ask("spin");

    wait_for_log(&server, "a worker's loop does not turn");
    let mut clients = server.clients(8);
    for client in &mut clients {
        assert_eq!(client.worker(), other.worker(), "the other has the work");
    }
    assert!(victim.is_alive());
    assert!(victim.ends_by(Deadline::usual()));
    assert_eq!(keeper.hear(), Heard::End);
    assert_eq!(other.ask("unharmed"), "UNHARMED");
    let said = format!("and it is killed; it runs worker=0 pid={}", victim.pid());
    wait_for_log(&server, &said);
    wait_for_log(&server, "its loop stood still for 2s");
    server.settle(2);
    drop((clients, other));
    server.end();
}

#[test]
fn a_stall_is_an_event_and_so_is_its_end() {
    let controlled = Controlled::new("talk", "workers.stall_timeout=2s workers.count=1");
    let mut events = controlled.events();
    let mut client = controlled.server.client();
    client.ask("hello");

    client.say("nap 1500");

    let stalled = events.event("worker-stalled");
    assert_eq!(
        (&stalled["worker"], &stalled["generation"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(events.event("worker-turning")["worker"], 0);
    assert_eq!(client.line(), "awake");
    client.ask("spin");
    events.event("worker-stalled");
    let killed = events.event("stall-timeout");
    assert!(
        killed["place"]
            .as_str()
            .is_some_and(|it| it.starts_with("runs")),
        "{killed}"
    );
    assert_eq!(events.event("worker-exited")["worker"], 0);
}

#[test]
fn what_a_stalled_worker_had_not_used_is_served_by_another() {
    let mut server = watchful("workers.stall_timeout=400ms workers.count=1");
    let mut keeper = server.client();
    keeper.ask("spin");

    let mut waiting = server.clients(3);

    for client in &mut waiting {
        assert_ne!(client.worker(), server.workers[0]);
    }
    drop((keeper, waiting));
    server.end();
}

#[test]
fn a_loop_that_waits_is_not_taken_for_one_that_stands_still() {
    let mut server = watchful("workers.stall_timeout=100ms");
    let mut clients = one_each(&server);

    let_pass(Duration::from_secs(1));

    for (client, worker) in clients.iter_mut().zip(&server.workers) {
        assert_eq!(client.worker(), *worker);
    }
    drop(clients);
    server.end();
}

#[test]
fn a_loop_that_waits_is_left_alone_where_workers_accept_for_themselves() {
    let settings = "server.dispatch=direct workers.stall_timeout=100ms";
    let mut server = Server::new("talk", settings);
    let mut client = server.client();
    let worker = client.worker();

    let_pass(Duration::from_secs(1));

    assert_eq!(client.worker(), worker);
    drop(client);
    server.end();
}

#[test]
fn a_worker_without_work_is_not_woken_by_the_watch() {
    // A title may wake it once more, to show that its client has gone.
    let settings = "workers.stall_timeout=100ms workers.count=1 workers.titles=false";
    let server = watchful(settings);
    let mut client = server.client();
    client.ask("hello");
    client.close();
    let worker = server.worker(0);
    let before = rest(&worker);

    let_pass(Duration::from_secs(1));

    assert_eq!(worker.sleeps(), before);
}

#[test]
fn a_server_that_is_stopped_as_a_whole_and_goes_on_loses_nobody() {
    let mut server = watchful("workers.stall_timeout=1s");
    let mut clients = one_each(&server);
    let (judge, workers) = (server.process(), server.workers());
    // The judge stops last and goes on first: its question is out, and it finds everybody silent.
    workers.iter().for_each(|it| it.signal(Signal::STOP));
    wait_for_log(&server, "a worker's loop does not turn");
    judge.signal(Signal::STOP);

    let_pass(Duration::from_millis(1500));
    judge.signal(Signal::CONT);
    let_pass(Duration::from_millis(300));
    workers.iter().for_each(|it| it.signal(Signal::CONT));

    for (client, worker) in clients.iter_mut().zip(&server.workers) {
        assert_eq!(client.worker(), *worker);
    }
    let_pass(Duration::from_millis(1500));
    assert!(workers.iter().all(Process::is_alive), "{}", server.errors());
    drop(clients);
    server.end();
}

#[test]
fn a_main_process_that_was_stopped_alone_blames_no_worker() {
    let mut server = watchful("workers.stall_timeout=400ms");
    let mut clients = one_each(&server);
    server.process().signal(Signal::STOP);

    let_pass(Duration::from_millis(1200));
    server.process().signal(Signal::CONT);

    for (client, worker) in clients.iter_mut().zip(&server.workers) {
        assert_eq!(client.worker(), *worker);
    }
    drop(clients);
    server.end();
}
