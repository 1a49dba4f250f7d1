//! An app of axum whose idle clients notice nothing when the workers are replaced.
//!
//! ```text
//! cargo run --example axum_parked [ADDRESS]
//! ```
//!
//! Then, in another terminal, run `telnet 127.0.0.1 8086` and type `GET / HTTP/1.1`, `Host: me` and an
//! empty line. Replace all workers with `kill -HUP` and the process id that is printed, and ask again on
//! the same connection: another worker answers. `axum::serve` (see `axum_app`) closes it in between.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::routing::get;
use hatchery::{HandlerResult, HttpServer, WithConnectInfo, Worker};
use hyper_util::service::TowerToHyperService;

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

/// Lives the life of one worker: hyper serves the app to what comes to it.
async fn live(worker: Worker) -> HandlerResult {
    let app = Router::new()
        .route("/", get(greet))
        .with_state(worker.clone());
    let app = WithConnectInfo::new(app);
    HttpServer::new(&worker)
        .serve(|client| TowerToHyperService::new(app.inform(client)))
        .await;
    Ok(())
}

async fn greet(
    State(worker): State<Worker>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
) -> String {
    let (id, process) = (worker.id(), std::process::id());
    format!("Hello {client}! This is worker {id}, process {process}.\n")
}
