//! An app of axum that `axum::serve` serves, as it would outside of Hatchery.
//!
//! ```text
//! cargo run --example axum_serve [ADDRESS]
//! ```
//!
//! Then, in another terminal, run `telnet 127.0.0.1 8086` and type `GET / HTTP/1.1`, `Host: me` and an
//! empty line. Replace all workers with `kill -HUP` and the process id that is printed: axum closes the
//! connection, for it is idle. Under `HttpServer` (see `axum_app`) it goes on in another worker.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::routing::get;
use hatchery::{HandlerResult, WithConnectInfo, Worker};

#[hatchery::main]
async fn main() -> hatchery::Result<()> {
    let address = std::env::args().nth(1);
    println!("kill -HUP {}", std::process::id());
    hatchery::Server::builder()
        .bind(address.as_deref().unwrap_or("127.0.0.1:8086"))
        .workers(4)
        .on_ready(|ready| println!("listening on {}", ready.addresses.join(", ")))
        .run(live)
        .await
}

/// Lives the life of one worker: axum serves what comes to it until it is to end.
async fn live(worker: Worker) -> HandlerResult {
    let app = Router::new()
        .route("/", get(greet))
        .with_state(worker.clone());
    axum::serve(worker.listener(), WithConnectInfo::new(app))
        .with_graceful_shutdown(worker.draining())
        .await?;
    Ok(())
}

async fn greet(
    State(worker): State<Worker>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
) -> String {
    let (id, process) = (worker.id(), std::process::id());
    format!("Hello {client}! This is worker {id}, process {process}.\n")
}
