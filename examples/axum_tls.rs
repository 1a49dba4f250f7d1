//! HTTPS that ends in the workers: certificates by name, HTTP/2, sessions that any worker resumes.
//!
//! ```text
//! cargo run --example axum_tls [ADDRESS [CERTIFICATE KEY]]
//! ```
//!
//! Without files it makes certificates of its own, for `localhost` and for `other.test`. Then, in another
//! terminal, run `curl -k https://localhost:8443/`. Look at the version: the client has chosen HTTP/2.
//! `openssl s_client -connect localhost:8443 -servername other.test` shows the other certificate, and
//! with `-sess_out s` once and `-sess_in s` then, that the session is `Reused`, whichever worker
//! answers. After the files were replaced, `kill -HUP` takes them: new workers read them, and the main
//! process never does. It is configured as `axum_app` is.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::Version;
use axum::routing::get;
use hatchery::{Config, HandlerResult, HttpServer, Server, Tls, WithConnectInfo, Worker};
use hyper_util::service::TowerToHyperService;

/// What holds unless file, environment or command line say otherwise.
const DEFAULTS: &str = r#"
server = { bind = ["127.0.0.1:8443"], dispatch = "round-robin" }
workers = { count = 4 }
"#;

#[hatchery::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = tempfile::tempdir()?;
    let tls = match &arguments[..] {
        [_, certificate, key] => Tls::new(certificate, key)?,
        _ => self_signed(folder.path())?,
    };
    let mut config = Config::loader();
    config.text("axum_tls", DEFAULTS).default_file();
    config.environment(std::env::vars_os());
    if let Some(address) = arguments.first() {
        config.flag("ADDRESS", "server.bind", address);
    }
    Server::from_config(&config.load()?)
        .state(&tls)
        .on_ready(|ready| println!("listening on {}", ready.addresses.join(", ")))
        .run(live)
        .await?;
    Ok(())
}

/// Lives the life of one worker, which is the first that reads certificates and keys.
async fn live(worker: Worker) -> HandlerResult {
    let tls: &Tls = worker.state();
    let app = Router::new().route("/", get(greet));
    let app = WithConnectInfo::new(app);
    HttpServer::new(&worker)
        .tls(tls.acceptor()?)
        .serve(|client| TowerToHyperService::new(app.inform(client)))
        .await;
    Ok(())
}

async fn greet(version: Version, ConnectInfo(client): ConnectInfo<SocketAddr>) -> String {
    let process = std::process::id();
    format!("Hello {client}! This is {version:?} over TLS, from process {process}.\n")
}

/// Makes certificates that nobody vouches for.
fn self_signed(folder: &Path) -> Result<Tls, Box<dyn Error>> {
    let write = |name: &str| -> Result<_, Box<dyn Error>> {
        let made = rcgen::generate_simple_self_signed([name.to_owned()])?;
        let certificate = folder.join(format!("{name}.pem"));
        let key = folder.join(format!("{name}.key"));
        fs::write(&certificate, made.cert.pem())?;
        // The folder is for this user alone.
        fs::write(&key, made.signing_key.serialize_pem())?;
        Ok((certificate, key))
    };
    let (certificate, key) = write("localhost")?;
    let mut tls = Tls::new(certificate, key)?;
    let (certificate, key) = write("other.test")?;
    tls.certificate(certificate, key);
    Ok(tls)
}
