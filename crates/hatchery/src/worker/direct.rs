//! Accepting in the worker itself, without a hand-off.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::{Duration, Instant};

use rustix::net::SocketFlags;
use tokio::io::unix::AsyncFd;

use super::connection::{Connection, ConnectionGuard, ConnectionInfo};
use super::context::Context;
use crate::front_end::{AcceptOutcome, accept};
use crate::watch::watch;

/// How long to wait for room.
const PAUSE: Duration = Duration::from_millis(50);

/// The listeners of a worker that accepts for itself.
#[derive(Debug)]
pub(super) struct Acceptor {
    context: &'static Context,
    listeners: Vec<AsyncFd<OwnedFd>>,
    /// Until it can be read, the listeners are another program's.
    gate: Option<AsyncFd<OwnedFd>>,
    accepted: AtomicU64,
}

impl Acceptor {
    pub(super) fn new(context: &'static Context) -> std::io::Result<Self> {
        let mut listeners = context
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let listeners = std::mem::take(&mut *listeners).into_iter().map(watch);
        let gate = context.gate.lock();
        let gate = gate.unwrap_or_else(PoisonError::into_inner).take();
        Ok(Self {
            context,
            gate: gate.map(watch).transpose()?,
            listeners: listeners.collect::<std::io::Result<Vec<_>>>()?,
            accepted: AtomicU64::new(0),
        })
    }

    /// Accepts from whichever listener has a connection, while this worker may have more.
    pub(super) fn poll_accept(&self, task: &mut TaskContext<'_>) -> Poll<Connection> {
        if let Some(gate) = &self.gate
            && gate.poll_read_ready(task).is_pending()
        {
            return Poll::Pending;
        }
        if self.context.live() >= self.context.direct_share {
            // Woken by the end of a connection; the kernel keeps what arrives until then.
            self.context.wake_when_ended(task.waker());
            if self.context.live() >= self.context.direct_share {
                return Poll::Pending;
            }
        }
        for index in 0..self.listeners.len() {
            while let Poll::Ready(Ok(mut guard)) = self.listeners[index].poll_read_ready(task) {
                match self.accept_from(index) {
                    Next::Connection(connection) => return Poll::Ready(connection),
                    Next::None => guard.clear_ready(),
                    Next::Later => {
                        wake_later(task.waker().clone());
                        break;
                    }
                }
            }
        }
        Poll::Pending
    }

    /// Accepts what is left in the kernel's queues, before the worker ends.
    pub(super) fn accept_the_last(&self) -> Option<Connection> {
        if self.gate.as_ref().is_some_and(|gate| !is_open(gate)) {
            return None;
        }
        (0..self.listeners.len()).find_map(|index| match self.accept_from(index) {
            Next::Connection(connection) => Some(connection),
            Next::None | Next::Later => None,
        })
    }

    fn accept_from(&self, index: usize) -> Next {
        loop {
            let listener = self.listeners[index].get_ref();
            match accept(listener.as_fd(), SocketFlags::NONBLOCK) {
                Ok(AcceptOutcome::Connection(socket, peer)) => {
                    self.context.link.note_received(1);
                    let id = self.accepted.fetch_add(1, Ordering::Relaxed) + 1;
                    let info = ConnectionInfo {
                        id,
                        listener: u16::try_from(index).unwrap_or(u16::MAX),
                        peer,
                    };
                    let guard = ConnectionGuard::new(self.context, None);
                    return Next::Connection(Connection::new(socket, guard, info));
                }
                Ok(AcceptOutcome::Gone) => {}
                Ok(AcceptOutcome::None) => return Next::None,
                Ok(AcceptOutcome::NoRoom(error)) => {
                    // The limit of the share leaves room: something else took it.
                    tracing::warn!(%error, "no room to accept another connection");
                    return Next::Later;
                }
                Err(error) => {
                    tracing::error!(%error, "a listener failed");
                    return Next::Later;
                }
            }
        }
    }
}

/// Whether the listeners are this program's.
fn is_open(gate: &AsyncFd<OwnedFd>) -> bool {
    let ready = hatchery_process::wait_for_any(&[gate.as_fd()], Some(Instant::now()));
    ready.is_ok_and(|ready| !ready.is_empty())
}

/// What a listener has.
enum Next {
    Connection(Connection),
    None,
    /// Perhaps something, for which there is no room now.
    Later,
}

/// Wakes a task after a while: the kernel tells of a connection once, and it is still there.
fn wake_later(waker: Waker) {
    tokio::spawn(async move {
        tokio::time::sleep(PAUSE).await;
        waker.wake();
    });
}
