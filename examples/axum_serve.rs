//! An app of axum that `axum::serve` serves, as it would outside of Hatchery.
//!
//! ```text
//! cargo run --example axum_serve [ADDRESS [CERTIFICATE KEY]]
//! ```
//!
//! Then, in another terminal, run `telnet 127.0.0.1 8086` and type `GET / HTTP/1.1`, `Host: me` and an
//! empty line. Replace all workers with `kill -HUP` and the process id that is printed: axum closes the
//! connection, for it is idle. Under `HttpServer` (see `axum_app`) it goes on in another worker. With the
//! files of a certificate it speaks TLS.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::error::Error;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::routing::get;
use hatchery::{HandlerResult, Tls, WithConnectInfo, Worker};

#[hatchery::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let tls = match &arguments[..] {
        [_, certificate, key] => Some(Tls::new(certificate, key)?),
        _ => None,
    };
    let address = arguments.first().map(String::as_str);
    println!("kill -HUP {}", std::process::id());
    hatchery::Server::builder()
        .bind(address.unwrap_or("127.0.0.1:8086"))
        .workers(4)
        .state(&tls)
        .on_ready(|ready| println!("listening on {}", ready.addresses.join(", ")))
        .run(live)
        .await?;
    Ok(())
}

/// Lives the life of one worker: axum serves what comes to it until it is to end.
async fn live(worker: Worker) -> HandlerResult {
    let app = Router::new()
        .route("/", get(greet))
        .with_state(worker.clone());
    let app = WithConnectInfo::new(app);
    let end = worker.draining();
    match worker.state::<Option<Tls>>() {
        None => {
            axum::serve(worker.listener(), app)
                .with_graceful_shutdown(end)
                .await?
        }
        Some(tls) => {
            let listener = worker.tls_listener(tls.acceptor()?);
            axum::serve(listener, app)
                .with_graceful_shutdown(end)
                .await?;
        }
    }
    Ok(())
}

async fn greet(
    State(worker): State<Worker>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
) -> String {
    let (id, process) = (worker.id(), std::process::id());
    format!("Hello {client}! This is worker {id}, process {process}.\n")
}
