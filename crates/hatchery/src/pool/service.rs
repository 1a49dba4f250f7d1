//! A pool as a tower service.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tower_service::Service;

use super::engine::{Ending, Job, State, Wish};
use super::error::TaskError;
use super::handle::TaskHandle;
use super::submitter::{Submitter, encode};
use super::worker::function_entry;

impl Submitter {
    /// Makes a tower service of one function.
    ///
    /// The service is ready when there is room in the queue, which is kept for the next call.
    pub fn service<F, A, R>(&self, function: F) -> PoolService<A, R>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
    {
        PoolService {
            job: self.job(function_entry(function)),
            submitter: self.clone(),
            has_room: false,
            types: PhantomData,
        }
    }
}

/// A tower service that runs one function on a pool.
///
/// It keeps the pool. A clone has no room kept for it.
pub struct PoolService<A, R> {
    submitter: Submitter,
    job: Job,
    /// Whether room is kept for the next call.
    has_room: bool,
    types: PhantomData<fn(A) -> R>,
}

impl<A, R> Service<A> for PoolService<A, R>
where
    A: Serialize,
    R: DeserializeOwned,
{
    type Response = R;
    type Error = TaskError;
    type Future = TaskHandle<R>;

    fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<Result<(), TaskError>> {
        if self.has_room {
            return Poll::Ready(Ok(()));
        }
        let engine = Arc::clone(self.submitter.engine());
        let ready = engine.poll(&mut Room, task);
        ready.map_ok(|()| self.has_room = true)
    }

    /// # Panics
    ///
    /// Panics unless `poll_ready` has said that the service is ready.
    fn call(&mut self, arguments: A) -> TaskHandle<R> {
        assert!(self.has_room, "a service is called when it is ready");
        self.has_room = false;
        let mut content = encode(&arguments);
        let id = self.submitter.engine().turn(|state| {
            state.schedule.unreserve();
            let id = state.admit_reserved(&self.job, &mut content);
            state.fill();
            id
        });
        self.submitter.handle(id)
    }
}

/// The wish for room that is kept.
struct Room;

impl Wish for Room {
    type Outcome = Result<(), TaskError>;

    fn attempt(&mut self, state: &mut State) -> Option<Self::Outcome> {
        if state.ending() != Ending::Open {
            return Some(Err(TaskError::PoolClosed));
        }
        state.schedule.reserve().then_some(Ok(()))
    }

    fn register(&self, state: &mut State, waker: &Waker) {
        state.await_room(waker);
    }
}

impl<A, R> Clone for PoolService<A, R> {
    fn clone(&self) -> Self {
        Self {
            submitter: self.submitter.clone(),
            job: self.job,
            has_room: false,
            types: PhantomData,
        }
    }
}

impl<A, R> Drop for PoolService<A, R> {
    fn drop(&mut self) {
        // If it was woken for room and did not come back for it, another is.
        self.submitter.engine().turn(|state| {
            if self.has_room {
                state.schedule.unreserve();
            }
            state.wake_for_room();
        });
    }
}

impl<A, R> fmt::Debug for PoolService<A, R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PoolService")
            .field("has_room", &self.has_room)
            .finish_non_exhaustive()
    }
}
