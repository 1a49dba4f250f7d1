//! A lock that processes share.

use std::fmt;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use hatchery_os::Layout;

use super::monitor::{Acquired, Monitor, ShareError};
use super::object::shared_object;
use super::wait::{Wake, wait_async};

/// A lock that one holder at a time has, among all processes that share it.
///
/// It is sent to other processes inside messages and arguments, and guards nothing by itself: what
/// it protects is in a file, in shared memory, or elsewhere. If a process dies while it holds the
/// lock, the next to ask for it gets the lock, and is told so.
///
/// The holder is the process. A thread that asks for a lock that another thread of its process
/// holds waits as any other; one that asks for a lock that it holds itself waits for ever.
#[derive(Clone, Debug)]
pub struct Lock {
    monitor: Monitor,
}

/// A held [`Lock`]; dropping it gives the lock up.
#[derive(Debug)]
#[must_use = "a guard that is dropped at once protects nothing"]
pub struct LockGuard<'a> {
    lock: &'a Lock,
}

/// The holder of a lock died with it: what the lock protects may be half changed.
///
/// The lock is held now, by the guard inside.
#[derive(thiserror::Error)]
#[error("the process that held the lock died, and what it protects may be half changed")]
pub struct OwnerDied<G> {
    guard: G,
}

/// Why a lock was not simply taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TryLockError<G> {
    /// Its holder died with it; the guard is inside.
    #[error(transparent)]
    OwnerDied(OwnerDied<G>),
    /// Somebody holds it, or did so until the time was up.
    #[error("the lock is held by another")]
    Held,
}

/// A lock was released that nobody holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lock is released, and nobody holds it")]
pub struct NotLocked;

impl Lock {
    /// Makes a lock that nobody holds.
    ///
    /// # Errors
    ///
    /// Returns [`ShareError::Memory`] for any error of the kernel.
    pub fn new() -> Result<Self, ShareError> {
        let monitor = Monitor::create(LAYOUT, |_, _| false)?;
        Ok(Self { monitor })
    }

    fn map(memory: OwnedFd) -> Result<Self, ShareError> {
        let monitor = Monitor::map(memory, LAYOUT, |_, _| false)?;
        Ok(Self { monitor })
    }

    /// Waits for the lock.
    ///
    /// # Errors
    ///
    /// Returns [`OwnerDied`], with the lock, if its holder died. Where what the lock protects is whole
    /// all the same, or is put right by whoever comes next, go on with
    /// [`into_guard`](OwnerDied::into_guard). Who gives up also gives up the lock, and those who come
    /// later are not told any more. The error borrows the lock, so `?` cannot make a `Box<dyn Error>`
    /// of it; text it can, as below, and in the function of a process a `ChildError`.
    ///
    /// # Examples
    ///
    /// ```
    /// use hatchery_process::{Lock, OwnerDied};
    ///
    /// let lock = Lock::new()?;
    /// let guard = lock.lock().unwrap_or_else(OwnerDied::into_guard);
    /// drop(guard);
    /// let guard = lock.lock().map_err(|died| died.to_string())?;
    /// # drop(guard);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn lock(&self) -> Result<LockGuard<'_>, OwnerDied<LockGuard<'_>>> {
        let acquired = self.monitor.acquire_until(None);
        self.guard(acquired.expect("waiting without a deadline ends only with the lock"))
    }

    /// Takes the lock if nobody holds it.
    ///
    /// # Errors
    ///
    /// Returns [`TryLockError::Held`] if another holds it, and [`TryLockError::OwnerDied`], with
    /// the lock, if its holder died.
    pub fn try_lock(&self) -> Result<LockGuard<'_>, TryLockError<LockGuard<'_>>> {
        if self.monitor.try_acquire() {
            return Ok(LockGuard { lock: self });
        }
        self.guard_in_time(self.monitor.take_over_now())
    }

    /// Waits for the lock, for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Returns [`TryLockError::Held`] when the time is up, and [`TryLockError::OwnerDied`], with
    /// the lock, if its holder died.
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<LockGuard<'_>, TryLockError<LockGuard<'_>>> {
        // A time too long to be reckoned with is for ever.
        let deadline = Instant::now().checked_add(timeout);
        self.guard_in_time(self.monitor.acquire_until(deadline))
    }

    /// Waits for the lock without holding a thread.
    ///
    /// The guard belongs to the process, and may go to another thread.
    ///
    /// # Errors
    ///
    /// As [`lock`](Self::lock).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up; the lock then goes to whoever else waits.
    pub async fn lock_async(&self) -> Result<LockGuard<'_>, OwnerDied<LockGuard<'_>>> {
        let place = self.monitor.lock_place();
        let acquired = wait_async(place, Wake::One, |look| self.monitor.attempt(look)).await;
        self.guard(acquired)
    }

    /// Gives the lock up, whoever holds it, as Python's `Lock.release` does.
    ///
    /// This is for a lock that was [kept](LockGuard::keep), or that another process holds.
    ///
    /// # Errors
    ///
    /// Returns [`NotLocked`] if nobody holds it.
    pub fn release(&self) -> Result<(), NotLocked> {
        if self.monitor.release() {
            Ok(())
        } else {
            Err(NotLocked)
        }
    }

    /// Whether somebody holds the lock, at this moment.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.monitor.holder().is_some()
    }

    #[inline]
    fn guard(&self, acquired: Acquired) -> Result<LockGuard<'_>, OwnerDied<LockGuard<'_>>> {
        let guard = LockGuard { lock: self };
        match acquired {
            Acquired::Free => Ok(guard),
            Acquired::OwnerDied(_) => Err(OwnerDied { guard }),
        }
    }

    fn guard_in_time(
        &self,
        acquired: Option<Acquired>,
    ) -> Result<LockGuard<'_>, TryLockError<LockGuard<'_>>> {
        let acquired = acquired.ok_or(TryLockError::Held)?;
        self.guard(acquired).map_err(TryLockError::OwnerDied)
    }
}

shared_object!(Lock);

impl LockGuard<'_> {
    /// Holds the lock on after the guard, until somebody calls [`Lock::release`].
    pub fn keep(self) {
        let _kept = ManuallyDrop::new(self);
    }
}

impl Drop for LockGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.lock.monitor.release();
    }
}

impl<G> OwnerDied<G> {
    pub(crate) fn new(guard: G) -> Self {
        Self { guard }
    }

    /// Returns the guard, to put right what the lock protects.
    pub fn into_guard(self) -> G {
        self.guard
    }
}

impl<G> fmt::Debug for OwnerDied<G> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("OwnerDied").finish_non_exhaustive()
    }
}

/// A lock has no words of its own.
const LAYOUT: Layout = Layout { words: 0, wides: 0 };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Parcel;

    #[test]
    fn a_lock_that_was_sent_is_the_same_lock() {
        let lock = Lock::new().unwrap();
        let sent = Parcel::encode(&lock).unwrap();
        let received: Lock = sent.decode().unwrap();

        let guard = lock.lock().unwrap();

        assert!(matches!(received.try_lock(), Err(TryLockError::Held)));
        drop(guard);
        assert!(received.try_lock().is_ok());
    }

    #[test]
    fn releasing_what_nobody_holds_is_an_error() {
        let lock = Lock::new().unwrap();
        lock.lock().unwrap().keep();

        assert_eq!(lock.release(), Ok(()));
        assert_eq!(lock.release(), Err(NotLocked));
    }

    #[test]
    fn something_else_is_not_taken_for_a_lock() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let sent = Parcel::encode(&crate::Passed(file)).unwrap();

        let error = sent.decode::<Lock>().unwrap_err().to_string();

        assert!(error.contains("not a value of this type"), "{error}");
    }
}
