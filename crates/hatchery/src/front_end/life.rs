//! How far the life of the server is, and how it will have ended.

use std::time::Duration;

use super::last_starts::LastStarts;
use crate::error::{Error, Result};

/// What the server is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Serving,
    /// It ends once its workers have, and kills them at this time.
    Draining(Duration),
    /// Its workers are killed, for one reason or another.
    Ending,
}

/// The life of the server.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) phase: Phase,
    /// Whether workers have been told to break off what they have.
    pub(super) is_breaking_off: bool,
    pub(super) last_starts: LastStarts,
    outcome: Result<()>,
}

impl Life {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Serving,
            is_breaking_off: false,
            last_starts: LastStarts::default(),
            outcome: Ok(()),
        }
    }

    pub(super) fn is_serving(&self) -> bool {
        self.phase == Phase::Serving
    }

    /// Has the server end with this error, whatever it would have ended with before.
    pub(super) fn fail(&mut self, error: Error) {
        self.outcome = Err(error);
    }

    /// How it has ended, said once.
    pub(super) fn take_outcome(&mut self) -> Result<()> {
        std::mem::replace(&mut self.outcome, Ok(()))
    }

    /// When something of it is due even if nothing happens.
    pub(super) fn due(&self) -> Option<Duration> {
        let drain = match self.phase {
            Phase::Draining(deadline) => Some(deadline),
            Phase::Serving | Phase::Ending => None,
        };
        drain.into_iter().chain(self.last_starts.due()).min()
    }
}
