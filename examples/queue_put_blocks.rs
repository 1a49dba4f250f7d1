//! The fourth `put` into a queue of three waits until somebody gets.
//!
//! ```text
//! cargo run --example queue_put_blocks -- [--fast]
//! ```
//!
//! Look at the order: the fourth is in only after the main program has taken the first.
//!
//! Python's original puts four times in a single process, and hangs for ever. Here another process
//! puts, so that there is somebody left to get. `put_timeout` waits for so long and no longer, and
//! gives the item back.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the processes talk")]

use std::error::Error;
use std::time::Duration;

use clap::Parser;
use hatchery::{ChildResult, Event, JoinError, Process, Queue};

/// Puts four items into a queue of three.
#[derive(Parser)]
struct Args {
    /// Run almost without pauses: it takes a moment to see somebody wait
    #[arg(long)]
    fast: bool,
}

#[hatchery::main]
fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let pause = Duration::from_millis(if args.fast { 50 } else { 2000 });
    let queue = Queue::bounded(3)?;
    let is_filled = Event::new()?;
    let writer = Process::spawn(put_four, (queue.clone(), is_filled.clone()))?;

    is_filled.wait();
    let outcome = writer.join_timeout(pause);
    if !matches!(outcome, Err(JoinError::Timeout)) {
        return Err("the fourth put did not wait".into());
    }
    println!("main: after {pause:?} it still waits; I take one");
    let mut items = vec![queue.get()?];
    writer.join()??;
    while items.len() < 4 {
        items.push(queue.get()?);
    }
    println!("main: I have got {items:?}");
    Ok(())
}

/// Puts one more than there is room for.
fn put_four((queue, is_filled): (Queue<u32>, Event)) -> ChildResult {
    for item in 1..=3 {
        queue.put(item)?;
    }
    println!("writer: three are in, and the fourth waits");
    is_filled.set();
    queue.put(4)?;
    println!("writer: the fourth is in");
    Ok(())
}
