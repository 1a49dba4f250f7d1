//! A bar shows how far a pool is.
//!
//! ```text
//! cargo run --example pool_progress -- [--fast] [--seed N]
//! ```
//!
//! Look at the bar, and at the workers behind it: what the pool knows of itself comes twenty times a second. Some of
//! the tasks fail, which the bar counts, too. Where standard error is no terminal there is no bar.
//!
//! Python's `Pool` has no figures; programs count the results that they take from `imap_unordered`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it says how it ended")]

use std::error::Error;
use std::thread;
use std::time::Duration;

use clap::Parser;
use hatchery::{Pool, PoolStats};
use indicatif::{ProgressBar, ProgressStyle};

/// How many tasks there are.
const TASKS: u64 = 300;

/// Shows a bar.
#[derive(Parser)]
struct Args {
    /// Run without pauses
    #[arg(long)]
    fast: bool,
    /// Choose how long the tasks take
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[hatchery::main]
fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let mut random = fastrand::Rng::with_seed(args.seed);
    let pool = Pool::builder().workers(4).build()?;
    let style = "{bar:40} {pos}/{len} {msg} ({eta} left)";
    let bar = ProgressBar::new(TASKS).with_style(ProgressStyle::with_template(style)?);
    let shown = bar.clone();
    pool.on_progress(move |stats| show(&shown, stats))?;

    let tasks = (0..TASKS).map(|number| {
        let pause = Duration::from_millis(if args.fast { 0 } else { random.u64(5..100) });
        (number, pause)
    });
    let results = pool.map(work, tasks);
    pool.join();
    bar.finish_and_clear();

    let failed = results.iter().filter(|result| result.is_err()).count();
    let sum: u64 = results.iter().flatten().sum();
    println!(
        "{} tasks, {failed} failed; the others make {sum}",
        results.len()
    );
    Ok(())
}

fn show(bar: &ProgressBar, stats: &PoolStats) {
    let busy: String = (stats.workers.iter())
        .map(|worker| if worker.tasks > 0 { '●' } else { '○' })
        .collect();
    bar.set_position(stats.finished());
    bar.set_message(format!("{busy} {} failed", stats.failed));
}

/// Takes its time, and fails once in fifty.
#[expect(clippy::disallowed_methods, reason = "this is how it fails")]
fn work((number, pause): (u64, Duration)) -> u64 {
    thread::sleep(pause);
    if number % 50 == 49 {
        std::process::exit(1);
    }
    number
}
