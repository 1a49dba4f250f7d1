//! A queue of messages in memory that processes share.
//!
//! Whoever puts holds one lock, whoever gets another, while bytes are copied; each writes only to
//! words of its own side. Whoever finds the queue empty or full waits for a bell, which is rung for it when
//! the other side's lock is given up. To make the ring larger or smaller takes both locks. Who puts may then wait
//! for who gets, but never the other way round.
//!
//! ```text
//! word 0        span, as a power of two
//! word 1        closed
//! word 2        how many messages may wait; 0 for any number
//! word 3, 4     getters: a number that changes when they are woken, and whether any sleep
//! word 5, 6     putters: the same
//! word 7, 8     joiners: the same
//! word 9        whether messages are leased
//! word 16       the lock of those who put
//! word 48       the lock of those who get
//! wide 0        the end where messages are put, and how many ever were
//! wide 1        what was last seen of the other end there
//! wide 16       the end where messages are got, and how many were, less those that came back
//! wide 17       what was last seen of the other end there
//! wide 18       how many messages somebody was done with, if messages are leased
//! wide 19       where to look for a message that waits, if messages are leased
//! wide 32 …     the messages
//! ```

mod calls;
mod ends;
mod frames;
mod getting;
mod joinable;
mod lease;
mod parts;
mod putting;
#[cfg(test)]
mod tests;
mod watch;

pub use joinable::JoinableRing;
pub use lease::{NotLeased, RingLease};
pub use watch::RingWatch;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::sync::{
    Attempt, HasClaims, Look, Member, Monitor, Patience, ShareError, Wake, shared_object,
    wait_async, wait_until,
};

use self::frames::words_for;
use self::lease::has_leases;
use self::parts::{CAPACITY_WORDS, COUNT_MAX, IS_LEASING, LAYOUT, Parts, SPAN_LOG, Sleepers};
use self::putting::Growth;

/// The span of a ring that is new or has run empty, as a power of two: 64 KiB.
const SPAN_LOG_MIN: u32 = 13;

/// Memory is given back once an empty ring holds more than this, as a power of two: 4 MiB.
const SPAN_LOG_KEPT: u32 = 19;

/// How long one who can wait waits for room, before it makes a large ring larger.
const GROWTH_DELAY: Duration = Duration::from_millis(5);

/// The longest message, in bytes.
pub const RING_MESSAGE_BYTES_MAX: usize = (CAPACITY_WORDS / 2 - 1) * size_of::<u64>();

/// A queue of messages in shared memory, for any number of processes.
///
/// A message that was put survives the process that put it. A process that is killed in the middle
/// leaves nothing of a message, and keeps nobody out.
#[derive(Clone, Debug)]
pub struct Ring {
    monitor: Monitor,
    /// How patient this process is: for room, and for a message.
    patience: Arc<[Patience; 2]>,
}

/// Why a message was not put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RingPutError {
    /// There is no room, or was none until the deadline.
    #[error("the queue is full")]
    Full,
    /// The queue was closed.
    #[error("the queue is closed")]
    Closed,
    /// The message is longer than any may be.
    #[error("the message has {0} bytes; at most {RING_MESSAGE_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// The memory holds what no process of this program has written.
    #[error("the queue's memory was overwritten by something else")]
    Scribbled,
}

/// Why no message was got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RingGetError {
    /// There is none, or was none until the deadline.
    #[error("the queue is empty")]
    Empty,
    /// The queue was closed, and all that was in it has been got.
    #[error("the queue is closed")]
    Closed,
    /// The memory holds what no process of this program has written.
    #[error("the queue's memory was overwritten by something else")]
    Scribbled,
}

impl Ring {
    /// Makes an empty queue of up to `count_max` messages; 0 for any number.
    ///
    /// # Errors
    ///
    /// Returns [`ShareError::Memory`] for any error of the kernel.
    pub fn new(count_max: u32) -> Result<Self, ShareError> {
        Self::with_claims(count_max, has_a_lock)
    }

    /// Makes one whose messages are leased.
    fn new_leasing(count_max: u32) -> Result<Self, ShareError> {
        let ring = Self::with_claims(count_max, has_something)?;
        ring.monitor.words()[IS_LEASING].store(1, Relaxed);
        Ok(ring)
    }

    fn with_claims(count_max: u32, has_claims: HasClaims) -> Result<Self, ShareError> {
        let monitor = Monitor::create(LAYOUT, has_claims)?;
        let words = monitor.words();
        words[SPAN_LOG].store(SPAN_LOG_MIN, Relaxed);
        words[COUNT_MAX].store(count_max, Relaxed);
        Ok(Self::new_here(monitor))
    }

    fn map(memory: OwnedFd) -> Result<Self, ShareError> {
        let monitor = Monitor::map(memory, LAYOUT, has_a_lock)?;
        Ok(Self::new_here(monitor))
    }

    fn map_leasing(memory: OwnedFd) -> Result<Self, ShareError> {
        let monitor = Monitor::map(memory, LAYOUT, has_something)?;
        Ok(Self::new_here(monitor))
    }

    fn new_here(monitor: Monitor) -> Self {
        Self {
            monitor,
            patience: Arc::new([const { Patience::new() }; 2]),
        }
    }

    /// Puts a message, if there is room before the deadline.
    ///
    /// # Errors
    ///
    /// See [`RingPutError`].
    pub fn put(&self, bytes: &[u8], deadline: Option<Instant>) -> Result<(), RingPutError> {
        let outcome = self
            .parts()
            .putting(|putting| putting.put(bytes, Growth::Easy));
        outcome.unwrap_or_else(|| self.put_patiently(bytes, deadline))
    }

    #[cold]
    fn put_patiently(&self, bytes: &[u8], deadline: Option<Instant>) -> Result<(), RingPutError> {
        let words = words_for(bytes.len());
        let (parts, bell) = (self.parts(), self.parts().bell_word(Sleepers::Putters));
        let wait =
            |growth, until| wait_until(bell, until, |look| self.put_attempt(bytes, growth, look));
        let outcome = self.patience[0].wait(
            || parts.has_worthwhile_room() && parts.has_easy_room(words),
            || {
                let short = Instant::now() + GROWTH_DELAY;
                let short = deadline.map_or(short, |deadline| deadline.min(short));
                wait(Growth::Easy, Some(short)).or_else(|| wait(Growth::Any, deadline))
            },
        );
        outcome.unwrap_or(Err(RingPutError::Full))
    }

    /// Puts a message if there is room now.
    ///
    /// # Errors
    ///
    /// See [`RingPutError`].
    pub fn try_put(&self, bytes: &[u8]) -> Result<(), RingPutError> {
        let outcome = self
            .parts()
            .putting(|putting| putting.put(bytes, Growth::Any));
        outcome.unwrap_or(Err(RingPutError::Full))
    }

    /// Puts a message once there is room, without holding a thread.
    ///
    /// # Errors
    ///
    /// See [`RingPutError`]; it is never [`RingPutError::Full`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has put nothing.
    pub async fn put_async(&self, bytes: &[u8]) -> Result<(), RingPutError> {
        let place = self.monitor.place(Sleepers::Putters.bell());
        let attempt = |look| self.put_attempt(bytes, Growth::Any, look);
        wait_async(place, Wake::One, attempt).await
    }

    /// Gets the next message into the start of `buffer`, if there is one before the deadline;
    /// returns its length.
    ///
    /// # Errors
    ///
    /// See [`RingGetError`].
    pub fn get(
        &self,
        buffer: &mut Vec<u8>,
        deadline: Option<Instant>,
    ) -> Result<usize, RingGetError> {
        let outcome = self.parts().getting(|getting| getting.get(buffer));
        outcome.unwrap_or_else(|| self.get_patiently(buffer, deadline))
    }

    #[cold]
    fn get_patiently(
        &self,
        buffer: &mut Vec<u8>,
        deadline: Option<Instant>,
    ) -> Result<usize, RingGetError> {
        let bell = self.parts().bell_word(Sleepers::Getters);
        let outcome = self.patience[1].wait(
            || self.parts().count() > 0,
            || wait_until(bell, deadline, |look| self.get_attempt(buffer, look)),
        );
        outcome.unwrap_or(Err(RingGetError::Empty))
    }

    /// Gets the next message if there is one now.
    ///
    /// # Errors
    ///
    /// See [`RingGetError`].
    pub fn try_get(&self, buffer: &mut Vec<u8>) -> Result<usize, RingGetError> {
        let outcome = self.parts().getting(|getting| getting.get(buffer));
        outcome.unwrap_or(Err(RingGetError::Empty))
    }

    /// Gets the next message once there is one, without holding a thread.
    ///
    /// # Errors
    ///
    /// See [`RingGetError`]; it is never [`RingGetError::Empty`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has got nothing.
    pub async fn get_async(&self, buffer: &mut Vec<u8>) -> Result<usize, RingGetError> {
        let place = self.monitor.place(Sleepers::Getters.bell());
        wait_async(place, Wake::One, |look| self.get_attempt(buffer, look)).await
    }

    /// Lets nobody put any more; what is there can still be got.
    pub fn close(&self) {
        self.parts().putting(|putting| putting.close());
    }

    /// Whether somebody has closed the queue.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.parts().is_closed()
    }

    /// How many messages wait to be got, at this moment.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts().count() as usize
    }

    /// Whether no message waits to be got, at this moment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many messages may wait; `None` for any number.
    #[must_use]
    pub fn count_max(&self) -> Option<u32> {
        let count = self.parts().count_max();
        (count > 0).then_some(count)
    }

    fn put_attempt(
        &self,
        bytes: &[u8],
        growth: Growth,
        look: Look,
    ) -> Attempt<Result<(), RingPutError>> {
        let parts = self.parts();
        parts.putting(|putting| putting.put_or_sleep(bytes, growth, look))
    }

    fn get_attempt(
        &self,
        buffer: &mut Vec<u8>,
        look: Look,
    ) -> Attempt<Result<usize, RingGetError>> {
        self.parts().getting(|getting| {
            let attempt = getting.or_sleep(Sleepers::Getters, |getting| getting.get(buffer));
            getting.after(&attempt, look);
            attempt
        })
    }

    #[inline]
    fn parts(&self) -> Parts<'_> {
        Parts::of(&self.monitor)
    }
}

/// Whether a member holds one of the locks.
fn has_a_lock(monitor: &Monitor, member: Member) -> bool {
    Parts::of(monitor).is_held_by(member)
}

/// Whether a member holds one of the locks, or has something on lease.
fn has_something(monitor: &Monitor, member: Member) -> bool {
    has_a_lock(monitor, member) || has_leases(monitor, member)
}

shared_object!(Ring);
