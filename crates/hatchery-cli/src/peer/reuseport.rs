//! The pre-fork server in which the kernel spreads the connections.
//!
//! The parent starts the workers by executing itself again, holds a pipe to the standard input of
//! each and waits. A worker has its own listener in one `SO_REUSEPORT` group.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use clap::Args;
use socket2::Socket;
use tokio::runtime;

use super::{PeerError, ServeArgs, accept, announce, bind, listen, stdin_ended, told_to_stop};

/// Starts the workers, says so and waits to be told to stop.
pub(super) fn serve(args: &ServeArgs) -> Result<(), PeerError> {
    // It never listens, so it gets no connections: it only holds the port for the workers.
    let reservation = bind_shared(args.listen)?;
    let address = local_address(&reservation)?;
    let workers = (0..args.workers)
        .map(|index| Worker::start(address).map_err(|source| PeerError::Worker { index, source }))
        .collect::<Result<Vec<_>, _>>()?;
    let pids: Vec<u32> = workers.iter().map(|worker| worker.child.id()).collect();
    announce(address, &pids)?;
    runtime()?.block_on(told_to_stop(args.until_stdin_ends))?;
    Ok(())
}

/// Serves in this process until standard input ends.
pub(super) fn work(args: &WorkerArgs) -> Result<(), PeerError> {
    runtime()?.block_on(async {
        let socket = bind_shared(args.listen)?;
        let listener = listen(socket).map_err(|source| PeerError::Listen {
            address: args.listen,
            source,
        })?;
        println!("ready");
        io::stdout().flush()?;
        tokio::spawn(accept(listener));
        stdin_ended().await;
        Ok(())
    })
}

#[derive(Debug, Args)]
pub(super) struct WorkerArgs {
    #[arg(long)]
    listen: SocketAddr,
}

/// A worker process; dropping it closes its standard input, which ends it, and reaps it.
struct Worker {
    child: Child,
}

impl Worker {
    fn start(address: SocketAddr) -> io::Result<Self> {
        let mut child = Command::new("/proc/self/exe")
            .args(["peer", "reuseport-worker", "--listen"])
            .arg(address.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take();
        let worker = Self { child };
        let mut line = String::new();
        BufReader::new(stdout.expect("stdout was asked to be a pipe"))
            .take(64)
            .read_line(&mut line)?;
        if line.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(worker)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // An error means that it is gone already, which is what we are after.
        let _ = self.child.wait();
    }
}

fn runtime() -> io::Result<runtime::Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}

fn bind_shared(address: SocketAddr) -> Result<Socket, PeerError> {
    bind(address, |socket| socket.set_reuse_port(true))
        .map_err(|source| PeerError::Listen { address, source })
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    socket
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}
