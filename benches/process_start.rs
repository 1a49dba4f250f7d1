//! What does starting a process cost, and does it depend on how large the program has grown?
//!
//! Run it with `cargo bench -p hatchery-benches --bench process_start`. A process is started, ends
//! at once, and is waited for. `raw fork` is the floor and what the others are compared with: `fork`,
//! `_exit` and `waitid` in this process while it is small. `fork by hand` also gets a number from the child
//! by a pipe, and waits by a pidfd. `fork server` is a bare child of the fork
//! server; `process` is a `Process` whose argument and result are serialised; `command` is
//! `std::process::Command` with `true`, for which another program has to be loaded. `grown` is
//! the same once this process has touched 256 MiB. All contestants take turns in each round; after `--`
//! comes `--rounds N`, and names choose contestants.
//!
//! What is printed is the median over the rounds: of the time that half of the starts in a round took no
//! longer than, and of the ratios in the same round.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::hint::black_box;
use std::os::fd::AsFd;
use std::process::Command;
use std::time::{Duration, Instant};

use hatchery::Process;
use hatchery_os::{Fork, exit_now, fork};
use hatchery_process::{Entry, Program, Start, start};
use rustix::io::{read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

/// How much the program grows.
const GROWN_BYTES: usize = 256 << 20;

/// A page, which is what has to be touched for memory to be there.
const PAGE_BYTES: usize = 4096;

/// How often each process is started in a round.
const STARTS: usize = 100;

/// How many rounds there are.
const ROUNDS: usize = 21;

/// Starts a process, lets it end, and waits for it.
type Contestant = fn();

const SMALL: [(&str, Contestant); 5] = [
    ("raw fork", raw_fork),
    ("fork by hand", fork_by_hand),
    ("fork server", fork_server),
    ("process", process),
    ("command", command),
];

const GROWN: [(&str, Contestant); 3] = [
    ("raw fork, grown", raw_fork),
    ("fork server, grown", fork_server),
    ("process, grown", process),
];

fn main() {
    // The fork server is forked first, while this process is small and has one thread.
    hatchery_process::init().expect("this process has one thread");
    let (rounds, names) = wishes();
    let is_wished = |name: &str| names.is_empty() || names.iter().any(|wish| name.contains(wish));
    let small = SMALL.into_iter().filter(|(name, _)| is_wished(name));
    let grown = GROWN.into_iter().filter(|(name, _)| is_wished(name));
    let (small, grown): (Vec<_>, Vec<_>) = (small.collect(), grown.collect());
    let mut taken = vec![Vec::new(); small.len() + grown.len()];
    for _ in 0..rounds {
        let mut room = taken.iter_mut();
        for ((_, contestant), taken) in small.iter().zip(&mut room) {
            taken.push(measure(*contestant));
        }
        if grown.is_empty() {
            continue;
        }
        let memory = grow();
        for ((_, contestant), taken) in grown.iter().zip(&mut room) {
            taken.push(measure(*contestant));
        }
        drop(memory);
    }
    println!("{rounds} rounds of {STARTS} starts each");
    for ((name, _), times) in small.iter().chain(&grown).zip(&taken) {
        print_medians(name, times, &taken[0], small[0].0);
    }
    hatchery_process::end();
}

fn wishes() -> (usize, Vec<String>) {
    let mut arguments = std::env::args().skip(1).filter(|it| it != "--bench");
    let (mut rounds, mut names) = (ROUNDS, Vec::new());
    while let Some(argument) = arguments.next() {
        if argument == "--rounds" {
            let wished = arguments.next().and_then(|rounds| rounds.parse().ok());
            rounds = wished.expect("--rounds is followed by a number");
        } else {
            names.push(argument);
        }
    }
    (rounds, names)
}

fn grow() -> Vec<u8> {
    let mut memory = vec![0_u8; GROWN_BYTES];
    for page in memory.chunks_mut(PAGE_BYTES) {
        page[0] = 1;
    }
    black_box(memory)
}

/// Returns the time that half of the starts took no longer than.
fn measure(contestant: Contestant) -> Duration {
    let mut times: Vec<Duration> = (0..STARTS)
        .map(|_| {
            let began = Instant::now();
            contestant();
            began.elapsed()
        })
        .collect();
    times.sort();
    times[STARTS / 2]
}

fn print_medians(name: &str, taken: &[Duration], base: &[Duration], first: &str) {
    let times = taken.iter().map(Duration::as_secs_f64);
    let both = taken.iter().zip(base);
    let ratios = both.map(|(taken, base)| taken.as_secs_f64() / base.as_secs_f64());
    let mut ratios: Vec<f64> = ratios.collect();
    let ratio = median(&mut ratios);
    let (low, high) = (ratios[ratios.len() / 4], ratios[ratios.len() * 3 / 4]);
    println!(
        "  {name:20} {:>8.1} µs {ratio:>7.2} × {first} ({low:.2} to {high:.2} in half of the rounds)",
        median(&mut times.collect::<Vec<_>>()) * 1e6,
    );
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn raw_fork() {
    match fork().expect("this process has one thread") {
        Fork::Child => exit_now(0),
        Fork::Parent(pid) => {
            waitid(WaitId::Pid(pid), WaitIdOptions::EXITED).expect("it ends");
        }
    }
}

fn fork_by_hand() {
    let (results, result) = pipe_with(PipeFlags::CLOEXEC).expect("there is room for a pipe");
    match fork().expect("this process has one thread") {
        Fork::Child => {
            drop(results);
            let written = write(&result, &42_u64.to_le_bytes());
            exit_now(u8::from(written != Ok(8)))
        }
        Fork::Parent(pid) => {
            drop(result);
            let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("it was not waited for");
            let ended = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
            ended.expect("it ends");
            let mut number = [0; 8];
            assert_eq!(read(&results, &mut number), Ok(8));
            assert_eq!(u64::from_le_bytes(number), 42);
        }
    }
}

fn fork_server() {
    let entry = Entry::new(|_: Start| 0);
    let child = start(Program::new("bench", entry)).expect("a process starts");
    let status = child.wait().expect("its status is known");
    assert!(status.success());
}

fn process() {
    let process = Process::spawn(|number: u64| number + 1, 41_u64).expect("it starts");
    assert_eq!(process.join().expect("it returns"), 42);
}

fn command() {
    let status = Command::new("true").status();
    assert!(status.expect("there is such a program").success());
}
