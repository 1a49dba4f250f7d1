//! Words of many texts are counted by a pool, and once more by one process alone.
//!
//! ```text
//! cargo run --release --example pool_map -- [--workers N] [--seed N] [--fast] [FILE…]
//! ```
//!
//! Look at the progress, at the time that each takes, and that both find the same. Without files it
//! makes up texts; `--fast` makes few.
//!
//! In Python this is `Pool.imap_unordered`, whose caller has to name a chunk size for it to be fast. Here each
//! text is a task of its own, and the pool sends as many ahead as is worth it.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it says how far it is")]

use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;
use std::{fs, io};

use clap::Parser;
use hatchery::{ChildError, Pool, cpu_count};
use serde::{Deserialize, Serialize};

/// Counts words.
#[derive(Parser)]
struct Args {
    /// How many processes count
    #[arg(long)]
    workers: Option<usize>,
    /// Choose what the texts say
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Count few texts
    #[arg(long)]
    fast: bool,
    /// The files to count in
    files: Vec<PathBuf>,
}

/// Where words are to be counted.
#[derive(Clone, Serialize, Deserialize)]
enum Text {
    File(PathBuf),
    MadeUp { seed: u64, words: u32 },
}

type Counts = HashMap<String, u64>;

#[hatchery::main]
fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let texts = texts(&args);
    let workers = args.workers.unwrap_or_else(cpu_count);
    let pool = Pool::builder().workers(workers).build()?;

    let began = Instant::now();
    let mut by_pool = Counts::new();
    let results = pool.imap_unordered(count, texts.clone());
    for (done, result) in (1..).zip(results) {
        add(&mut by_pool, result??);
        if done * 4 % texts.len() < 4 {
            println!("{done} of {} texts", texts.len());
        }
    }
    let pool_took = began.elapsed();
    pool.join();

    let began = Instant::now();
    let mut alone = Counts::new();
    for text in texts {
        add(&mut alone, count(text)?);
    }
    let alone_took = began.elapsed();

    assert_eq!(by_pool, alone, "both count the same words");
    let most = by_pool.iter().max_by_key(|(word, count)| (**count, *word));
    let (word, times) = most.ok_or("there are no words")?;
    println!(
        "{} words, most often {word:?}: {times}",
        by_pool.values().sum::<u64>()
    );
    let ratio = alone_took.as_secs_f64() / pool_took.as_secs_f64();
    println!("{workers} workers: {pool_took:.1?}; alone: {alone_took:.1?}, {ratio:.1} times that");
    Ok(())
}

fn texts(args: &Args) -> Vec<Text> {
    if !args.files.is_empty() {
        return args.files.iter().cloned().map(Text::File).collect();
    }
    let (count, words) = if args.fast { (40, 500) } else { (400, 50_000) };
    let seeds = (0..count).map(|text| args.seed.wrapping_mul(1_000).wrapping_add(text));
    seeds.map(|seed| Text::MadeUp { seed, words }).collect()
}

/// Counts the words of one text; this is the task.
fn count(text: Text) -> Result<Counts, ChildError> {
    let words = match text {
        Text::File(path) => fs::read_to_string(&path).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?,
        Text::MadeUp { seed, words } => make_up(seed, words),
    };
    let mut counts = Counts::new();
    for word in words.split_whitespace() {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    Ok(counts)
}

fn make_up(seed: u64, words: u32) -> String {
    const WORDS: [&str; 8] = ["Egg", "hen", "brood", "nest", "the", "a", "warm", "shell"];
    let mut random = fastrand::Rng::with_seed(seed);
    let words = (0..words).map(|_| *random.choice(&WORDS).expect("there are words"));
    words.collect::<Vec<_>>().join(" ")
}

fn add(all: &mut Counts, of_one: Counts) {
    for (word, count) in of_one {
        *all.entry(word).or_default() += count;
    }
}
