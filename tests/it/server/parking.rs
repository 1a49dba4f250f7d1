//! Connections that their handlers park between two requests, and whatever happens meanwhile.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::client::{Client, Heard};
use super::control::Voice;
use super::{Server, configure};
use crate::support::{Deadline, Process, Setup, eventually, fixture};

const STATUS: &str = r#"{"v":1,"do":"status"}"#;

/// The longest state.
const STATE_BYTES_MAX: usize = 32 * 1024;

/// A server whose handlers park, with its control socket.
struct Parking {
    server: Server,
    folder: TempDir,
}

/// What a client is answered.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    /// Its place among the requests of the connection.
    number: u64,
    worker: i32,
    text: String,
}

impl Parking {
    #[track_caller]
    fn new(body: &str, settings: &str) -> Self {
        Self::with(body, settings, |_| ())
    }

    #[track_caller]
    fn with(body: &str, settings: &str, set_up: impl FnOnce(&mut Setup)) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mut setup: Setup = fixture!("parking");
        setup.args(body);
        configure(&mut setup, "server.bind=127.0.0.1:0 workers.count=2");
        configure(&mut setup, settings);
        setup.env("HATCHERY_CONTROL_SOCKET", folder.path().join("ctl"));
        set_up(&mut setup);
        Self {
            server: Server::start(&setup),
            folder,
        }
    }

    #[track_caller]
    fn voice(&self) -> Voice {
        Voice::at(&self.folder.path().join("ctl"))
    }

    #[track_caller]
    fn status(&self, field: &str) -> u64 {
        let status: Value = self.voice().ask(STATUS);
        status[field].as_u64().expect("it is a number")
    }

    /// Waits until so many connections are parked, and none is with a worker.
    #[track_caller]
    fn wait_until_parked(&self, count: u64) {
        eventually(Deadline::usual(), "all are parked", || {
            self.status("parked") == count && self.status("connections") == 0
        });
    }

    /// Connects clients, each of which makes one request.
    #[track_caller]
    fn regulars(&self, count: usize) -> Vec<Client> {
        let mut clients = self.server.clients(count);
        for client in &mut clients {
            assert_eq!(ask(client, "hello").number, 1);
        }
        clients
    }
}

#[track_caller]
fn ask(client: &mut Client, line: &str) -> Answer {
    client.say(line);
    hear(client)
}

#[track_caller]
fn hear(client: &mut Client) -> Answer {
    let line = client.line();
    let mut words = line.splitn(3, ' ');
    let mut word = || words.next().unwrap_or_else(|| panic!("no answer: {line}"));
    Answer {
        number: word().parse().expect("it is a number"),
        worker: word().parse().expect("it is a pid"),
        text: word().to_owned(),
    }
}

/// Checks that a connection goes on where it was.
#[track_caller]
fn goes_on(client: &mut Client, number: u64) -> i32 {
    let answer = ask(client, "and on");
    assert_eq!((answer.number, answer.text.as_str()), (number, "AND ON"));
    answer.worker
}

#[test]
fn a_parked_connection_goes_on_with_its_state() {
    for body in ["async", "blocking"] {
        let mut parking = Parking::new(body, "");
        let mut client = parking.server.client();

        for number in 1..=50 {
            goes_on(&mut client, number);
        }

        parking.wait_until_parked(1);
        client.close();
        parking.wait_until_parked(0);
        assert_eq!(parking.server.errors(), "", "{body}");
        parking.server.end();
    }
}

#[test]
fn a_unix_connection_is_parked_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let bind = format!("server.bind=unix:{}", folder.path().join("s").display());
    for body in ["async", "blocking"] {
        let parking = Parking::new(body, &bind);
        let mut client = parking.server.client();

        for number in 1..=20 {
            goes_on(&mut client, number);
        }
    }
}

#[test]
fn a_thousand_parked_connections_outlive_all_workers() {
    let mut parking = Parking::new("async", "");
    let first = parking.server.workers.clone();
    let mut clients = parking.regulars(1000);
    parking.wait_until_parked(1000);

    parking.voice().ask(r#"{"v":1,"do":"recycle"}"#);
    let is_renewed = || {
        let workers = parking.server.workers();
        workers.len() == 2 && workers.iter().all(|it| !first.contains(&it.pid()))
    };
    eventually(Deadline::usual(), "all were recycled", is_renewed);
    for worker in parking.server.workers() {
        worker.signal(Signal::KILL);
    }
    parking.server.settle(2);

    assert_eq!(parking.status("parked"), 1000);
    for client in &mut clients {
        assert!(!first.contains(&goes_on(client, 2)));
    }
    clients.iter_mut().for_each(Client::close);
    parking.wait_until_parked(0);
    parking.server.end();
}

#[test]
fn requests_of_one_connection_are_served_by_several_workers() {
    let settings = "workers.count=3 server.dispatch=round-robin";
    let parking = Parking::new("async", settings);
    let mut client = parking.server.client();

    let served = (1..=30).map(|number| goes_on(&mut client, number));
    let served: BTreeSet<i32> = served.collect();

    assert_eq!(served.len(), 3);
}

#[test]
fn requests_of_a_parked_connection_go_where_there_is_less_to_do() {
    let parking = Parking::new("async", "");
    let mut client = parking.server.client();
    goes_on(&mut client, 1);

    let mut busy = parking.server.client();
    let worker = ask(&mut busy, "stay").worker;

    for number in 2..20 {
        assert_ne!(goes_on(&mut client, number), worker);
    }
}

#[test]
fn parked_connections_occupy_no_blocking_worker() {
    let parking = Parking::new("blocking", "workers.count=1");
    let mut clients = parking.regulars(50);

    for client in clients.iter_mut().rev() {
        goes_on(client, 2);
    }
}

#[test]
fn a_worker_that_dies_after_it_parked_takes_nothing_with_it() {
    for body in ["async", "blocking"] {
        let parking = Parking::new(body, "");
        let mut client = parking.server.client();

        for number in [1, 3, 5, 7] {
            let answer = ask(&mut client, "die after");
            assert_eq!(answer.number, number, "{body}");
            goes_on(&mut client, number + 1);
        }
    }
}

#[test]
fn a_worker_that_dies_before_it_parks_ends_its_own_connection_and_no_parked_one() {
    for body in ["async", "blocking"] {
        let parking = Parking::new(body, "");
        let mut parked = parking.regulars(10);
        let mut client = parking.server.client();

        let answer = ask(&mut client, "die before");

        assert_eq!(answer.number, 1);
        assert!(matches!(client.hear(), Heard::End | Heard::Reset));
        for client in &mut parked {
            goes_on(client, 2);
        }
    }
}

#[test]
fn a_lease_of_a_parked_connection_goes_to_another_worker_with_its_state() {
    let parking = Parking::new("async", "");
    let mut clients = parking.regulars(20);
    parking.wait_until_parked(20);
    for worker in parking.server.workers() {
        worker.signal(Signal::STOP);
    }
    for client in &clients {
        client.say("and on");
    }
    eventually(Deadline::usual(), "all are leased", || {
        parking.status("parked") == 0
    });

    for worker in parking.server.workers() {
        worker.signal(Signal::KILL);
    }

    for client in &mut clients {
        let answer = hear(client);
        assert_eq!(answer.number, 2);
        assert!(!parking.server.workers.contains(&answer.worker));
    }
}

#[test]
fn a_worker_that_dies_before_it_reads_a_parked_connection_leaves_it_to_another() {
    let parking = Parking::new("async", "");
    let trap = parking.folder.path().join("trap");
    std::fs::write(&trap, "").unwrap();
    let mut client = parking.server.client();
    let answer = ask(&mut client, &format!("trap {}", trap.display()));
    assert_eq!(answer.number, 1);

    goes_on(&mut client, 2);

    assert!(!trap.exists(), "no worker died");
    goes_on(&mut client, 3);
}

#[test]
fn what_a_killed_worker_had_parked_and_nobody_had_read_is_not_lost() {
    let parking = Parking::new("async", "workers.count=1");
    let mut clients = parking.regulars(30);
    parking.wait_until_parked(30);
    let worker = parking.server.worker(0);
    worker.signal(Signal::STOP);
    clients.iter().for_each(|client| client.say("and on"));
    eventually(Deadline::usual(), "all are leased", || {
        parking.status("parked") == 0
    });
    parking.server.process().signal(Signal::STOP);
    worker.signal(Signal::CONT);
    for client in &mut clients {
        assert_eq!(hear(client).number, 2);
    }
    let sleeps = || worker.stat().is_some_and(|stat| stat.state == 'S');
    eventually(Deadline::usual(), "it has parked all", sleeps);

    worker.signal(Signal::KILL);
    parking.server.process().signal(Signal::CONT);

    for client in &mut clients {
        assert_ne!(goes_on(client, 3), worker.pid());
    }
}

#[test]
fn a_state_that_is_too_long_leaves_the_connection_with_its_handler() {
    for body in ["async", "blocking"] {
        let parking = Parking::new(body, "");
        let mut client = parking.server.client();
        let longest = STATE_BYTES_MAX - 24;

        assert_eq!(ask(&mut client, &format!("pad {longest}")).number, 1);
        let answer = ask(&mut client, &format!("pad {}", longest + 1));
        let complaint = client.line();

        assert_eq!(answer.number, 2);
        let expected = format!("not parked: a state of {} bytes", STATE_BYTES_MAX + 1);
        assert!(complaint.starts_with(&expected), "{complaint}");
        goes_on(&mut client, 3);
        goes_on(&mut client, 4);
    }
}

#[test]
fn long_states_of_many_connections_travel_at_once() {
    let parking = Parking::new("async", "");
    let mut clients = parking.regulars(60);
    for client in &mut clients {
        assert_eq!(ask(client, "pad 20000").number, 2);
    }
    parking.wait_until_parked(60);

    clients.iter().for_each(|client| client.say("and on"));

    for client in &mut clients {
        assert_eq!(hear(client).number, 3);
    }
}

#[test]
fn what_a_handler_had_read_ahead_is_in_the_state() {
    let parking = Parking::new("async", "");
    let mut client = parking.server.client();

    client.begin("one\ntwo\nthr");
    let numbers = [(); 2].map(|()| hear(&mut client).number);
    parking.wait_until_parked(1);
    let answer = ask(&mut client, "ee");

    assert_eq!(numbers, [1, 2]);
    assert_eq!((answer.number, answer.text.as_str()), (3, "THREE"));
}

#[test]
fn parked_connections_count_among_those_that_there_may_be() {
    let settings = "server.max_connections=5 server.overload=reject server.queue_length=0";
    let parking = Parking::new("async", settings);
    let mut clients = parking.regulars(5);
    parking.wait_until_parked(5);

    assert_eq!(parking.server.client().line(), "server is busy");

    for client in &mut clients {
        goes_on(client, 2);
    }
    clients[0].close();
    parking.wait_until_parked(4);
    goes_on(&mut parking.server.client(), 1);
}

#[test]
fn a_parked_client_that_ends_wakes_no_worker() {
    let parking = Parking::new("async", "");
    let mut clients = parking.regulars(10);
    parking.wait_until_parked(10);
    for worker in parking.server.workers() {
        worker.signal(Signal::STOP);
    }

    for client in &mut clients {
        client.hang_up();
        assert_eq!(client.hear(), Heard::End);
    }

    assert_eq!(parking.status("parked"), 0);
    for worker in parking.server.workers() {
        worker.signal(Signal::CONT);
    }
}

#[test]
fn a_connection_that_is_parked_for_too_long_is_closed() {
    let parking = Parking::new("async", "server.park_timeout=300ms");
    let mut silent = parking.regulars(1).remove(0);

    assert_eq!(silent.hear(), Heard::End);

    assert_eq!(parking.status("parked"), 0);
    goes_on(&mut parking.server.client(), 1);
}

#[test]
fn a_server_that_stops_closes_parked_connections_at_once() {
    let mut parking = Parking::new("async", "");
    let mut clients = parking.regulars(20);
    let mut busy = parking.server.client();
    assert_eq!(ask(&mut busy, "stay").number, 1);
    parking.status("parked");

    parking.server.process().signal(Signal::TERM);

    assert!(clients.iter_mut().all(|client| client.hear() == Heard::End));
    assert_eq!(ask(&mut busy, "last words").number, 2);
    assert_eq!(busy.hear(), Heard::End);
    let code = parking.server.wait().code();
    assert_eq!(code, Some(0), "{}", parking.server.errors());
}

/// Asks over one connection until told to stop, and counts.
fn persist(address: &str, is_over: &AtomicBool) -> u64 {
    let mut client = Client::connect(address);
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        number += 1;
        goes_on(&mut client, number);
    }
    number
}

#[test]
fn nothing_is_lost_under_load_while_workers_are_reloaded_scaled_and_recycled() {
    for body in ["async", "blocking"] {
        let mut parking = Parking::new(body, "workers.count=1 workers.max_unavailable=2");
        let address = parking.server.addresses[0].clone();
        let mut idle = parking.regulars(50);
        let is_over = AtomicBool::new(false);

        thread::scope(|threads| {
            let clients = [(); 4].map(|()| threads.spawn(|| persist(&address, &is_over)));
            let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                for _ in 0..5 {
                    parking.voice().ask(r#"{"v":1,"do":"reload"}"#);
                }
                for count in [4, 2] {
                    let scale = format!(r#"{{"v":1,"do":"scale","workers":{count}}}"#);
                    parking.voice().ask(&scale);
                    parking.server.settle(count);
                }
                for _ in 0..5 {
                    parking.voice().ask(r#"{"v":1,"do":"recycle"}"#);
                    parking.server.settle(2);
                }
            }));
            is_over.store(true, Ordering::Relaxed);
            for client in clients {
                assert!(client.join().expect("a client noticed") > 0);
            }
            acted.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });

        for client in &mut idle {
            goes_on(client, 2);
        }
        assert_eq!(parking.server.errors(), "", "{body}");
        idle.iter_mut().for_each(Client::close);
        parking.server.end();
    }
}

#[test]
fn the_front_end_has_no_descriptor_of_a_connection_that_is_over() {
    let parking = Parking::new("async", "");
    let open = || parking.server.process().descriptors().len();
    let mut first = parking.regulars(1);
    first[0].close();
    parking.wait_until_parked(0);
    let before = open();

    let mut clients = parking.regulars(40);
    for round in 2..5 {
        for client in &mut clients {
            goes_on(client, round);
        }
    }
    clients.iter_mut().for_each(Client::close);

    eventually(Deadline::usual(), "all are closed", || open() <= before);
}

#[test]
fn what_is_parked_while_there_is_no_descriptor_left_waits_and_is_not_lost() {
    let limit = |setup: &mut Setup| {
        setup.files_max(100);
    };
    let parking = Parking::with("async", "", limit);
    let mut voice = parking.voice();
    let mut clients = parking.server.clients(110);
    // Workers have them all, and the front end has given its copies up for want of room.
    eventually(Deadline::usual(), "all are accepted", || {
        let status = voice.ask(STATUS);
        status["accepted"] == 110 && status["connections"] == 110
    });

    clients.iter().for_each(|client| client.say("hello"));
    for client in &mut clients {
        assert_eq!(hear(client).number, 1);
    }

    // Some of these are parked, and some on their way to be.
    clients.drain(..60).for_each(|mut client| client.close());

    for number in 2..5 {
        clients.iter().for_each(|client| client.say("and on"));
        for client in &mut clients {
            assert_eq!(hear(client).number, number);
        }
    }
}

#[test]
fn what_is_parked_after_the_limit_of_descriptors_was_lowered_is_not_lost() {
    let parking = Parking::new("async", "");
    let mut clients = parking.regulars(20);
    parking.wait_until_parked(20);
    let workers = parking.server.workers();
    workers.iter().for_each(|it| it.signal(Signal::STOP));
    clients.iter().for_each(|client| client.say("and on"));
    eventually(Deadline::usual(), "all are leased", || {
        parking.status("parked") == 0
    });

    parking.server.process().limit_files(5);
    workers.iter().for_each(|it| it.signal(Signal::CONT));
    for client in &mut clients {
        assert_eq!(hear(client).number, 2);
    }
    let sleep = |it: &Process| it.stat().is_some_and(|stat| stat.state == 'S');
    eventually(Deadline::usual(), "they have parked all", || {
        workers.iter().all(sleep)
    });
    parking.server.process().limit_files(u64::MAX);

    for client in &mut clients {
        goes_on(client, 3);
    }
}

#[test]
fn parked_connections_outlive_upgrades_of_the_program_under_load() {
    for body in ["async", "blocking"] {
        let settings = "server.wait_for_data=true server.first_byte_timeout=0s";
        let parking = Parking::new(body, settings);
        let address = parking.server.addresses[0].clone();
        let mut main = Process::find(parking.server.process().pid()).expect("it runs");
        let mut idle = parking.regulars(300);
        ask(&mut idle[0], "stretch 30000");
        let mut silent = parking.server.clients(20);
        let is_over = AtomicBool::new(false);

        thread::scope(|threads| {
            let clients = [(); 4].map(|()| threads.spawn(|| persist(&address, &is_over)));
            let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                for _ in 0..3 {
                    let answer = parking.voice().ask(r#"{"v":1,"do":"upgrade"}"#);
                    assert!(main.ends_by(Deadline::usual()), "it drains and ends");
                    let pid = answer["pid"]
                        .as_i64()
                        .and_then(|pid| i32::try_from(pid).ok());
                    main = pid.and_then(Process::find).expect("there is a new program");
                }
            }));
            is_over.store(true, Ordering::Relaxed);
            for client in clients {
                assert!(client.join().expect("a client noticed") > 0);
            }
            acted.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });

        goes_on(&mut idle[0], 3);
        for client in &mut idle[1..] {
            goes_on(client, 2);
        }
        for client in &mut silent {
            goes_on(client, 1);
        }
        assert_eq!(parking.server.errors(), "", "{body}");
        main.signal(Signal::TERM);
        assert!(main.ends_by(Deadline::usual()));
    }
}
