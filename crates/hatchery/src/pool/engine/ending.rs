//! The end of a pool.

use std::future::poll_fn;
use std::task::Waker;
use std::time::Instant;

use hatchery_process::TaskFate;

use super::hand::Hand;
use super::waiting::enlist;
use super::{Engine, State, Wish, WishOf};
use crate::pool::error::TaskError;
use crate::pool::payload::Content;
use crate::pool::schedule::WorkerId;

/// Whether a pool is about to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::pool) enum Ending {
    /// It takes tasks.
    Open,
    /// It takes no tasks, and ends when it has done those that it has.
    Closed,
    /// Its workers were killed.
    Terminated,
}

impl Engine {
    /// Changes how many workers there are.
    pub(in crate::pool) fn resize(&self, workers: usize) {
        self.turn(|state| {
            state.schedule.resize(workers, workers);
            state.needs_keeper = true;
            state.fill();
        });
    }

    /// Takes no more tasks.
    pub(in crate::pool) fn close(&self) {
        self.turn(|state| {
            state.ending = state.ending.max(Ending::Closed);
            state.schedule.close();
            state.wake_all_for_room();
            state.needs_keeper = true;
            state.fill();
        });
        self.tell_news();
    }

    /// Kills all workers, and ends all tasks.
    pub(in crate::pool) fn terminate(&self) {
        self.turn(|state| {
            state.ending = Ending::Terminated;
            state.schedule.close();
            state.end_waiting(&TaskError::PoolClosed);
            state.wake_all_for_room();
            let workers: Vec<_> = state.schedule.workers().collect();
            for worker in workers {
                state.schedule.condemn(worker);
                if let Some(hand) = state.hand(worker) {
                    hand.kill();
                }
            }
            state.needs_keeper = true;
        });
        self.tell_news();
    }

    /// Waits until the pool has ended; false if it has not by the deadline.
    pub(in crate::pool) fn wait_for_end(&self, deadline: Option<Instant>) -> bool {
        let ended = self.wait_until(deadline, &mut end());
        ended.is_some()
    }

    /// Waits until the pool has ended.
    pub(in crate::pool) async fn ended(&self) {
        poll_fn(|task| self.poll(&mut end(), task)).await;
    }
}

/// The wish that a pool has ended.
fn end() -> impl Wish<Outcome = ()> {
    WishOf {
        attempt: |state: &mut State| state.is_over().then_some(()),
        register: State::await_milestone,
    }
}

impl State {
    pub(in crate::pool) fn is_over(&self) -> bool {
        self.schedule.is_over() && self.hands.iter().all(Option::is_none)
    }

    #[cfg(feature = "tower")]
    pub(in crate::pool) fn ending(&self) -> Ending {
        self.ending
    }

    /// How many tasks are not over.
    pub(in crate::pool) fn unfinished(&self) -> usize {
        self.schedule.waiting() + self.schedule.outstanding()
    }

    pub(in crate::pool) fn await_milestone(&mut self, waker: &Waker) {
        enlist(&mut self.milestone_wakers, waker);
    }

    /// Has `waker` woken when there is progress; false if there is some.
    pub(in crate::pool) fn await_progress(&mut self, finished: u64, waker: &Waker) -> bool {
        if self.is_over() || self.counts.done + self.counts.failed != finished {
            return false;
        }
        self.await_milestone(waker);
        enlist(&mut self.progress_wakers, waker);
        true
    }

    /// How many of the unfinished tasks have begun, as the workers say.
    pub(in crate::pool) fn begun(&self) -> usize {
        let workers = self.schedule.workers();
        let begun = workers.filter_map(|worker| {
            let sender = &self.hands.get(worker.index())?.as_ref()?.sender;
            let has_begun = |seq| sender.fate(seq) == TaskFate::Started;
            Some(self.schedule.begun(worker, has_begun))
        });
        begun.sum()
    }

    pub(in crate::pool) fn pid(&self, worker: WorkerId) -> Option<u32> {
        self.hands.get(worker.index())?.as_ref().map(Hand::pid)
    }

    /// Ends all tasks that wait, for this reason.
    pub(super) fn end_waiting(&mut self, why: &TaskError) {
        for id in self.schedule.end_waiting() {
            self.resolve(id, Content::failed(why.clone()));
        }
    }
}
