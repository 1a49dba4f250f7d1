//! Where a manager is found.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socket2::{SockRef, TcpKeepalive};

/// What the names of managers' Unix sockets start with.
const PREFIX: &str = "hatchery-manager-";

/// How long a TCP connection may be silent before the other machine is asked whether it is there.
const SILENCE: Duration = Duration::from_secs(10);

/// The time between two such questions.
const QUESTION_INTERVAL: Duration = Duration::from_secs(5);

/// How many such questions may stay without an answer.
const QUESTIONS: u32 = 3;

/// The address of a manager, which its proxies carry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Address {
    /// A name in Linux's abstract namespace: no file, so none is left behind.
    Unix(String),
    Tcp(SocketAddr),
}

impl Address {
    /// Makes a name that nobody else has.
    pub(super) fn unix(random: [u8; 16]) -> Self {
        Self::Unix(format!("{PREFIX}{:032x}", u128::from_le_bytes(random)))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(name) => write!(formatter, "unix:@{name}"),
            Self::Tcp(address) => write!(formatter, "{address}"),
        }
    }
}

/// Has a TCP connection send what it is given at once, and end when the other machine is gone.
pub(super) fn tune_tcp(stream: &impl AsFd) -> io::Result<()> {
    let stream = stream.as_fd();
    let socket = SockRef::from(&stream);
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(SILENCE)
        .with_interval(QUESTION_INTERVAL)
        .with_retries(QUESTIONS);
    socket.set_tcp_keepalive(&keepalive)
}
