//! A worker that blocks: one connection at a time.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use hatchery_process::BatchError;

use super::access::Access;
use super::breaking_off;
use super::clocks::Clock;
use super::connection::ConnectionInfo;
use super::context::Context;
use crate::error::HandlerResult;
use crate::metrics::Tally;
use crate::server::{FromSocket, SocketKind};

/// An accepted connection, TCP or Unix, for a handler that blocks.
#[derive(Debug)]
pub struct BlockingConnection {
    /// A Unix socket is read and written by the same system calls.
    stream: TcpStream,
    info: ConnectionInfo,
    /// What the handler that parked it has left.
    pub(super) state: Option<Vec<u8>>,
}

impl Deref for BlockingConnection {
    type Target = ConnectionInfo;

    fn deref(&self) -> &ConnectionInfo {
        &self.info
    }
}

impl Read for BlockingConnection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for BlockingConnection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for &BlockingConnection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.stream).read(buffer)
    }
}

impl Write for &BlockingConnection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.stream).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for BlockingConnection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl FromSocket for BlockingConnection {
    fn accepts(_kind: SocketKind) -> bool {
        true
    }

    fn from_socket(socket: OwnedFd, info: ConnectionInfo) -> Self {
        Self {
            stream: socket.into(),
            info,
            state: None,
        }
    }

    fn from_parked(socket: OwnedFd, info: ConnectionInfo, state: Option<Vec<u8>>) -> Self {
        Self {
            state,
            ..Self::from_socket(socket, info)
        }
    }
}

/// Runs `handler` for one connection after the other.
pub(super) fn serve<F, S>(context: &'static Context, handler: F) -> Result<(), BatchError>
where
    F: Fn(S) -> HandlerResult,
    S: FromSocket,
{
    context.tell_ready();
    hatchery_process::serve_blocking(&context.link, |handover, socket| {
        let info = ConnectionInfo::from(&handover);
        let _clock = Clock::start(context, info);
        // One that came last gets what its client has sent already, and then the end.
        breaking_off::break_off_in_hand(context);
        context.arrived(handover.sent_at);
        context.connection_began();
        // No task shows it here, and two such writes cost nothing beside a hand-off.
        context.title.show(1);
        let since = Instant::now();
        let access = context.begin_access(info, false);
        let ended = |how| {
            if let Some(access) = &access {
                access.ended(how);
            }
        };
        let worker = context.seat;
        let connection = S::from_parked(socket, info, handover.state);
        let (id, peer) = (info.id, info.peer);
        let measuring = access.as_deref().map(Access::measure);
        let outcome = catch_unwind(AssertUnwindSafe(|| handler(connection)));
        drop(measuring);
        match outcome {
            Ok(Ok(())) => ended("ok"),
            Ok(Err(error)) => {
                context.page.count(Tally::Failed, 1);
                ended("failed");
                tracing::warn!(worker, connection = id, %peer, %error, "the handler failed");
            }
            Err(_) => {
                context.page.count(Tally::Panicked, 1);
                ended("panicked");
                tracing::error!(worker, connection = id, %peer, "the handler panicked");
            }
        }
        context.connection_ended(since.elapsed());
        context.title.show(0);
    })
}
