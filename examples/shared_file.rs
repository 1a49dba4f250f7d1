//! A hundred processes append a line each to one file: a hundred whole lines.
//!
//! ```text
//! cargo run --example shared_file -- [--file PATH]
//! ```
//!
//! Look at the last line, and with `--file` at the file: no line is lost, and none is broken by
//! another, although nobody waits for anybody. Without `--file` it is a temporary one.
//!
//! In Python's original each process opens the file by its name. Here it is opened once, and each
//! process is given the descriptor among its arguments. What keeps the lines whole is the same in
//! both: the kernel does one `write` to an appended file after the other.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it says what is in the file")]

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use clap::Parser;
use hatchery::{ChildResult, Passed, Process};

/// How many processes there are.
const WRITERS: usize = 100;

/// Lets a hundred processes append a line each to a file.
#[derive(Parser)]
struct Args {
    /// Append to this file [default: a temporary one]
    #[arg(long)]
    file: Option<PathBuf>,
    /// Run without pauses, of which there are none here
    #[arg(long)]
    fast: bool,
}

#[hatchery::main]
fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let mut file = match &args.file {
        Some(path) => open(path)?,
        // It is removed at once, and is there for as long as somebody has it open.
        None => open(tempfile::NamedTempFile::new()?.path())?,
    };
    let start = file.seek(SeekFrom::End(0))?;

    let mut writers = Vec::new();
    for number in 0..WRITERS {
        writers.push(Process::spawn(append, (Passed(file.try_clone()?), number))?);
    }
    for writer in writers {
        writer.join()??;
    }

    file.seek(SeekFrom::Start(start))?;
    let lines: Result<Vec<String>, _> = BufReader::new(file).lines().collect();
    let lines = lines?;
    let is_whole = |number: &usize| lines.contains(&line(*number));
    let whole = (0..WRITERS).filter(is_whole).count();
    println!("main: {} lines, {whole} of them whole", lines.len());
    Ok(())
}

fn open(path: &Path) -> Result<File, String> {
    let mut options = File::options();
    let opened = options.read(true).append(true).create(true).open(path);
    opened.map_err(|error| format!("{} cannot be opened: {error}", path.display()))
}

/// Appends one line, in one write.
fn append((Passed(mut file), number): (Passed<File>, usize)) -> ChildResult {
    let line = line(number) + "\n";
    file.write_all(line.as_bytes())?;
    Ok(())
}

fn line(number: usize) -> String {
    format!("process {number} was here, and wrote this from its beginning to its end")
}
