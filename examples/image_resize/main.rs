//! A web service that makes PNG images smaller, by code that has a bug and crashes.
//!
//! ```text
//! cargo run --release --example image_resize [ADDRESS [WORKERS]]
//! ```
//!
//! Then, in another terminal, run `curl --data-binary @photo.png 'http://127.0.0.1:8084/?width=200'
//! -o small.png`. Look at what happens when `photo.png` is grey instead of coloured: the worker that had
//! it crashes, which the server says, and `curl` gets no answer. Everybody else gets theirs.
//!
//! Do it again and again: after a few times, requests of your address that begin with the same
//! 64 bytes are refused for a minute, without a crash (`server.poison_after`). To `curl` these are the
//! address, the path and its own name, so a good image is refused as well then, unless it asks for another width.
//!
//! Each worker has one image at a time, so a crash takes no other with it, and a large image keeps
//! nobody waiting but for the CPU.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it says where it listens")]

mod image;
mod request;

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use clap::Parser;
use hatchery::HandlerResult;

/// How long a client may be silent in the middle of its request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes images smaller.
#[derive(Parser)]
struct Args {
    /// Where to listen
    #[arg(default_value = "127.0.0.1:8084")]
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
        .on_ready(|ready| println!("listening on {}", ready.addresses.join(", ")))
        .serve_blocking(answer)
        .await
}

/// Answers one request, and ends the connection.
fn answer(mut client: TcpStream) -> HandlerResult {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let made =
        request::read(&mut client).and_then(|request| image::shrink(&request.body, request.width));
    let (status, kind, body) = match &made {
        Ok(png) => ("200 OK", "image/png", png.as_slice()),
        Err(problem) => ("400 Bad Request", "text/plain", problem.as_bytes()),
    };
    write!(
        client,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    client.write_all(body)?;
    Ok(())
}
