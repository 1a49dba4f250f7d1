//! The main program produces, and one process consumes.
//!
//! ```text
//! cargo run --example producer_consumer_main -- [--fast] [--seed N]
//! ```
//!
//! Look at the end: the consumer eats what is left, then it finishes, and so does the program.
//!
//! Python's original never ends: the consumer waits in `get` for an item that nobody makes, and the
//! main program waits for the consumer. Here the producer closes the queue: who gets is given
//! what is left, and then told that it is closed.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the processes talk")]

use std::error::Error;
use std::thread;
use std::time::Duration;

use clap::Parser;
use hatchery::{ChildResult, Process, Queue};

/// Produces dumplings for another process.
#[derive(Parser)]
struct Args {
    /// Run without pauses
    #[arg(long)]
    fast: bool,
    /// Choose how long it takes to make each
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[hatchery::main]
fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let mut random = fastrand::Rng::with_seed(args.seed);
    let queue = Queue::bounded(3)?;
    let consumer = Process::spawn(consume, (queue.clone(), "chris".to_owned()))?;
    for number in 1..=10 {
        let pause = if args.fast { 0 } else { random.u64(100..500) };
        thread::sleep(Duration::from_millis(pause));
        println!("main: I have made dumpling {number}");
        queue.put(format!("dumpling {number}"))?;
    }
    queue.close()?;
    let eaten = consumer.join()??;
    println!("main: chris has eaten {eaten}");
    Ok(())
}

/// Eats until there will be no more, and returns how many it was.
fn consume((queue, name): (Queue<String>, String)) -> ChildResult<usize> {
    let mut eaten = 0;
    for food in &queue {
        println!("{name}: I have eaten {}", food?);
        eaten += 1;
    }
    Ok(eaten)
}
