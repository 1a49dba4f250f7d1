//! A connection in a worker's hands.

use std::any::Any;
use std::future::poll_fn;
use std::io;
#[cfg(any(feature = "axum", feature = "hyper"))]
use std::net::SocketAddr;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::{Duration, Instant};

use hatchery_process::{Claim, Farewell, Handover, Peer};
use rustix::net::{Shutdown, shutdown};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::access::Access;
use super::breaking_off;
use super::clocks::Clock;
use super::context::{self, Context};
use super::stream::Stream;
use crate::metrics::Tally;

/// Where a connection came from. A [`Connection`] and a
/// [`BlockingConnection`](crate::BlockingConnection) deref to theirs.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionInfo {
    pub(super) id: u64,
    pub(super) listener: u16,
    pub(super) peer: Peer,
}

impl ConnectionInfo {
    /// The number of the connection in this server, as it is logged.
    ///
    /// The front end counts from 1; where workers accept themselves, each counts for itself.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Which of the server's addresses it came in by, counted from 0.
    #[must_use]
    pub fn listener(&self) -> usize {
        usize::from(self.listener)
    }

    /// Gives the handler this long from now before its soft deadline; the hard one follows at the
    /// distance it has.
    ///
    /// A deadline never comes sooner by this. A handler that serves many requests of one connection
    /// calls it for each, so that the deadlines are those of a request. Where none is configured, and
    /// once the connection is over, it does nothing.
    pub fn extend(&self, time: Duration) {
        if let Some(worker) = Context::current() {
            worker.extend(self.id, time);
        }
    }

    /// Whether this worker is to finish what it has and end.
    ///
    /// A handler that asks between two requests can end then, instead of waiting for another that
    /// would be broken off.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        Context::current().is_some_and(|worker| worker.link.farewell() >= Farewell::Finish)
    }

    /// Resolves when this worker is to finish what it has and end.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe.
    pub async fn draining(&self) {
        if let Some(worker) = Context::current() {
            worker.until(Farewell::Finish).await;
        }
    }

    /// The state that the program gave its workers.
    ///
    /// # Panics
    ///
    /// Panics if the server was built without [`state`](crate::ServerBuilder::state), or with one
    /// of another type.
    #[must_use]
    pub fn state<T: Any>(&self) -> &'static T {
        context::state()
    }
}

impl From<&Handover> for ConnectionInfo {
    fn from(handover: &Handover) -> Self {
        Self {
            id: handover.id,
            listener: handover.listener,
            peer: handover.peer,
        }
    }
}

/// An accepted connection, TCP or Unix, that a handler reads and writes.
///
/// It implements [`AsyncRead`] and [`AsyncWrite`]; the methods of the same names are here so that
/// the traits need not be imported. Dropping it sends what was written and then the end.
///
/// Until the handler first reads or writes something, the front end keeps a copy of the socket:
/// if this worker dies before, the connection goes to another worker, unharmed.
#[derive(Debug)]
pub struct Connection {
    pub(super) stream: Stream,
    pub(super) guard: ConnectionGuard,
    info: ConnectionInfo,
    /// What the handler that parked it has left.
    pub(super) state: Option<Vec<u8>>,
    /// Whether it goes to another worker if it is dropped unused while this one drains.
    goes_on_elsewhere: bool,
}

/// Keeps a connection counted among those of its worker, until it is dropped.
///
/// [`Connection::into_parts`] returns it beside the socket: hold it for as long as the socket is
/// in use, so that the worker is given no more than it may have at once.
#[derive(Debug)]
pub struct ConnectionGuard {
    pub(super) context: &'static Context,
    /// Runs while a handler has the connection, and stops before the claim ends.
    pub(super) clock: Option<Clock>,
    pub(super) claim: Option<Claim>,
    /// When the connection came into this worker's hands.
    since: Instant,
    /// What the access log says of it, if there is one.
    pub(super) access: Option<Arc<Access>>,
    /// Whether the connection is kept counted elsewhere.
    is_moved: bool,
}

impl ConnectionGuard {
    pub(super) fn new(context: &'static Context, claim: Option<Claim>) -> Self {
        context.connection_began();
        Self {
            context,
            clock: None,
            claim,
            since: Instant::now(),
            access: None,
            is_moved: false,
        }
    }

    /// Notes that the connection is in use, and cannot go to another worker any more.
    #[inline]
    pub(super) fn note_use(&mut self) {
        if let Some(claim) = &mut self.claim {
            claim.note_use();
        }
    }
}

impl ConnectionGuard {
    /// Counts bytes.
    #[inline]
    fn count(&self, what: Tally, bytes: usize) {
        self.context.page.count(what, bytes as u64);
        if let Some(access) = &self.access {
            access.count(what, bytes);
        }
    }

    /// Counts the connection among those of this worker no more: another serves it.
    #[cfg(feature = "tower")]
    pub(super) fn leave(&mut self) {
        self.is_moved = true;
        self.context.connection_left();
    }

    /// Whether the connection could still go to another worker.
    fn is_unused(&self) -> bool {
        self.claim.as_ref().is_some_and(Claim::is_unused)
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        if self.is_moved {
            return;
        }
        self.context.connection_ended(self.since.elapsed());
    }
}

impl Connection {
    pub(super) fn new(socket: OwnedFd, guard: ConnectionGuard, info: ConnectionInfo) -> Self {
        Self {
            stream: Stream::new(socket),
            guard,
            info,
            state: None,
            goes_on_elsewhere: false,
        }
    }

    /// Has the connection go to another worker if it is dropped unused while this one drains.
    ///
    /// Servers of HTTP close what has not sent a request yet when they are to end.
    #[cfg(any(feature = "axum", feature = "hyper"))]
    pub(super) fn go_on_elsewhere(mut self) -> Self {
        self.goes_on_elsewhere = true;
        self
    }

    /// The same connection, with what the handler that parked it has left.
    pub(super) fn with_state(mut self, state: Option<Vec<u8>>) -> Self {
        self.state = state;
        self
    }

    /// Starts its clock and its line of the access log, for a handler gets it now.
    pub(super) fn begin(mut self) -> Self {
        self.guard.access = self.guard.context.begin_access(self.info, true);
        self.guard.clock = Clock::start(self.guard.context, self.info);
        self
    }

    /// Reads some bytes; 0 means that the peer will send no more.
    ///
    /// # Errors
    ///
    /// Returns the error of `recv(2)`.
    ///
    /// # Cancel safety
    ///
    /// A cancelled read has read nothing.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        AsyncReadExt::read(self, buffer).await
    }

    /// Reads until `buffer` is full.
    ///
    /// # Errors
    ///
    /// Returns `UnexpectedEof` if the peer ends before that, or the error of `recv(2)`.
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: a cancelled call may have read a part.
    pub async fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        AsyncReadExt::read_exact(self, buffer).await
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    ///
    /// Returns the error of `send(2)`.
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: a cancelled call may have written a part.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        AsyncWriteExt::write_all(self, bytes).await
    }

    /// Tells the peer that nothing more will be written.
    ///
    /// # Errors
    ///
    /// Returns the error of `shutdown(2)`.
    ///
    /// # Cancel safety
    ///
    /// It completes at once.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        AsyncWriteExt::shutdown(self).await
    }

    /// Waits until there is something to read, or the end.
    ///
    /// With [`try_read`](Self::try_read) this lets connections that wait share a buffer, or have
    /// none: ten thousand idle ones then cost little memory. It may return too early: then
    /// `try_read` says `WouldBlock`.
    ///
    /// # Errors
    ///
    /// Returns an error if the socket cannot be registered with the runtime.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: nothing is read.
    pub async fn readable(&mut self) -> io::Result<()> {
        poll_fn(|task| self.stream.poll_readable(task)).await
    }

    /// Reads what is there.
    ///
    /// # Errors
    ///
    /// Returns `WouldBlock` if there is nothing yet, or the error of `recv(2)`.
    pub fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.note_reading();
        let read = self.stream.try_read(buffer);
        if let Ok(bytes) = read {
            self.guard.note_use();
            self.guard.count(Tally::BytesIn, bytes);
        }
        read
    }

    /// Writes what there is room for.
    ///
    /// # Errors
    ///
    /// Returns `WouldBlock` if there is no room, or the error of `send(2)`.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.guard.note_use();
        let written = self.stream.try_write(bytes);
        if let Ok(bytes) = written {
            self.guard.count(Tally::BytesOut, bytes);
        }
        written
    }

    /// Waits until there is room to write.
    ///
    /// # Errors
    ///
    /// Returns an error if the socket cannot be registered with the runtime.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: nothing is written.
    pub async fn writable(&mut self) -> io::Result<()> {
        self.stream.writable().await
    }

    /// Takes the socket out, in non-blocking mode, with what keeps it counted.
    ///
    /// From now on the connection is lost if the worker dies, used or not. Whoever owns the socket
    /// closes it.
    #[must_use]
    pub fn into_parts(mut self) -> (OwnedFd, ConnectionGuard) {
        self.guard.note_use();
        let socket = self.stream.take();
        let socket = socket.expect("a connection has its socket until it is taken apart");
        let guard = ConnectionGuard {
            context: self.guard.context,
            clock: self.guard.clock.take(),
            claim: self.guard.claim.take(),
            since: self.guard.since,
            access: self.guard.access.take(),
            is_moved: false,
        };
        self.guard.is_moved = true;
        (socket, guard)
    }
}

#[cfg(any(feature = "axum", feature = "hyper"))]
impl Connection {
    /// Waits until there is something to read, and leaves it there; false at the end.
    pub(super) async fn peek(&mut self) -> io::Result<bool> {
        poll_fn(|task| self.stream.poll_peek(task)).await
    }

    /// Notes who is at the other end of the proxy that this connection comes by.
    pub(super) fn comes_from(&self, source: SocketAddr) -> ConnectionInfo {
        let peer = Peer::Inet(source);
        if let Some(access) = &self.guard.access {
            access.comes_from(peer);
        }
        ConnectionInfo { peer, ..self.info }
    }
}

impl Connection {
    /// Whether nothing was read or written, so that it can go to another worker.
    #[cfg(all(feature = "tls", any(feature = "axum", feature = "hyper")))]
    pub(super) fn is_unused(&self) -> bool {
        self.guard.is_unused()
    }

    /// Whether there is somebody to give it back to.
    #[cfg(feature = "hyper")]
    pub(super) fn can_be_parked(&self) -> bool {
        self.guard.claim.is_some()
    }

    /// Gives the connection back, as it came, if it is to go on elsewhere; false if it is over.
    fn try_go_on_elsewhere(&mut self) -> bool {
        let is_lost = !self.goes_on_elsewhere || !self.guard.context.is_draining();
        if is_lost || !self.guard.is_unused() {
            return false;
        }
        let (Some(socket), Some(claim)) = (self.stream.socket(), &mut self.guard.claim) else {
            return false;
        };
        let mut state = self.state.take().unwrap_or_default();
        claim.try_park(socket, &mut state).is_ok()
    }

    /// Notes that a Unix connection is in use, before it is read.
    ///
    /// If a worker dies between a read and its note, the front end asks the kernel what was read.
    /// Of a Unix socket the kernel cannot tell, so there the note comes first.
    fn note_reading(&mut self) {
        if self.is_unused_unix() {
            self.guard.note_use();
        }
    }

    fn is_unused_unix(&self) -> bool {
        self.info.peer == Peer::Unix && self.guard.is_unused()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_unused_unix() {
            ready!(self.stream.poll_readable(task))?;
            self.note_reading();
        }
        let before = buffer.filled().len();
        ready!(self.stream.poll_read(task, buffer))?;
        self.guard.note_use();
        let bytes = buffer.filled().len().saturating_sub(before);
        self.guard.count(Tally::BytesIn, bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.guard.note_use();
        let written = ready!(self.stream.poll_write(task, bytes))?;
        self.guard.count(Tally::BytesOut, written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, _task: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        // Nothing is buffered on this side of the kernel.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        _task: &mut TaskContext<'_>,
    ) -> Poll<io::Result<()>> {
        self.goes_on_elsewhere = false;
        Poll::Ready(shutdown(self.as_fd(), Shutdown::Write).map_err(io::Error::from))
    }
}

impl Deref for Connection {
    type Target = ConnectionInfo;

    fn deref(&self) -> &ConnectionInfo {
        &self.info
    }
}

/// The socket.
impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let socket = self.stream.socket();
        socket.expect("a connection has its socket until it is taken apart")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let context = self.guard.context;
        if *context.farewell.borrow() == Farewell::BreakOff
            && let Some(socket) = self.stream.take()
        {
            let guard = ConnectionGuard::new(context, self.guard.claim.take());
            breaking_off::keep(context, socket, guard);
            return;
        }
        if self.try_go_on_elsewhere() {
            return;
        }
        let Some(socket) = self.stream.socket() else {
            return;
        };
        // The front end may still hold its copy for a moment, and closing this one alone would
        // leave the peer waiting for the end.
        let _already_ended = shutdown(socket, Shutdown::Write);
    }
}
