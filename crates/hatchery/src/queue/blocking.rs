//! A queue, for blocking code.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::asynchronous::AsyncQueue;
use super::builder::QueueBuilder;
use super::carrier::{Carrier, Patience};
use super::error::{GetError, PutError, PutFailure, QueueError};

/// A first-in, first-out queue of items between any number of threads and processes.
///
/// It is sent to other processes inside messages and arguments; who gives it to several, or keeps it,
/// gives clones. An item that was put is there,
/// whatever becomes of the process that put it; a process that is killed in the middle of a put or a
/// get leaves nothing half done and keeps nobody out. What one process puts is got in that order.
///
/// # Examples
///
/// ```
/// let queue = hatchery::Queue::bounded(3)?;
/// queue.put("egg".to_owned())?;
/// assert_eq!(queue.get()?, "egg");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Queue<T> {
    pub(crate) carrier: Carrier,
    pub(super) carries: PhantomData<fn(T) -> T>,
}

impl<T> Queue<T> {
    /// Makes a queue in which up to `items` wait.
    ///
    /// # Errors
    ///
    /// As [`QueueBuilder::build`].
    pub fn bounded(items: usize) -> Result<Self, QueueError> {
        Self::builder().bound(items).build()
    }

    /// Makes a queue in which any number of items wait, up to 1 GiB.
    ///
    /// # Errors
    ///
    /// As [`QueueBuilder::build`].
    pub fn unbounded() -> Result<Self, QueueError> {
        Self::builder().build()
    }

    /// Describes a queue with more choices.
    #[must_use]
    pub fn builder() -> QueueBuilder {
        QueueBuilder::default()
    }

    /// Makes a queue for asynchronous code of this one.
    ///
    /// # Errors
    ///
    /// It returns none at present.
    pub fn into_async(self) -> io::Result<AsyncQueue<T>> {
        Ok(AsyncQueue::new(self.carrier))
    }

    /// Lets nobody put any more; what is there can still be got.
    ///
    /// # Errors
    ///
    /// Returns the error of `shutdown(2)`.
    pub fn close(&self) -> io::Result<()> {
        match &self.carrier {
            Carrier::Ring(ring) => ring.close(),
            Carrier::Pipe(queue) => queue.close()?,
        }
        Ok(())
    }

    /// How many items wait to be got, at this moment.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.carrier {
            Carrier::Ring(ring) => ring.len(),
            Carrier::Pipe(queue) => queue.len(),
        }
    }

    /// Whether no item waits to be got, at this moment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many items may wait; `None` for any number.
    #[must_use]
    pub fn bound(&self) -> Option<usize> {
        let count = match &self.carrier {
            Carrier::Ring(ring) => ring.count_max(),
            Carrier::Pipe(queue) => queue.count_max(),
        };
        count.map(|count| count as usize)
    }

    /// Whether as many items wait as may, at this moment.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bound().is_some_and(|bound| self.len() >= bound)
    }
}

impl<T: Serialize> Queue<T> {
    /// Puts an item, waiting while the queue is full.
    ///
    /// # Errors
    ///
    /// Returns the item with why it was not put; never because the queue is full.
    pub fn put(&self, item: T) -> Result<(), PutError<T>> {
        self.put_with(item, Patience::Until(None))
    }

    /// Puts an item if there is room now.
    ///
    /// # Errors
    ///
    /// Returns the item with why it was not put: [`PutFailure::Full`] if there is no room.
    pub fn try_put(&self, item: T) -> Result<(), PutError<T>> {
        self.put_with(item, Patience::None)
    }

    /// Puts an item, waiting for room for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Returns the item with why it was not put: [`PutFailure::Timeout`] if there was no room.
    pub fn put_timeout(&self, item: T, timeout: Duration) -> Result<(), PutError<T>> {
        // A time too long to be reckoned with is for ever.
        let deadline = Instant::now().checked_add(timeout);
        let outcome = self.put_with(item, Patience::Until(deadline));
        outcome.map_err(|error| match error.into_parts() {
            (item, PutFailure::Full) => PutError::new(item, PutFailure::Timeout),
            (item, failure) => PutError::new(item, failure),
        })
    }

    fn put_with(&self, item: T, patience: Patience) -> Result<(), PutError<T>> {
        let outcome = self.carrier.put(&item, patience);
        outcome.map_err(|failure| PutError::new(item, failure))
    }
}

impl<T: DeserializeOwned> Queue<T> {
    /// Gets the next item, waiting for one.
    ///
    /// # Errors
    ///
    /// See [`GetError`]; it is never [`GetError::Empty`] or [`GetError::Timeout`].
    pub fn get(&self) -> Result<T, GetError> {
        self.carrier.get(Patience::Until(None))
    }

    /// Gets the next item if there is one now.
    ///
    /// # Errors
    ///
    /// See [`GetError`]; it is [`GetError::Empty`] if there is none.
    pub fn try_get(&self) -> Result<T, GetError> {
        self.carrier.get(Patience::None)
    }

    /// Gets the next item, waiting for at most `timeout`.
    ///
    /// # Errors
    ///
    /// See [`GetError`]; it is [`GetError::Timeout`] if there was none.
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        let deadline = Instant::now().checked_add(timeout);
        let outcome = self.carrier.get(Patience::Until(deadline));
        outcome.map_err(|error| match error {
            GetError::Empty => GetError::Timeout,
            other => other,
        })
    }
}

/// A clone is the same queue, and cheap.
impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self {
            carrier: self.carrier.clone(),
            carries: PhantomData,
        }
    }
}

impl<T> Serialize for Queue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.carrier.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self {
            carrier: Carrier::deserialize(deserializer)?,
            carries: PhantomData,
        })
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Queue")
            .field("len", &self.len())
            .field("bound", &self.bound())
            .finish_non_exhaustive()
    }
}
