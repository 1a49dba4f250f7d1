//! Which tasks are stopped, and how: those that are cancelled, and those whose time is up.

use std::time::{Duration, Instant};

use super::seat::WorkerId;
use super::slab::TaskId;
use super::task::{Phase, Stop, Stopping};
use super::{Schedule, Sending};

/// What is to be done to stop a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopStep {
    /// It waited, and is over now.
    Over,
    /// It was sent, and may not have begun.
    Revoke(Sending),
    /// It is over, or being stopped already.
    Nothing,
}

/// What is to be done about the task that a worker runs, because of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// Nothing, before this time.
    NotBefore(Option<Instant>),
    /// It has run too long: ask it to stop.
    Stop(Sending),
    /// It was asked to stop and has not: kill its worker.
    Kill(Sending),
}

impl<P> Schedule<P> {
    /// Begins to stop a task.
    pub(crate) fn stop(&mut self, id: TaskId) -> StopStep {
        let Some(task) = self.tasks.get(id) else {
            return StopStep::Nothing;
        };
        match task.phase {
            Phase::Over => StopStep::Nothing,
            Phase::Sent { .. } if task.stopping().is_some() => StopStep::Nothing,
            Phase::Sent { worker, seq } => StopStep::Revoke(Sending {
                worker,
                task: id,
                seq,
            }),
            Phase::Waiting | Phase::WaitingAgain | Phase::WaitingForPlace => {
                self.take_out(id);
                self.end(id);
                StopStep::Over
            }
        }
    }

    /// Notes that a task that had begun was asked to stop, and until when it may.
    pub(crate) fn stopping(&mut self, id: TaskId, why: Stop, until: Instant) {
        let was_timed = self.is_timed(id);
        if let Some(task) = self.tasks.get_mut(id).filter(|task| task.is_sent()) {
            task.extras_mut()
                .stopping
                .get_or_insert(Stopping { why, until });
            self.timed += usize::from(!was_timed);
        }
    }

    /// The shortest time limit that any task has had.
    pub(crate) fn timeout_min(&self) -> Option<Duration> {
        self.timeout_min
    }

    /// Whether time matters to any task that was sent.
    pub(crate) fn is_any_timed(&self) -> bool {
        self.timed > 0
    }

    /// Says what to do about the task that a worker runs since `began`, or has not begun.
    pub(crate) fn overdue(
        &self,
        worker: WorkerId,
        began: Option<(u64, Instant)>,
        now: Instant,
    ) -> Overdue {
        let sent = self.seat(worker).and_then(|seat| seat.sent.front());
        let Some(&(seq, id)) = sent else {
            return Overdue::NotBefore(None);
        };
        let Some(task) = self.tasks.get(id) else {
            return Overdue::NotBefore(None);
        };
        let sending = Sending {
            worker,
            task: id,
            seq,
        };
        if let Some(stopping) = task.stopping() {
            return match stopping.until <= now {
                true => Overdue::Kill(sending),
                false => Overdue::NotBefore(Some(stopping.until)),
            };
        }
        let began = began
            .filter(|&(running, _)| running == seq)
            .map(|(_, began)| began);
        if let (Some(timeout), Some(began)) = (task.timeout(), began)
            && began + timeout <= now
        {
            return Overdue::Stop(sending);
        }
        // Whatever begins behind it has at least this long.
        let behind = self.timeout_min.map(|timeout| now + timeout);
        let itself = task
            .timeout()
            .zip(began)
            .map(|(timeout, began)| began + timeout);
        Overdue::NotBefore(itself.into_iter().chain(behind).min())
    }
}
