//! An app of axum, unchanged, in four worker processes instead of four threads.
//!
//! ```text
//! cargo run --example axum_app [ADDRESS]
//! ```
//!
//! Then, in another terminal, run `curl http://127.0.0.1:8083/` a few times. Look at which worker
//! answers: connections go round, and `curl` keeps one for all that it is asked at once
//! (`curl http://127.0.0.1:8083/ http://127.0.0.1:8083/`). `curl --http2-prior-knowledge` speaks HTTP/2
//! to the same port. `/crash` ends a worker, and only the request that did it fails. While
//! `curl http://127.0.0.1:8083/slow/5000` waits, `kill -HUP` replaces all workers: the request is
//! answered by the old one. A client that waits for nothing keeps its connection, and does not notice.
//!
//! It is configured as Hatchery's own commands are, by `hatchery.toml` and `HATCHERY_*` variables. With
//! `HATCHERY_CONTROL_SOCKET=/tmp/app.ctl` it has `hatchery ctl --socket /tmp/app.ctl workers`, `recycle` and more.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Path, State};
use axum::routing::{get, post};
use hatchery::{Config, HandlerResult, HttpServer, Server, WithConnectInfo, Worker};
use hyper_util::service::TowerToHyperService;

/// What holds unless file, environment or command line say otherwise.
const DEFAULTS: &str = r#"
server = { bind = ["127.0.0.1:8083"], dispatch = "round-robin" }
workers = { count = 4 }
"#;

#[hatchery::main]
async fn main() -> hatchery::Result<()> {
    let mut config = Config::loader();
    config.text("axum_app", DEFAULTS).default_file();
    config.environment(std::env::vars_os());
    if let Some(address) = std::env::args().nth(1) {
        config.flag("ADDRESS", "server.bind", address);
    }
    Server::from_config(&config.load()?)
        .on_ready(|ready| println!("listening on {}", ready.addresses.join(", ")))
        .run(live)
        .await
}

/// Lives the life of one worker: hyper serves the app to what comes to it until it is to end.
async fn live(worker: Worker) -> HandlerResult {
    let app = Router::new()
        .route("/", get(greet))
        .route("/upper", post(upper))
        .route("/slow/{milliseconds}", get(slow))
        .route("/crash", get(crash))
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

async fn upper(body: String) -> String {
    body.to_uppercase()
}

async fn slow(Path(milliseconds): Path<u64>) -> String {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    let process = std::process::id();
    format!("{milliseconds} ms later, process {process} answers.\n")
}

/// Does what C code with a bug may do.
async fn crash() {
    std::process::abort();
}
