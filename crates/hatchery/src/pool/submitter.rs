//! Whoever submits tasks to a pool.

use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::Arc;

use hatchery_process::Entry;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::engine::{Engine, Job, Refusal, State, WishOf};
use super::error::{TaskError, TrySubmitError};
use super::feed::{Feed, Imap, ImapUnordered};
use super::handle::TaskHandle;
use super::payload::Content;
use super::schedule::{LaneId, TaskId};
use super::spread::Spread;
use super::stream::TaskStream;
use super::task_builder::TaskBuilder;
use super::worker::{function_entry, future_entry, stream_entry};
use crate::process::IntoArguments;

/// One of those who submit tasks to a pool, all of whom get their turn.
///
/// Tasks of one submitter begin in the order in which they were submitted, and those of several in
/// turn, so a thousand tasks of one do not keep the others waiting. A [`Pool`](crate::Pool) derefs to
/// a submitter of its own, and [`Pool::submitter`](crate::Pool::submitter) makes another.
///
/// A clone is the same submitter. It keeps the pool, as a clone of the pool does.
///
/// # Functions and arguments
///
/// As with [`Process`](crate::Process), a function is an `fn` item or a closure that captures nothing,
/// which the compiler checks, and several arguments are a tuple. Arguments and results are serialised;
/// descriptors, queues, locks and [`SharedBuffer`](crate::SharedBuffer) may be in them. What cannot be
/// serialised is [`TaskError::Codec`] when the result is asked for.
#[derive(Clone)]
pub struct Submitter {
    lane: Arc<Lane>,
}

/// A lane for as long as somebody submits through it.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) owner: Arc<Owner>,
    pub(super) id: LaneId,
}

/// Those who keep the pool; when the last has gone, it is terminated.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) engine: Arc<Engine>,
}

impl Lane {
    pub(super) fn open(owner: &Arc<Owner>) -> Self {
        Self {
            owner: Arc::clone(owner),
            id: owner.engine.turn(|state| state.schedule.open_lane()),
        }
    }

    pub(super) fn engine(&self) -> &Arc<Engine> {
        &self.owner.engine
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let id = self.id;
        self.engine().turn(|state| state.schedule.close_lane(id));
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.engine.terminate();
    }
}

impl Submitter {
    pub(super) fn new(owner: &Arc<Owner>) -> Self {
        let lane = Arc::new(Lane::open(owner));
        Self { lane }
    }

    /// Submits a task.
    ///
    /// If the queue is bounded and full, this waits for room. An error of any kind, also that the pool
    /// is closed, is the result of the task.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use hatchery::Pool;
    ///
    /// fn add((a, b): (u64, u64)) -> u64 {
    ///     a + b
    /// }
    ///
    /// #[hatchery::main]
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let pool = Pool::builder().workers(2).build()?;
    ///     let sum = pool.submit(add, (20, 22));
    ///     assert_eq!(sum.wait()?, 42);
    ///     Ok(())
    /// }
    /// ```
    pub fn submit<F, A, R>(&self, function: F, arguments: impl IntoArguments<A>) -> TaskHandle<R>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
    {
        let job = self.job(function_entry(function));
        self.submit_job(&job, encode(&arguments.into_arguments()))
    }

    /// Submits a task if that can be done at once.
    ///
    /// # Errors
    ///
    /// Returns [`TrySubmitError::Full`] if the queue is bounded and full, and
    /// [`TrySubmitError::Closed`] if the pool was closed; either gives the arguments back.
    pub fn try_submit<F, A, R>(
        &self,
        function: F,
        arguments: impl IntoArguments<A>,
    ) -> Result<TaskHandle<R>, TrySubmitError<A>>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
    {
        let arguments = arguments.into_arguments();
        let job = self.job(function_entry(function));
        let submitted = self.try_submit_job(&job, encode(&arguments));
        submitted.map_err(|refusal| refusal.of(arguments))
    }

    /// As [`Submitter::submit`], without holding a thread while the queue is full.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, the task was not submitted.
    pub async fn submit_async<F, A, R>(
        &self,
        function: F,
        arguments: impl IntoArguments<A>,
    ) -> TaskHandle<R>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
    {
        let content = encode(&arguments.into_arguments());
        let job = self.job(function_entry(function));
        self.submit_job_async(&job, content).await
    }

    /// Submits a task whose function is asynchronous.
    ///
    /// It runs on a runtime of the worker, alone: a worker has one task at a time.
    pub fn submit_future<F, A, Fut, R>(
        &self,
        function: F,
        arguments: impl IntoArguments<A>,
    ) -> TaskHandle<R>
    where
        F: Fn(A) -> Fut + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + 'static,
        Fut: Future<Output = R> + 'static,
        R: Serialize + DeserializeOwned + 'static,
    {
        let job = self.job(future_entry(function));
        self.submit_job(&job, encode(&arguments.into_arguments()))
    }

    /// Runs a task and waits for its result.
    ///
    /// # Errors
    ///
    /// See [`TaskError`].
    pub fn apply<F, A, R>(
        &self,
        function: F,
        arguments: impl IntoArguments<A>,
    ) -> Result<R, TaskError>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
    {
        self.submit(function, arguments).wait()
    }

    /// As [`Submitter::apply`], for asynchronous code.
    ///
    /// # Errors
    ///
    /// See [`TaskError`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, the task runs on if it was submitted, and its
    /// result is dropped.
    pub async fn apply_async<F, A, R>(
        &self,
        function: F,
        arguments: impl IntoArguments<A>,
    ) -> Result<R, TaskError>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
    {
        self.submit_async(function, arguments).await.await
    }

    /// Prepares a task with a priority, a time limit, a key, or leave to be run again.
    pub fn task<F, A, R>(&self, function: F, arguments: impl IntoArguments<A>) -> TaskBuilder<A, R>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
    {
        let job = self.job(function_entry(function));
        TaskBuilder::new(self.clone(), job, arguments.into_arguments())
    }

    /// Runs a function on each of the items, and returns the results in the same order.
    ///
    /// Each item is a task of its own: one that fails is one error among the results. How many items
    /// are sent ahead to a worker is found out from how long they take.
    pub fn map<F, A, R, I>(&self, function: F, items: I) -> Vec<Result<R, TaskError>>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
        I: IntoIterator<Item: IntoArguments<A>>,
    {
        self.imap(function, items).collect()
    }

    /// As [`Submitter::map`], for asynchronous code.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, tasks that have begun run on, and others never
    /// begin.
    pub async fn map_async<F, A, R, I>(&self, function: F, items: I) -> Vec<Result<R, TaskError>>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
        I: IntoIterator<Item: IntoArguments<A>>,
    {
        let mut feed = self.feed::<A, R, I>(function_entry(function), items, true);
        let mut results = Vec::with_capacity(feed.size_hint().0);
        while let Some(result) = poll_fn(|task| feed.poll_next(task)).await {
            results.push(result);
        }
        results
    }

    /// As [`Submitter::map`], with a function of two to six arguments and items that are tuples.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn run(pool: &hatchery::Pool) {
    /// let powers = pool.starmap(|base: u64, power: u32| base.pow(power), [(2, 10), (3, 4)]);
    /// assert_eq!(powers, [Ok(1024), Ok(81)]);
    /// # }
    /// ```
    pub fn starmap<F, A, R, I>(&self, function: F, items: I) -> Vec<Result<R, TaskError>>
    where
        F: Spread<A, R>,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
        I: IntoIterator<Item = A>,
    {
        self.map(move |arguments: A| function.spread(arguments), items)
    }

    /// Runs a function on each of the items as their results are taken, in the same order.
    ///
    /// Items are taken from the iterator when there is something to do for them, a little ahead of the
    /// results: so it may be endless. What is taken ahead is enough to keep all workers busy.
    pub fn imap<F, A, R, I>(&self, function: F, items: I) -> Imap<I::IntoIter, A, R>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
        I: IntoIterator<Item: IntoArguments<A>>,
    {
        Imap(self.feed::<A, R, I>(function_entry(function), items, true))
    }

    /// As [`Submitter::imap`], with each result as soon as it is there.
    pub fn imap_unordered<F, A, R, I>(
        &self,
        function: F,
        items: I,
    ) -> ImapUnordered<I::IntoIter, A, R>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
        I: IntoIterator<Item: IntoArguments<A>>,
    {
        ImapUnordered(self.feed::<A, R, I>(function_entry(function), items, false))
    }

    /// Submits a task whose results come one by one.
    ///
    /// The function returns an iterator, and whatever that gives is put as soon as it is there, up to 64
    /// items ahead of whoever takes them.
    pub fn stream<F, A, S, T>(&self, function: F, arguments: impl IntoArguments<A>) -> TaskStream<T>
    where
        F: Fn(A) -> S + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + 'static,
        S: IntoIterator<Item = T> + 'static,
        T: Serialize + DeserializeOwned + 'static,
    {
        let mut job = self.job(stream_entry(function));
        job.is_stream = true;
        let content = encode(&arguments.into_arguments());
        let id = self.engine().submit(&job, content);
        TaskStream::new(Arc::clone(self.engine()), id)
    }

    fn feed<A, R, I>(&self, entry: Entry, items: I, is_ordered: bool) -> Feed<I::IntoIter, A, R>
    where
        I: IntoIterator,
    {
        let lane = Lane::open(&self.lane.owner);
        Feed::new(lane, entry, items.into_iter(), is_ordered)
    }

    pub(super) fn owner(&self) -> &Arc<Owner> {
        &self.lane.owner
    }

    pub(super) fn engine(&self) -> &Arc<Engine> {
        self.lane.engine()
    }

    pub(super) fn job(&self, entry: Entry) -> Job {
        Job::new(entry, self.lane.id)
    }

    pub(super) fn submit_job<R>(&self, job: &Job, content: Content) -> TaskHandle<R> {
        self.handle(self.engine().submit(job, content))
    }

    pub(super) fn try_submit_job<R>(
        &self,
        job: &Job,
        mut content: Content,
    ) -> Result<TaskHandle<R>, Refusal> {
        let id = self.engine().try_submit(job, &mut content)?;
        Ok(self.handle(id))
    }

    pub(super) async fn submit_job_async<R>(&self, job: &Job, content: Content) -> TaskHandle<R> {
        let mut waiting = WaitingForRoom {
            engine: self.engine(),
            is_over: false,
            content,
        };
        let id = poll_fn(|task| {
            let mut wish = WishOf {
                attempt: |state: &mut State| {
                    let id = state.admit_or_fail(job, &mut waiting.content)?;
                    state.fill();
                    Some(id)
                },
                register: State::await_room,
            };
            self.engine().poll(&mut wish, task)
        })
        .await;
        waiting.is_over = true;
        self.handle(id)
    }

    pub(super) fn handle<R>(&self, id: TaskId) -> TaskHandle<R> {
        TaskHandle::new(Arc::clone(self.engine()), id)
    }
}

/// Arguments that wait for room; dropped, another gets the room that it may have been woken for.
struct WaitingForRoom<'a> {
    engine: &'a Engine,
    is_over: bool,
    content: Content,
}

impl Drop for WaitingForRoom<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.engine.turn(State::wake_for_room);
        }
    }
}

/// Serialises arguments; that they cannot be is what becomes of the task.
pub(super) fn encode<A: Serialize>(arguments: &A) -> Content {
    Content::encode(arguments).unwrap_or_else(Content::failed)
}

impl fmt::Debug for Submitter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Submitter").finish_non_exhaustive()
    }
}
