//! Tasks that panic, exit, crash and hang: each fails alone.
//!
//! ```text
//! cargo run --example pool_crash
//! ```
//!
//! Look at what becomes of each task, after two seconds also of the one that hangs, and that all the
//! good ones between them have their results.
//!
//! With Python's `Pool` the result of a task whose worker died never comes, and with its
//! `ProcessPoolExecutor` all tasks that wait fail with it. Here a dead worker is replaced, and only the task
//! that it ran is lost; that task's error says how the worker ended.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it says what becomes of the tasks")]

use std::error::Error;
use std::time::Duration;
use std::{process, thread};

use clap::Parser;
use hatchery::{Pool, TaskError};
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};

/// Runs tasks that go wrong.
#[derive(Parser)]
struct Args {
    /// Run without pauses, of which there are none here
    #[arg(long)]
    fast: bool,
}

/// What a task does.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Deed {
    Square(u64),
    Fail,
    Panic,
    Exit,
    Crash,
    Hang,
}

#[hatchery::main]
fn main() -> Result<(), Box<dyn Error>> {
    Args::parse();
    let pool = Pool::builder()
        .workers(2)
        .task_timeout(Duration::from_secs(2))
        .stop_grace(Duration::from_millis(50))
        .build()?;
    let deeds = [
        Deed::Square(1),
        Deed::Fail,
        Deed::Square(2),
        Deed::Panic,
        Deed::Square(3),
        Deed::Exit,
        Deed::Square(4),
        Deed::Crash,
        Deed::Square(5),
        Deed::Hang,
        Deed::Square(6),
    ];
    let tasks: Vec<_> = deeds.map(|deed| (deed, pool.submit(perform, deed))).into();
    for (deed, task) in tasks {
        println!("{deed:?}: {}", tell(task.wait()));
    }
    println!("one more: {}", tell(pool.apply(perform, Deed::Square(7))));
    let stats = pool.stats();
    println!("{} tasks returned, {} did not", stats.done, stats.failed);
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "this is what goes wrong here")]
fn perform(deed: Deed) -> Result<u64, String> {
    match deed {
        Deed::Square(number) => Ok(number * number),
        Deed::Fail => Err("I would rather not".to_owned()),
        Deed::Panic => panic!("this should not have happened"),
        Deed::Exit => process::exit(3),
        // What a wild pointer in a C library ends in.
        Deed::Crash => loop {
            kill_process(getpid(), Signal::SEGV).expect("a process may signal itself");
        },
        Deed::Hang => loop {
            thread::park();
        },
    }
}

fn tell(result: Result<Result<u64, String>, TaskError>) -> String {
    match result {
        Ok(Ok(square)) => format!("returned {square}"),
        Ok(Err(reason)) => format!("failed by itself: {reason}"),
        Err(TaskError::TaskPanicked { message, .. }) => format!("panicked: {message}"),
        Err(TaskError::WorkerLost {
            exit: Some(code), ..
        }) => {
            format!("has ended its worker with exit code {code}")
        }
        Err(TaskError::WorkerLost {
            signal: Some(signal),
            ..
        }) => {
            format!("has lost its worker to signal {signal}")
        }
        Err(error) => error.to_string(),
    }
}
