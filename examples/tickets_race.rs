//! A hundred buyers want the one ticket in a JSON file, without a lock: more than one gets it.
//!
//! ```text
//! cargo run --example tickets_race
//! ```
//!
//! Look at how many have bought the one ticket, and compare the example `tickets_lock`.
//!
//! Python's original pauses between looking and buying, so that it goes wrong often. Here a barrier
//! is in that place: nobody buys until everybody has looked, and it goes wrong each time. The file
//! has no name, so that it leaves nothing behind: each process is given its descriptor.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the buyers talk")]

use std::error::Error;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use clap::Parser;
use hatchery::{Barrier, ChildResult, Passed, Process};
use serde::{Deserialize, Serialize};

/// How many want the ticket.
const BUYERS: u32 = 100;

/// Sells one ticket to more than one buyer.
#[derive(Parser)]
struct Args {
    /// Run without pauses, of which there are none here
    #[arg(long)]
    fast: bool,
}

/// What is in the file.
#[derive(Serialize, Deserialize)]
struct Tickets {
    left: u32,
}

#[hatchery::main]
fn main() -> Result<(), Box<dyn Error>> {
    Args::parse();
    let file = tempfile::tempfile()?;
    write(&file, &Tickets { left: 1 })?;
    let all_have_looked = Barrier::new(BUYERS)?;
    let mut buyers = Vec::new();
    for number in 1..=BUYERS {
        let arguments = (number, Passed(file.try_clone()?), all_have_looked.clone());
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
fn buy((number, Passed(file), all_have_looked): (u32, Passed<File>, Barrier)) -> ChildResult<bool> {
    let mut tickets = read(&file)?;
    // The barrier breaks if a buyer is killed: then there is no sale.
    all_have_looked.wait()?;
    if tickets.left == 0 {
        return Ok(false);
    }
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
