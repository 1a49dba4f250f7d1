//! Where the server is, and connections to it.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

/// How many addresses we connect from, where the machine has that many.
const SOURCES: u32 = 250;
/// How long to wait until a full Unix backlog may have room.
const BACKLOG_PAUSE: Duration = Duration::from_millis(1);

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        match text.strip_prefix("unix:") {
            Some("") => Err(ParseAddressError),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Tcp).map_err(|_| ParseAddressError),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The text is neither `ip:port` nor `unix:/path`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an address is ip:port or unix:/path")]
pub(crate) struct ParseAddressError;

/// Opens connections to one server.
///
/// A client port is taken for a minute after its connection, so one address has not enough of them
/// for a run that opens a connection per request. Towards a loopback address the dialer therefore
/// connects from 127.0.0.2 and its neighbours in turn, each of which has all ports to itself.
#[derive(Debug)]
pub(super) struct Dialer {
    address: Address,
    dialed: AtomicU32,
}

impl Dialer {
    /// Returns a dialer that has not connected yet.
    pub(super) fn new(address: Address) -> Self {
        Self {
            address,
            dialed: AtomicU32::new(0),
        }
    }

    /// Returns where this dialer connects to.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Opens a connection.
    ///
    /// # Errors
    ///
    /// Returns the error of `socket(2)`, `bind(2)` or `connect(2)`.
    ///
    /// # Cancel safety
    ///
    /// A connection that is not returned is closed.
    pub(super) async fn dial(&self) -> io::Result<Stream> {
        match &self.address {
            Address::Tcp(address) => self.dial_tcp(*address).await.map(Stream::Tcp),
            Address::Unix(path) => loop {
                match UnixStream::connect(path).await {
                    // Unlike TCP, a Unix socket does not wait for room in the backlog.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        tokio::time::sleep(BACKLOG_PAUSE).await;
                    }
                    connected => return connected.map(Stream::Unix),
                }
            },
        }
    }

    async fn dial_tcp(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Some(source) = self.next_source(address.ip()) {
            socket.bind(SocketAddr::from((source, 0)))?;
        }
        socket.set_nodelay(true)?;
        socket.connect(address).await
    }

    fn next_source(&self, target: IpAddr) -> Option<Ipv4Addr> {
        match target {
            IpAddr::V4(target) if target.is_loopback() => {
                let turn = self.dialed.fetch_add(1, Ordering::Relaxed) % SOURCES;
                Some(Ipv4Addr::from_bits(
                    Ipv4Addr::LOCALHOST.to_bits() + 1 + turn,
                ))
            }
            _ => None,
        }
    }
}

/// A connection of either kind.
#[derive(Debug)]
pub(super) enum Stream {
    /// Over IP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

impl Stream {
    /// Reads what has arrived into `buffer`.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }

    /// Writes as much of `bytes` as there is room for.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    /// Takes the error that the socket holds, if any.
    pub(super) fn take_error(&self) -> Option<io::Error> {
        match self {
            Self::Tcp(stream) => stream.take_error(),
            Self::Unix(stream) => stream.take_error(),
        }
        .unwrap_or_else(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_as_it_prints() {
        for text in ["127.0.0.1:7000", "[::1]:7000", "unix:/run/echo.sock"] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for text in ["localhost:7000", "127.0.0.1", "unix:", ""] {
            assert_eq!(text.parse::<Address>(), Err(ParseAddressError));
        }
    }

    #[test]
    fn only_loopback_targets_are_dialed_from_many_addresses() {
        let dialer = Dialer::new(Address::Unix(PathBuf::new()));
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);

        let first = dialer.next_source(loopback);
        let later: Vec<_> = (1..=SOURCES)
            .map(|_| dialer.next_source(loopback))
            .collect();

        assert_eq!(first, Some(Ipv4Addr::new(127, 0, 0, 2)));
        assert_eq!(later[0], Some(Ipv4Addr::new(127, 0, 0, 3)));
        assert_eq!(later[SOURCES as usize - 1], first);
        assert_eq!(dialer.next_source([192, 0, 2, 1].into()), None);
    }
}
