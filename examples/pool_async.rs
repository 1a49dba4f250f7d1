//! A tokio program has the CPU-heavy part of its work done by a pool.
//!
//! ```text
//! cargo run --example pool_async -- [--fast]
//! ```
//!
//! Look at the ticks, which go on while the pool computes: no thread of the runtime is held. And
//! at the last lines, where a task that takes too long is given up, and really ends.
//!
//! In Python this is `loop.run_in_executor(ProcessPoolExecutor(), …)`, where a task that was given up runs on.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it says what happens")]

use std::error::Error;
use std::time::Duration;

use clap::Parser;
use futures::StreamExt;
use futures::future::join_all;
use hatchery::{Pool, TaskError, task};

/// Counts primes.
#[derive(Parser)]
struct Args {
    /// Count fewer of them
    #[arg(long)]
    fast: bool,
}

#[hatchery::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let below = if Args::parse().fast { 2_000 } else { 40_000 };
    let pool = Pool::builder()
        .workers(2)
        .stop_grace(Duration::from_secs(5))
        .build_async()
        .await?;

    let clock = tokio::spawn(async {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            println!("tick");
        }
    });
    let tasks = (1..=4).map(|part| pool.submit(count_primes, part * below));
    for (part, count) in (1..).zip(join_all(tasks).await) {
        println!("below {}: {} primes", part * below, count?);
    }
    clock.abort();

    let mut squares = pool.imap(|n: u64| n * n, 1..=5).into_async();
    while let Some(square) = squares.next().await {
        println!("square: {}", square?);
    }

    let endless = pool.submit(count_primes, u64::MAX);
    tokio::time::sleep(Duration::from_millis(50)).await;
    endless.cancel();
    match endless.await {
        Err(error @ TaskError::Cancelled) => println!("endless: {error}"),
        other => return Err(format!("it was to be cancelled, and is {other:?}").into()),
    }
    pool.join_async().await;
    println!("all workers have ended");
    Ok(())
}

/// Counts the primes below a number, the slow way; stops early if nobody wants to know any more.
fn count_primes(below: u64) -> u64 {
    let candidates = (2..below).take_while(|_| !task::cancelled());
    let primes = candidates.filter(|n| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0));
    primes.map(|_| 1).sum()
}
