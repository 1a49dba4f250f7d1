//! The servers that are compared, as child processes.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Serialize, Serializer};

use super::stream::Address;

/// How long a server may take until it is ready.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server may take until it has stopped.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How often to look whether it has.
const STOP_POLL: Duration = Duration::from_millis(5);

/// A kind of server; the order is that of their turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contestant {
    /// Hatchery, whose front end accepts and hands over.
    HandOff,
    /// Hatchery, whose workers accept themselves.
    Direct,
    /// One process with tokio's multi-thread runtime.
    Tokio,
    /// Processes that each have a listener with SO_REUSEPORT.
    Reuseport,
}

impl Contestant {
    /// Starts the server with so many workers, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// Returns [`StartError::Os`] if it cannot be started, and [`StartError::NotReady`] if it ends
    /// or stays silent.
    pub(super) fn start(self, workers: u16) -> Result<Server, StartError> {
        let mut child = Command::new("/proc/self/exe")
            .arg0("hatchery")
            .args(self.arguments())
            .args(["--until-stdin-ends", "--listen", "127.0.0.1:0"])
            .arg("--workers")
            .arg(workers.to_string())
            // Ctrl-C is for us, and we tell the servers.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| StartError::Os {
                contestant: self,
                source,
            })?;
        let stdout = child.stdout.take().expect("stdout was asked to be a pipe");
        // Owned from here on, so that it is stopped if it does not become ready.
        let process = ServerProcess(child);
        let address = first_line(stdout)
            .and_then(|line| ready_address(&line))
            .ok_or(StartError::NotReady(self))?;
        Ok(Server { process, address })
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::HandOff => &["echo"],
            Self::Direct => &["echo", "--dispatch", "direct"],
            Self::Tokio => &["peer", "tokio"],
            Self::Reuseport => &["peer", "reuseport"],
        }
    }
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HandOff => "hatchery hand-off",
            Self::Direct => "hatchery direct",
            Self::Tokio => "tokio multi-thread",
            Self::Reuseport => "pre-fork SO_REUSEPORT",
        })
    }
}

impl Serialize for Contestant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A server that runs until it is dropped, which asks it to stop and waits until it has.
#[derive(Debug)]
pub(super) struct Server {
    process: ServerProcess,
    address: Address,
}

impl Server {
    /// Returns the pid of its main process.
    pub(super) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Returns where it listens.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }
}

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum StartError {
    /// The system did not start it.
    #[error("cannot start {contestant}")]
    Os {
        contestant: Contestant,
        source: io::Error,
    },
    /// It did not say that it is ready.
    #[error("{0} did not become ready")]
    NotReady(Contestant),
}

/// A child with its standard input held open: a server whose input ends knows that we are gone.
///
/// Dropping it sends SIGTERM, and SIGKILL to one that does not heed it.
#[derive(Debug)]
struct ServerProcess(Child);

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let deadline = Instant::now() + STOP_TIMEOUT;
        while matches!(self.0.try_wait(), Ok(None)) {
            if Instant::now() >= deadline {
                let _ = self.0.kill();
                let _ = self.0.wait();
                return;
            }
            thread::sleep(STOP_POLL);
        }
    }
}

/// Returns the first line of `output`, the rest of which is read and thrown away.
fn first_line(output: impl Read + Send + 'static) -> Option<String> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = String::new();
        // An error is as good as the end: without a line the server is not ready.
        let _ = output.read_line(&mut line);
        let _ = send.send(line);
        // A server that prints more must not block or fail for it.
        let _ = io::copy(&mut output, &mut io::sink());
    });
    receive.recv_timeout(START_TIMEOUT).ok()
}

/// Returns the first address of `ready addresses=127.0.0.1:7000 pid=123 workers=124,125`.
fn ready_address(line: &str) -> Option<Address> {
    line.strip_prefix("ready ")?
        .split_ascii_whitespace()
        .find_map(|word| word.strip_prefix("addresses="))?
        .split(',')
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_tells_the_first_address() {
        let address =
            ready_address("ready addresses=127.0.0.1:70,127.0.0.1:71 pid=1 workers=2,3\n");
        assert_eq!(address.unwrap().to_string(), "127.0.0.1:70");
    }

    #[test]
    fn another_line_is_no_ready_line() {
        for line in [
            "",
            "error: no such command",
            "ready pid=1",
            "ready addresses=x",
        ] {
            assert_eq!(ready_address(line), None);
        }
    }
}
