//! The servers which Hatchery is compared with.
//!
//! They are what one would write without Hatchery, and nothing cleverer: the comparison is only
//! worth something if the peers are plain. Both speak the protocol of `hatchery bench`: every byte
//! comes back in ASCII upper case.

mod reuseport;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::{self, ExitCode};
use std::thread;
use std::time::Duration;

use clap::{Args, Subcommand};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// How many connections wait to be accepted: as many as with Hatchery, so that all drop alike.
const BACKLOG: i32 = 1024;

/// Runs a peer until SIGTERM, SIGINT or the end of its standard input if that was asked for.
///
/// # Errors
///
/// Returns [`PeerError::Listen`] if the address cannot be had, [`PeerError::Worker`] if a worker
/// process does not start, and [`PeerError::Os`] for anything else that the system refuses.
pub(crate) fn run(args: &PeerArgs) -> Result<ExitCode, PeerError> {
    match &args.peer {
        Peer::Tokio(args) => serve_threads(args)?,
        Peer::Reuseport(args) => reuseport::serve(args)?,
        Peer::ReuseportWorker(args) => reuseport::work(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Run a server that Hatchery is measured against.
#[derive(Debug, Args)]
#[command(after_help = "Example: hatchery peer tokio --listen 127.0.0.1:7000 --workers 2")]
pub(crate) struct PeerArgs {
    #[command(subcommand)]
    peer: Peer,
}

#[derive(Debug, Subcommand)]
enum Peer {
    /// One process with tokio's multi-thread runtime.
    Tokio(ServeArgs),
    /// Several processes, each with its own SO_REUSEPORT listener.
    Reuseport(ServeArgs),
    /// One process of `reuseport`, which ends with its standard input.
    #[command(hide = true)]
    ReuseportWorker(reuseport::WorkerArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Threads, or processes.
    #[arg(long, value_name = "N", default_value_t = 2,
        value_parser = clap::value_parser!(u16).range(1..))]
    workers: u16,
    /// Stop when standard input ends, as it does when the parent dies.
    #[arg(long)]
    until_stdin_ends: bool,
}

/// Why a peer could not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PeerError {
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    /// A worker process ended before it was ready.
    #[error("worker {index} did not start")]
    Worker { index: u16, source: io::Error },
    /// The system refused something else.
    #[error("the system refused")]
    Os(#[from] io::Error),
}

fn serve_threads(args: &ServeArgs) -> Result<(), PeerError> {
    runtime::Builder::new_multi_thread()
        .worker_threads(usize::from(args.workers))
        .enable_all()
        .build()?
        .block_on(async {
            let listener = bind(args.listen, |_| Ok(()))
                .and_then(listen)
                .map_err(|source| PeerError::Listen {
                    address: args.listen,
                    source,
                })?;
            announce(listener.local_addr()?, &[process::id()])?;
            // The accept loop is a task, so that it runs on a worker thread as in any tokio
            // program; the future of `block_on` would stay on the main thread.
            tokio::spawn(accept(listener));
            told_to_stop(args.until_stdin_ends).await?;
            Ok(())
        })
}

/// Returns a socket bound to `address`, after `prepare` has set what it needs.
fn bind(
    address: SocketAddr,
    prepare: impl FnOnce(&Socket) -> io::Result<()>,
) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    prepare(&socket)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Turns a bound socket into a listener of the runtime that we are in.
fn listen(socket: Socket) -> io::Result<TcpListener> {
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Prints the one line that tells whoever started us that we serve.
fn announce(address: SocketAddr, workers: &[u32]) -> io::Result<()> {
    let workers: Vec<String> = workers.iter().map(u32::to_string).collect();
    println!(
        "ready addresses={address} pid={} workers={}",
        process::id(),
        workers.join(",")
    );
    io::stdout().flush()
}

/// Waits for SIGTERM, SIGINT or, if asked for, the end of standard input.
async fn told_to_stop(until_stdin_ends: bool) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = stdin_ended(), if until_stdin_ends => {}
    }
    Ok(())
}

/// Waits for the end of standard input, in a thread that blocks and so costs nothing.
pub(crate) async fn stdin_ended() {
    let (ended, end) = oneshot::channel();
    // Not a task of the runtime, whose shutdown would wait for it.
    thread::spawn(move || {
        // An error ends it as well.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let _ = ended.send(());
    });
    let _ = end.await;
}

async fn accept(listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(uppercase(stream))),
            // Mostly the descriptor limit: it passes when a connection ends.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn uppercase(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        buffer[..length].make_ascii_uppercase();
        stream.write_all(&buffer[..length]).await?;
    }
}
