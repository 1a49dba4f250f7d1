//! A client for `uppercase_server`: sends each line that it reads, and prints the answer.
//!
//! ```text
//! cargo run --example uppercase_client [ADDRESS]
//! ```
//!
//! Type a line and Enter; Ctrl-D ends it. It also reads from a pipe or a file, and then prints
//! the answers alone. Look at what it says when the server is killed while it waits for you.
#![forbid(unsafe_code)]
#![expect(clippy::print_stderr, reason = "it says why it failed")]

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::runtime;

fn main() -> io::Result<ExitCode> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:9000");
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(talk(address));
    // A read from a terminal cannot be cancelled: without this, the program would wait for it.
    runtime.shutdown_background();
    if let Err(problem) = outcome {
        eprintln!("error: {problem}");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Talks to the server until there are no more lines.
async fn talk(address: &str) -> Result<(), Box<dyn Error>> {
    let server = TcpStream::connect(address)
        .await
        .map_err(|error| format!("cannot connect to {address}: {error}"))?;
    let gone = format!("the server at {address} has closed the connection");
    let (from_server, mut to_server) = server.into_split();
    let mut answers = BufReader::new(from_server).split(b'\n');
    let mut lines = BufReader::new(tokio::io::stdin()).split(b'\n');
    loop {
        show("> ")?;
        let line = tokio::select! {
            line = lines.next_segment() => line?,
            // Nothing was asked, so this is no answer: it is the end.
            _ = answers.next_segment() => {
                show("\n")?;
                return Err(gone.into());
            }
        };
        let Some(mut line) = line else {
            show("\n")?;
            return Ok(());
        };
        if line.is_empty() {
            continue;
        }
        line.push(b'\n');
        // Both at once: the server answers the beginning of a long line before it has the end.
        let exchange = tokio::try_join!(to_server.write_all(&line), answers.next_segment());
        let Ok(((), Some(mut answer))) = exchange else {
            return Err(gone.into());
        };
        answer.push(b'\n');
        io::stdout().write_all(&answer)?;
    }
}

/// Prints what only somebody at a terminal wants to see.
fn show(text: &str) -> io::Result<()> {
    if !io::stdin().is_terminal() {
        return Ok(());
    }
    let mut stdout = io::stdout();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
