//! A task whose results come one by one.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::Stream;
use serde::de::DeserializeOwned;

use super::engine::{Engine, State, Wish};
use super::error::TaskError;
use super::payload::Content;
use super::schedule::TaskId;

/// The items of a task that was submitted by [`Submitter::stream`](crate::Submitter::stream).
///
/// An error is the last item: what came before it is what the task had done by then. Dropping this
/// cancels the task, as [`TaskHandle::cancel`](crate::TaskHandle::cancel) does.
pub struct TaskStream<T>(Items<T>);

/// The items of a task as a stream, for asynchronous code.
///
/// Dropping it cancels the task.
pub struct AsyncTaskStream<T>(Items<T>);

struct Items<T> {
    engine: Arc<Engine>,
    id: TaskId,
    is_over: bool,
    item: PhantomData<fn() -> T>,
}

impl<T> TaskStream<T> {
    pub(super) fn new(engine: Arc<Engine>, id: TaskId) -> Self {
        Self(Items {
            engine,
            id,
            is_over: false,
            item: PhantomData,
        })
    }

    /// Makes a stream of it, for asynchronous code.
    #[must_use]
    pub fn into_async(self) -> AsyncTaskStream<T> {
        AsyncTaskStream(self.0)
    }

    /// The number of the task, which no other task that is not over has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0.id.number()
    }
}

impl<T: DeserializeOwned> Iterator for TaskStream<T> {
    type Item = Result<T, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        let items = &mut self.0;
        if items.is_over {
            return None;
        }
        let next = items.engine.wait(&mut NextOf(items.id));
        items.receive(next)
    }
}

impl<T: DeserializeOwned> Stream for AsyncTaskStream<T> {
    type Item = Result<T, TaskError>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let items = &mut self.0;
        if items.is_over {
            return Poll::Ready(None);
        }
        let next = items.engine.poll(&mut NextOf(items.id), task);
        next.map(|next| items.receive(next))
    }
}

impl<T: DeserializeOwned> Items<T> {
    fn receive(&mut self, next: Next) -> Option<Result<T, TaskError>> {
        match next {
            Next::Item(content) => Some(content.decode()),
            Next::End(content) => {
                self.is_over = true;
                content.decode::<()>().err().map(Err)
            }
        }
    }
}

enum Next {
    Item(Content),
    End(Content),
}

/// The wish for the next item of a task.
struct NextOf(TaskId);

impl Wish for NextOf {
    type Outcome = Next;

    fn attempt(&mut self, state: &mut State) -> Option<Next> {
        if let Some(item) = state.take_item_of(self.0) {
            state.fill();
            return Some(Next::Item(item));
        }
        let end = state.take_result(self.0)?;
        state.forget_items(self.0);
        Some(Next::End(end))
    }

    fn register(&self, state: &mut State, waker: &Waker) {
        state.await_item(self.0, waker);
        state.await_result(self.0, waker);
    }
}

impl<T> Drop for Items<T> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        self.engine.cancel(self.id);
        self.engine.turn(|state| {
            state.forget_items(self.id);
            state.detach(self.id);
        });
    }
}

impl<T> fmt::Debug for TaskStream<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TaskStream")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for AsyncTaskStream<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AsyncTaskStream")
            .field("id", &self.0.id.number())
            .finish_non_exhaustive()
    }
}
