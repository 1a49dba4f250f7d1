//! A hundred buyers want the one ticket in a JSON file, one at a time: exactly one gets it.
//!
//! ```text
//! cargo run --example tickets_lock -- [--fast] [--seed N]
//! ```
//!
//! Look at the last line, and compare the example `tickets_race`, which is this without the lock.
//!
//! Python's original holds a `Lock` while it looks and buys, and so does this. If a buyer dies with
//! Python's lock, nobody gets it any more. Here the next one does, and is told so by the error
//! `OwnerDied`, since what the lock protects may be half changed. It never is here, so it goes on.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the buyers talk")]

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;
use std::{io, thread};

use clap::Parser;
use hatchery::{ChildResult, Lock, OwnerDied, Passed, Process};
use serde::{Deserialize, Serialize};

/// How many want the ticket.
const BUYERS: u32 = 100;

/// Sells one ticket to one buyer.
#[derive(Parser)]
struct Args {
    /// Run without pauses
    #[arg(long)]
    fast: bool,
    /// Choose how long it takes to pay
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What is in the file.
#[derive(Serialize, Deserialize)]
struct Tickets {
    left: u32,
}

#[hatchery::main]
fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let mut random = fastrand::Rng::with_seed(args.seed);
    let file = tempfile::tempfile()?;
    write(&file, &Tickets { left: 1 })?;
    let lock = Lock::new()?;
    let mut buyers = Vec::new();
    for number in 1..=BUYERS {
        let pause = Duration::from_millis(if args.fast { 0 } else { random.u64(300..1000) });
        let arguments = (number, Passed(file.try_clone()?), lock.clone(), pause);
        buyers.push(Process::spawn(buy, arguments)?);
    }
    let mut sold = 0;
    for buyer in buyers {
        sold += u32::from(buyer.join()??);
    }
    let left = read(&file)?.left;
    println!("main: there was 1 ticket, and I have sold {sold}; {left} left");
    Ok(())
}

/// Buys a ticket if one is left, and tells whether there was one.
fn buy(
    (number, Passed(file), lock, pause): (u32, Passed<File>, Lock, Duration),
) -> ChildResult<bool> {
    // A buyer that died with the lock has left the file as it was, or as it was to be.
    let _guard = lock.lock().unwrap_or_else(OwnerDied::into_guard);
    let mut tickets = read(&file)?;
    if tickets.left == 0 {
        return Ok(false);
    }
    println!("buyer {number}: there is one, and I pay for it");
    // Without the lock, everybody else would see the ticket meanwhile.
    thread::sleep(pause);
    tickets.left -= 1;
    write(&file, &tickets)?;
    println!("buyer {number}: I have it");
    Ok(true)
}

fn read(file: &File) -> io::Result<Tickets> {
    let mut text = [0; 64];
    let len = file.read_at(&mut text, 0)?;
    Ok(serde_json::from_slice(&text[..len])?)
}

fn write(file: &File, tickets: &Tickets) -> io::Result<()> {
    let text = serde_json::to_vec(tickets)?;
    file.write_all_at(&text, 0)?;
    file.set_len(text.len() as u64)
}
