//! Layers of tower around connections: how many at once, for how long, and a line about each.
//!
//! ```text
//! cargo run --example tower_layers [ADDRESS [SECONDS]]
//! ```
//!
//! Then run `nc 127.0.0.1 8088` in five other terminals, and type. Look at who is welcome: each of two
//! workers has two clients at once, so the fifth waits until one leaves, and nobody stays for longer than
//! 30 seconds. `kill -HUP` replaces the workers: then the fifth is served by a new one at once, and the
//! others stay with theirs.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the workers say what they do")]

use std::time::Duration;

use hatchery::{Connection, HandlerResult, Worker};
use tower::ServiceBuilder;

#[hatchery::main]
async fn main() -> hatchery::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next();
    let seconds = arguments.next().and_then(|seconds| seconds.parse().ok());
    hatchery::Server::builder()
        .bind(address.as_deref().unwrap_or("127.0.0.1:8088"))
        .workers(2)
        .state(&Duration::from_secs(seconds.unwrap_or(30)))
        .on_ready(|ready| println!("listening on {}", ready.addresses.join(", ")))
        .run(live)
        .await
}

/// Lives the life of one worker.
async fn live(worker: Worker) -> HandlerResult {
    let id = worker.id();
    let service = ServiceBuilder::new()
        .concurrency_limit(2)
        .map_request(move |client: Connection| {
            println!("worker {id}: client {} from {}", client.id(), client.peer());
            client
        })
        .timeout(*worker.state())
        .service_fn(move |client| shout(client, id));
    worker.serve(service).await
}

/// Welcomes a client, and repeats what it says in upper case.
async fn shout(mut client: Connection, worker: u32) -> HandlerResult {
    let welcome = format!("Welcome to worker {worker}!\n");
    client.write_all(welcome.as_bytes()).await?;
    let mut buffer = [0; 1024];
    loop {
        let read = client.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        buffer[..read].make_ascii_uppercase();
        client.write_all(&buffer[..read]).await?;
    }
}
