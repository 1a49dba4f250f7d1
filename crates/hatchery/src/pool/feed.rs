//! Many tasks of one function, fed from an iterator.
//!
//! Items are taken, serialised and submitted by the batch, a little ahead of the results. How far ahead
//! follows from how many tasks the workers can have.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures::Stream;
use hatchery_process::Entry;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::engine::{Job, State, Wish};
use super::error::TaskError;
use super::payload::Content;
use super::schedule::TaskId;
use super::submitter::{Lane, encode};
use crate::process::IntoArguments;

/// The most items that are serialised, and results that are taken, at once.
const BATCH: usize = 512;

/// The tasks of one `map` or `imap`.
pub(super) struct Feed<I, A, R> {
    /// `None` once there is no more.
    items: Option<I>,
    tasks: Tasks,
    types: PhantomData<fn(A) -> R>,
}

/// What of them does not depend on their types.
struct Tasks {
    lane: Lane,
    job: Job,
    /// What was serialised and is not submitted.
    ready: VecDeque<Content>,
    /// What was submitted and is not taken, in order; unless results are collected.
    submitted: VecDeque<TaskId>,
    /// How many are submitted and not taken.
    pending: usize,
    taken: VecDeque<Content>,
    /// How many are best submitted and not taken.
    ahead: usize,
    has_more: bool,
}

impl<I, A, R> Feed<I, A, R> {
    pub(super) fn new(lane: Lane, entry: Entry, items: I, is_ordered: bool) -> Self {
        let mut job = Job::new(entry, lane.id);
        let (collector, ahead) = lane.engine().turn(|state| {
            let collector = (!is_ordered).then(|| state.open_collector());
            (collector, state.schedule.ahead_wanted())
        });
        job.collector = collector;
        Self {
            items: Some(items),
            tasks: Tasks {
                lane,
                job,
                ready: VecDeque::new(),
                submitted: VecDeque::new(),
                pending: 0,
                taken: VecDeque::new(),
                ahead,
                has_more: true,
            },
            types: PhantomData,
        }
    }
}

impl<I, A, R> Feed<I, A, R>
where
    I: Iterator<Item: IntoArguments<A>>,
    A: Serialize,
    R: DeserializeOwned,
{
    /// Serialises the next items, if it is time for that.
    fn prepare(&mut self) {
        let Some(items) = &mut self.items else { return };
        for _ in 0..self.tasks.wanted() {
            let Some(item) = items.next() else {
                self.items = None;
                self.tasks.has_more = false;
                return;
            };
            self.tasks.ready.push_back(encode(&item.into_arguments()));
        }
    }

    fn next(&mut self) -> Option<Result<R, TaskError>> {
        loop {
            if let Some(content) = self.tasks.taken.pop_front() {
                return Some(content.decode());
            }
            self.prepare();
            if self.tasks.is_over() {
                return None;
            }
            let engine = std::sync::Arc::clone(self.tasks.lane.engine());
            engine.wait(&mut self.tasks);
        }
    }

    pub(super) fn poll_next(
        &mut self,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<R, TaskError>>> {
        loop {
            if let Some(content) = self.tasks.taken.pop_front() {
                return Poll::Ready(Some(content.decode()));
            }
            self.prepare();
            if self.tasks.is_over() {
                return Poll::Ready(None);
            }
            let engine = std::sync::Arc::clone(self.tasks.lane.engine());
            if engine.poll(&mut self.tasks, task).is_pending() {
                return Poll::Pending;
            }
        }
    }

    pub(super) fn size_hint(&self) -> (usize, Option<usize>) {
        let tasks = &self.tasks;
        let here = tasks.taken.len() + tasks.pending + tasks.ready.len();
        let (least, most) = self
            .items
            .as_ref()
            .map_or((0, Some(0)), Iterator::size_hint);
        let most = most.and_then(|most| most.checked_add(here));
        (least.saturating_add(here), most)
    }
}

impl Tasks {
    /// How many items are to be serialised now: some at once, or none.
    fn wanted(&self) -> usize {
        let on_the_way = self.pending + self.ready.len();
        if !self.has_more || on_the_way > self.ahead / 2 {
            return 0;
        }
        (self.ahead - on_the_way).clamp(1, BATCH)
    }

    fn is_over(&self) -> bool {
        !self.has_more && self.pending == 0 && self.ready.is_empty()
    }

    fn submit(&mut self, state: &mut State) {
        while let Some(content) = self.ready.front_mut() {
            let Some(id) = state.admit_or_fail(&self.job, content) else {
                return;
            };
            self.ready.pop_front();
            self.pending += 1;
            if self.job.collector.is_none() {
                self.submitted.push_back(id);
            }
        }
    }

    fn take(&mut self, state: &mut State) {
        if let Some(collector) = self.job.collector {
            for id in state.collected(collector) {
                self.pending -= 1;
                self.taken.extend(state.take_result(id));
            }
            return;
        }
        while self.taken.len() < BATCH
            && let Some(&id) = self.submitted.front()
            && let Some(content) = state.take_result(id)
        {
            self.submitted.pop_front();
            self.pending -= 1;
            self.taken.push_back(content);
        }
    }
}

/// The wish for a result, or for more to serialise.
impl Wish for Tasks {
    type Outcome = ();

    fn attempt(&mut self, state: &mut State) -> Option<()> {
        self.submit(state);
        state.drain();
        self.take(state);
        self.ahead = state.schedule.ahead_wanted();
        let has_news = !self.taken.is_empty() || self.wanted() > 0;
        has_news.then_some(())
    }

    fn register(&self, state: &mut State, waker: &Waker) {
        if let Some(collector) = self.job.collector {
            state.await_collected(collector, waker);
        } else if let Some(&id) = self.submitted.front() {
            state.await_result(id, waker);
        }
        if !self.ready.is_empty() {
            state.await_room(waker);
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        if self.pending == 0 && self.job.collector.is_none() {
            return;
        }
        self.lane.engine().turn(|state| {
            if self.pending > 0 {
                state.abandon(self.lane.id);
            }
            if let Some(collector) = self.job.collector {
                state.close_collector(collector);
            }
        });
    }
}

/// The results of [`Submitter::imap`](crate::Submitter::imap), in the order of the items.
///
/// It keeps the pool. Dropping it leaves alone the tasks that have begun; others never begin.
pub struct Imap<I, A, R>(pub(super) Feed<I, A, R>);

/// The results of [`Submitter::imap_unordered`](crate::Submitter::imap_unordered), as they come.
///
/// It keeps the pool. Dropping it leaves alone the tasks that have begun; others never begin.
pub struct ImapUnordered<I, A, R>(pub(super) Feed<I, A, R>);

/// The results of an `imap` or `imap_unordered` as a stream.
///
/// The items still come from an iterator, which is asked while this is polled and should not block.
pub struct ImapStream<I, A, R>(Feed<I, A, R>);

macro_rules! results {
    ($name:ident) => {
        impl<I, A, R> $name<I, A, R> {
            /// Makes a stream of it, for asynchronous code.
            #[must_use]
            pub fn into_async(self) -> ImapStream<I, A, R> {
                ImapStream(self.0)
            }
        }

        impl<I, A, R> Iterator for $name<I, A, R>
        where
            I: Iterator<Item: IntoArguments<A>>,
            A: Serialize,
            R: DeserializeOwned,
        {
            type Item = Result<R, TaskError>;

            fn next(&mut self) -> Option<Self::Item> {
                self.0.next()
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                self.0.size_hint()
            }
        }

        impl<I, A, R> fmt::Debug for $name<I, A, R> {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.debug(stringify!($name), formatter)
            }
        }
    };
}

results!(Imap);
results!(ImapUnordered);

impl<I, A, R> Stream for ImapStream<I, A, R>
where
    I: Iterator<Item: IntoArguments<A>> + Unpin,
    A: Serialize,
    R: DeserializeOwned,
{
    type Item = Result<R, TaskError>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next(task)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<I, A, R> fmt::Debug for ImapStream<I, A, R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug("ImapStream", formatter)
    }
}

impl<I, A, R> Feed<I, A, R> {
    fn debug(&self, name: &str, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct(name)
            .field("pending", &self.tasks.pending)
            .field("has_more", &self.tasks.has_more)
            .finish_non_exhaustive()
    }
}
