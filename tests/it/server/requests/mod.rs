//! Requests of HTTP while workers are replaced and killed: what fails, and who had it.

mod clients;

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use std::{fs, thread};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use self::clients::{Asked, Client, Door, Habit, STREAMS, ask_side_by_side, come_and_go, stay};
use super::configure;
use super::control::Controlled;
use crate::support::{Answer, Deadline, eventually, fixture};

const WORKERS: usize = 2;

const CROWD: [Habit; 10] = [
    come_and_go,
    come_and_go,
    come_and_go,
    come_and_go,
    stay,
    stay,
    stay,
    stay,
    ask_side_by_side,
    ask_side_by_side,
];

/// A server that writes down which requests reach its handler.
struct Recorded {
    controlled: Controlled,
    folder: TempDir,
}

impl Recorded {
    #[track_caller]
    fn new(settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mut setup = fixture!("requests");
        setup.env("FIXTURE_RECORD", folder.path().join("record"));
        configure(&mut setup, "server.bind=127.0.0.1:0 workers.count=2");
        configure(&mut setup, settings);
        Self {
            controlled: Controlled::start(setup),
            folder,
        }
    }

    /// Has clients ask on while `act` does something to the server, and returns what they know.
    fn have_clients(&self, act: impl FnOnce(&Door)) -> Vec<Asked> {
        let door = &Door::new(&self.controlled.server.addresses[0], CROWD.len());
        thread::scope(|threads| {
            let clients = CROWD.iter().enumerate();
            let clients: Vec<_> = clients
                .map(|(seat, habit)| threads.spawn(move || habit(door, seat)))
                .collect();
            let acted = catch_unwind(AssertUnwindSafe(|| act(door)));
            door.close();
            let asked = clients.into_iter().map(|client| client.join());
            let asked: Vec<_> = asked.collect();
            acted.unwrap_or_else(|panic| resume_unwind(panic));
            let asked = asked.into_iter();
            asked
                .flat_map(|it| it.expect("a client does not panic"))
                .collect()
        })
    }

    /// Which worker's handler had each request.
    fn handled(&self) -> HashMap<u64, i32> {
        let record = fs::read_to_string(self.folder.path().join("record"));
        let record = record.expect("something was written down");
        let mut handled = HashMap::new();
        for line in record.lines() {
            let (number, worker) = line.split_once(' ').expect("a line has two words");
            let number = number.parse().expect("it is a number");
            let worker = worker.parse().expect("it is a pid");
            let before = handled.insert(number, worker);
            assert_eq!(before, None, "request {number} reached two handlers");
        }
        handled
    }

    /// Waits until all workers are there, and others than those before.
    #[track_caller]
    fn await_successors(&self, old: &[i32]) {
        eventually(Deadline::usual(), "all workers are others", || {
            let now = self.workers();
            now.len() == WORKERS && !now.iter().any(|pid| old.contains(pid))
        });
    }

    fn workers(&self) -> Vec<i32> {
        let workers = self.controlled.server.workers();
        workers.iter().map(|worker| worker.pid()).collect()
    }
}

/// Waits until every client had an answer to something that it asked from now on.
#[track_caller]
fn await_answers(door: &Door) {
    // As many may have been on their way.
    let before = door.answers();
    eventually(Deadline::usual(), "every client has an answer", || {
        let now = door.answers();
        now.iter()
            .zip(&before)
            .all(|(now, before)| *now > before + STREAMS)
    });
}

/// What was asked and not answered.
fn lost(asked: &[Asked]) -> impl Iterator<Item = &Asked> {
    asked.iter().filter(|asked| asked.answered_by.is_none())
}

#[test]
fn no_request_fails_while_workers_are_recycled_and_reloaded() {
    let recorded = Recorded::new("workers.max_unavailable=2");

    let asked = recorded.have_clients(|door| {
        for round in 0..10 {
            await_answers(door);
            let old = recorded.workers();
            if round % 2 == 0 {
                recorded.controlled.ask(r#"{"v":1,"do":"recycle"}"#);
            } else {
                recorded.controlled.server.process().signal(Signal::HUP);
            }
            recorded.await_successors(&old);
        }
    });

    let lost: Vec<_> = lost(&asked).collect();
    assert!(
        lost.is_empty(),
        "{} of {}: {lost:?}",
        lost.len(),
        asked.len()
    );
    let handled = recorded.handled();
    assert!(
        asked
            .iter()
            .all(|it| handled.get(&it.number) == it.answered_by.as_ref())
    );
}

#[test]
fn what_fails_when_workers_are_killed_was_in_their_hands() {
    let recorded = Recorded::new("");
    let mut killed = HashSet::new();

    let asked = recorded.have_clients(|door| {
        for round in 0..20 {
            await_answers(door);
            let workers = recorded.controlled.server.workers();
            let worker = &workers[round % workers.len()];
            worker.kill();
            killed.insert(worker.pid());
            recorded.controlled.server.settle(WORKERS);
        }
    });

    let handled = recorded.handled();
    let mut between = 0;
    for lost in lost(&asked) {
        let holder = handled.get(&lost.number).copied().or(lost.connection_of);
        match holder {
            Some(worker) => assert!(killed.contains(&worker), "{lost:?}: {worker} lives"),
            None => between += 1,
        }
    }
    // A worker's one thread was at one place when it was killed: here, between socket and handler.
    assert!(between <= killed.len(), "{between} were in nobody's hands");
    eprintln!(
        "asked {} lost {} between {between}",
        asked.len(),
        lost(&asked).count()
    );
}

#[test]
fn where_nobody_could_take_a_connection_its_next_answer_says_that_it_ends() {
    let recorded = Recorded::new("server.dispatch=direct");
    let mut client = Client::connect(&recorded.controlled.server.addresses[0]);
    let mut idle = Client::connect(&recorded.controlled.server.addresses[0]);
    idle.ask(0).unwrap();
    let first = client.ask(1).unwrap();
    let (_, old) = first.body.split_once(' ').unwrap();

    recorded.controlled.ask(r#"{"v":1,"do":"recycle"}"#);
    let mut asked = 1;
    eventually(Deadline::usual(), "its end is announced", || {
        asked += 1;
        let next = client.ask(asked).expect("each request is answered");
        assert_eq!(next.body, format!("{asked} {old}"));
        next.closes
    });

    client.await_end();
    idle.await_end();
}

#[test]
fn a_connection_goes_on_after_an_answer_that_was_on_its_way() {
    for settings in ["", "server.dispatch=direct"] {
        let recorded = Recorded::new(settings);
        let mut client = Client::connect(&recorded.controlled.server.addresses[0]);
        client.send("streamed").unwrap();
        client.await_beginning();
        let old = recorded.workers();

        recorded.controlled.ask(r#"{"v":1,"do":"recycle"}"#);

        let streamed = client.answer().expect("it comes to its end");
        assert!(old.contains(&worker_in(&streamed)));
        assert!(!streamed.closes, "that was not known when it began");
        let next = client.ask(1).expect("the connection goes on");
        // Where nobody else can take it, the same worker answers once more.
        let is_direct = !settings.is_empty();
        assert_eq!(next.closes, is_direct);
        assert_eq!(old.contains(&worker_in(&next)), is_direct);
        if is_direct {
            client.await_end();
        }
    }
}

/// The worker that an answer ends with.
#[track_caller]
fn worker_in(answer: &Answer) -> i32 {
    let worker = answer.body.rsplit(' ').next();
    let worker = worker.and_then(|worker| worker.parse().ok());
    worker.expect("an answer ends with a pid")
}

#[test]
fn the_access_log_has_the_cpu_time_of_requests_in_both_versions() {
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let recorded = Recorded::new("log.access=true log.format=json");
        let server = &recorded.controlled.server;

        let url = format!("http://{}/burn", server.addresses[0]);
        let curl = Command::new("curl")
            .args(["--silent", version, &url])
            .output();
        assert_eq!(curl.expect("curl is installed").stdout, b"burnt");

        eventually(Deadline::usual(), "it is logged", || {
            server.errors().contains('\n')
        });
        let line: Value = serde_json::from_str(&server.errors()).expect("it is one line");
        let cpu = line["cpu_ms"].as_f64().expect("it is known");
        assert!((30.0..100.0).contains(&cpu), "{version}: {line}");
    }
}
