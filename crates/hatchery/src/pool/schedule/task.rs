//! A task as the schedule sees it.

use std::time::{Duration, Instant};

use super::lanes::{LaneId, Priority, Queued};
use super::seat::WorkerId;

/// What may be said of a task beside what it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TaskOptions {
    pub(crate) priority: Priority,
    /// How long it may run.
    pub(crate) timeout: Option<Duration>,
    /// How often it may be run again after it has lost its worker.
    pub(crate) retries: u32,
    /// Those of one key run in one place, in order.
    pub(crate) key: Option<u64>,
}

/// Why a task is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Cancelled,
    TimedOut,
}

/// A task from its submission until nobody asks for it any more.
#[derive(Debug)]
pub(crate) struct Task<P> {
    /// What the acting half keeps of it.
    pub(crate) payload: P,
    pub(super) phase: Phase,
    pub(super) lane: LaneId,
    pub(super) priority: Priority,
    /// Most tasks have none of it.
    pub(super) extras: Option<Box<Extras>>,
}

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It waits in its lane.
    Waiting,
    /// It waits in front of the lanes, for it was sent before.
    WaitingAgain,
    /// It waits for the place of its key.
    WaitingForPlace,
    /// A worker has it, under this number.
    Sent { worker: WorkerId, seq: u64 },
    /// It is over.
    Over,
}

/// What only some tasks have.
#[derive(Debug, Default)]
pub(super) struct Extras {
    pub(super) timeout: Option<Duration>,
    pub(super) retries: u32,
    pub(super) key: Option<u64>,
    /// How many workers it has lost.
    pub(super) kills: u32,
    pub(super) stopping: Option<Stopping>,
}

/// A task that was asked to stop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopping {
    pub(super) why: Stop,
    /// When its worker is killed if it has not.
    pub(super) until: Instant,
}

impl<P> Task<P> {
    pub(super) fn new(lane: LaneId, options: &TaskOptions, payload: P) -> Self {
        let is_plain = options.timeout.is_none() && options.retries == 0 && options.key.is_none();
        let extras = (!is_plain).then(|| {
            Box::new(Extras {
                timeout: options.timeout,
                retries: options.retries,
                key: options.key,
                ..Extras::default()
            })
        });
        Self {
            payload,
            phase: Phase::Waiting,
            lane,
            priority: options.priority,
            extras,
        }
    }

    /// Whether a worker has it.
    pub(crate) fn is_sent(&self) -> bool {
        matches!(self.phase, Phase::Sent { .. })
    }

    /// Whether it is over.
    pub(crate) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    pub(super) fn key(&self) -> Option<u64> {
        self.extras.as_ref().and_then(|extras| extras.key)
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        self.extras.as_ref().and_then(|extras| extras.timeout)
    }

    pub(super) fn stopping(&self) -> Option<Stopping> {
        self.extras.as_ref().and_then(|extras| extras.stopping)
    }

    pub(super) fn extras_mut(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }
}

impl<P> Queued for Task<P> {
    fn lane(&self) -> LaneId {
        self.lane
    }

    fn priority(&self) -> Priority {
        self.priority
    }
}
