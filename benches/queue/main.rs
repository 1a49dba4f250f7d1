//! How many messages a second go from processes to processes, and by what means?
//!
//! Run it with `cargo bench -p hatchery-benches --bench queue`; `-- 64 4096` chooses sizes in
//! bytes, and `--rounds N` how often each case is run. All contestants take turns in each round.
//! Every message carries a number, and the consumers' sum is checked. `pipe` is the kernel's limit
//! for a stream of bytes between processes; `ring` and `packets` are Hatchery's; `threads` is a
//! queue between the threads of one process, which shares nothing with another and need not.
//!
//! What is printed is the median over the rounds: messages a second, CPU time a message over all
//! who take part, and the ratio to `pipe` in the same round.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

mod means;
mod parties;

use std::time::{Duration, Instant};

use means::Means;
use parties::{Case, run};

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

/// What one run of one contestant took.
#[derive(Clone, Copy)]
struct Taken {
    wall: Duration,
    cpu: Duration,
}

/// Runs every contestant in turn, and prints the medians.
fn compare(size: usize, parties: u64, rounds: usize) {
    let fitting = (BYTES_MAX / size) as u64;
    let messages = MESSAGES_MAX.min(fitting).max(64) / 4 * 4;
    println!("\n{size} B, {parties} → {parties} processes, {messages} messages, {rounds} rounds");
    let contestants = Means::for_parties(parties);
    let mut taken = vec![Vec::new(); contestants.len()];
    for _ in 0..rounds {
        for (means, taken) in contestants.iter().zip(&mut taken) {
            let case = Case {
                means: *means,
                size,
                parties,
                messages,
            };
            taken.push(run(case));
        }
    }
    let base = taken[0].clone();
    for (means, taken) in contestants.iter().zip(&taken) {
        let wall = median(taken.iter().map(|t| t.wall.as_secs_f64()));
        let cpu = median(taken.iter().map(|t| t.cpu.as_secs_f64()));
        let ratio = median(
            taken
                .iter()
                .zip(&base)
                .map(|(t, base)| base.wall.as_secs_f64() / t.wall.as_secs_f64()),
        );
        println!(
            "  {:10} {:>12.0} messages/s {:>10.0} ns CPU {:>8.2} × {}",
            means.name(),
            messages as f64 / wall,
            cpu * 1e9 / messages as f64,
            ratio,
            contestants[0].name(),
        );
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// How long something takes.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let outcome = work();
    (outcome, start.elapsed())
}
