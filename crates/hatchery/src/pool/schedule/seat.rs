//! One worker, as the schedule sees it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::slab::TaskId;

/// The most tasks that a worker can have at once.
pub(crate) const AHEAD_MAX: u32 = 1024;

/// How much work a worker is to have, so that it need not wait for more.
const WORK_AHEAD: Duration = Duration::from_micros(200);

/// From this run time on, a worker gets a task when it has done the one before.
const LONG: Duration = Duration::from_millis(1);

/// Of how many run times the average is, roughly.
const AVERAGED: u32 = 8;

/// Names a worker; once it is gone, another may have the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WorkerId(pub(super) u32);

impl WorkerId {
    /// The worker of this number.
    pub(crate) fn of(index: usize) -> Self {
        Self(u32::try_from(index).expect("there are fewer workers than that"))
    }

    /// The number, to keep things of the worker by.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// How far a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It is being started.
    Starting,
    /// It could get tasks, and waits to take the place of another.
    Standby,
    /// It gets tasks.
    Ready,
    /// It ends when it has done what it has.
    Retiring,
    /// It was told to end, or is killed.
    Leaving,
}

/// A worker and what was sent to it.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) place: usize,
    pub(super) stage: Stage,
    /// What it has, in the order in which it was sent.
    pub(super) sent: VecDeque<(u64, TaskId)>,
    /// The number of the next task.
    pub(super) next_seq: u64,
    /// How many tasks it was given and has kept.
    pub(super) taken: u32,
    pub(super) done: u64,
    pub(super) window: Window,
    /// Since when it has nothing to do.
    pub(super) idle_since: Option<Instant>,
    /// Whether what is sent to it has no room until it has done more.
    pub(super) is_full: bool,
    /// Whether the next task is one for its place, if there is one.
    pub(super) prefers_keyed: bool,
}

impl Seat {
    pub(super) fn new(place: usize) -> Self {
        Self {
            place,
            stage: Stage::Starting,
            sent: VecDeque::new(),
            next_seq: 1,
            taken: 0,
            done: 0,
            window: Window::default(),
            idle_since: None,
            is_full: false,
            prefers_keyed: true,
        }
    }

    pub(super) fn outstanding(&self) -> u32 {
        // The window bounds it.
        self.sent.len() as u32
    }

    pub(super) fn is_idle(&self) -> bool {
        self.stage == Stage::Ready && self.sent.is_empty()
    }
}

/// How many tasks a worker is sent ahead of its results, from how long they take.
#[derive(Debug)]
pub(super) struct Window {
    size: u32,
    /// In nanoseconds; 0 before the first result.
    average: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            size: 1,
            average: 0,
        }
    }
}

impl Window {
    pub(super) fn size(&self) -> u32 {
        self.size
    }

    pub(super) fn average(&self) -> Duration {
        Duration::from_nanos(self.average)
    }

    /// Learns how long a task took.
    pub(super) fn note(&mut self, run_time: Duration) {
        let nanos = u64::try_from(run_time.as_nanos()).unwrap_or(u64::MAX / 16);
        let nanos = nanos.clamp(1, u64::MAX / 16);
        self.average = match self.average {
            0 => nanos,
            average => (average * u64::from(AVERAGED - 1) + nanos) / u64::from(AVERAGED),
        };
        let target = self.target();
        self.size = target.min(self.size.saturating_mul(2));
    }

    fn target(&self) -> u32 {
        if self.average() >= LONG {
            return 1;
        }
        let work_ahead = u64::try_from(WORK_AHEAD.as_nanos()).unwrap_or(u64::MAX);
        let count = work_ahead / self.average.max(1) + 1;
        u32::try_from(count).map_or(AHEAD_MAX, |count| count.clamp(2, AHEAD_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(run_times: impl IntoIterator<Item = Duration>) -> u32 {
        let mut window = Window::default();
        run_times.into_iter().for_each(|time| window.note(time));
        window.size()
    }

    #[test]
    fn the_window_is_one_until_something_is_known_and_doubles_then() {
        let quick = Duration::from_nanos(100);

        assert_eq!(after([]), 1);
        assert_eq!(after([quick]), 2);
        assert_eq!(after([quick; 3]), 8);
        assert_eq!(after([quick; 20]), AHEAD_MAX);
    }

    #[test]
    fn nothing_is_sent_ahead_to_who_takes_long() {
        assert_eq!(after([Duration::from_millis(1); 20]), 1);
        assert_eq!(after([Duration::from_micros(500); 20]), 2);
        assert_eq!(after([Duration::from_micros(20); 20]), 11);
    }

    #[test]
    fn one_long_task_shuts_the_window_at_once() {
        let quick = std::iter::repeat_n(Duration::from_nanos(100), 20);

        assert_eq!(after(quick.chain([Duration::from_secs(1)])), 1);
    }
}
