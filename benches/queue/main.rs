//! How many messages a second go from processes to processes, and by what means?
//!
//! Run it with `cargo bench -p hatchery-benches --bench queue`; `-- 64 4096` chooses sizes in
//! bytes, and `--rounds N` how often each case is run. All contestants take turns in each round.
//! Every message carries a number, and the consumers' sum is checked. `pipe` is the kernel's limit
//! for a stream of bytes between processes, and the first of each table is what the others are
//! compared with. `Queue` is what users have, `ring` and `packets` what it stands on. In brackets are
//! threads of one process, which share all their memory.
//!
//! What is printed is the median over the rounds: messages a second, CPU time a message over all
//! who take part, and the ratios in the same round.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

mod means;
mod others;
mod parties;

use std::time::{Duration, Instant};

use means::Means;
use parties::{Case, Taken, run};

/// What a message is at least: its number.
const SIZES: [usize; 5] = [8, 64, 4096, 65_536, 1 << 20];

/// How many bytes a case moves at the most.
const BYTES_MAX: usize = 1 << 29;

/// How many messages a case moves at the most.
const MESSAGES_MAX: u64 = 1 << 20;

fn main() {
    hatchery_process::init().expect("this process has one thread");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rounds = value_of(&arguments, "--rounds").unwrap_or(7);
    let mut sizes: Vec<usize> = arguments.iter().filter_map(|a| a.parse().ok()).collect();
    if value_of(&arguments, "--rounds").is_some() {
        sizes.retain(|&size| size != rounds);
    }
    if sizes.is_empty() {
        sizes = SIZES.to_vec();
    }
    for size in sizes {
        for parties in [1, 4] {
            compare(size, parties, rounds);
        }
    }
    hatchery_process::end();
}

fn value_of(arguments: &[String], name: &str) -> Option<usize> {
    let place = arguments.iter().position(|argument| argument == name)?;
    arguments.get(place + 1)?.parse().ok()
}

/// Runs every contestant in turn, and prints the medians.
fn compare(size: usize, parties: u64, rounds: usize) {
    let fitting = (BYTES_MAX / size) as u64;
    let messages = MESSAGES_MAX.min(fitting).max(256) / 4 * 4;
    println!("\n{size} B, {parties} → {parties}, {messages} messages, {rounds} rounds");
    let contestants = Means::for_parties(parties);
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
