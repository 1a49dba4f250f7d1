//! A queue of messages in memory that processes share.
//!
//! One lock guards it all, and is held only while bytes are copied. Whoever finds the queue empty or full
//! waits for a bell, which is rung for it when the lock is given up.
//!
//! ```text
//! word 0, 1     head, tail: positions of the first message and behind the last
//! word 2        span, as a power of two
//! word 3        how many messages wait to be got
//! word 4, 5     getters: a number that changes when they are woken, and whether any sleep
//! word 6, 7     putters: the same
//! word 8        how many messages wait or are on lease
//! word 9, 10    joiners: as getters
//! word 11       where to look for a message that waits, if messages are leased
//! word 12       closed
//! word 13       how many messages may wait; 0 for any number
//! ```

mod frames;
mod joinable;
mod lease;
mod now;
#[cfg(test)]
mod tests;
mod watch;

pub use joinable::JoinableRing;
pub use lease::{NotLeased, RingLease};
pub use watch::RingWatch;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Instant;

use hatchery_os::Layout;

use crate::sync::{
    Acquired, Attempt, Bell, HasClaims, Look, Monitor, Patience, ShareError, Wake, shared_object,
    wait_async, wait_until,
};

use self::frames::{Ends, Frames};
use self::lease::has_leases;
use self::now::Now;

const HEAD: usize = 0;
const TAIL: usize = 1;
const SPAN_LOG: usize = 2;
const COUNT: usize = 3;
const SLEEPERS: [usize; 3] = [4, 6, 9];
const UNFINISHED: usize = 8;
const NEXT: usize = 11;
const CLOSED: usize = 12;
const COUNT_MAX: usize = 13;
const WORDS: usize = 14;

const GETTERS: Sleepers = Sleepers(0);
const PUTTERS: Sleepers = Sleepers(1);
const JOINERS: Sleepers = Sleepers(2);

/// The span of a ring that is new or has run empty, as a power of two: 64 KiB.
const SPAN_LOG_MIN: u32 = 13;

/// The words for messages: 1 GiB, of which only what is used takes memory.
const CAPACITY_WORDS: usize = 1 << 27;

/// Memory is given back once an empty ring holds more than this, as a power of two: 4 MiB.
const SPAN_LOG_KEPT: u32 = 19;

/// The longest message, in bytes.
pub const RING_MESSAGE_BYTES_MAX: usize = (CAPACITY_WORDS / 2 - 1) * size_of::<u64>();

/// A queue of messages in shared memory, for any number of processes.
///
/// A message that was put survives the process that put it. A process that is killed in the middle
/// leaves nothing of a message, and keeps nobody out.
#[derive(Clone, Debug)]
pub struct Ring {
    monitor: Monitor,
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

/// Those who sleep for one reason.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Sleepers(usize);

impl Sleepers {
    /// The word that they sleep on.
    const fn bell(self) -> usize {
        SLEEPERS[self.0]
    }

    /// The word that says whether any do.
    const fn is_awaited(self) -> usize {
        SLEEPERS[self.0] + 1
    }
}

impl Ring {
    /// Makes an empty queue of up to `count_max` messages; 0 for any number.
    ///
    /// # Errors
    ///
    /// Returns [`ShareError::Memory`] for any error of the kernel.
    pub fn new(count_max: u32) -> Result<Self, ShareError> {
        Self::with_claims(count_max, |_, _| false)
    }

    /// Makes one whose messages are leased.
    fn new_leasing(count_max: u32) -> Result<Self, ShareError> {
        Self::with_claims(count_max, |monitor, member| {
            has_leases(&frames_in(monitor), member)
        })
    }

    fn with_claims(count_max: u32, has_claims: HasClaims) -> Result<Self, ShareError> {
        let monitor = Monitor::create(LAYOUT, has_claims)?;
        let words = monitor.words();
        words[SPAN_LOG].store(SPAN_LOG_MIN, Relaxed);
        words[COUNT_MAX].store(count_max, Relaxed);
        Ok(Self::new_here(monitor))
    }

    fn map(memory: OwnedFd) -> Result<Self, ShareError> {
        let monitor = Monitor::map(memory, LAYOUT, |_, _| false)?;
        Ok(Self::new_here(monitor))
    }

    fn map_leasing(memory: OwnedFd) -> Result<Self, ShareError> {
        let monitor = Monitor::map(memory, LAYOUT, |monitor, member| {
            has_leases(&frames_in(monitor), member)
        })?;
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
        let outcome = match self.put_attempt(bytes, Look::default()) {
            Attempt::Done(outcome) => return outcome,
            Attempt::Wait(_) => {
                self.patience[0].look(|| self.has_worthwhile_room());
                let bell = self.word(PUTTERS.bell());
                wait_until(bell, deadline, |look| self.put_attempt(bytes, look))
            }
        };
        outcome.unwrap_or(Err(RingPutError::Full))
    }

    /// Puts a message if there is room now.
    ///
    /// # Errors
    ///
    /// See [`RingPutError`].
    pub fn try_put(&self, bytes: &[u8]) -> Result<(), RingPutError> {
        let mut now = self.enter();
        now.put(bytes, false).unwrap_or(Err(RingPutError::Full))
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
        let place = self.monitor.place(PUTTERS.bell());
        wait_async(place, Wake::One, |look| self.put_attempt(bytes, look)).await
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
        let outcome = match self.get_attempt(buffer, Look::default()) {
            Attempt::Done(outcome) => return outcome,
            Attempt::Wait(_) => {
                self.patience[1].look(|| self.count() > 0);
                let bell = self.word(GETTERS.bell());
                wait_until(bell, deadline, |look| self.get_attempt(buffer, look))
            }
        };
        outcome.unwrap_or(Err(RingGetError::Empty))
    }

    /// Gets the next message if there is one now.
    ///
    /// # Errors
    ///
    /// See [`RingGetError`].
    pub fn try_get(&self, buffer: &mut Vec<u8>) -> Result<usize, RingGetError> {
        let mut now = self.enter();
        now.get(buffer, false).unwrap_or(Err(RingGetError::Empty))
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
        let place = self.monitor.place(GETTERS.bell());
        wait_async(place, Wake::One, |look| self.get_attempt(buffer, look)).await
    }

    /// Lets nobody put any more; what is there can still be got.
    pub fn close(&self) {
        self.enter().close();
    }

    /// Whether somebody has closed the queue.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.word(CLOSED).load(Relaxed) != 0
    }

    /// How many messages wait to be got, at this moment.
    #[must_use]
    pub fn len(&self) -> usize {
        self.settle();
        self.count()
    }

    /// Whether no message waits to be got, at this moment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many messages may wait; `None` for any number.
    #[must_use]
    pub fn count_max(&self) -> Option<u32> {
        let count = self.word(COUNT_MAX).load(Relaxed);
        (count > 0).then_some(count)
    }

    /// How many messages wait, unless somebody died before it had counted.
    fn count(&self) -> usize {
        self.word(COUNT).load(Relaxed) as usize
    }

    /// Sees to what a process left that died in here, so that what can be read is right.
    fn settle(&self) {
        if self.monitor.take_over_now().is_some() {
            Now::new(self).recount();
        }
    }

    /// Whether there may be so much room that it is worth waking for.
    fn has_worthwhile_room(&self) -> bool {
        let count_max = self.word(COUNT_MAX).load(Relaxed);
        let count = self.word(COUNT).load(Relaxed);
        count_max.saturating_sub(count) >= worthwhile_room(count_max)
    }

    fn put_attempt(&self, bytes: &[u8], look: Look) -> Attempt<Result<(), RingPutError>> {
        let mut now = self.enter();
        match now.put(bytes, look.has_slept()) {
            Some(outcome) => {
                if outcome.is_err() && look.has_slept() {
                    now.ring_for(PUTTERS, 1);
                }
                Attempt::Done(outcome)
            }
            None => now.sleep_as(PUTTERS),
        }
    }

    fn get_attempt(
        &self,
        buffer: &mut Vec<u8>,
        look: Look,
    ) -> Attempt<Result<usize, RingGetError>> {
        let mut now = self.enter();
        match now.get(buffer, look.has_slept()) {
            Some(outcome) => {
                if outcome.is_err() && look.has_slept() {
                    now.ring_for(GETTERS, 1);
                }
                Attempt::Done(outcome)
            }
            None => now.sleep_as(GETTERS),
        }
    }

    fn enter(&self) -> Now<'_> {
        let acquired = self.monitor.acquire();
        let mut now = Now::new(self);
        if acquired != Acquired::Free {
            now.recount();
        }
        now
    }

    #[inline]
    fn word(&self, index: usize) -> &AtomicU32 {
        &self.monitor.words()[index]
    }

    #[inline]
    fn bell(&self, sleepers: Sleepers) -> Bell<'_, AtomicU32> {
        Bell {
            number: self.word(sleepers.bell()),
            is_awaited: self.word(sleepers.is_awaited()),
        }
    }

    #[inline]
    fn frames(&self) -> Frames<'_> {
        frames_in(&self.monitor)
    }
}

#[inline]
fn frames_in(monitor: &Monitor) -> Frames<'_> {
    let words = monitor.words();
    Frames {
        ends: Ends {
            head: &words[HEAD],
            tail: &words[TAIL],
            span_log: &words[SPAN_LOG],
        },
        words: monitor.wides(),
    }
}

shared_object!(Ring);

/// How much room in a full queue is worth waking somebody for.
///
/// Waking costs more than many messages, so who has filled a long queue sleeps until there is room for
/// some.
fn worthwhile_room(count_max: u32) -> u32 {
    count_max.div_ceil(2)
}

const LAYOUT: Layout = Layout {
    words: WORDS,
    wides: CAPACITY_WORDS,
};
