//! How many messages a second go from processes to processes, and by what means?
//!
//! Run it with `cargo bench -p hatchery-benches --bench queue`. After `--` sizes in bytes, `1x1` or `4x4`
//! (producers and consumers), `round-trip` and names of contestants choose a part of it, and
//! `--rounds N` says how often each case is run. All contestants take turns in each round.
//! Every message carries a number, and the consumers' sum is checked. `pipe` is the kernel's limit
//! for a stream of bytes between processes, and the first of each table is what the others are
//! compared with. `Queue` is what users have, `ring` and `packets` what it stands on. `crossbeam` is between
//! threads of one process, which share all their memory. `iceoryx2` takes part with `--features iceoryx2`, for which
//! libclang has to be installed.
//!
//! What is printed is the median over the rounds: messages a second, CPU time a message over all
//! who take part, and the ratios in the same round.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

#[cfg(feature = "iceoryx2")]
mod iceoryx;
mod means;
mod others;
mod parties;
mod round_trip;
mod wishes;

use std::time::{Duration, Instant};

use means::Means;
use parties::{Case, Taken, run};
use round_trip::Trips;
use wishes::Wishes;

/// How many bytes a case moves at the most.
const BYTES_MAX: usize = 1 << 29;

/// How many messages a case moves at the most.
const MESSAGES_MAX: u64 = 1 << 20;

fn main() {
    hatchery_process::init().expect("this process has one thread");
    let wishes = Wishes::read(std::env::args().skip(1));
    for &size in &wishes.sizes {
        for &parties in &wishes.parties {
            compare(size, parties, &wishes);
        }
    }
    if wishes.with_round_trip {
        compare_round_trips(&wishes);
    }
    hatchery_process::end();
}

/// Runs every contestant in turn, and prints the medians.
fn compare(size: usize, parties: u64, wishes: &Wishes) {
    let fitting = (BYTES_MAX / size) as u64;
    let messages = MESSAGES_MAX.min(fitting).max(256) / 4 * 4;
    let rounds = wishes.rounds;
    let contestants = wishes.among(Means::for_parties(parties));
    println!("\n{size} B, {parties} → {parties}, {messages} messages, {rounds} rounds");
    let mut taken = vec![Vec::new(); contestants.len()];
    for _ in 0..rounds {
        for (&means, taken) in contestants.iter().zip(&mut taken) {
            taken.push(run(Case {
                means,
                size,
                parties,
                messages: means.share(messages),
            }));
        }
    }
    for (means, runs) in contestants.iter().zip(&taken) {
        print_medians(*means, runs, &taken[0], contestants[0]);
    }
}

/// Prints one line of the table, beside the contestant that all are compared with.
fn print_medians(means: Means, taken: &[Option<Taken>], base: &[Option<Taken>], first: Means) {
    let rate = median(taken.iter().flatten().map(Taken::rate));
    let cpu = median(taken.iter().flatten().map(Taken::cpu_nanos));
    let both = taken.iter().zip(base);
    let both = both.filter_map(|(taken, base)| Some(((*taken)?, (*base)?)));
    let faster = median(both.clone().map(|(taken, base)| taken.rate() / base.rate()));
    let cheaper = median(both.map(|(taken, base)| base.cpu_nanos() / taken.cpu_nanos()));
    let (Some(rate), Some(cpu), Some(faster), Some(cheaper)) = (rate, cpu, faster, cheaper) else {
        println!("  {:12} is not here", means.name());
        return;
    };
    println!(
        "  {:12} {rate:>12.0} messages/s {cpu:>10.0} ns CPU a message; \
         {faster:>6.2} × as fast as {}, {cheaper:>6.2} × as cheap",
        means.name(),
        first.name(),
    );
}

/// Runs every contestant of the round trip in turn, and prints the medians.
fn compare_round_trips(wishes: &Wishes) {
    println!(
        "\n64 B, there and back, one at a time, {} rounds",
        wishes.rounds
    );
    let contestants = wishes.among(round_trip::CONTESTANTS.to_vec());
    let mut taken: Vec<Vec<Trips>> = vec![Vec::new(); contestants.len()];
    for _ in 0..wishes.rounds {
        for (&means, taken) in contestants.iter().zip(&mut taken) {
            taken.push(round_trip::run(means));
        }
    }
    for (means, runs) in contestants.iter().zip(&taken) {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let half = median(runs.iter().map(|trips| micros(trips.half)));
        let most = median(runs.iter().map(|trips| micros(trips.most)));
        let (half, most) = (half.unwrap_or(0.0), most.unwrap_or(0.0));
        println!(
            "  {:12} {half:>8.2} µs p50 {most:>8.2} µs p99",
            means.name()
        );
    }
}

impl Taken {
    fn rate(&self) -> f64 {
        self.messages as f64 / self.wall.as_secs_f64()
    }

    fn cpu_nanos(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e9 / self.messages as f64
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// How long something takes.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let outcome = work();
    (outcome, start.elapsed())
}
