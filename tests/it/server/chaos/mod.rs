//! Whatever happens to a server, all at once, and what each client and each handler knows of it.
//!
//! `HATCHERY_CHAOS_SECONDS` makes it longer or shorter, and `HATCHERY_CHAOS_SEED` does again what failed.

mod clients;
mod record;
mod trouble;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use fastrand::Rng;
use rustix::process::{Signal, getpid};
use serde_json::Value;
use tempfile::TempDir;

use self::clients::{Door, Told};
use self::record::{Deeds, Sums};
use self::trouble::Trouble;
use super::storm::sum_of;
use super::{Server, configure};
use crate::support::{Deadline, Process, eventually, fixture};

const SECONDS: &str = "HATCHERY_CHAOS_SECONDS";
const SEED: &str = "HATCHERY_CHAOS_SEED";

/// How many threads let clients come and go.
const CROWD: usize = 12;

/// How much memory busy allocators may hold on to.
const GROWTH_MAX: u64 = 16 << 20;

/// How many workers there are before and after.
const WORKERS: usize = 2;

/// How long anything may outlive a main process that was killed.
const PROMISE: Duration = Duration::from_secs(1);

/// How long nothing may have changed in a server that is at rest.
const STILL: Duration = Duration::from_millis(300);

/// How long the server may take to come to rest after all that.
const REST: Duration = Duration::from_secs(20);

/// How connections are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    /// By many handlers in each worker, which park them between two requests.
    Parking,
    /// By one handler in each worker, which parks them as well.
    Blocking,
    /// By workers that accept for themselves.
    Direct,
    /// By few handlers in each worker, which declines connections meanwhile, also parked ones.
    Layered,
}

impl Body {
    /// The argument of the fixture.
    fn name(self) -> &'static str {
        match self {
            Self::Parking => "parking",
            Self::Blocking => "blocking",
            Self::Direct => "direct",
            Self::Layered => "layered",
        }
    }

    fn settings(self) -> &'static str {
        match self {
            Self::Parking | Self::Blocking | Self::Layered => "",
            Self::Direct => "server.dispatch=direct",
        }
    }
}

/// A server that is about to have a hard time.
struct Chaos {
    body: Body,
    server: Server,
    folder: TempDir,
}

/// What is the same before and after, but for the memory.
#[derive(Debug, PartialEq, Eq)]
struct Belongings {
    processes: usize,
    descriptors_of_main: usize,
    descriptors_of_fork_server: usize,
}

impl Chaos {
    #[track_caller]
    fn new(body: Body, settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let record = folder.path().join("record");
        fs::write(&record, "").expect("a file can be written");
        let mut setup = fixture!("chaos");
        setup.args(body.name());
        setup.env("FIXTURE_RECORD", &record);
        // The server knows all variables that begin like its own, and these are not among them.
        setup.through(&["env", "-u", SECONDS, "-u", SEED]);
        setup.env("HATCHERY_CONTROL_SOCKET", folder.path().join("ctl"));
        configure(&mut setup, "server.bind=127.0.0.1:0 workers.count=2");
        configure(&mut setup, body.settings());
        configure(&mut setup, settings);
        let mut server = Server::start(&setup);
        // The first main process is a child of this one, and is like the others only after this.
        server.process().signal(Signal::USR2);
        server.wait();
        Self {
            body,
            server,
            folder,
        }
    }

    fn trouble(&self, random: Rng) -> Trouble<'_> {
        Trouble::new(&self.server, &self.folder.path().join("ctl"), random)
    }

    /// Waits until the server is as it was, and returns its main process.
    #[track_caller]
    fn rest(&self, trouble: &Trouble) -> Process {
        let deadline = Deadline::after(REST);
        loop {
            trouble.ask(&format!(r#""do":"scale","workers":{WORKERS}"#));
            let status = trouble.ask(r#""do":"status""#)["ok"].take();
            let everything = self.server.everything();
            for orphan in everything.iter().filter(|it| is_orphan(it)) {
                orphan.reap();
            }
            let is_alone = everything.len() == WORKERS + 2 && !self.server.has_zombie();
            let main = pid_of(&status).and_then(Process::find);
            if let Some(main) = main.filter(|_| is_alone && is_at_rest(&status)) {
                return main;
            }
            let errors = || self.server.errors();
            let late = deadline.has_passed();
            assert!(
                !late,
                "it comes to no rest: {status} {everything:?}\n{}",
                errors()
            );
            pass(Duration::from_millis(10));
        }
    }

    /// Has all workers be of the fork server that there is now, which knows its own only.
    fn renew(&self, trouble: &Trouble) -> Process {
        self.rest(trouble);
        let old: Vec<i32> = self.server.workers().iter().map(Process::pid).collect();
        trouble.ask(r#""do":"recycle""#);
        eventually(Deadline::usual(), "all workers are others", || {
            let workers = self.server.workers();
            workers.iter().all(|worker| !old.contains(&worker.pid()))
        });
        self.rest(trouble)
    }

    /// Looks what the server has once that no longer changes: it closes what it was asked over.
    fn belongings(&self, main: &Process) -> (Belongings, u64) {
        let mut seen = self.look(main);
        let mut since = Instant::now();
        eventually(Deadline::usual(), "nothing changes", || {
            let now = self.look(main);
            if now.0 != seen.0 {
                since = Instant::now();
            }
            seen = now;
            since.elapsed() > STILL
        });
        seen
    }

    fn look(&self, main: &Process) -> (Belongings, u64) {
        let tree = main.tree();
        let is_fork_server = |it: &&Process| it.stat().is_some_and(|it| it.name == "hatchery-fork");
        let fork_server = tree.iter().find(is_fork_server);
        let fork_server = fork_server.expect("there is a fork server");
        let belongings = Belongings {
            processes: self.server.everything().len(),
            descriptors_of_main: main.descriptors().len(),
            descriptors_of_fork_server: fork_server.descriptors().len(),
        };
        (belongings, main.pss_bytes() + fork_server.pss_bytes())
    }

    /// Has clients come, stay and go while trouble is made, and returns what they know.
    fn have_guests(&self, random: &mut Rng, act: impl FnOnce()) -> Vec<Told> {
        let door = &Door::new(&self.server.addresses[0]);
        thread::scope(|threads| {
            let mut guests = Vec::new();
            for _ in 0..CROWD {
                let random = random.fork();
                guests.push(threads.spawn(|| clients::come_and_go(door, random)));
            }
            // Nobody stays who would keep a worker that drains.
            if self.body != Body::Direct {
                let random = random.fork();
                guests.push(
                    threads.spawn(|| clients::stay(door, random, self.body == Body::Blocking)),
                );
            }
            let acted = catch_unwind(AssertUnwindSafe(act));
            door.close();
            let told = guests.into_iter().map(|guest| guest.join());
            let told: Vec<_> = told
                .map(|it| it.expect("a client does not panic"))
                .collect();
            acted.unwrap_or_else(|panic| resume_unwind(panic));
            told.concat()
        })
    }

    /// Waits until no process is left.
    #[track_caller]
    fn wait_for_nothing(&self, deadline: Deadline) {
        eventually(deadline, "nothing is left", || {
            !self.server.everything().iter().any(Process::is_alive)
        });
    }

    /// Compares what clients know with what handlers wrote down.
    fn compare(&self, told: &[Told], deeds: &Deeds) -> (Sums, Vec<String>) {
        let record = fs::read_to_string(self.folder.path().join("record"));
        record::compare(&record.expect("it was made first"), told, deeds)
    }

    /// Checks that nobody died but who was killed, and nobody panicked.
    fn faults_of_log(&self, trouble: &Trouble) -> Vec<String> {
        let errors = self.server.errors();
        let mut lines: Vec<&str> = errors.lines().collect();
        lines.retain(|line| {
            let pid = line.split(' ').find_map(|word| word.strip_prefix("pid="));
            let pid = pid.and_then(|pid| pid.parse().ok());
            let is_death = line.contains("a worker ended with");
            let is_ours = pid.is_some_and(|pid| trouble.deeds.killed.contains(&pid));
            // Who begins without a descriptor ends: so says tokio for a new program, and so a worker.
            let is_tokio = line.contains("/tokio-") && line.contains("src/signal/unix.rs");
            let is_in_need = is_tokio || line.contains("Too many open files");
            ((is_death && !is_ours) || line.contains("panicked")) && !is_in_need
        });
        lines.iter().map(|line| (*line).to_owned()).collect()
    }
}

/// Whether it has ended, and this process is to collect it.
fn is_orphan(process: &Process) -> bool {
    let own = getpid().as_raw_nonzero().get();
    let stat = process.stat();
    stat.is_some_and(|stat| stat.state == 'Z' && stat.parent == own)
}

/// Whether a server has no connection, and nothing to change in its workers.
fn is_at_rest(status: &Value) -> bool {
    let moving = "connections parked silent waiting starting draining";
    let mut moving = moving.split(' ').map(|field| &status[field]);
    moving.all(|count| *count == 0) && status["phase"] == "serving" && status["ready"] == WORKERS
}

/// Returns the process that a status or a worker is about.
fn pid_of(value: &Value) -> Option<i32> {
    value["pid"].as_i64()?.try_into().ok()
}

/// Lets some time pass.
fn pass(time: Duration) {
    let end = Deadline::after(time);
    eventually(Deadline::usual(), "time passes", || end.has_passed());
}

fn number_of(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

/// Makes what is random from the seed, which it says for when the test fails.
#[expect(clippy::print_stderr, reason = "it is wanted when this fails")]
fn random() -> Rng {
    let seed = number_of(SEED).unwrap_or_else(|| fastrand::u64(..));
    eprintln!("{SEED}={seed}");
    Rng::with_seed(seed)
}

#[test]
fn of_all_that_happens_at_random_every_connection_has_one_end_known_on_both_sides() {
    every_connection_has_one_end(Body::Parking, 30);
}

#[test]
fn so_it_has_where_handlers_block() {
    every_connection_has_one_end(Body::Blocking, 15);
}

#[test]
fn so_it_has_where_workers_accept_for_themselves() {
    every_connection_has_one_end(Body::Direct, 15);
}

#[test]
fn so_it_has_where_workers_decline_connections() {
    every_connection_has_one_end(Body::Layered, 15);
}

/// Does its worst to a server for so long, and compares then what everybody knows.
#[track_caller]
#[expect(clippy::print_stderr, reason = "it says how much was tried")]
fn every_connection_has_one_end(body: Body, seconds: u64) {
    let length = Duration::from_secs(number_of(SECONDS).unwrap_or(seconds));
    let mut random = random();
    // Who accepts for himself waits for nothing.
    let waits = random.bool() && body != Body::Direct;
    let settings =
        format!("workers.restart_intensity=0 server.poison_after=0 server.wait_for_data={waits}");
    let chaos = Chaos::new(body, &settings);
    let mut trouble = chaos.trouble(random.fork());
    trouble.deeds.workers_accept = body == Body::Direct;
    let (before, memory_before) = chaos.belongings(&chaos.rest(&trouble));

    let told = chaos.have_guests(&mut random, || trouble.make(length));

    // The last handlers write down what became of their connections when their clients have gone.
    chaos.rest(&trouble);
    trouble.read_log();
    let (sums, mut faults) = chaos.compare(&told, &trouble.deeds);
    faults.extend(chaos.faults_of_log(&trouble));
    let killed = trouble.deeds.killed.len();
    eprintln!("{sums:?}, {killed} killed");
    let context = || format!("{}\n{}", trouble.history.join("\n"), chaos.server.errors());
    assert!(faults.is_empty(), "{}\n{}", faults.join("\n"), context());
    assert!(sums.closed > 0 && sums.answers > 0, "{sums:?}");
    // The server counts as in hand whatever it has no copy of.
    let in_hand = sum_of(&chaos.server.errors(), "in_hand=");
    let lost = sums.lost + sums.given_up;
    assert!(
        lost <= in_hand || body == Body::Direct,
        "{lost} lost, {in_hand} in hand"
    );
    let main = chaos.renew(&trouble);
    let (after, memory_after) = chaos.belongings(&main);
    assert_eq!(after, before, "{}", context());
    let grown = memory_after.saturating_sub(memory_before);
    assert!(grown < GROWTH_MAX, "it has grown by {grown} bytes");
    main.signal(Signal::TERM);
    assert!(main.ends_by(Deadline::usual()));
    chaos.wait_for_nothing(Deadline::usual());
}

#[test]
fn nothing_is_left_a_second_after_main_was_killed_whatever_was_going_on() {
    let mut random = random();
    for _ in 0..3 {
        let chaos = Chaos::new(Body::Parking, "server.poison_after=0");
        let mut trouble = chaos.trouble(random.fork());
        let length = Duration::from_millis(random.u64(300..1_500));

        let told = chaos.have_guests(&mut random, || {
            trouble.make(length);
            trouble.kill_mains();
            chaos.wait_for_nothing(Deadline::after(PROMISE));
        });

        trouble.read_log();
        let (sums, faults) = chaos.compare(&told, &trouble.deeds);
        let history = trouble.history.join("\n");
        assert!(faults.is_empty(), "{}\n{history}", faults.join("\n"));
        assert!(sums.answers > 0, "{sums:?}");
    }
}
