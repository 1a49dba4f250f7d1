//! Ending the server: draining its workers, or killing them.

use std::time::Duration;

use hatchery_os::Obstacle;

use super::FrontEnd;
use super::life::Phase;
use super::member::Farewell;
use super::roster::{Seat, Stage};
use crate::control::{ControlError, ServerEvent};
use crate::error::Error;
use crate::signals::Urgency;
use crate::systemd::News;

impl FrontEnd {
    /// Begins to end the server, or ends it.
    pub(super) fn stop(&mut self, urgency: Urgency, now: Duration) {
        match (self.life.phase, urgency) {
            (Phase::Serving, Urgency::Drain) => self.begin_drain(now),
            (Phase::Serving | Phase::Draining(_), Urgency::Kill) => {
                self.life.fail(Error::Killed);
                self.kill_all();
            }
            (Phase::Draining(_) | Phase::Ending, _) => {}
        }
    }

    pub(super) fn begin_drain(&mut self, now: Duration) {
        self.outside.tell(ServerEvent::Stopping);
        self.fail_reload(ControlError::Stopping, now);
        self.cancel_upgrade();
        tracing::info!(timeout = ?self.plan.workers.drain_timeout, "stopping: no more is accepted");
        self.accept_the_last(now);
        self.release_kept(now);
        self.place_waiting(now);
        self.hand_over(now);
        self.life.phase = Phase::Draining(now.saturating_add(self.plan.workers.drain_timeout));
        self.outside.notifying.tell(&[News::Stopping]);
        self.notify_status();
        self.listeners.close();
    }

    /// Tells workers to drain once nothing waits for one, and kills them when time is up.
    pub(super) fn progress_drain(&mut self, now: Duration) {
        let Phase::Draining(deadline) = self.life.phase else {
            return;
        };
        if deadline <= now && self.break_off(now) {
            return;
        }
        if deadline <= now {
            let killed = self.crew.iter().count();
            if killed > 0 {
                tracing::warn!(workers = killed, "not finished in time: killed");
                self.life.fail(Error::DrainTimeout { killed });
            }
            self.kill_all();
            return;
        }
        if self.holds_any() {
            return;
        }
        if !self.queue.is_empty() {
            self.find_a_worker_for_the_last(now);
            return;
        }
        for seat in self.crew.seats() {
            match self.roster.stage(seat) {
                Some(Stage::Ready) => self.drain(seat),
                // It has nothing to finish.
                Some(Stage::Starting) => self.kill_unneeded(seat),
                Some(Stage::Draining) | None => {}
            }
        }
        self.say_farewell(now);
    }

    /// How long workers have after they were told to break off, if they are told.
    pub(super) fn kill_after(&self) -> Option<Duration> {
        let workers = &self.plan.workers;
        // Who gives no time to finish wants them killed.
        let is_told = !workers.drain_timeout.is_zero() && !workers.kill_timeout.is_zero();
        is_told.then_some(workers.kill_timeout)
    }

    /// Has all workers break off what they have; false if they were told before, or are not to be.
    fn break_off(&mut self, now: Duration) -> bool {
        let Some(after) = self.kill_after().filter(|_| !self.life.is_breaking_off) else {
            return false;
        };
        self.life.is_breaking_off = true;
        self.life.phase = Phase::Draining(now.saturating_add(after));
        for member in self.crew.iter_mut() {
            member.break_off();
        }
        true
    }

    /// Gives a worker nothing more, and lets it end.
    pub(super) fn drain(&mut self, seat: Seat) {
        let now = self.alarm.now();
        self.roster.drain(seat);
        self.staff.leaves(seat);
        let ends_by = now.saturating_add(self.plan.workers.drain_timeout);
        if let Some(member) = self.crew.get_mut(seat)
            && member.ends_by.is_none()
        {
            member.farewell = Farewell::Due;
            member.ends_by = Some(ends_by);
            self.tell_of(seat, |worker, generation| ServerEvent::WorkerDraining {
                worker,
                generation,
            });
        }
    }

    /// Tells those who are to drain, once all that they were given is sent.
    pub(super) fn say_farewell(&mut self, now: Duration) {
        let mut is_any_full = false;
        for member in self.crew.iter_mut() {
            if member.farewell != Farewell::Due || !member.outbox.is_empty() {
                continue;
            }
            if member.tell_to_drain().is_err_and(Obstacle::passes) {
                is_any_full = true;
            } else {
                member.farewell = Farewell::Said;
            }
        }
        if is_any_full {
            // There is a turn when its channel may no longer be.
            self.crew.send_later(now);
        }
    }

    pub(super) fn kill(&mut self, seat: Seat) {
        if let Some(member) = self.crew.get_mut(seat) {
            member.kill();
        }
    }

    /// Ends the server at once.
    pub(super) fn kill_all(&mut self) {
        self.life.phase = Phase::Ending;
        self.outside.notifying.tell(&[News::Stopping]);
        self.notify_status();
        self.fail_reload(ControlError::Stopping, self.alarm.now());
        self.cancel_upgrade();
        self.listeners.close();
        for member in self.crew.iter_mut() {
            member.kill();
        }
    }

    /// Whether nothing is left to wait for.
    pub(super) fn is_over(&self) -> bool {
        let is_empty = self.crew.iter().next().is_none();
        match self.life.phase {
            Phase::Serving => false,
            // While connections wait, there will be a worker for them.
            Phase::Draining(_) => is_empty && self.queue.is_empty() && self.upgrade.is_delivered(),
            Phase::Ending => is_empty,
        }
    }
}
