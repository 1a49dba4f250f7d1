//! Why a queue was not made, an item not put, or none got.

use std::fmt;
use std::io;

use hatchery_process::{
    PacketRecvError, PacketSendError, ParcelError, RingGetError, RingPutError, ShareError,
};

/// Why a queue was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// A queue for no items was asked for.
    #[error("a queue of 0 items takes none; allowed: 1 to {max}, or Queue::unbounded()")]
    NoRoom {
        /// The most items that may be asked for.
        max: u32,
    },
    /// A queue for more items than can be counted was asked for.
    #[error("a queue of {asked} items cannot be; allowed: 1 to {max}, or Queue::unbounded()")]
    TooManyItems {
        /// How many were asked for.
        asked: usize,
        /// The most items that may be asked for.
        max: u32,
    },
    /// The memory or the descriptors for it were not to be had.
    #[error("the queue could not be made")]
    Share(#[from] ShareError),
    /// The kernel refused.
    #[error("the kernel refused")]
    Os(#[from] io::Error),
}

/// An item that was not put; it is inside.
pub struct PutError<T> {
    item: T,
    failure: PutFailure,
}

/// Why an item was not put.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutFailure {
    /// There is no room.
    #[error("the queue is full")]
    Full,
    /// There was no room in time.
    #[error("the queue was full until the time was up")]
    Timeout,
    /// The queue was closed.
    #[error("the queue is closed")]
    Closed,
    /// The item is longer than any may be.
    #[error("the item has {len} bytes; at most {max} are allowed")]
    TooLarge {
        /// Its length, serialised.
        len: usize,
        /// What is allowed.
        max: usize,
    },
    /// The item cannot be serialised.
    #[error("the item cannot be serialised")]
    Codec(#[source] ParcelError),
    /// The item holds descriptors, which shared memory cannot carry.
    #[error(
        "the item holds {count} descriptors, which a ring cannot carry: \
         build the queue with Transport::Pipe"
    )]
    Descriptors {
        /// How many it holds.
        count: usize,
    },
    /// The queue's memory holds what no process of this program has written.
    #[error("the queue's memory was overwritten by something else")]
    Damaged,
    /// The kernel refused.
    #[error("the kernel refused")]
    Os(#[source] io::Error),
}

/// Why no item was got.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// There is none.
    #[error("the queue is empty")]
    Empty,
    /// There was none in time.
    #[error("the queue was empty until the time was up")]
    Timeout,
    /// The queue was closed, and all that was in it has been got.
    #[error("the queue is closed")]
    Closed,
    /// What was got is not an item of this type; it is gone.
    #[error("an item of another type was got, and is gone")]
    Codec(#[source] ParcelError),
    /// The queue's memory holds what no process of this program has written.
    #[error("the queue's memory was overwritten by something else")]
    Damaged,
    /// The kernel refused.
    #[error("the kernel refused")]
    Os(#[source] io::Error),
}

/// More items were said to be done than this process had in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("task_done was called more often than items were kept by this process")]
pub struct TaskDoneError;

impl<T> PutError<T> {
    pub(super) fn new(item: T, failure: PutFailure) -> Self {
        Self { item, failure }
    }

    /// Why it was not put.
    #[must_use]
    pub fn failure(&self) -> &PutFailure {
        &self.failure
    }

    /// Returns the item.
    pub fn into_item(self) -> T {
        self.item
    }

    /// Returns the item and why it was not put.
    pub fn into_parts(self) -> (T, PutFailure) {
        (self.item, self.failure)
    }

    /// Whether there was no room for it, now or in time.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.failure, PutFailure::Full | PutFailure::Timeout)
    }
}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("PutError")
            .field(&self.failure)
            .finish()
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.failure.fmt(formatter)
    }
}

impl<T> std::error::Error for PutError<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.failure.source()
    }
}

impl From<RingPutError> for PutFailure {
    fn from(error: RingPutError) -> Self {
        match error {
            RingPutError::Full => Self::Full,
            RingPutError::Closed => Self::Closed,
            RingPutError::TooLong(len) => Self::TooLarge {
                len,
                max: hatchery_process::RING_MESSAGE_BYTES_MAX,
            },
            _ => Self::Damaged,
        }
    }
}

impl From<PacketSendError> for PutFailure {
    fn from(error: PacketSendError) -> Self {
        match error {
            PacketSendError::Full | PacketSendError::Busy(_) => Self::Full,
            PacketSendError::Timeout => Self::Timeout,
            PacketSendError::Closed => Self::Closed,
            PacketSendError::TooLarge { len, max } => Self::TooLarge { len, max },
            PacketSendError::TooManyDescriptors { count, max } => {
                Self::Codec(ParcelError::TooManyDescriptors { count, max })
            }
            PacketSendError::Os(error) => Self::Os(error),
            other => Self::Os(io::Error::other(other)),
        }
    }
}

impl From<RingGetError> for GetError {
    fn from(error: RingGetError) -> Self {
        match error {
            RingGetError::Empty => Self::Empty,
            RingGetError::Closed => Self::Closed,
            _ => Self::Damaged,
        }
    }
}

impl From<PacketRecvError> for GetError {
    fn from(error: PacketRecvError) -> Self {
        match error {
            PacketRecvError::Empty => Self::Empty,
            PacketRecvError::Timeout => Self::Timeout,
            PacketRecvError::Closed => Self::Closed,
            PacketRecvError::Malformed(_) => Self::Damaged,
            PacketRecvError::Os(error) => Self::Os(error),
            other => Self::Os(io::Error::other(other)),
        }
    }
}
