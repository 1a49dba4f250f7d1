//! Workers that serve with a tower service, and what its layers do to connections, under the fixture
//! `layers`.

use std::fs::File;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use tempfile::TempDir;

use super::client::{Client, Heard};
use super::scaling::under_load;
use super::{Server, configure};
use crate::support::{Deadline, Setup, eventually, fixture};

/// Sets up the fixture `layers` with settings; unless they say otherwise it has two workers and one port.
fn layers(arguments: &str, settings: &str) -> Setup {
    let mut setup = fixture!("layers");
    setup.args(arguments);
    configure(&mut setup, "server.bind=127.0.0.1:0 workers.count=2");
    configure(&mut setup, settings);
    setup
}

#[track_caller]
fn start(arguments: &str, settings: &str) -> Server {
    Server::start(&layers(arguments, settings))
}

/// Connects clients one after the other, each of which is served.
#[track_caller]
fn held(server: &Server, count: usize) -> Vec<(Client, i32)> {
    let clients = (0..count).map(|_| server.client());
    clients
        .map(|mut client| {
            let worker = client.worker();
            (client, worker)
        })
        .collect()
}

/// Connects clients that the front end accepts in one turn, and that have asked who serves them.
#[track_caller]
fn burst(server: &Server, count: usize) -> Vec<Client> {
    server.process().signal(Signal::STOP);
    let clients = server.clients(count);
    clients.iter().for_each(|client| client.say("who"));
    server.process().signal(Signal::CONT);
    clients
}

/// Waits until one of the clients is answered, and takes it out with the pid of its worker.
#[track_caller]
fn next_served(clients: &mut Vec<Client>) -> (Client, i32) {
    let mut served = None;
    eventually(Deadline::usual(), "another is served", || {
        served = clients.iter().position(|client| !client.hears_nothing());
        served.is_some()
    });
    let mut client = clients.remove(served.expect("one is"));
    let worker = client.hear_about().worker;
    (client, worker)
}

/// Where a server shows its figures.
struct Admin(TempDir);

impl Admin {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder can be made"))
    }

    fn address(&self) -> String {
        format!("unix:{}", self.0.path().join("admin").display())
    }

    /// These settings, and that it has this admin listener.
    fn settings(&self, others: &str) -> String {
        format!("admin.bind={} {others}", self.address())
    }

    #[track_caller]
    fn get(&self, path: &str) -> Client {
        let client = Client::connect(&self.address());
        client.say(&format!("GET {path} HTTP/1.0\r\n\r"));
        client
    }

    /// Reads a counter.
    #[track_caller]
    fn count(&self, series: &str) -> u32 {
        let mut client = self.get("/metrics");
        loop {
            let line = client.line();
            let value = line
                .strip_prefix(series)
                .and_then(|it| it.strip_prefix(' '));
            if let Some(value) = value {
                return value.parse().expect("a counter is a number");
            }
        }
    }
}

/// Waits as long as something that must not happen would take.
fn let_time_pass() {
    let end = Deadline::after(Duration::from_millis(100));
    eventually(Deadline::usual(), "time passes", || end.has_passed());
}

#[test]
fn a_call_that_is_over_its_timeout_ends_its_connection_and_is_counted_and_logged() {
    let admin = Admin::new();
    let mut server = start("timeout=100", &admin.settings("log.access=true"));
    let mut client = server.client();

    client.say("stay");

    assert_eq!(client.hear(), Heard::End);
    for words in [
        "the handler failed",
        "request timed out",
        "outcome=\"failed\"",
    ] {
        eventually(Deadline::usual(), words, || server.errors().contains(words));
    }
    let count = admin.count("hatchery_handler_failures_total{kind=\"error\"}");
    assert_eq!(count, 1);
    server.end();
}

#[test]
fn a_worker_whose_service_is_at_its_limit_gets_nothing_while_another_has_room() {
    for dispatch in ["least-loaded", "round-robin", "hash"] {
        let server = start("limit=1", &format!("server.dispatch={dispatch}"));
        let (mut busy, worker) = held(&server, 1).remove(0);

        for _ in 0..20 {
            let (mut client, other) = held(&server, 1).remove(0);
            assert_ne!(other, worker, "{dispatch}");
            client.close();
        }

        assert_eq!(busy.ask("on"), "ON");
        assert_eq!(server.errors(), "");
    }
}

/// Has two workers serve 20 clients that came at once, of which one keeps one of them busy.
#[track_caller]
fn serve_all_but_one_by_the_other(server: &Server) {
    let mut waiting = burst(server, 20);
    let (mut busy, worker) = next_served(&mut waiting);
    let (mut client, other) = next_served(&mut waiting);
    assert_ne!(other, worker);
    let_time_pass();
    assert!(waiting.iter().all(Client::hears_nothing));

    while !waiting.is_empty() {
        client.close();
        let (next, worker) = next_served(&mut waiting);
        assert_eq!(worker, other);
        client = next;
    }
    assert_eq!(busy.ask("on"), "ON");
    busy.close();
    client.close();
}

#[test]
fn what_was_sent_to_a_service_at_its_limit_goes_to_a_worker_that_has_room_first() {
    for dispatch in ["least-loaded", "round-robin", "hash"] {
        let server = start("limit=1", &format!("server.dispatch={dispatch}"));

        serve_all_but_one_by_the_other(&server);

        assert_eq!(server.errors(), "");
    }
}

#[test]
fn what_is_declined_is_seldom_is_counted_as_such_and_leaves_no_descriptor() {
    for dispatch in ["least-loaded", "round-robin", "hash"] {
        let admin = Admin::new();
        let settings = admin.settings(&format!("server.dispatch={dispatch}"));
        let server = start("limit=1", &settings);
        let before = descriptors(&server);

        serve_all_but_one_by_the_other(&server);

        eventually(Deadline::usual(), "what is counted as finished", || {
            admin.count("hatchery_connections_finished_total") == 20
        });
        let declined = admin.count("hatchery_connections_declined_total");
        let handed = admin.count("hatchery_connections_handed_total");
        assert_eq!(handed - declined, 20);
        // Each is sent to both workers at first, and then one in vain each time that there is room.
        assert!(declined <= 60, "{declined} by {dispatch}");
        eventually(Deadline::usual(), "no descriptor is left", || {
            descriptors(&server) == before
        });
    }
}

/// Counts the open descriptors of the main process and of its first workers.
fn descriptors(server: &Server) -> usize {
    let workers = [server.worker(0), server.worker(1)];
    let processes = workers.iter().chain([server.process()]);
    processes.map(|process| process.descriptors().len()).sum()
}

#[test]
fn what_the_front_end_has_no_copy_of_any_more_can_be_declined_as_well() {
    let server = start("limit=1", "workers.count=1");
    let open = server.process().descriptors().len() as u64;
    server.process().limit_files(open + 20);
    server.process().signal(Signal::STOP);
    let mut first = server.client();
    first.say("burn");
    let mut waiting = server.clients(60);
    waiting.iter().for_each(|client| client.say("who"));

    server.process().signal(Signal::CONT);

    // While it burns the front end gives up the copies of what its worker has taken.
    assert_eq!(first.line(), "burnt");
    assert!(server.errors().contains("no room to accept"));
    first.close();
    while !waiting.is_empty() {
        let (mut client, _) = next_served(&mut waiting);
        assert_eq!(client.ask("on"), "ON");
        client.close();
    }
}

#[test]
fn a_service_that_is_ready_a_turn_later_has_its_worker_decline_nothing() {
    let admin = Admin::new();
    let server = start("pausing", &admin.settings(""));

    for mut client in burst(&server, 20) {
        client.hear_about();
    }

    assert_eq!(admin.count("hatchery_connections_handed_total"), 20);
}

#[test]
fn who_finds_every_service_at_its_limit_is_turned_away_where_that_is_the_policy() {
    let settings = "server.overload=reset server.queue_timeout=100ms";
    let server = start("limit=1", settings);
    let mut busy = held(&server, 2);

    assert_eq!(server.client().hear(), Heard::Reset);

    for (client, worker) in &mut busy {
        assert_eq!(client.worker(), *worker);
    }
}

#[test]
fn who_waits_goes_to_the_successors_at_a_reload_and_calls_end() {
    let server = start("limit=1", "");
    let mut waiting = burst(&server, 4);
    let mut busy = [next_served(&mut waiting), next_served(&mut waiting)];

    server.process().signal(Signal::HUP);

    for _ in 0..2 {
        let (_, worker) = next_served(&mut waiting);
        assert!(!server.workers.contains(&worker));
    }
    for (client, worker) in &mut busy {
        assert_eq!(client.worker(), *worker);
        client.close();
    }
    server.settle(2);
    assert_eq!(server.errors(), "");
}

#[test]
fn who_waits_when_the_server_is_to_end_is_served_before_it_does() {
    let mut server = start("limit=1", "");
    let mut waiting = burst(&server, 8);
    let mut busy = vec![next_served(&mut waiting), next_served(&mut waiting)];

    server.process().signal(Signal::TERM);

    while let Some((mut client, _)) = busy.pop() {
        assert_eq!(client.ask("on"), "ON");
        client.close();
        if !waiting.is_empty() {
            busy.push(next_served(&mut waiting));
        }
    }
    assert_eq!(server.wait().code(), Some(0), "{}", server.errors());
}

#[test]
fn reloads_under_load_lose_nobody_at_the_limit() {
    let mut server = start("limit=1", "");
    let address = server.addresses[0].clone();

    under_load(&address, || {
        for _ in 0..5 {
            let before = pids(&server);
            server.process().signal(Signal::HUP);
            eventually(Deadline::usual(), "all are replaced", || {
                let now = pids(&server);
                now.len() == 2 && now.iter().all(|pid| !before.contains(pid))
            });
        }
    });

    assert_eq!(server.errors(), "");
    server.end();
}

fn pids(server: &Server) -> Vec<i32> {
    let workers = server.workers();
    workers.iter().map(|worker| worker.pid()).collect()
}

#[test]
fn a_call_that_panics_ends_its_connection_alone() {
    let settings = "workers.count=1 server.bind=127.0.0.1:0,127.0.0.1:0";
    let mut server = start("", settings);
    let mut witness = server.client();
    let worker = witness.worker();

    let mut client = server.client();
    client.say("panic");
    assert_eq!(client.hear(), Heard::End);
    assert_eq!(Client::connect(&server.addresses[1]).hear(), Heard::End);

    assert_eq!(witness.worker(), worker);
    assert_eq!(server.client().worker(), worker);
    eventually(Deadline::usual(), "both panics are logged", || {
        server.errors().matches("the handler panicked").count() == 2
    });
    witness.close();
    server.end();
}

#[test]
fn a_service_that_fails_takes_nothing_more_finishes_its_calls_and_is_replaced() {
    let mut server = start("", "workers.count=1");
    let mut busy = held(&server, 2);
    let worker = busy[0].1;
    assert_eq!(busy[0].0.ask("wear out"), "worn out");

    // It was ready for one more before.
    let mut last = server.client();
    assert_eq!(last.worker(), worker);
    let mut next = server.client();

    assert_ne!(next.worker(), worker);
    for client in busy.iter_mut().map(|(client, _)| client) {
        assert_eq!(client.worker(), worker, "its calls go on");
        client.close();
    }
    last.close();
    server.settle(1);
    let reason = "said: the service is worn out";
    eventually(Deadline::usual(), reason, || {
        server.errors().contains(reason)
    });
    next.close();
    server.end();
}

#[test]
fn a_service_that_is_never_ready_again_keeps_nobody_waiting_at_a_reload() {
    let server = start("", "workers.count=1");
    let mut busy = held(&server, 1);
    assert_eq!(busy[0].0.ask("sulk"), "sulking");
    // It was ready for one more before.
    busy.extend(held(&server, 1));
    let mut waiting = vec![server.client()];
    waiting[0].say("who");
    let_time_pass();
    assert!(waiting[0].hears_nothing());

    server.process().signal(Signal::HUP);

    let (_, worker) = next_served(&mut waiting);
    assert!(!server.workers.contains(&worker));
    busy.iter_mut().for_each(|(client, _)| client.close());
    server.settle(1);
    assert_eq!(server.errors(), "");
}

#[test]
fn a_worker_is_ready_when_its_service_is_for_the_first_time() {
    let admin = Admin::new();
    let fifo = admin.0.path().join("late");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
    let settings = admin.settings("workers.count=1");
    let mut server = layers(&format!("late={}", fifo.display()), &settings).start();
    eventually(Deadline::usual(), "the worker is there", || {
        // The others are the main process and the fork server.
        server.everything().len() == 3 && Client::try_connect(&admin.address()).is_ok()
    });
    let_time_pass();
    let answer = admin.get("/readyz").line();
    assert!(answer.contains(" 503 "), "{answer}");

    let _opened = File::options().write(true).open(&fifo).unwrap();

    server.line_of("addresses");
    let answer = admin.get("/readyz").line();
    assert!(answer.contains(" 200 "), "{answer}");
}

#[test]
fn a_service_that_fails_before_it_was_ready_is_a_worker_that_does_not_start() {
    let mut server = layers("worn", "workers.count=1").start();

    assert_eq!(server.wait().code(), Some(1));

    let errors = server.errors();
    assert!(errors.contains("no worker became ready"), "{errors}");
    assert!(errors.contains("the service is worn out"), "{errors}");
}

#[test]
fn under_direct_dispatch_what_comes_waits_until_the_service_is_ready() {
    let mut server = start("limit=1", "workers.count=1 server.dispatch=direct");
    let (mut busy, worker) = held(&server, 1).remove(0);
    let mut waiting = server.client();
    waiting.say("who");
    let_time_pass();
    assert!(waiting.hears_nothing());

    server.process().signal(Signal::TERM);
    assert_eq!(busy.worker(), worker);
    busy.close();

    assert_eq!(waiting.hear_about().worker, worker);
    waiting.close();
    assert_eq!(server.wait().code(), Some(0), "{}", server.errors());
}
