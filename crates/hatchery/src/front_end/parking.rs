//! Connections that the front end keeps: those whose clients are silent, and those parked by handlers.
//!
//! None of them occupies a worker. One whose client sends something goes to whichever worker is
//! free; until there is one, it stays where it is. They count among `max_connections`.

use std::task::Context;
use std::time::Duration;

use super::watching::has_spoken;
use super::{Accepted, FrontEnd};
use crate::config::Overload;

/// How many connections are found in a turn, before others have theirs.
const LOOKS_PER_TURN: usize = 4;

impl FrontEnd {
    /// Accepts, and gives to workers what they have room for; true if there is more.
    pub(super) fn take_in(&mut self, context: &mut Context<'_>, now: Duration) -> bool {
        // In turns, so that neither new clients nor old ones take all the room.
        self.old_first = !self.old_first;
        let mut more = false;
        if self.old_first {
            more |= self.take_awake(context, now);
        }
        more |= self.accept(context, now);
        self.place_waiting(now);
        if !self.old_first {
            more |= self.take_awake(context, now);
        }
        more
    }

    /// Keeps a new connection until its client has sent something; gives it back if it cannot.
    pub(super) fn await_first_bytes(
        &mut self,
        accepted: Accepted,
        now: Duration,
    ) -> Result<(), Accepted> {
        if !self.plan.server.wait_for_data || self.roster.is_full() {
            return Err(accepted);
        }
        self.newcomers.add(accepted, now)?;
        self.roster.keep();
        Ok(())
    }

    /// Gives connections to workers whose clients have sent something.
    fn take_awake(&mut self, context: &mut Context<'_>, now: Duration) -> bool {
        self.take_awake_newcomers(context, now)
    }

    fn take_awake_newcomers(&mut self, context: &mut Context<'_>, now: Duration) -> bool {
        for _ in 0..LOOKS_PER_TURN {
            if !self.may_admit_newcomers(now) {
                return false;
            }
            let found = self.newcomers.look(context);
            if found.is_empty() {
                return false;
            }
            for key in found {
                if !self.may_admit_newcomers(now) {
                    return false;
                }
                if let Some(accepted) = self.newcomers.take(key) {
                    self.roster.let_go();
                    self.admit(accepted, now);
                }
            }
        }
        true
    }

    /// Whether a connection that has sent its first bytes would be given a place, or turned away.
    fn may_admit_newcomers(&self, now: Duration) -> bool {
        match self.plan.server.overload {
            // What nobody has room for waits where it is.
            Overload::Wait => self.queue.is_empty() && self.roster.has_free_worker(now),
            Overload::Reject | Overload::Reset => true,
        }
    }

    /// Closes connections whose clients have been silent for too long.
    pub(super) fn expire_silent(&mut self, now: Duration) {
        if let Some(timeout) = self.first_byte_timeout() {
            while let Some(accepted) = self.newcomers.take_silent(timeout, now) {
                tracing::debug!(connection = accepted.id, peer = %accepted.peer, "closed: it sent nothing");
                self.roster.let_go();
            }
        }
    }

    /// When a client may have been silent for too long.
    pub(super) fn next_silence(&self) -> Option<Duration> {
        self.newcomers.next_expiry(self.first_byte_timeout()?)
    }

    fn first_byte_timeout(&self) -> Option<Duration> {
        let timeout = self.plan.server.first_byte_timeout;
        (!timeout.is_zero()).then_some(timeout)
    }

    /// Closes connections with nothing to say, and lets the others wait for a worker.
    pub(super) fn release_kept(&mut self, now: Duration) {
        for accepted in self.newcomers.take_all() {
            self.roster.let_go();
            if has_spoken(&accepted) {
                self.queue.push_anyway(accepted, now);
            }
        }
    }
}
