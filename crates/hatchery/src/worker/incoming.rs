//! A worker as its own body sees it, and the connections that come to it.

use std::any::Any;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll, Waker};

use futures::Stream;
use hatchery_process::{Batch, BatchError, Claim};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use super::connection::{Connection, ConnectionGuard, ConnectionInfo};
use super::context::{self, Context};
use super::direct::Acceptor;
use crate::watch::watch;

/// How many messages are taken from the channel before connections get their turn.
const MESSAGES_PER_TURN: usize = 4;

/// The exit code of a worker whose front end is gone.
const ORPHANED: u8 = 0;

/// A worker, given to the body that [`run`](crate::ServerBuilder::run) was given.
#[derive(Clone, Debug)]
pub struct Worker {
    context: &'static Context,
    pub(super) receiver: Arc<Receiver>,
}

impl Worker {
    pub(super) fn new(context: &'static Context, receiver: Receiver) -> Self {
        Self {
            context,
            receiver: Arc::new(receiver),
        }
    }

    /// Which worker this is, from 0. A successor may have the same number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.context.seat
    }

    /// How many workers the server had started before this one.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.context.generation
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

    /// The connections that come to this worker. It is ready from the first call on.
    ///
    /// The stream ends when the worker is to drain: it has then given everything there was. One
    /// task at a time may wait for it.
    #[must_use]
    pub fn incoming(&self) -> Incoming {
        if !std::mem::replace(&mut self.receiver.lock().is_ready, true) {
            self.context.tell_ready();
        }
        Incoming {
            receiver: Arc::clone(&self.receiver),
        }
    }

    /// Wishes this worker to be replaced, as [`retire_worker`](crate::retire_worker) does.
    pub fn retire(&self) {
        self.context.tell_retire();
    }

    /// Resolves when this worker is to finish what it has and end.
    ///
    /// Where a listener accepts, it resolves once that has accepted everything there was.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        let receiver = Arc::clone(&self.receiver);
        async move { receiver.drained().await }
    }

    /// Resolves once none of this worker's connections is left.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe.
    pub async fn finished(&self) {
        self.context.all_ended().await;
    }
}

/// The connections that come to a worker.
#[derive(Debug)]
pub struct Incoming {
    receiver: Arc<Receiver>,
}

impl Incoming {
    /// Waits for the next connection; `None` means that the worker is to drain.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: a cancelled call has taken no connection.
    pub async fn accept(&mut self) -> Option<Connection> {
        poll_fn(|task| self.receiver.poll_next(task)).await
    }
}

impl Stream for Incoming {
    type Item = Connection;

    fn poll_next(self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_next(task)
    }
}

/// The receiving end of the channel, shared by whoever waits for connections or for the drain.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) context: &'static Context,
    channel: AsyncFd<Channel>,
    state: Mutex<State>,
    drain: Notify,
}

#[derive(Debug, Default)]
struct State {
    is_ready: bool,
    is_draining: bool,
    arrived: VecDeque<Connection>,
    /// Where this worker accepts for itself, until it drains and nothing waits any more.
    acceptor: Option<Acceptor>,
    /// Whether it may, for the front end knows this worker.
    may_accept: bool,
    /// Who waits for connections, in case somebody else reads one from the channel.
    waiting: Option<Waker>,
    /// Whether the drain is kept from those who wait for it, until all is accepted.
    is_held: bool,
}

impl State {
    /// Whether those who wait for the drain are to be told.
    fn has_drained(&self) -> bool {
        self.is_draining && !self.is_held
    }

    /// Has a task woken that waits for connections.
    fn wait(&mut self, task: &TaskContext<'_>) {
        if !matches!(&self.waiting, Some(waker) if waker.will_wake(task.waker())) {
            self.waiting = Some(task.waker().clone());
        }
    }
}

/// The channel as the runtime watches it.
#[derive(Debug)]
struct Channel(&'static Context);

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.0.link.as_fd().as_raw_fd()
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.link.as_fd()
    }
}

impl Receiver {
    pub(super) fn new(context: &'static Context) -> io::Result<Self> {
        let acceptor = if context.is_direct {
            Some(Acceptor::new(context)?)
        } else {
            None
        };
        let state = State {
            acceptor,
            ..State::default()
        };
        Ok(Self {
            context,
            channel: watch(Channel(context))?,
            state: Mutex::new(state),
            drain: Notify::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_next(&self, task: &mut TaskContext<'_>) -> Poll<Option<Connection>> {
        let next = self.poll_connection(task);
        next.map(|next| next.map(Connection::begin))
    }

    fn poll_connection(&self, task: &mut TaskContext<'_>) -> Poll<Option<Connection>> {
        for _ in 0..MESSAGES_PER_TURN {
            if let Poll::Ready(next) = self.poll_arrived(task) {
                return Poll::Ready(next);
            }
            if self.poll_message(task).is_pending() {
                return self.poll_accept(task);
            }
        }
        // More may be there; the connections that are have waited long enough.
        task.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes what has come out of the channel, or sees that there will be nothing more.
    fn poll_arrived(&self, task: &TaskContext<'_>) -> Poll<Option<Connection>> {
        let mut state = self.lock();
        if let Some(connection) = state.arrived.pop_front() {
            return Poll::Ready(Some(connection));
        }
        if state.is_draining {
            let acceptor = state.acceptor.as_ref().filter(|_| state.may_accept);
            let last = acceptor.and_then(Acceptor::accept_the_last);
            if last.is_none() {
                // Closed, the listeners take no more clients that nobody would serve.
                state.acceptor = None;
            }
            return Poll::Ready(last);
        }
        state.wait(task);
        Poll::Pending
    }

    /// Accepts, where this worker does that itself.
    fn poll_accept(&self, task: &mut TaskContext<'_>) -> Poll<Option<Connection>> {
        let state = self.lock();
        match &state.acceptor {
            Some(acceptor) if state.may_accept => acceptor.poll_accept(task).map(Some),
            _ => Poll::Pending,
        }
    }

    /// Waits for the drain, and reads the channel in case nobody else does.
    async fn drained(&self) {
        loop {
            let told = self.drain.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            if self.lock().has_drained() {
                return;
            }
            tokio::select! {
                () = &mut told => {}
                ready = self.channel.readable() => {
                    if let Ok(mut guard) = ready
                        && self.take_message() == Taken::Nothing
                    {
                        guard.clear_ready();
                    }
                }
            }
        }
    }

    /// Takes one message from the channel, if the runtime holds that there is one.
    fn poll_message(&self, task: &mut TaskContext<'_>) -> Poll<()> {
        let Poll::Ready(Ok(mut guard)) = self.channel.poll_read_ready(task) else {
            return Poll::Pending;
        };
        if self.take_message() == Taken::Nothing {
            guard.clear_ready();
        }
        Poll::Ready(())
    }

    /// Takes one message from the channel.
    fn take_message(&self) -> Taken {
        match self.context.link.recv() {
            Ok(Batch::Connections(connections)) => {
                let connections = connections.into_iter().map(|(handover, socket)| {
                    self.context.arrived(handover.sent_at);
                    let claim = Claim::new(&self.context.link, handover.slot);
                    let guard = ConnectionGuard::new(self.context, Some(claim));
                    let info = ConnectionInfo::from(&handover);
                    Connection::new(socket, guard, info).with_state(handover.state)
                });
                let mut state = self.lock();
                state.arrived.extend(connections);
                self.wake(state);
                Taken::Something
            }
            Ok(Batch::Accept) => {
                let mut state = self.lock();
                state.may_accept = true;
                self.wake(state);
                Taken::Something
            }
            Ok(Batch::Drain) => {
                let mut state = self.lock();
                state.is_draining = true;
                self.context.note_drain();
                self.drain.notify_waiters();
                self.wake(state);
                Taken::Something
            }
            Err(BatchError::Empty) => Taken::Nothing,
            Ok(_) | Err(_) => {
                // The server is gone, and with it the reason for this process.
                tracing::debug!("the front end is gone");
                hatchery_os::exit_now(ORPHANED)
            }
        }
    }

    /// Keeps the drain from those who wait for it, or lets it go.
    #[cfg(feature = "axum")]
    pub(super) fn hold_drain(&self, holds: bool) {
        self.lock().is_held = holds;
        self.drain.notify_waiters();
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let waiting = state.waiting.take();
        drop(state);
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

#[cfg(feature = "tower")]
impl Receiver {
    /// Says whether this worker declines what it is sent.
    pub(super) fn set_declining(&self, is_declining: bool) {
        self.context.link.set_declining(is_declining);
    }

    /// Waits until connections were sent that are still here; false if none will be.
    pub(super) fn poll_sent(&self, task: &mut TaskContext<'_>) -> Poll<bool> {
        loop {
            let mut state = self.lock();
            if !state.arrived.is_empty() {
                return Poll::Ready(true);
            }
            // What a worker could accept is not sent, and waits for it.
            if state.is_draining && state.acceptor.is_none() {
                return Poll::Ready(false);
            }
            state.wait(task);
            drop(state);
            std::task::ready!(self.poll_message(task));
        }
    }

    /// Takes the connection that was sent last.
    pub(super) fn take_last(&self) -> Option<Connection> {
        self.lock().arrived.pop_back()
    }

    /// Puts back what was taken so.
    pub(super) fn put_last(&self, connection: Connection) {
        self.lock().arrived.push_back(connection);
    }
}

/// Whether there was a message.
#[derive(Debug, PartialEq, Eq)]
enum Taken {
    Something,
    Nothing,
}
