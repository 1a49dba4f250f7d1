//! A task as whoever submitted it sees it.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::engine::{Engine, State, Wish};
use super::error::TaskError;
use super::payload::Content;
use super::schedule::TaskId;

/// A task that was submitted to a pool and will have a result of type `R`.
///
/// It is a future of the result; blocking code calls [`TaskHandle::wait`]. There is always a result or
/// an error: a worker that dies, a pool that ends and a task that is cancelled are errors.
///
/// Dropping it does nothing to the task, whose result is dropped then. It does not keep the pool.
pub struct TaskHandle<R> {
    engine: Arc<Engine>,
    id: TaskId,
    /// Whether the result was taken.
    is_taken: bool,
    result: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned> TaskHandle<R> {
    /// Waits for the result.
    ///
    /// # Errors
    ///
    /// See [`TaskError`].
    ///
    /// # Panics
    ///
    /// Panics if [`TaskHandle::wait_timeout`] or an await has returned the result before.
    pub fn wait(mut self) -> Result<R, TaskError> {
        let content = self.engine.wait(&mut self.wish());
        self.is_taken = true;
        content.decode()
    }

    /// Waits for the result for at most `timeout`; `None` if the task is not over by then.
    ///
    /// # Errors
    ///
    /// See [`TaskError`].
    ///
    /// # Panics
    ///
    /// Panics if it has returned the result before.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Option<Result<R, TaskError>> {
        // A time too long to be reckoned with is for ever.
        let deadline = Instant::now().checked_add(timeout);
        let content = self.engine.wait_until(deadline, &mut self.wish())?;
        self.is_taken = true;
        Some(content.decode())
    }
}

impl<R> TaskHandle<R> {
    pub(super) fn new(engine: Arc<Engine>, id: TaskId) -> Self {
        Self {
            engine,
            id,
            is_taken: false,
            result: PhantomData,
        }
    }

    /// Whether the result is there, so that waiting for it takes no time.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.engine.turn(|state| {
            state.drain();
            let task = state.schedule.task(self.id);
            task.is_none_or(|task| task.is_over())
        })
    }

    /// Asks the task to stop; false if it is over, or is being stopped already.
    ///
    /// A task that has not begun never does. One that runs is told by
    /// [`task::cancelled`](crate::task::cancelled); if it does not return within the pool's
    /// [`stop_grace`](crate::PoolBuilder::stop_grace), its worker is killed and replaced. The result is
    /// [`TaskError::Cancelled`], as soon as the work has stopped.
    pub fn cancel(&self) -> bool {
        self.engine.cancel(self.id)
    }

    /// The number of the task, which no other task that is not over has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id.number()
    }

    fn wish(&self) -> ResultOf {
        assert!(!self.is_taken, "the result of a task can be had once");
        ResultOf(self.id)
    }
}

/// The wish for the result of a task.
pub(super) struct ResultOf(pub(super) TaskId);

impl Wish for ResultOf {
    type Outcome = Content;

    fn attempt(&mut self, state: &mut State) -> Option<Content> {
        state.take_result(self.0)
    }

    fn register(&self, state: &mut State, waker: &Waker) {
        state.await_result(self.0, waker);
    }
}

impl<R: DeserializeOwned> Future for TaskHandle<R> {
    type Output = Result<R, TaskError>;

    /// # Panics
    ///
    /// Panics if the result was returned before.
    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.engine.poll(&mut self.wish(), task);
        polled.map(|content| {
            self.is_taken = true;
            content.decode()
        })
    }
}

impl<R> Drop for TaskHandle<R> {
    fn drop(&mut self) {
        if !self.is_taken {
            self.engine.turn(|state| state.detach(self.id));
        }
    }
}

impl<R> fmt::Debug for TaskHandle<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TaskHandle")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}
