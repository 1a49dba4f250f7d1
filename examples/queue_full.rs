//! `try_put` into a full queue is an error that gives the item back.
//!
//! ```text
//! cargo run --example queue_full
//! ```
//!
//! Look at what the error says, and that nothing was lost: what did not fit is put later.
//!
//! Python's original calls `put(item, block=False)` and gets the exception `queue.Full`; its
//! `get(block=False)` may say `Empty` although the item was just put, because a thread is
//! still on its way with it. Here what was put is there, and each error is a variant of its own.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it says what happens")]

use std::error::Error;

use clap::Parser;
use hatchery::{GetError, Queue};

/// Fills a queue and puts once more.
#[derive(Parser)]
struct Args {
    /// Run without pauses, of which there are none here
    #[arg(long)]
    fast: bool,
}

#[hatchery::main]
fn main() -> Result<(), Box<dyn Error>> {
    Args::parse();
    let queue = Queue::bounded(3)?;
    for item in ["one", "two", "three"] {
        queue.try_put(item.to_owned())?;
    }
    println!("main: {} items, full: {}", queue.len(), queue.is_full());

    let Err(error) = queue.try_put("four".to_owned()) else {
        return Err("there was room for a fourth".into());
    };
    println!("main: try_put says: {error}; full: {}", error.is_full());
    let item = error.into_item();
    println!("main: and gives back {item:?}");

    println!("main: I take {:?}", queue.get()?);
    queue.try_put(item)?;
    loop {
        match queue.try_get() {
            Ok(item) => println!("main: I take {item:?}"),
            Err(error @ GetError::Empty) => {
                println!("main: try_get says: {error}");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
}
