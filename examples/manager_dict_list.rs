//! Five processes write their ids into a list and a dict that they share.
//!
//! ```text
//! cargo run --example manager_dict_list
//! ```
//!
//! Look at the last two lines: all five are in the list and in the dict. `ps xf` shows the manager's
//! process while it runs.
//!
//! Python's original has `Manager().list()` and `.dict()`, whose proxies take any object. Here
//! proxies have types, `ManagedList<u32>`, and each operation is one step: `add` and `push` need no
//! lock around them. A manager that was killed is the error `ManagerLost`, at once and for everybody.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it says what was shared")]

use std::error::Error;

use clap::Parser;
use hatchery::{ChildResult, ManagedDict, ManagedList, Manager, Process, current_process};

/// Shares a list and a dict among five processes.
#[derive(Parser)]
struct Args {
    /// Run without pauses, of which there are none here
    #[arg(long)]
    fast: bool,
}

#[hatchery::main]
fn main() -> Result<(), Box<dyn Error>> {
    Args::parse();
    let manager = Manager::start()?;
    let list: ManagedList<u32> = manager.list()?;
    let dict: ManagedDict<String, u32> = manager.dict()?;
    let mut writers = Vec::new();
    for number in 1..=5 {
        let mut writer = Process::builder(write, (list.clone(), dict.clone()));
        writers.push(writer.name(format!("writer {number}")).start()?);
    }
    for writer in &writers {
        writer.join()??;
        println!("main: {} was process {}", writer.name(), writer.pid());
    }
    println!("main: the list is {:?}", list.to_vec()?);
    println!("main: the dict is {:?}", dict.items()?);
    manager.shutdown()?;
    Ok(())
}

/// Writes this process's id into both.
fn write((list, dict): (ManagedList<u32>, ManagedDict<String, u32>)) -> ChildResult {
    let this = current_process();
    list.push(&this.pid())?;
    dict.insert(&this.name().to_owned(), &this.pid())?;
    Ok(())
}
