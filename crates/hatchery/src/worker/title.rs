//! What `ps` shows of a worker: `hatchery: worker 3 [12 conns]`.
//!
//! A connection that comes or goes only notes that the count has changed. A task shows it then, at most
//! once a second, and sleeps for as long as it stays the same.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hatchery_os::{ProcessTitle, TitleError};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::error::with_causes;

/// How long a count is shown at least, so that a busy worker has other things to do.
const PAUSE: Duration = Duration::from_secs(1);

/// The title of one worker.
#[derive(Debug)]
pub(super) struct Title {
    seat: u32,
    /// Where it is shown, or why it is not, if it was to be.
    shown: Option<Result<&'static ProcessTitle, TitleError>>,
    /// Whether nobody need be told of a change: it has been noted, or is not shown.
    is_noted: AtomicBool,
    changed: Notify,
}

impl Title {
    /// Leaves this process with what it shows already.
    pub(super) fn none() -> Self {
        Self {
            seat: 0,
            shown: None,
            is_noted: AtomicBool::new(true),
            changed: Notify::new(),
        }
    }

    /// Has this process, which must have one thread, show that it is the worker of this number.
    ///
    /// Where the kernel refuses, it shows its command line as before.
    pub(super) fn claim(seat: u32) -> Self {
        let claimed = ProcessTitle::claim();
        let title = Self {
            seat,
            is_noted: AtomicBool::new(claimed.is_err()),
            shown: Some(claimed),
            changed: Notify::new(),
        };
        title.show(0);
        title
    }

    /// Logs why no title is shown, if one was to be.
    pub(super) fn log_refusal(&self) {
        if let Some(Err(error)) = &self.shown {
            let (worker, error) = (self.seat, with_causes(error));
            tracing::debug!(worker, error, "ps shows no title");
        }
    }

    pub(super) fn show(&self, connections: u32) {
        if let Some(Ok(title)) = &self.shown {
            let seat = self.seat;
            title.set(format_args!(
                "hatchery: worker {seat} [{connections} conns]"
            ));
        }
    }

    /// Notes that the count has changed; the caller has changed it before.
    pub(super) fn count_changed(&self) {
        // Mostly this is all: under load it has been noted already.
        if self.is_noted.load(Ordering::SeqCst) {
            return;
        }
        self.is_noted.store(true, Ordering::SeqCst);
        self.changed.notify_one();
    }

    /// Shows the count whenever it has changed, from now on.
    pub(super) async fn follow(&self, count: impl Fn() -> u32) {
        let mut next = Instant::now();
        loop {
            self.changed.notified().await;
            if Instant::now() < next {
                sleep_until(next).await;
            }
            // First this, then the look: a change after the look is noted anew.
            self.is_noted.store(false, Ordering::SeqCst);
            self.show(count());
            next = Instant::now() + PAUSE;
        }
    }
}
