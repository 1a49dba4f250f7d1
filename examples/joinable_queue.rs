//! A producer waits until every item is done with; the consumers are daemons.
//!
//! ```text
//! cargo run --example joinable_queue -- [--fast] [--seed N]
//! ```
//!
//! Look at the producer's last line: it comes after the last item was eaten, not when it was put.
//! Then the program ends, and its consumers with it, which still wait for more.
//!
//! Python's original calls `get` and later `task_done`. Here `get` gives the item on lease:
//! `Item::done` says that it is done with, and if a consumer dies before, somebody else gets it.
//! In Python it is lost then, and `join` never returns.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the processes talk")]

use std::error::Error;
use std::thread;
use std::time::Duration;

use clap::Parser;
use hatchery::{ChildResult, JoinableQueue, Process};

/// Lets one process produce for two others, and wait for them.
#[derive(Parser)]
struct Args {
    /// Run without pauses
    #[arg(long)]
    fast: bool,
    /// Choose how long it takes to eat
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[hatchery::main]
fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let longest = Duration::from_millis(if args.fast { 0 } else { 800 });
    let queue = JoinableQueue::unbounded()?;
    for name in ["chris", "dana"] {
        let seed = args.seed.wrapping_add(name.len() as u64);
        let arguments = (queue.clone(), name.to_owned(), seed, longest);
        Process::builder(consume, arguments).daemon(true).start()?;
    }
    Process::spawn(produce, (queue, 10))?.join()??;
    println!("main: the producer has finished, and so do I");
    Ok(())
}

/// Makes so many dumplings, and waits until all are eaten.
fn produce((queue, count): (JoinableQueue<String>, u32)) -> ChildResult {
    for number in 1..=count {
        queue.put(format!("dumpling {number}"))?;
    }
    println!("producer: all are in");
    queue.join();
    println!("producer: all are done with");
    Ok(())
}

/// Eats for as long as the program runs.
fn consume((queue, name, seed, longest): (JoinableQueue<String>, String, u64, Duration)) {
    let mut random = fastrand::Rng::with_seed(seed);
    loop {
        let food = queue.get().expect("nobody closes the queue");
        thread::sleep(longest.mul_f64(random.f64()));
        println!("{name}: I have eaten {}", *food);
        food.done();
    }
}
