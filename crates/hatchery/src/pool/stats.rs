//! What can be seen of a pool.

use std::time::Duration;

use super::engine::{Engine, State};
use super::schedule::Stage;

/// The figures of a pool at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// How many tasks wait, also those that wait in a worker behind another.
    pub queued: usize,
    /// How many tasks have begun and are not over: they run, or have returned at this very moment.
    pub running: usize,
    /// How many tasks have returned.
    pub done: u64,
    /// How many tasks have ended in an error of the pool's: see [`TaskError`](crate::TaskError).
    pub failed: u64,
    /// The workers that there are, by their places.
    pub workers: Vec<WorkerStats>,
}

/// The figures of a worker at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerStats {
    /// Its place in the pool, from 0.
    pub index: usize,
    /// Its process id; `None` while it is being started.
    pub pid: Option<u32>,
    /// Whether it is ready for tasks.
    pub is_ready: bool,
    /// How many tasks it has, with the one that it runs.
    pub tasks: usize,
    /// How many tasks it has done.
    pub done: u64,
    /// How long its tasks take, as a moving average; zero before the first.
    pub run_time: Duration,
}

impl PoolStats {
    /// How many tasks have been submitted so far.
    #[must_use]
    pub fn submitted(&self) -> u64 {
        let pending = self.queued + self.running;
        self.done + self.failed + u64::try_from(pending).unwrap_or(u64::MAX)
    }

    /// How many tasks are over.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.done + self.failed
    }
}

impl Engine {
    pub(super) fn stats(&self) -> PoolStats {
        self.turn(|state| {
            state.drain();
            state.stats()
        })
    }
}

impl State {
    pub(super) fn stats(&self) -> PoolStats {
        let mut workers: Vec<WorkerStats> = (self.schedule.workers())
            .filter_map(|id| {
                let view = self.schedule.worker(id)?;
                Some(WorkerStats {
                    index: view.place,
                    pid: self.pid(id),
                    is_ready: view.stage == Stage::Ready,
                    tasks: view.outstanding,
                    done: view.done,
                    run_time: view.run_time,
                })
            })
            .collect();
        workers.sort_by_key(|worker| worker.index);
        // Not what the workers run now: one may have returned since its results were taken in, and
        // would count as waiting.
        let running = self.begun();
        PoolStats {
            queued: self.unfinished() - running,
            running,
            done: self.counts.done,
            failed: self.counts.failed,
            workers,
        }
    }
}
