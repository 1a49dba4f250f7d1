//! Getting items until there will be no more.

use std::fmt;
use std::iter::FusedIterator;

use serde::de::DeserializeOwned;

use super::{GetError, Item, JoinableQueue, Queue};

/// Gets the items of a [`Queue`], waiting for each; [`Queue::iter`] makes it.
pub struct QueueIter<'a, T> {
    queue: &'a Queue<T>,
    is_over: bool,
}

/// Gets the items of a [`JoinableQueue`], waiting for each; [`JoinableQueue::iter`] makes it.
pub struct JoinableQueueIter<'a, T> {
    queue: &'a JoinableQueue<T>,
    is_over: bool,
}

impl<T: DeserializeOwned> Queue<T> {
    /// Gets items, waiting for each, until the queue is closed and empty.
    ///
    /// An item of another type is [`GetError::Codec`], and the next one may be right. Any other error
    /// would come again and again, so after it the iterator ends.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = hatchery::Queue::bounded(3)?;
    /// queue.put(1)?;
    /// queue.put(2)?;
    /// queue.close()?;
    /// let mut sum = 0;
    /// for item in &queue {
    ///     sum += item?;
    /// }
    /// assert_eq!(sum, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn iter(&self) -> QueueIter<'_, T> {
        self.into_iter()
    }
}

impl<T: DeserializeOwned> JoinableQueue<T> {
    /// Gets items, waiting for each, until the queue is closed and all are done with.
    ///
    /// It waits as well for what others have on lease, since that may come back. Errors are as those
    /// of [`Queue::iter`].
    #[must_use]
    pub fn iter(&self) -> JoinableQueueIter<'_, T> {
        self.into_iter()
    }
}

impl<'a, T: DeserializeOwned> IntoIterator for &'a Queue<T> {
    type Item = Result<T, GetError>;
    type IntoIter = QueueIter<'a, T>;

    fn into_iter(self) -> QueueIter<'a, T> {
        QueueIter {
            queue: self,
            is_over: false,
        }
    }
}

impl<'a, T: DeserializeOwned> IntoIterator for &'a JoinableQueue<T> {
    type Item = Result<Item<T>, GetError>;
    type IntoIter = JoinableQueueIter<'a, T>;

    fn into_iter(self) -> JoinableQueueIter<'a, T> {
        JoinableQueueIter {
            queue: self,
            is_over: false,
        }
    }
}

impl<T: DeserializeOwned> Iterator for QueueIter<'_, T> {
    type Item = Result<T, GetError>;

    fn next(&mut self) -> Option<Self::Item> {
        next(&mut self.is_over, || self.queue.get())
    }
}

impl<T: DeserializeOwned> Iterator for JoinableQueueIter<'_, T> {
    type Item = Result<Item<T>, GetError>;

    fn next(&mut self) -> Option<Self::Item> {
        next(&mut self.is_over, || self.queue.get())
    }
}

impl<T: DeserializeOwned> FusedIterator for QueueIter<'_, T> {}

impl<T: DeserializeOwned> FusedIterator for JoinableQueueIter<'_, T> {}

fn next<I>(
    is_over: &mut bool,
    get: impl FnOnce() -> Result<I, GetError>,
) -> Option<Result<I, GetError>> {
    if *is_over {
        return None;
    }
    let got = get();
    *is_over = !matches!(got, Ok(_) | Err(GetError::Codec(_)));
    if matches!(got, Err(GetError::Closed)) {
        return None;
    }
    Some(got)
}

impl<T> fmt::Debug for QueueIter<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("QueueIter")
            .field("queue", self.queue)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for JoinableQueueIter<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("JoinableQueueIter")
            .field("queue", self.queue)
            .finish_non_exhaustive()
    }
}
