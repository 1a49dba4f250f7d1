//! The processes that the server depends on: those of its workers, and the fork server.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll};
use std::time::Duration;

use hatchery_process::Starting;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::child::{ChildEvent, follow};
use super::member::WorkerKey;
use super::oom::OomWatch;
use super::strangers::Strangers;
use crate::error::{Error, Result, with_causes};
use crate::watch::watch;

/// How long to wait before starting a fork server again that could not be started.
const FORK_SERVER_RETRY: Duration = Duration::from_secs(1);

/// What starts and ends around the front end.
#[derive(Debug)]
pub(super) struct Children {
    events: UnboundedReceiver<ChildEvent>,
    events_sender: UnboundedSender<ChildEvent>,
    fork_server: AsyncFd<OwnedFd>,
    /// When to try again to start one.
    retry: Option<Duration>,
    strangers: Strangers,
    /// Whom the kernel kills for want of memory.
    pub(super) oom: OomWatch,
}

impl Children {
    /// Watches the fork server that runs; `signals` says whether the front end may listen to any.
    pub(super) fn new(signals: bool) -> Result<Self> {
        let (events_sender, events) = unbounded_channel();
        let strangers = Strangers::watch(signals);
        Ok(Self {
            events,
            events_sender,
            fork_server: watch_fork_server(hatchery_process::fork_server_pidfd()?)?,
            retry: None,
            strangers: strangers.map_err(Error::os("children that end cannot be listened to"))?,
            oom: OomWatch::of_this_process(),
        })
    }

    /// Tells from now on what becomes of a worker's process.
    pub(super) fn follow(&self, starting: Starting, worker: WorkerKey) {
        tokio::spawn(follow(starting, worker, self.events_sender.clone()));
    }

    /// What became of a worker's process; if nothing did, the task is woken when something does.
    pub(super) fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<ChildEvent> {
        // There always is a sender: it is here.
        match self.events.poll_recv(context) {
            Poll::Ready(Some(event)) => Poll::Ready(event),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// Starts the fork server again when it has died, and collects whom nobody else does.
    pub(super) fn tend(&mut self, context: &mut Context<'_>, now: Duration) {
        self.tend_fork_server(context, now);
        self.strangers.collect(context);
    }

    /// When to try again to start a fork server.
    pub(super) fn due(&self) -> Option<Duration> {
        self.retry
    }

    fn tend_fork_server(&mut self, context: &mut Context<'_>, now: Duration) {
        let is_dead = self.fork_server.poll_read_ready(context).is_ready();
        if !is_dead || self.retry.is_some_and(|at| at > now) {
            return;
        }
        tracing::warn!("the fork server died; starting another");
        let successor = hatchery_process::ensure_running()
            .and_then(|()| hatchery_process::fork_server_pidfd())
            .map_err(Error::from)
            .and_then(watch_fork_server);
        match successor {
            Ok(successor) => {
                self.fork_server = successor;
                self.retry = None;
                context.waker().wake_by_ref();
            }
            Err(error) => {
                // Workers run on meanwhile.
                let error = with_causes(&error);
                tracing::error!(error, "the fork server could not be started again");
                self.retry = Some(now + FORK_SERVER_RETRY);
            }
        }
    }
}

/// The descriptor of the fork server.
impl AsFd for Children {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fork_server.as_fd()
    }
}

fn watch_fork_server(pidfd: OwnedFd) -> Result<AsyncFd<OwnedFd>> {
    watch(pidfd).map_err(Error::os("the fork server cannot be watched"))
}
