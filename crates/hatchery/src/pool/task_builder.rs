//! A task about which more is said than what it does.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;

use super::engine::Job;
use super::error::TrySubmitError;
use super::handle::TaskHandle;
use super::schedule::Priority;
use super::submitter::{Submitter, encode};

/// A task that is still to be submitted.
///
/// Submitting it leaves the arguments here, so that it can be submitted again.
pub struct TaskBuilder<A, R> {
    submitter: Submitter,
    job: Job,
    arguments: A,
    result: PhantomData<fn() -> R>,
}

impl<A: Serialize, R> TaskBuilder<A, R> {
    pub(super) fn new(submitter: Submitter, job: Job, arguments: A) -> Self {
        Self {
            submitter,
            job,
            arguments,
            result: PhantomData,
        }
    }

    /// Sets how urgent the task is.
    ///
    /// # Default
    ///
    /// [`Priority::Normal`].
    pub fn priority(&mut self, priority: Priority) -> &mut Self {
        self.job.options.priority = priority;
        self
    }

    /// Sets how long the task may run, waiting not included.
    ///
    /// Then it is stopped as by [`TaskHandle::cancel`], and its result is
    /// [`TaskError::TimedOut`](crate::TaskError::TimedOut).
    ///
    /// # Default
    ///
    /// The pool's [`task_timeout`](crate::PoolBuilder::task_timeout).
    pub fn timeout(&mut self, timeout: Duration) -> &mut Self {
        self.job.options.timeout = Some(timeout);
        self
    }

    /// Has the task run again, so many times, if its worker ends while it runs.
    ///
    /// It must not matter that a part of it may be done twice. A task that loses its worker each time is
    /// [`TaskError::Quarantined`](crate::TaskError::Quarantined). Panics and errors are results, after
    /// which nothing is run again.
    ///
    /// # Default
    ///
    /// It is not run again.
    pub fn retry(&mut self, times: u32) -> &mut Self {
        self.job.options.retries = times;
        self
    }

    /// Has all tasks with equal keys run in the same place of the pool, in order.
    ///
    /// So they find in [`task::state`](crate::task::state) what others of their key left there, unless
    /// the worker was replaced meanwhile. Resizing the pool moves keys to other places.
    ///
    /// # Default
    ///
    /// It runs wherever there is room first.
    pub fn key(&mut self, key: &(impl Hash + ?Sized)) -> &mut Self {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        self.job.options.key = Some(hasher.finish());
        self
    }

    /// Submits the task, as [`Submitter::submit`] does.
    pub fn submit(&self) -> TaskHandle<R> {
        self.submitter
            .submit_job(&self.job, encode(&self.arguments))
    }

    /// Submits the task if that can be done at once.
    ///
    /// # Errors
    ///
    /// As [`Submitter::try_submit`]; the arguments have stayed here.
    pub fn try_submit(&self) -> Result<TaskHandle<R>, TrySubmitError<()>> {
        let submitted = self
            .submitter
            .try_submit_job(&self.job, encode(&self.arguments));
        submitted.map_err(|refusal| refusal.of(()))
    }

    /// Submits the task, as [`Submitter::submit_async`] does.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, the task was not submitted.
    pub async fn submit_async(&self) -> TaskHandle<R> {
        let content = encode(&self.arguments);
        self.submitter.submit_job_async(&self.job, content).await
    }
}

impl<A, R> fmt::Debug for TaskBuilder<A, R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TaskBuilder")
            .field("options", &self.job.options)
            .finish_non_exhaustive()
    }
}
