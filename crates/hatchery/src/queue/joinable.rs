//! A queue whose items somebody has to be done with.

use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use hatchery_process::{JoinableRing, RingGetError, RingLease};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::builder::count_max;
use super::carrier::{decoded, encode, with_buffer, with_encoded};
use super::error::{GetError, PutError, PutFailure, QueueError, TaskDoneError};
use super::item::{Item, Kept, Lease};

/// A queue that can be waited for until every item is done with.
///
/// What is got is on lease: whoever gets an item says [`Item::done`], or has it given back by
/// dropping it. If a process dies with an item, somebody else gets that item. It carries no
/// descriptors.
///
/// # Examples
///
/// ```
/// let queue = hatchery::JoinableQueue::unbounded()?;
/// queue.put(1)?;
/// let item = queue.get()?;
/// assert_eq!(*item, 1);
/// item.done();
/// queue.join();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct JoinableQueue<T> {
    pub(crate) ring: JoinableRing,
    kept: Kept,
    carries: PhantomData<fn(T) -> T>,
}

impl<T> JoinableQueue<T> {
    /// Makes a queue in which up to `items` wait.
    ///
    /// # Errors
    ///
    /// As [`QueueBuilder::build`](super::QueueBuilder::build).
    pub fn bounded(items: usize) -> Result<Self, QueueError> {
        Ok(Self::new(JoinableRing::new(count_max(Some(items))?)?))
    }

    /// Makes a queue in which any number of items wait, up to 1 GiB.
    ///
    /// # Errors
    ///
    /// As [`bounded`](Self::bounded).
    pub fn unbounded() -> Result<Self, QueueError> {
        Ok(Self::new(JoinableRing::new(0)?))
    }

    fn new(ring: JoinableRing) -> Self {
        Self {
            ring,
            kept: Kept::default(),
            carries: PhantomData,
        }
    }

    /// Waits until somebody is done with every item that was put.
    pub fn join(&self) {
        let _joined = self.ring.join(None);
    }

    /// Waits until somebody is done with every item, for at most `timeout`; true if so.
    #[must_use]
    pub fn join_timeout(&self, timeout: Duration) -> bool {
        self.ring.join(Instant::now().checked_add(timeout))
    }

    /// Waits until somebody is done with every item, without holding a thread.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: it only waits.
    pub async fn join_async(&self) {
        self.ring.join_async().await;
    }

    /// Says that the oldest item that this process [kept](Item::keep) is done with.
    ///
    /// # Errors
    ///
    /// Returns [`TaskDoneError`] if this process keeps none through this handle or its clones.
    pub fn task_done(&self) -> Result<(), TaskDoneError> {
        let lease = self.kept.lock().pop_front().ok_or(TaskDoneError)?;
        self.ring.finish(lease).map_err(|_| TaskDoneError)
    }

    /// Lets nobody put any more; what is there, or comes back, can still be got.
    pub fn close(&self) {
        self.ring.close();
    }

    /// How many items wait to be got, at this moment; those on lease do not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether no item waits to be got, at this moment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Whether as many items wait as may, at this moment.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let max = self.ring.count_max();
        max.is_some_and(|max| self.len() >= max as usize)
    }

    /// How many items wait or are on lease, at this moment.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.ring.unfinished()
    }
}

impl<T: Serialize> JoinableQueue<T> {
    /// Puts an item, waiting while the queue is full.
    ///
    /// # Errors
    ///
    /// Returns the item with why it was not put; never because the queue is full.
    pub fn put(&self, item: T) -> Result<(), PutError<T>> {
        let outcome = with_encoded(&item, |bytes| self.ring.put(bytes, None));
        outcome.map_err(|failure| PutError::new(item, failure))
    }

    /// Puts an item if there is room now.
    ///
    /// # Errors
    ///
    /// Returns the item with why it was not put: [`PutFailure::Full`] if there is no room.
    pub fn try_put(&self, item: T) -> Result<(), PutError<T>> {
        let outcome = with_encoded(&item, |bytes| self.ring.try_put(bytes));
        outcome.map_err(|failure| PutError::new(item, failure))
    }

    /// Puts an item, waiting for room for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Returns the item with why it was not put: [`PutFailure::Timeout`] if there was no room.
    pub fn put_timeout(&self, item: T, timeout: Duration) -> Result<(), PutError<T>> {
        let deadline = Instant::now().checked_add(timeout);
        let outcome = with_encoded(&item, |bytes| self.ring.put(bytes, deadline));
        outcome.map_err(|failure| match failure {
            PutFailure::Full => PutError::new(item, PutFailure::Timeout),
            failure => PutError::new(item, failure),
        })
    }

    /// Puts an item once there is room, without holding a thread.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, the item was not put; it is dropped too.
    pub async fn put_async(&self, item: T) -> Result<(), PutError<T>> {
        let mut bytes = Vec::new();
        if let Err(failure) = encode(&item, &mut bytes) {
            return Err(PutError::new(item, failure));
        }
        let outcome = self.ring.put_async(&bytes).await;
        outcome.map_err(|error| PutError::new(item, error.into()))
    }
}

impl<T: DeserializeOwned> JoinableQueue<T> {
    /// Gets the next item, waiting for one.
    ///
    /// # Errors
    ///
    /// See [`GetError`]; it is never [`GetError::Empty`] or [`GetError::Timeout`]. An item of another
    /// type counts as done.
    pub fn get(&self) -> Result<Item<T>, GetError> {
        with_buffer(|buffer| self.item(self.ring.get(buffer, None), buffer))
    }

    /// Gets the next item if there is one now.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get); it is [`GetError::Empty`] if there is none.
    pub fn try_get(&self) -> Result<Item<T>, GetError> {
        with_buffer(|buffer| self.item(self.ring.try_get(buffer), buffer))
    }

    /// Gets the next item, waiting for at most `timeout`.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get); it is [`GetError::Timeout`] if there was none.
    pub fn get_timeout(&self, timeout: Duration) -> Result<Item<T>, GetError> {
        let deadline = Instant::now().checked_add(timeout);
        with_buffer(|buffer| match self.ring.get(buffer, deadline) {
            Err(RingGetError::Empty) => Err(GetError::Timeout),
            outcome => self.item(outcome, buffer),
        })
    }

    /// Gets the next item once there is one, without holding a thread.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, no item was taken.
    pub async fn get_async(&self) -> Result<Item<T>, GetError> {
        let mut buffer = Vec::new();
        let outcome = self.ring.get_async(&mut buffer).await;
        self.item(outcome, &buffer)
    }

    fn item(
        &self,
        outcome: Result<RingLease, RingGetError>,
        buffer: &[u8],
    ) -> Result<Item<T>, GetError> {
        let lease = Lease {
            lease: outcome?,
            ring: self.ring.clone(),
            kept: self.kept.clone(),
            is_settled: false,
        };
        match decoded(&buffer[..lease.lease.len]) {
            Ok(value) => Ok(Item::new(value, lease)),
            Err(error) => {
                // It would be of another type each time that it came again.
                lease.finish();
                Err(error)
            }
        }
    }
}

/// A clone is the same queue.
impl<T> Clone for JoinableQueue<T> {
    fn clone(&self) -> Self {
        Self {
            ring: self.ring.clone(),
            kept: self.kept.clone(),
            carries: PhantomData,
        }
    }
}

impl<T> Serialize for JoinableQueue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.ring.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for JoinableQueue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        JoinableRing::deserialize(deserializer).map(Self::new)
    }
}

impl<T> fmt::Debug for JoinableQueue<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("JoinableQueue")
            .field("len", &self.len())
            .field("unfinished", &self.unfinished())
            .finish_non_exhaustive()
    }
}
