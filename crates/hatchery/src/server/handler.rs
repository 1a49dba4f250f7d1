//! What a blocking handler can be given.

use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use crate::worker::ConnectionInfo;

/// Which kind of socket an address has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketKind {
    /// TCP, over IPv4 or IPv6.
    Tcp,
    /// A Unix stream socket.
    Unix,
}

/// What [`serve_blocking`](super::ServerBuilder::serve_blocking) can give its handler.
///
/// The standard streams are, and [`BlockingConnection`](crate::BlockingConnection), which takes
/// both kinds and knows its peer. A program may implement it for a type of its own.
pub trait FromSocket: Sized {
    /// Whether a socket of this kind can be made one of these.
    ///
    /// A server whose addresses have sockets that cannot does not start.
    fn accepts(kind: SocketKind) -> bool;

    /// Makes one of a connected socket in blocking mode.
    fn from_socket(socket: OwnedFd, info: ConnectionInfo) -> Self;

    /// Makes one of a connected socket that may have been
    /// [parked](crate::BlockingConnection::park), with what its handler has left then.
    ///
    /// A type that does not park has no use for it, and need not write it.
    fn from_parked(socket: OwnedFd, info: ConnectionInfo, state: Option<Vec<u8>>) -> Self {
        let _nobody_parked_it = state;
        Self::from_socket(socket, info)
    }
}

impl FromSocket for TcpStream {
    fn accepts(kind: SocketKind) -> bool {
        kind == SocketKind::Tcp
    }

    fn from_socket(socket: OwnedFd, _info: ConnectionInfo) -> Self {
        Self::from(socket)
    }
}

impl FromSocket for UnixStream {
    fn accepts(kind: SocketKind) -> bool {
        kind == SocketKind::Unix
    }

    fn from_socket(socket: OwnedFd, _info: ConnectionInfo) -> Self {
        Self::from(socket)
    }
}
