//! A service of hyper over HTTP/1.1 and HTTP/2 on one port, without a web framework.
//!
//! ```text
//! cargo run --example hyper_h2 [ADDRESS [CERTIFICATE KEY]]
//! ```
//!
//! Then, in another terminal, compare `curl -v http://127.0.0.1:8084/` with
//! `curl -v --http2-prior-knowledge http://127.0.0.1:8084/`. Look at the version in the answer: the
//! first bytes of a client say what it speaks. While `curl -v http://127.0.0.1:8084/last` waits, press
//! Ctrl-C in the first terminal: a second later comes the answer, and `Connection: close` with it, or over
//! HTTP/2 a `GOAWAY`. With the files of a certificate it speaks TLS, and `curl -k https://…` chooses HTTP/2.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use hatchery::{ConnectionInfo, HandlerResult, HttpServer, Tls, Worker};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};

#[hatchery::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let tls = match &arguments[..] {
        [_, certificate, key] => Some(Tls::new(certificate, key)?),
        _ => None,
    };
    let address = arguments.first().map(String::as_str);
    hatchery::Server::builder()
        .bind(address.unwrap_or("127.0.0.1:8084"))
        .workers(4)
        .state(&tls)
        .on_ready(|ready| println!("listening on {}", ready.addresses.join(", ")))
        .run(live)
        .await?;
    Ok(())
}

/// Lives the life of one worker.
async fn live(worker: Worker) -> HandlerResult {
    let mut server = HttpServer::new(&worker);
    if let Some(tls) = worker.state::<Option<Tls>>() {
        server.tls(tls.acceptor()?);
    }
    server.protocol(|mut protocol| {
        // A client may have this many requests on their way at once, on one connection.
        protocol.http2().max_concurrent_streams(250);
        protocol
    });
    server
        .serve(|client| service_fn(move |request| answer(client, request)))
        .await;
    Ok(())
}

/// Answers one request, of whichever version.
async fn answer(
    client: ConnectionInfo,
    request: Request<Incoming>,
) -> Result<Response<String>, Infallible> {
    let mut response = Response::default();
    match request.uri().path() {
        "/" => {}
        "/last" => {
            client.draining().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        _ => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    let (version, process) = (request.version(), std::process::id());
    *response.body_mut() = format!(
        "{version:?} from {}, connection {}, answered by process {process}.\n",
        client.peer(),
        client.id(),
    );
    Ok(response)
}
