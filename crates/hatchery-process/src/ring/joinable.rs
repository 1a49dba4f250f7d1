//! A queue whose messages are leased to those who get them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use super::getting::Getting;
use super::lease::{NotLeased, RingLease};
use super::parts::Sleepers;
use super::{Ring, RingGetError, RingPutError};
use crate::sync::{Attempt, Look, ShareError, Wake, shared_object, wait_async, wait_until};

/// A [`Ring`] in which a message stays until whoever got it is done with it.
///
/// What a process has on lease when it dies is given to another.
#[derive(Clone, Debug)]
pub struct JoinableRing {
    pub(super) ring: Ring,
}

impl JoinableRing {
    /// Makes an empty queue in which up to `count_max` messages wait; 0 for any number.
    ///
    /// # Errors
    ///
    /// As [`Ring::new`].
    pub fn new(count_max: u32) -> Result<Self, ShareError> {
        let ring = Ring::new_leasing(count_max)?;
        Ok(Self { ring })
    }

    fn map(memory: OwnedFd) -> Result<Self, ShareError> {
        let ring = Ring::map_leasing(memory)?;
        Ok(Self { ring })
    }

    /// Puts a message, if there is room before the deadline.
    ///
    /// # Errors
    ///
    /// See [`RingPutError`].
    pub fn put(&self, bytes: &[u8], deadline: Option<Instant>) -> Result<(), RingPutError> {
        self.ring.put(bytes, deadline)
    }

    /// Puts a message if there is room now.
    ///
    /// # Errors
    ///
    /// See [`RingPutError`].
    pub fn try_put(&self, bytes: &[u8]) -> Result<(), RingPutError> {
        self.ring.try_put(bytes)
    }

    /// Puts a message once there is room, without holding a thread.
    ///
    /// # Errors
    ///
    /// As [`Ring::put_async`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has put nothing.
    pub async fn put_async(&self, bytes: &[u8]) -> Result<(), RingPutError> {
        self.ring.put_async(bytes).await
    }

    /// Leases the next message, if one waits before the deadline, and copies it to the start of
    /// `buffer`.
    ///
    /// # Errors
    ///
    /// See [`RingGetError`]. While messages are on lease a closed queue is empty, for they may
    /// come back; it is closed once all are done with.
    pub fn get(
        &self,
        buffer: &mut Vec<u8>,
        deadline: Option<Instant>,
    ) -> Result<RingLease, RingGetError> {
        let bell = self.ring.parts().bell_word(Sleepers::Getters);
        let outcome = wait_until(bell, deadline, |look| self.get_attempt(buffer, look));
        outcome.unwrap_or(Err(RingGetError::Empty))
    }

    /// Leases the next message if one waits now, or was on lease to a process that is dead.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn try_get(&self, buffer: &mut Vec<u8>) -> Result<RingLease, RingGetError> {
        let parts = self.ring.parts();
        let outcome = parts.getting(|getting| lease_of(getting, buffer, true));
        outcome.unwrap_or(Err(RingGetError::Empty))
    }

    /// Leases the next message once one waits, without holding a thread.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get); it is never [`RingGetError::Empty`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has leased nothing.
    pub async fn get_async(&self, buffer: &mut Vec<u8>) -> Result<RingLease, RingGetError> {
        let place = self.ring.monitor.place(Sleepers::Getters.bell());
        wait_async(place, Wake::One, |look| self.get_attempt(buffer, look)).await
    }

    /// Is done with a message.
    ///
    /// # Errors
    ///
    /// Returns [`NotLeased`] if this process does not have it, or not any more.
    pub fn finish(&self, lease: RingLease) -> Result<(), NotLeased> {
        self.ring.parts().getting(|getting| getting.finish(lease))
    }

    /// Gives a message back, for another to get.
    ///
    /// # Errors
    ///
    /// Returns [`NotLeased`] if this process does not have it, or not any more.
    pub fn give_up(&self, lease: RingLease) -> Result<(), NotLeased> {
        self.ring.parts().getting(|getting| getting.give_up(lease))
    }

    /// Waits until somebody is done with every message that was put; true if that was before the
    /// deadline.
    #[must_use]
    pub fn join(&self, deadline: Option<Instant>) -> bool {
        let bell = self.ring.parts().bell_word(Sleepers::Joiners);
        wait_until(bell, deadline, |look| self.join_attempt(look)).is_some()
    }

    /// Waits until somebody is done with every message that was put, without holding a thread.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: it only waits.
    pub async fn join_async(&self) {
        let place = self.ring.monitor.place(Sleepers::Joiners.bell());
        wait_async(place, Wake::All, |look| self.join_attempt(look)).await;
    }

    /// Lets nobody put any more; what is there can still be got.
    pub fn close(&self) {
        self.ring.close();
    }

    /// Whether somebody has closed the queue.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.ring.is_closed()
    }

    /// How many messages wait to be got, at this moment; those on lease do not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.settle();
        self.ring.len()
    }

    /// Whether no message waits to be got, at this moment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many messages wait or are on lease, at this moment.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.settle();
        self.ring.parts().unfinished() as usize
    }

    /// How many messages may wait; `None` for any number.
    #[must_use]
    pub fn count_max(&self) -> Option<u32> {
        self.ring.count_max()
    }

    fn get_attempt(
        &self,
        buffer: &mut Vec<u8>,
        look: Look,
    ) -> Attempt<Result<RingLease, RingGetError>> {
        self.ring.parts().getting(|getting| {
            let attempt = getting.or_sleep(Sleepers::Getters, |getting| {
                lease_of(getting, buffer, look.is_due())
            });
            getting.after(&attempt, look);
            attempt
        })
    }

    fn join_attempt(&self, look: Look) -> Attempt<()> {
        self.ring.parts().getting(|getting| {
            if look.is_due() {
                getting.bury_dead();
            }
            getting.or_sleep(Sleepers::Joiners, |getting| {
                (getting.parts.unfinished() == 0).then_some(())
            })
        })
    }

    /// Sees to what a process left that died in here, so that what can be read is right.
    fn settle(&self) {
        let parts = self.ring.parts();
        if let Some(acquired) = parts.get_gate().take_over_now() {
            parts.getting_by(acquired, |_| ());
        }
    }
}

/// Leases a message, if it is time also from the dead; `None` if there is none.
fn lease_of(
    getting: &mut Getting<'_>,
    buffer: &mut Vec<u8>,
    looks_for_dead: bool,
) -> Option<Result<RingLease, RingGetError>> {
    loop {
        match getting.lease(buffer) {
            Ok(Some(lease)) => return Some(Ok(lease)),
            Err(_) => return Some(Err(RingGetError::Scribbled)),
            Ok(None) => {}
        }
        // In this order: nothing is put once it is closed.
        let is_closed = getting.parts.is_closed();
        let is_over = getting.parts.unfinished() == 0;
        if is_over && is_closed {
            return Some(Err(RingGetError::Closed));
        }
        if is_over || !looks_for_dead || !getting.bury_dead() {
            return None;
        }
    }
}

shared_object!(JoinableRing, ring);
