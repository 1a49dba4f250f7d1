//! Ending the server: draining its workers, or killing them.

use std::time::Duration;

use super::crew::SendRefusal;
use super::roster::{Seat, Stage};
use super::{FrontEnd, Phase, SEND_RETRY};
use crate::error::{Error, with_causes};
use crate::signals::Urgency;

impl FrontEnd {
    /// Begins to end the server, or ends it.
    pub(super) fn stop(&mut self, urgency: Urgency, now: Duration) {
        match (self.phase, urgency) {
            (Phase::Serving, Urgency::Drain) => self.begin_drain(now),
            (Phase::Serving | Phase::Draining(_), Urgency::Kill) => {
                self.outcome = Err(Error::Killed);
                self.kill_all();
            }
            (Phase::Draining(_) | Phase::Ending, _) => {}
        }
    }

    fn begin_drain(&mut self, now: Duration) {
        tracing::info!(timeout = ?self.plan.workers.drain_timeout, "stopping: no more is accepted");
        self.accept_the_last(now);
        self.place_waiting(now);
        self.hand_over(now);
        self.phase = Phase::Draining(now.saturating_add(self.plan.workers.drain_timeout));
        self.accepting.clear();
        self.vacancies.clear();
        self.listeners.clear();
    }

    /// Tells workers to drain once nothing waits for one, and kills them when time is up.
    pub(super) fn progress_drain(&mut self, now: Duration) {
        let Phase::Draining(deadline) = self.phase else {
            return;
        };
        if deadline <= now {
            let killed = self.crew.iter().flatten().count();
            if killed > 0 {
                tracing::warn!(workers = killed, "not finished in time: killed");
                self.outcome = Err(Error::DrainTimeout { killed });
            }
            self.kill_all();
            return;
        }
        if !self.queue.is_empty() {
            self.find_a_worker_for_the_last();
            return;
        }
        for seat in (0..self.crew.len()).map(Seat) {
            let is_ready = self.roster.stage(seat) == Some(Stage::Ready);
            let is_sent = self.crew[seat.0]
                .as_ref()
                .is_some_and(|m| m.outbox.is_empty());
            if is_ready && is_sent {
                self.drain(seat);
            } else if self.roster.stage(seat) == Some(Stage::Starting) {
                // It has nothing to finish.
                self.kill(seat);
            }
        }
    }

    /// Starts a worker for connections that came back when all others had been told to drain.
    fn find_a_worker_for_the_last(&mut self) {
        let stages = (0..self.crew.len()).map(|seat| self.roster.stage(Seat(seat)));
        let mut useful =
            stages.filter(|stage| matches!(stage, Some(Stage::Starting | Stage::Ready)));
        if useful.next().is_some() {
            return;
        }
        if let Err(error) = self.hire(0) {
            let error = with_causes(&error);
            tracing::error!(
                error,
                "connections are closed, for there is no worker for them"
            );
            while self.queue.pop().is_some() {}
        }
    }

    /// Gives a worker nothing more, and lets it end; false if it could not be told yet.
    pub(super) fn drain(&mut self, seat: Seat) -> bool {
        let told = self.member(seat).map(|member| member.tell_to_drain());
        if told == Some(Err(SendRefusal::Later)) {
            // Its channel is full, and there is a turn when it may no longer be.
            self.send_retry = Some(self.born.elapsed() + SEND_RETRY);
            return false;
        }
        self.roster.drain(seat);
        let ends_by = self
            .born
            .elapsed()
            .saturating_add(self.plan.workers.drain_timeout);
        if let Some(member) = self.member(seat) {
            member.ends_by = Some(ends_by);
        }
        true
    }

    pub(super) fn kill(&mut self, seat: Seat) {
        if let Some(member) = self.member(seat) {
            member.kill();
        }
    }

    /// Ends the server at once.
    pub(super) fn kill_all(&mut self) {
        self.phase = Phase::Ending;
        self.accepting.clear();
        self.vacancies.clear();
        self.listeners.clear();
        for member in self.crew.iter_mut().flatten() {
            member.kill();
        }
    }

    /// Whether nothing is left to wait for.
    pub(super) fn is_over(&self) -> bool {
        self.phase != Phase::Serving && self.crew.iter().all(Option::is_none)
    }
}
