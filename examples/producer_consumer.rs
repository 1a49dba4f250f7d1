//! One process produces, another consumes, and the queue between them balances their paces.
//!
//! ```text
//! cargo run --example producer_consumer -- [--fast] [--seed N]
//! ```
//!
//! Look at how far the producer is ahead: never more than the queue has room for, and the one
//! in the consumer's hands, and the one that it is about to put.
//!
//! Python's original never ends, because the consumer waits for an item that nobody makes. Here the
//! producer closes the queue, and the program ends by itself: it waits for all that are no daemons.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the processes talk")]

use std::error::Error;
use std::thread;
use std::time::Duration;

use clap::Parser;
use hatchery::{GetError, Process, Queue};

/// Lets one process produce for another.
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

/// Makes ten dumplings, and says that there will be no more.
fn produce((queue, seed, longest): (Queue<String>, u64, Duration)) {
    let mut random = fastrand::Rng::with_seed(seed);
    for number in 1..=10 {
        thread::sleep(longest.mul_f64(random.f64()));
        println!("producer: I have made dumpling {number}");
        let put = queue.put(format!("dumpling {number}"));
        put.expect("the queue is open until here");
    }
    queue.close().expect("a queue can be closed");
}

/// Eats until there will be no more.
fn consume((queue, seed, longest): (Queue<String>, u64, Duration)) {
    let mut random = fastrand::Rng::with_seed(seed);
    loop {
        match queue.get() {
            Ok(food) => {
                thread::sleep(longest.mul_f64(random.f64()));
                println!("consumer: I have eaten {food}");
            }
            Err(GetError::Closed) => break,
            Err(error) => panic!("{error}"),
        }
    }
    println!("consumer: there is no more");
}
