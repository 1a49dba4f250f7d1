//! Tasks as they come in.

use std::time::Duration;

use hatchery_process::Entry;

use super::{Collector, Ending, Engine, Items, State, WishOf};
use crate::pool::error::{TaskError, TrySubmitError};
use crate::pool::payload::{CollectorId, Content, Payload};
use crate::pool::schedule::{LaneId, TaskId, TaskOptions};

/// A task without its arguments.
#[derive(Clone, Copy, Debug)]
pub(in crate::pool) struct Job {
    /// What makes its function known to a worker.
    pub(in crate::pool) entry: Entry,
    pub(in crate::pool) lane: LaneId,
    pub(in crate::pool) options: TaskOptions,
    pub(in crate::pool) collector: Option<CollectorId>,
    /// Whether it puts items before it is over.
    pub(in crate::pool) is_stream: bool,
}

/// Why a task was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pool) enum Refusal {
    Full,
    Closed,
}

impl Refusal {
    /// Makes the error that gives the arguments back.
    pub(in crate::pool) fn of<A>(self, arguments: A) -> TrySubmitError<A> {
        match self {
            Self::Full => TrySubmitError::Full(arguments),
            Self::Closed => TrySubmitError::Closed(arguments),
        }
    }
}

impl Job {
    pub(in crate::pool) fn new(entry: Entry, lane: LaneId) -> Self {
        Self {
            entry,
            lane,
            options: TaskOptions::default(),
            collector: None,
            is_stream: false,
        }
    }
}

impl Items {
    /// How many items a stream may be ahead of who takes them.
    pub(super) const GRANTED_AT_ONCE: u32 = 64;
}

/// A submitter that is faster than the workers takes results, too, once in so many tasks.
const SUBMITTED_BETWEEN: usize = 64;

impl Engine {
    /// Takes a task if there is room; otherwise the arguments stay where they are.
    pub(in crate::pool) fn try_submit(
        &self,
        job: &Job,
        content: &mut Content,
    ) -> Result<TaskId, Refusal> {
        self.turn(|state| {
            let id = state.admit(job, content)?;
            if state.schedule.waiting() % SUBMITTED_BETWEEN == SUBMITTED_BETWEEN - 1 {
                state.drain();
            } else {
                state.fill();
            }
            Ok(id)
        })
    }

    /// Takes a task for which there is room, or that cannot be run, once there is room.
    pub(in crate::pool) fn submit(&self, job: &Job, mut content: Content) -> TaskId {
        if let Ok(id) = self.try_submit(job, &mut content) {
            return id;
        }
        self.wait(&mut WishOf {
            attempt: |state: &mut State| {
                let id = state.admit_or_fail(job, &mut content)?;
                state.fill();
                Some(id)
            },
            register: State::await_room,
        })
    }
}

impl State {
    /// Takes a task if there is room.
    pub(in crate::pool) fn admit(
        &mut self,
        job: &Job,
        content: &mut Content,
    ) -> Result<TaskId, Refusal> {
        if self.ending != Ending::Open {
            return Err(Refusal::Closed);
        }
        if !content.is_failed() && self.schedule.room() == 0 {
            return Err(Refusal::Full);
        }
        Ok(self.admit_reserved(job, content))
    }

    /// Takes a task, for which there is room.
    pub(in crate::pool) fn admit_reserved(&mut self, job: &Job, content: &mut Content) -> TaskId {
        if self.ending != Ending::Open {
            return self.admit_failed(job, Content::failed(TaskError::PoolClosed));
        }
        let content = std::mem::take(content);
        if content.is_failed() {
            return self.admit_failed(job, content);
        }
        let function = self.functions.add(job.entry).index();
        let mut payload = Payload::new(function, content);
        payload.collector = job.collector;
        let timeout = job.options.timeout;
        if timeout.is_some_and(|timeout| self.is_shorter_than_all(timeout)) {
            self.needs_keeper = true;
        }
        let id = self.schedule.submit(job.lane, &job.options, payload);
        if job.is_stream {
            self.streams.insert(id, Items::new());
        }
        id
    }

    /// As [`State::admit`]; in a closed pool it is a task that has failed. `None` if there is no room.
    pub(in crate::pool) fn admit_or_fail(
        &mut self,
        job: &Job,
        content: &mut Content,
    ) -> Option<TaskId> {
        match self.admit(job, content) {
            Ok(id) => Some(id),
            Err(Refusal::Full) => None,
            Err(Refusal::Closed) => {
                Some(self.admit_failed(job, Content::failed(TaskError::PoolClosed)))
            }
        }
    }

    /// Adds a task that will never run.
    fn admit_failed(&mut self, job: &Job, failed: Content) -> TaskId {
        self.counts.failed += 1;
        let id = self.schedule.submit_over(job.lane, Payload::new(0, failed));
        if let Some(collector) = job.collector {
            self.collect(collector, id);
        }
        id
    }

    /// Whether the keeper may have to look earlier than it thinks.
    fn is_shorter_than_all(&self, timeout: Duration) -> bool {
        let shortest = self.schedule.timeout_min();
        shortest.is_none_or(|shortest| timeout < shortest)
    }

    /// Opens what takes the results of many tasks.
    pub(in crate::pool) fn open_collector(&mut self) -> CollectorId {
        let free = self.collectors.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            self.collectors.push(None);
            self.collectors.len() - 1
        });
        self.collectors[index] = Some(Collector::default());
        CollectorId(u32::try_from(index).expect("there are fewer than that"))
    }

    /// Takes what has come.
    pub(in crate::pool) fn collected(&mut self, id: CollectorId) -> Vec<TaskId> {
        let collector = self.collectors[id.0 as usize].as_mut();
        collector
            .map(|collector| std::mem::take(&mut collector.finished))
            .unwrap_or_default()
    }

    pub(in crate::pool) fn await_collected(&mut self, id: CollectorId, waker: &std::task::Waker) {
        if let Some(collector) = self.collectors[id.0 as usize].as_mut() {
            collector.waker = Some(waker.clone());
        }
    }

    /// Gives up a collector and all that has come.
    pub(in crate::pool) fn close_collector(&mut self, id: CollectorId) {
        for task in self.collected(id) {
            self.schedule.forget(task);
        }
        self.collectors[id.0 as usize] = None;
    }

    /// Takes the result of a task, if it is over.
    pub(in crate::pool) fn take_result(&mut self, id: TaskId) -> Option<Content> {
        let task = self.schedule.task(id);
        if task.is_some_and(|task| !task.is_over()) {
            return None;
        }
        // Of a task that is forgotten the result was taken.
        Some(
            self.schedule
                .forget(id)
                .map(|payload| payload.content)
                .unwrap_or_default(),
        )
    }

    /// Has `waker` woken when the task is over.
    pub(in crate::pool) fn await_result(&mut self, id: TaskId, waker: &std::task::Waker) {
        if let Some(task) = self.schedule.task_mut(id) {
            let slot = &mut task.payload.waker;
            if !slot.as_ref().is_some_and(|former| former.will_wake(waker)) {
                *slot = Some(waker.clone());
            }
        }
    }

    /// Notes that nobody will ask for the result of a task.
    pub(in crate::pool) fn detach(&mut self, id: TaskId) {
        let Some(task) = self.schedule.task_mut(id) else {
            return;
        };
        if task.is_over() {
            self.schedule.forget(id);
        } else {
            task.payload.waker = None;
            task.payload.is_detached = true;
        }
    }

    /// Gives up all tasks of a lane: those that run go on, and the others never begin.
    pub(in crate::pool) fn abandon(&mut self, lane: LaneId) {
        for id in self.schedule.tasks_of(lane) {
            let Some(task) = self.schedule.task_mut(id) else {
                continue;
            };
            task.payload.collector = None;
            task.payload.waker = None;
            task.payload.is_detached = true;
            if task.is_over() {
                self.schedule.forget(id);
            } else {
                self.withdraw(id);
            }
        }
        self.fill();
    }

    /// Takes the next item of a stream.
    pub(in crate::pool) fn take_item_of(&mut self, id: TaskId) -> Option<Content> {
        let items = self.streams.get_mut(&id)?;
        let item = items.waiting.pop_front()?;
        items.taken += 1;
        let left = items.granted.saturating_sub(items.taken);
        if left <= Items::GRANTED_AT_ONCE / 2
            && let Some((worker, seq)) = self.schedule.place_of(id)
        {
            items.granted = items.taken.saturating_add(Items::GRANTED_AT_ONCE);
            let granted = items.granted;
            if let Some(hand) = self.hand(worker) {
                hand.sender.grant(seq, granted);
            }
        }
        Some(item)
    }

    pub(in crate::pool) fn await_item(&mut self, id: TaskId, waker: &std::task::Waker) {
        if let Some(items) = self.streams.get_mut(&id) {
            items.waker = Some(waker.clone());
        }
    }

    /// Gives up a stream; items that come are dropped.
    pub(in crate::pool) fn forget_items(&mut self, id: TaskId) {
        self.streams.remove(&id);
    }
}

impl Items {
    fn new() -> Self {
        Self {
            waiting: std::collections::VecDeque::new(),
            waker: None,
            taken: 0,
            granted: 0,
        }
    }
}
