//! A connected socket that the runtime watches only when that is needed.
//!
//! TCP and Unix sockets are read and written by the same system calls, so one type does for both.
//! Compared with tokio's own streams it saves the registration of what is read before it would
//! have to wait, and is told of room to write only after a write had none.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, ReadBuf};
use tokio::task::coop::poll_proceed;

use crate::watch::{watch_for, watch_or_return};

/// A socket in non-blocking mode.
#[derive(Debug)]
pub(super) struct Stream {
    reader: Reader,
    /// A duplicate, watched for room to write since a write found none.
    writer: Option<Box<AsyncFd<OwnedFd>>>,
}

#[derive(Debug)]
enum Reader {
    /// Never waited for. Its first bytes are often there already, so the first read is tried; the
    /// second seldom finds anything, so the socket is registered before it.
    Fresh { socket: OwnedFd, was_tried: bool },
    /// Registered with the runtime.
    Watched(AsyncFd<OwnedFd>),
    /// Given away.
    Gone,
}

impl Stream {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self {
            reader: Reader::Fresh {
                socket,
                was_tried: false,
            },
            writer: None,
        }
    }

    /// The socket, unless it was given away.
    pub(super) fn socket(&self) -> Option<BorrowedFd<'_>> {
        match &self.reader {
            Reader::Fresh { socket, .. } => Some(socket.as_fd()),
            Reader::Watched(watched) => Some(watched.as_fd()),
            Reader::Gone => None,
        }
    }

    /// Gives the socket away.
    pub(super) fn take(&mut self) -> Option<OwnedFd> {
        self.writer = None;
        match std::mem::replace(&mut self.reader, Reader::Gone) {
            Reader::Fresh { socket, .. } => Some(socket),
            Reader::Watched(watched) => Some(watched.into_inner()),
            Reader::Gone => None,
        }
    }

    /// Reads what is there, or waits for something.
    pub(super) fn poll_read(
        &mut self,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Reader::Fresh { socket, was_tried } = &mut self.reader
            && !*was_tried
        {
            // The budget keeps a socket that always has something from starving the others.
            let budget = ready!(poll_proceed(task));
            *was_tried = true;
            match receive(socket.as_fd(), buffer.initialize_unfilled()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => {
                    budget.made_progress();
                    buffer.advance(outcome?);
                    return Poll::Ready(Ok(()));
                }
            }
        }
        self.poll_read_watched(task, buffer)
    }

    fn poll_read_watched(
        &mut self,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let watched = self.watched()?;
        let room = buffer.remaining();
        loop {
            let mut guard = ready!(watched.poll_read_ready(task))?;
            match receive(watched.as_fd(), buffer.initialize_unfilled()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                Ok(read) => {
                    // A short read has emptied the socket: what comes later is a new event. The
                    // end is not taken for it, for it is announced only once.
                    if read > 0 && read < room {
                        guard.clear_ready();
                    }
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Waits until a read may find something.
    pub(super) fn poll_readable(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        let watched = self.watched()?;
        watched.poll_read_ready(task).map_ok(drop)
    }

    /// Waits until there is something to read, and leaves it there; false at the end.
    #[cfg(any(feature = "axum", feature = "hyper"))]
    pub(super) fn poll_peek(&mut self, task: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let watched = self.watched()?;
        loop {
            let mut guard = ready!(watched.poll_read_ready(task))?;
            match look(watched.as_fd()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    /// Reads what is there.
    pub(super) fn try_read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match &mut self.reader {
            Reader::Fresh { socket, was_tried } => {
                *was_tried = true;
                receive(socket.as_fd(), bytes)
            }
            Reader::Watched(watched) => {
                watched.try_io(Interest::READABLE, |socket| receive(socket.as_fd(), bytes))
            }
            Reader::Gone => Err(gone()),
        }
    }

    /// Writes what there is room for.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.writer {
            // What it remembers of room must be forgotten once there is none.
            Some(writer) => {
                writer.try_io(Interest::WRITABLE, |socket| transmit(socket.as_fd(), bytes))
            }
            None => transmit(self.socket().ok_or_else(gone)?, bytes),
        }
    }

    /// Writes what there is room for, or waits for room.
    pub(super) fn poll_write(
        &mut self,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let budget = ready!(poll_proceed(task));
        loop {
            match self.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => {
                    budget.made_progress();
                    return Poll::Ready(outcome);
                }
            }
            let writer = self.writer()?;
            let _room = ready!(writer.poll_write_ready(task))?;
        }
    }

    /// Waits until a write may find room.
    pub(super) async fn writable(&mut self) -> io::Result<()> {
        let writer = self.writer()?;
        poll_fn(|task| writer.poll_write_ready(task).map_ok(drop)).await
    }

    fn watched(&mut self) -> io::Result<&AsyncFd<OwnedFd>> {
        if let Reader::Fresh { .. } = self.reader
            && let Reader::Fresh { socket, .. } = std::mem::replace(&mut self.reader, Reader::Gone)
        {
            // A refusal gives the socket back: the connection stays whole, and may be told so.
            let (reader, refusal) = match watch_or_return(socket) {
                Ok(watched) => (Reader::Watched(watched), Ok(())),
                Err((socket, error)) => (
                    Reader::Fresh {
                        socket,
                        was_tried: true,
                    },
                    Err(error),
                ),
            };
            self.reader = reader;
            refusal?;
        }
        match &self.reader {
            Reader::Watched(watched) => Ok(watched),
            _ => Err(gone()),
        }
    }

    fn writer(&mut self) -> io::Result<&AsyncFd<OwnedFd>> {
        if self.writer.is_none() {
            let duplicate = self.socket().ok_or_else(gone)?.try_clone_to_owned()?;
            let watched = watch_for(duplicate, Interest::WRITABLE)?;
            self.writer = Some(Box::new(watched));
        }
        self.writer.as_deref().ok_or_else(gone)
    }
}

fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<usize> {
    let flags = RecvFlags::DONTWAIT;
    let (read, _) = rustix::io::retry_on_intr(|| recv(socket, &mut *bytes, flags))?;
    Ok(read)
}

#[cfg(any(feature = "axum", feature = "hyper"))]
fn look(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
    let (found, _) = rustix::io::retry_on_intr(|| recv(socket, &mut [0; 1], flags))?;
    Ok(found > 0)
}

fn transmit(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    Ok(rustix::io::retry_on_intr(|| send(socket, bytes, flags))?)
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the socket has been taken out")
}
