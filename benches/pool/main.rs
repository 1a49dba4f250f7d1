//! What does a task in another process cost, one by one and many at once?
//!
//! Run it with `cargo bench -p hatchery-benches --bench pool`; `-- --rounds N` says how often each
//! contestant is run, and `-- --tasks N` how many tasks it is given at once. A task adds one to a number, and
//! every result is checked. All contestants take turns in each round.
//!
//! *One by one* is a task that is submitted and waited for, the median of many; `socketpair` is what the
//! kernel takes for a byte to another process and back. *At once* is so many tasks a second on two
//! workers, each a task of its own, without saying how many go together. In brackets are
//! threads of one process, which need not serialise anything. What is not here is left out.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

mod contestants;
mod others;

use std::time::{Duration, Instant};

use contestants::{Contestant, all_at_once, all_one_by_one};

/// How many tasks are run one by one in a turn.
const ONE_BY_ONE: u64 = 2_000;

/// How many tasks are submitted at once.
const AT_ONCE: u64 = 1_000_000;

fn main() {
    // Its workers are this program, too, and begin here.
    procspawn::init();
    hatchery::init().expect("this process has one thread");
    let rounds = argument("--rounds").unwrap_or(7);
    let tasks = argument("--tasks").unwrap_or(AT_ONCE);
    println!("one by one, p50, {rounds} rounds");
    compare(all_one_by_one(), rounds, ONE_BY_ONE, |median| {
        format!("{:8.2} µs", median * 1e6)
    });
    println!("{tasks} at once, 2 workers, {rounds} rounds");
    compare(all_at_once(), rounds, tasks, |each| {
        format!("{:8.3} M tasks/s", 1e-6 / each)
    });
    hatchery_process::end();
}

fn argument(name: &str) -> Option<u64> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)?.parse().ok()
}

/// Runs every contestant in turn, and prints the median of its times for a task.
fn compare(
    mut contestants: Vec<Contestant>,
    rounds: u64,
    tasks: u64,
    print: impl Fn(f64) -> String,
) {
    let mut times = vec![Vec::new(); contestants.len()];
    for _ in 0..rounds {
        for (contestant, times) in contestants.iter_mut().zip(&mut times) {
            let tasks = (tasks / contestant.slowness).max(1);
            times.push((contestant.run)(tasks));
        }
    }
    for (contestant, own) in contestants.iter().zip(&times) {
        let ratios = own.iter().zip(&times[0]);
        let ratio = median(ratios.filter_map(|(own, base)| Some((*base)? / (*own)?)));
        let each = median(own.iter().flatten().copied());
        let name = contestant.name;
        match (each, ratio) {
            (Some(each), Some(ratio)) => {
                let base = contestants[0].name;
                println!(
                    "  {name:22} {}; {ratio:6.2} × as fast as {base}",
                    print(each)
                );
            }
            _ => println!("  {name:22} is not here"),
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The median time of so many calls, in seconds.
fn p50(count: u64, mut call: impl FnMut(u64)) -> f64 {
    let mut times: Vec<Duration> = (0..count)
        .map(|number| {
            let start = Instant::now();
            call(number);
            start.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2].as_secs_f64()
}

/// The time for each of so many tasks whose results are added up, in seconds.
fn each(count: u64, sum: impl FnOnce() -> u64) -> f64 {
    let start = Instant::now();
    let sum = sum();
    let taken = start.elapsed();
    assert_eq!(sum, count * (count + 1) / 2, "every result is there, once");
    taken.as_secs_f64() / count as f64
}
