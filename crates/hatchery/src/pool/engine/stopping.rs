//! Stopping tasks: at once if they have not begun, by asking if they have, and by force in the end.

use std::time::Instant;

use super::moving::stopped;
use super::{Engine, State};
use crate::pool::schedule::{Overdue, Sending, Stop, StopStep, TaskId, WorkerId};

impl Engine {
    /// Stops a task; false if it is over, or being stopped already.
    pub(in crate::pool) fn cancel(&self, id: TaskId) -> bool {
        let stops = self.turn(|state| state.stop(id, Stop::Cancelled));
        if stops {
            self.tell_news();
        }
        stops
    }
}

impl State {
    /// Stops a task; false if it is over, or being stopped already.
    pub(in crate::pool) fn stop(&mut self, id: TaskId, why: Stop) -> bool {
        match self.schedule.stop(id) {
            StopStep::Nothing => false,
            StopStep::Over => {
                self.resolve(id, stopped(why));
                self.fill();
                true
            }
            StopStep::Revoke(sending) => self.stop_sent(sending, why),
        }
    }

    /// Ends a task unless it has begun.
    pub(super) fn withdraw(&mut self, id: TaskId) {
        match self.schedule.stop(id) {
            StopStep::Nothing => {}
            StopStep::Over => self.resolve(id, stopped(Stop::Cancelled)),
            StopStep::Revoke(sending) => {
                let hand = self.hand(sending.worker);
                if hand.is_some_and(|hand| hand.sender.revoke(sending.seq)) {
                    self.schedule.withdrawn(sending);
                    self.resolve(id, stopped(Stop::Cancelled));
                }
            }
        }
    }

    fn stop_sent(&mut self, sending: Sending, why: Stop) -> bool {
        // It may be done by now.
        self.drain_all(sending.worker);
        if self.is_over_or_forgotten(sending.task) {
            self.fill();
            return false;
        }
        let until = Instant::now() + self.stop_grace;
        let Some(hand) = self.hand(sending.worker) else {
            return false;
        };
        if hand.sender.revoke(sending.seq) {
            self.schedule.withdrawn(sending);
            self.resolve(sending.task, stopped(why));
            self.fill();
            return true;
        }
        hand.sender.ask_to_stop(sending.seq);
        self.schedule.stopping(sending.task, why, until);
        self.needs_keeper = true;
        true
    }

    /// Stops what has run for too long; says when to look again.
    pub(super) fn stop_overdue(&mut self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        let workers: Vec<WorkerId> = self.schedule.workers().collect();
        for worker in workers {
            let due = self.stop_overdue_of(worker, now);
            next = next.into_iter().chain(due).min();
        }
        next
    }

    fn stop_overdue_of(&mut self, worker: WorkerId, now: Instant) -> Option<Instant> {
        let running = self.hand(worker)?.sender.running();
        let began = running.and_then(|task| Some((task.seq, now.checked_sub(task.run_time)?)));
        match self.schedule.overdue(worker, began, now) {
            Overdue::NotBefore(time) => time,
            Overdue::Stop(sending) => {
                self.stop_sent(sending, Stop::TimedOut);
                Some(now + self.stop_grace)
            }
            Overdue::Kill(sending) => {
                self.condemn(sending);
                None
            }
        }
    }

    fn is_over_or_forgotten(&self, id: TaskId) -> bool {
        let task = self.schedule.task(id);
        task.is_none_or(|task| task.is_over())
    }

    /// Kills a worker for the sake of the one task that it runs.
    fn condemn(&mut self, sending: Sending) {
        let worker = sending.worker;
        for ahead in self.schedule.ahead_of(worker) {
            let taken_back = self
                .hand(worker)
                .is_some_and(|hand| hand.sender.revoke(ahead.seq));
            if taken_back {
                self.schedule.revoked(ahead);
            }
        }
        self.drain_all(worker);
        if !self.is_over_or_forgotten(sending.task) {
            // It has nothing else, so nothing else is hurt.
            self.schedule.condemn(worker);
            if let Some(hand) = self.hand(worker) {
                hand.kill();
            }
        }
        self.fill();
    }
}
