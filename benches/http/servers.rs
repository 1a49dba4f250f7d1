//! The contestants: one app in three servers, each a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::routing::get;
use axum::serve::ListenerExt;
use axum::{Extension, Router};
use hatchery::{HandlerResult, HttpServer, Tls, WithConnectInfo, Worker};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeVal;
use nix::unistd::Pid;
use tokio::net::TcpListener;

use crate::Result;

/// The argument of this program that makes it a server; its kind follows, and where there is TLS the
/// folder of its certificate.
pub(crate) const COMMAND: &str = "serve";

/// Who serves the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Workers, in which `axum::serve` serves.
    Axum,
    /// Workers, in which `HttpServer` serves.
    Hyper,
    /// One process, in which `axum::serve` serves on two threads.
    Tokio,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Tokio, Self::Axum, Self::Hyper];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Axum => "workers, axum::serve",
            Self::Hyper => "workers, HttpServer",
            Self::Tokio => "tokio multi-thread",
        }
    }
}

/// A server that runs in a process of its own. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    port: u16,
}

impl Server {
    /// Starts a server, and waits until it listens.
    pub(crate) fn start(kind: Kind, certificates: Option<&Path>) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([COMMAND, kind.name()]).args(certificates);
        let mut process = command.stdout(Stdio::piped()).spawn()?;
        let output = process
            .stdout
            .take()
            .ok_or("the server's output is a pipe")?;
        let mut server = Self { process, port: 0 };
        let mut address = String::new();
        BufReader::new(output).read_line(&mut address)?;
        server.port = address.trim().parse::<SocketAddr>()?.port();
        Ok(server)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Ends the server; returns the CPU time that it and all its processes have used.
    pub(crate) fn stop(mut self) -> Result<Duration> {
        // It is the only child that is left, so it is what is added when it is reaped.
        let before = cpu_of_children()?;
        kill(
            Pid::from_raw(self.process.id().try_into()?),
            Signal::SIGTERM,
        )?;
        self.process.wait()?;
        Ok(cpu_of_children()? - before)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What was reaped cannot be killed, and need not be.
        let _killed: std::io::Result<()> = self.process.kill();
        let _reaped: std::io::Result<_> = self.process.wait();
    }
}

fn cpu_of_children() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = |time: TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
    let total = micros(usage.user_time()) + micros(usage.system_time());
    Ok(Duration::from_micros(total.try_into()?))
}

/// Writes the certificate that all servers show.
pub(crate) fn write_certificate(folder: &Path) -> Result<()> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    std::fs::write(folder.join("certificate.pem"), made.cert.pem())?;
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem())?;
    Ok(())
}

/// Is a server until it is told to end. Over TLS if there is a folder with a certificate.
pub(crate) fn serve(kind: &str) -> ExitCode {
    if kind == Kind::Tokio.name() {
        return serve_in_one_process();
    }
    serve_pre_forked()
}

/// What is served over TLS, with the certificate in the folder that the last argument names.
fn tls() -> Option<Tls> {
    let folder = PathBuf::from(std::env::args_os().nth(3)?);
    Some(
        Tls::new(folder.join("certificate.pem"), folder.join("key.pem"))
            .expect("the files were written"),
    )
}

fn app() -> Router {
    Router::new().route("/", get(greet))
}

async fn greet(ConnectInfo(client): ConnectInfo<SocketAddr>) -> String {
    format!("Hello {client}!\n")
}

#[hatchery::main]
async fn serve_pre_forked() -> hatchery::Result<()> {
    let mut server = hatchery::Server::builder();
    server
        .bind("127.0.0.1:0")
        .workers(2)
        .state(&tls())
        .on_ready(|ready| println!("{}", ready.addresses.join(",")));
    let kind = std::env::args().nth(2);
    if kind.as_deref() == Some(Kind::Hyper.name()) {
        server.run(live_with_hyper).await
    } else {
        server.run(live_with_axum).await
    }
}

async fn live_with_hyper(worker: Worker) -> HandlerResult {
    let app = WithConnectInfo::new(app());
    let mut server = HttpServer::new(&worker);
    if let Some(tls) = worker.state::<Option<Tls>>() {
        server.tls(tls.acceptor()?);
    }
    server
        .serve(|client| TowerToHyperService::new(app.inform(client)))
        .await;
    Ok(())
}

async fn live_with_axum(worker: Worker) -> HandlerResult {
    let app = WithConnectInfo::new(app());
    match worker.state::<Option<Tls>>() {
        Some(tls) => {
            let listener = worker.tls_listener(tls.acceptor()?);
            axum::serve(listener, app)
                .with_graceful_shutdown(worker.draining())
                .await?;
        }
        None => {
            axum::serve(worker.listener(), app)
                .with_graceful_shutdown(worker.draining())
                .await?;
        }
    }
    Ok(())
}

fn serve_in_one_process() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("threads can be started");
    let end = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        match tls() {
            Some(tls) => serve_tls(listener, &tls).await,
            None => {
                let app = app().into_make_service_with_connect_info::<SocketAddr>();
                // As Hatchery does.
                let listener =
                    listener.tap_io(|stream| stream.set_nodelay(true).expect("it is TCP"));
                Ok(axum::serve(listener, app).await?)
            }
        }
    });
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves TLS, for which axum has nothing of its own.
async fn serve_tls(listener: TcpListener, tls: &Tls) -> Result<()> {
    let acceptor = tls.acceptor()?;
    loop {
        let (stream, client) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let acceptor = acceptor.clone();
        let app = app().layer(Extension(ConnectInfo(client)));
        tokio::spawn(async move {
            // A client that does not go on is the load generator's to count.
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let service = TowerToHyperService::new(app);
            let _ended = auto::Builder::new(TokioExecutor::new())
                .serve_connection_with_upgrades(TokioIo::new(stream), service)
                .await;
        });
    }
}
