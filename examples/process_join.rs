//! Four processes talk, and the main program has the last word.
//!
//! ```text
//! cargo run --example process_join -- [--fast] [--seed N]
//! ```
//!
//! Look at the last line: it comes after everybody has finished, in whatever order they did.
//!
//! Python's original makes `Process(target=talk, args=(name,))` and calls `start` and `join`. Here
//! `join` also gives what the function returned, or its panic, which Python only prints. The
//! function captures nothing: it gets what it needs as arguments.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the processes talk")]

use std::error::Error;
use std::thread;
use std::time::Duration;

use clap::Parser;
use hatchery::Process;

/// Lets four processes talk, and waits for them.
#[derive(Parser)]
struct Args {
    /// Run without pauses
    #[arg(long)]
    fast: bool,
    /// Choose how long each of them talks
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[hatchery::main]
fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let mut random = fastrand::Rng::with_seed(args.seed);
    let mut talkers = Vec::new();
    for name in ["alex", "bea", "chris", "dana"] {
        let pause = Duration::from_millis(if args.fast { 0 } else { random.u64(500..2500) });
        let mut talker = Process::builder(talk, (name.to_owned(), pause));
        talkers.push(talker.name(name).start()?);
    }
    let mut words = 0;
    for talker in &talkers {
        words += talker.join()?;
    }
    println!("main: all four have finished, after {words} words");
    Ok(())
}

/// Talks for a while, and returns how many words it took.
fn talk((name, pause): (String, Duration)) -> usize {
    let speech = format!("{name}: I am process {}", hatchery::current_process().pid());
    println!("{speech}");
    thread::sleep(pause);
    println!("{name}: I have finished");
    speech.split_whitespace().count()
}
