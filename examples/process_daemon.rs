//! A daemon ends with the main program; any other process is waited for.
//!
//! ```text
//! cargo run --example process_daemon -- [--fast]
//! ```
//!
//! Look at what is missing: the worker says its last line after the main function has returned,
//! the daemon never does. `ps` shows neither of them afterwards.
//!
//! Python's original does the same where the main program ends by itself; if it is killed, Python's
//! daemons live on. Here they are gone within a second. Python ends daemons before it waits for the
//! others, which may still need them; here it is the other way round, and a daemon may have children.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the processes talk")]

use std::error::Error;
use std::thread;
use std::time::Duration;

use clap::Parser;
use hatchery::{Event, Process, Queue};

/// Starts a daemon and a process that is none, and ends.
#[derive(Parser)]
struct Args {
    /// Run without pauses
    #[arg(long)]
    fast: bool,
}

#[hatchery::main]
fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let pause = Duration::from_millis(if args.fast { 0 } else { 1500 });
    let orders: Queue<String> = Queue::unbounded()?;
    let served = Event::new()?;
    let last_words = Event::new()?;
    orders.put("tea".to_owned())?;

    Process::builder(serve, (orders, served.clone()))
        .daemon(true)
        .start()?;
    Process::spawn(work, (last_words.clone(), pause))?;

    served.wait();
    println!("main: the main function returns");
    last_words.set();
    Ok(())
}

/// Serves orders for as long as the main program runs.
fn serve((orders, served): (Queue<String>, Event)) {
    while let Ok(order) = orders.get() {
        println!("daemon: here is your {order}; I wait for more");
        served.set();
    }
    println!("daemon: I have finished");
}

/// Works longer than the main function does.
fn work((last_words, pause): (Event, Duration)) {
    last_words.wait();
    thread::sleep(pause);
    println!("worker: I have finished");
}
