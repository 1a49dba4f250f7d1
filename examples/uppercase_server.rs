//! A server whose workers block: each has one client at a time, and answers in upper case.
//!
//! ```text
//! cargo run --example uppercase_server [ADDRESS [WORKERS]]
//! ```
//!
//! Then, in another terminal, run the example `uppercase_client`, or
//! `echo 'straße, été' | nc -N 127.0.0.1 9000`, which prints `STRASSE, ÉTÉ`. Look at what happens
//! when more clients come than there are workers: the next one waits until another leaves.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use clap::Parser;

/// Answers with the upper-case of what it is sent.
#[derive(Parser)]
struct Args {
    /// Where to listen
    #[arg(default_value = "127.0.0.1:9000")]
    address: String,
    /// How many workers to start
    #[arg(default_value_t = 4)]
    workers: u32,
}

#[hatchery::main]
async fn main() -> hatchery::Result<()> {
    let args = Args::parse();
    hatchery::Server::builder()
        .bind(args.address)
        .workers(args.workers)
        // A worker that waits for its client hears of Ctrl-C only when the client leaves.
        .drain_timeout(Duration::from_secs(5))
        .on_ready(|ready| println!("listening on {}", ready.addresses.join(", ")))
        .serve_blocking(answer)
        .await
}

/// Answers one client until it has sent everything.
fn answer(mut client: TcpStream) -> hatchery::HandlerResult {
    let mut upper_case = UpperCase::default();
    let mut buffer = [0; 4096];
    loop {
        let read = client.read(&mut buffer)?;
        if read == 0 {
            client.write_all(&upper_case.finish())?;
            return Ok(());
        }
        client.write_all(&upper_case.feed(&buffer[..read]))?;
    }
}

/// Turns a stream of UTF-8 into upper case, in whatever pieces it comes.
#[derive(Default)]
struct UpperCase {
    /// The beginning of a character of which the next piece has the rest.
    begun: Vec<u8>,
}

impl UpperCase {
    /// Returns the upper case of every character that is whole by now.
    fn feed(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.begun);
        bytes.extend_from_slice(piece);
        self.begun = bytes.split_off(bytes.len() - begun_at_end(&bytes));
        let mut upper = Vec::new();
        for chunk in bytes.utf8_chunks() {
            upper.extend(chunk.valid().to_uppercase().into_bytes());
            // What is not UTF-8 passes as it is.
            upper.extend(chunk.invalid());
        }
        upper
    }

    /// Returns what is left at the end: a character that was never completed.
    fn finish(self) -> Vec<u8> {
        self.begun
    }
}

/// How many bytes at the end are the beginning of a character.
fn begun_at_end(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last();
    let tail = last.map_or(&[][..], |chunk| chunk.invalid());
    match str::from_utf8(tail) {
        // Without a length, the error is that more bytes were expected.
        Err(error) if error.error_len().is_none() => tail.len(),
        _ => 0,
    }
}
