//! Workers with a body of your own: it accepts, does something else beside, and says goodbye.
//!
//! ```text
//! cargo run --example worker_body [ADDRESS]
//! ```
//!
//! Then, in other terminals, run `nc 127.0.0.1 8082` a few times. Look at who greets you: the
//! connections go round the workers, and each worker counts its own. Every ten seconds it says
//! how many it had. At Ctrl-C the clients are told that this is the end, and nobody has to wait.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the workers say what they do")]

use std::time::Duration;

use futures::StreamExt;
use hatchery::{Connection, Dispatch, HandlerResult, Worker};
use serde::{Deserialize, Serialize};

/// What the main process tells the workers.
#[derive(Serialize, Deserialize)]
struct Settings {
    greeting: String,
    report_every: Duration,
}

#[hatchery::main]
async fn main() -> hatchery::Result<()> {
    let address = std::env::args().nth(1);
    let settings = Settings {
        greeting: "Welcome".to_owned(),
        report_every: Duration::from_secs(10),
    };
    hatchery::Server::builder()
        .bind(address.as_deref().unwrap_or("127.0.0.1:8082"))
        .workers(2)
        .dispatch(Dispatch::RoundRobin)
        .state(&settings)
        .on_ready(|ready| println!("listening on {}", ready.addresses.join(", ")))
        .run(live)
        .await
}

/// Lives the life of one worker.
async fn live(worker: Worker) -> HandlerResult {
    let id = worker.id();
    let settings: &Settings = worker.state();
    let greeting = &settings.greeting;
    let mut clock = tokio::time::interval(settings.report_every);
    // The first tick comes at once, and there is nothing to report yet.
    clock.tick().await;
    let mut incoming = worker.incoming();
    let mut count = 0;
    loop {
        tokio::select! {
            client = incoming.next() => {
                // When the worker is to end, no more clients come.
                let Some(client) = client else { break };
                count += 1;
                let welcome = format!("{greeting}, client {count} of worker {id}!\n");
                tokio::spawn(entertain(client, welcome, worker.clone()));
            }
            _ = clock.tick() => println!("worker {id}: {count} clients so far"),
        }
    }
    // The process ends with this function: first, the clients who are here are told.
    worker.finished().await;
    println!("worker {id}: goodbye after {count} clients");
    Ok(())
}

/// Greets a client, and listens to it until it leaves or the worker is to end.
async fn entertain(mut client: Connection, welcome: String, worker: Worker) -> HandlerResult {
    client.write_all(welcome.as_bytes()).await?;
    let mut buffer = [0; 1024];
    loop {
        tokio::select! {
            read = client.read(&mut buffer) => if read? == 0 { return Ok(()) },
            () = worker.draining() => {
                client.write_all(b"The server ends. Goodbye!\n").await?;
                return Ok(());
            }
        }
    }
}
