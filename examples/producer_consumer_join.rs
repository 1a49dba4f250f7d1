//! The main program waits for the producer, tells the consumer that it was all, and waits for it.
//!
//! ```text
//! cargo run --example producer_consumer_join -- [--fast] [--seed N]
//! ```
//!
//! Look at the last line: it comes after both have finished, and knows how much each has done.
//!
//! Python's original is the same, with a second queue for results if one wants any. Here `join`
//! gives what the function returned, which is an error if one of its calls failed: the first `?`
//! after `join` is for a process that was killed or panicked, the second for that.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the processes talk")]

use std::error::Error;
use std::thread;
use std::time::Duration;

use clap::Parser;
use hatchery::{ChildResult, Process, Queue};

/// Lets one process produce for another, and waits for both.
#[derive(Parser)]
struct Args {
    /// Run without pauses
    #[arg(long)]
    fast: bool,
    /// Choose how long it takes to make and to eat
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[hatchery::main]
fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let longest = Duration::from_millis(if args.fast { 0 } else { 500 });
    let queue = Queue::bounded(3)?;
    let producer = Process::spawn(produce, (queue.clone(), args.seed, longest))?;
    let consumer = Process::spawn(consume, (queue.clone(), args.seed.wrapping_add(1), longest))?;
    let made = producer.join()??;
    queue.put(None)?;
    let eaten = consumer.join()??;
    println!("main: both have finished, {made} made and {eaten} eaten");
    Ok(())
}

/// Makes ten dumplings, and returns how many that is.
fn produce((queue, seed, longest): (Queue<Option<String>>, u64, Duration)) -> ChildResult<usize> {
    let mut random = fastrand::Rng::with_seed(seed);
    for number in 1..=10 {
        thread::sleep(longest.mul_f64(random.f64()));
        println!("producer: I have made dumpling {number}");
        queue.put(Some(format!("dumpling {number}")))?;
    }
    Ok(10)
}

/// Eats until it gets `None`, and returns how many it was.
fn consume((queue, seed, longest): (Queue<Option<String>>, u64, Duration)) -> ChildResult<usize> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut eaten = 0;
    while let Some(food) = queue.get()? {
        thread::sleep(longest.mul_f64(random.f64()));
        println!("consumer: I have eaten {food}");
        eaten += 1;
    }
    Ok(eaten)
}
