//! Workers that are started while the server drains, for connections that came back to it.
//!
//! That happens where a worker dies with connections that it had not used, and all others have been
//! told to drain. Starts that fail are spaced out, and after some of them the connections are closed.

use std::time::Duration;

use super::FrontEnd;
use super::life::Phase;
use super::restart::{Restarts, Verdict};
use super::roster::Stage;
use crate::error::{Error, with_causes};

/// How such starts have gone.
#[derive(Debug, Default)]
pub(super) struct LastStarts {
    restarts: Restarts,
    /// When there may be another, if one has failed.
    again: Option<Duration>,
}

impl LastStarts {
    /// Notes that a worker is ready.
    pub(super) fn ready(&mut self) {
        self.restarts.ready();
        self.again = None;
    }

    /// When there may be another.
    pub(super) fn due(&self) -> Option<Duration> {
        self.again
    }

    pub(super) fn expire(&mut self, now: Duration) {
        if self.again.is_some_and(|at| at <= now) {
            self.again = None;
        }
    }
}

impl FrontEnd {
    /// Starts a worker for connections that came back when all others had been told to drain.
    pub(super) fn find_a_worker_for_the_last(&mut self, now: Duration) {
        let stages = self.crew.seats().map(|seat| self.roster.stage(seat));
        let mut useful =
            stages.filter(|stage| matches!(stage, Some(Stage::Starting | Stage::Ready)));
        if useful.next().is_some() || self.life.last_starts.again.is_some() {
            return;
        }
        if let Err(error) = self.hire(0, self.staff.epoch()) {
            let cause = match &error {
                Error::Start(cause) => with_causes(cause),
                other => with_causes(other),
            };
            self.last_start_failed(&format!("could not be started: {cause}"), now);
        }
    }

    /// Notes that a worker has not started, or has ended by itself before it had served anybody.
    pub(super) fn last_start_failed(&mut self, reason: &str, now: Duration) {
        if !matches!(self.life.phase, Phase::Draining(_)) {
            return;
        }
        match self.life.last_starts.restarts.failed() {
            Verdict::RestartAfter(pause) => self.life.last_starts.again = Some(now + pause),
            Verdict::GiveUp => {
                let connections = self.queue.len();
                tracing::error!(
                    reason,
                    connections,
                    "connections are closed, for there is no worker for them"
                );
                while self.queue.pop().is_some() {}
            }
        }
    }
}
