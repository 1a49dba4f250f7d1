//! A table that is made once and shared by all workers, instead of made by each.
//!
//! ```text
//! cargo run --example preload [ADDRESS]
//! ```
//!
//! Then, in another terminal, `echo 4999998 | nc -N 127.0.0.1 8081` prints the prime factors.
//! Look at the memory that the server prints: a worker's share (the kernel's "PSS", which divides
//! each page by the processes that have it) is a fraction of what the table takes.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it shows who has how much memory")]

use std::error::Error;
use std::fs;

use hatchery::{Connection, HandlerResult, Ready};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

/// The first number that is not in the table.
const LIMIT: usize = 5_000_000;

/// The smallest prime factor of each number.
struct Factors(Vec<usize>);

#[hatchery::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    // This runs in the fork server: the workers are born with the table.
    hatchery::preload(Factors::new)?;
    hatchery::Server::builder()
        .bind(address.as_deref().unwrap_or("127.0.0.1:8081"))
        .workers(4)
        .on_ready(print_memory)
        .serve(answer)
        .await?;
    Ok(())
}

/// Answers each number, on a line of its own, with its prime factors.
async fn answer(client: Connection) -> HandlerResult {
    let factors = hatchery::preloaded::<Factors>().ok_or("the table is missing")?;
    let mut client = BufReader::new(client);
    let mut line = String::new();
    while client.read_line(&mut line).await? > 0 {
        let answer = match line.trim().parse() {
            Ok(number) if (2..LIMIT).contains(&number) => factors.of(number).join(" × "),
            _ => format!("not a number from 2 to {}", LIMIT - 1),
        };
        client.write_all(format!("{answer}\n").as_bytes()).await?;
        line.clear();
    }
    Ok(())
}

impl Factors {
    /// Finds the primes as Eratosthenes did.
    fn new() -> Self {
        let mut smallest: Vec<usize> = (0..LIMIT).collect();
        for number in (2..LIMIT).take_while(|n| n * n < LIMIT) {
            if smallest[number] != number {
                // Not a prime: its multiples have a smaller factor.
                continue;
            }
            for multiple in (number * number..LIMIT).step_by(number) {
                smallest[multiple] = smallest[multiple].min(number);
            }
        }
        Self(smallest)
    }

    /// Lists the prime factors of a number, the smallest first.
    fn of(&self, mut number: usize) -> Vec<String> {
        let mut factors = Vec::new();
        while number > 1 {
            let factor = self.0[number];
            factors.push(factor.to_string());
            number /= factor;
        }
        factors
    }
}

fn print_memory(ready: &Ready) {
    println!("table: {} KiB", LIMIT * size_of::<usize>() / 1024);
    for &worker in &ready.workers {
        let share = share_of(worker);
        println!("worker {worker}: {}", share.as_deref().unwrap_or("unknown"));
    }
    println!("listening on {}", ready.addresses.join(", "));
}

/// Reads a process's share of the memory that it has.
fn share_of(pid: u32) -> Option<String> {
    let memory = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let share = memory.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(share.trim().replace("kB", "KiB"))
}
