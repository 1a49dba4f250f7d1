//! A producer tells its consumer by an item that there will be no more: the sentinel `None`.
//!
//! ```text
//! cargo run --example producer_consumer_sentinel -- [--fast] [--seed N]
//! ```
//!
//! Look at the end: the consumer gets `None` after everything else, because a queue keeps the order
//! of what one process puts, and finishes.
//!
//! Python's original puts `None` among strings. Here the type says that it may come: items are of
//! type `Option<String>`. With several consumers it takes a `None` for each; `Queue::close`, as in
//! the example `producer_consumer`, tells all of them.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the processes talk")]

use std::error::Error;
use std::thread;
use std::time::Duration;

use clap::Parser;
use hatchery::{Process, Queue};

/// Lets one process produce for another, and end it with `None`.
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
    Process::spawn(produce, (queue.clone(), args.seed, longest))?;
    Process::spawn(consume, (queue, args.seed.wrapping_add(1), longest))?;
    println!("main: both have started, and I have nothing left to do");
    Ok(())
}

/// Makes ten dumplings, and then `None`.
fn produce((queue, seed, longest): (Queue<Option<String>>, u64, Duration)) {
    let mut random = fastrand::Rng::with_seed(seed);
    for number in 1..=10 {
        thread::sleep(longest.mul_f64(random.f64()));
        println!("producer: I have made dumpling {number}");
        let put = queue.put(Some(format!("dumpling {number}")));
        put.expect("nobody closes the queue");
    }
    queue.put(None).expect("nobody closes the queue");
}

/// Eats until it gets `None`.
fn consume((queue, seed, longest): (Queue<Option<String>>, u64, Duration)) {
    let mut random = fastrand::Rng::with_seed(seed);
    while let Some(food) = queue.get().expect("nobody closes the queue") {
        thread::sleep(longest.mul_f64(random.f64()));
        println!("consumer: I have eaten {food}");
    }
    println!("consumer: I have got None");
}
