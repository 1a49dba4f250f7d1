//! A lock that its holder may take again, across processes.

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hatchery_os::Layout;

use super::lock::{OwnerDied, TryLockError};
use super::monitor::{Acquired, Monitor, ShareError};
use super::object::shared_object;
use super::wait::{Wake, wait_async};
use super::word::{Word, get, put};

/// A lock that one thread of one process has, and may take again.
///
/// It is free once it was released as often as it was taken. If a process dies while it holds the
/// lock, the next to ask for it gets the lock, and is told so. A thread that ends without having
/// released it leaves it held, until its process ends.
///
/// Tasks move between threads, so the asynchronous form counts otherwise: its holder is who has
/// the [`RLockTaskGuard`], which can be taken [`again`](RLockTaskGuard::again) from itself alone.
#[derive(Clone, Debug)]
pub struct RLock {
    monitor: Monitor,
}

/// A held [`RLock`]; dropping it releases the lock once.
///
/// It stays on its thread.
#[derive(Debug)]
#[must_use = "a guard that is dropped at once protects nothing"]
pub struct RLockGuard<'a> {
    lock: &'a RLock,
    holder: Holder,
    stays_on_its_thread: PhantomData<*const ()>,
}

/// A [`RLock`] that a task holds; dropping it releases the lock once.
#[derive(Debug)]
#[must_use = "a guard that is dropped at once protects nothing"]
pub struct RLockTaskGuard<'a> {
    lock: &'a RLock,
    holder: Holder,
}

/// A lock was released by one that does not hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lock is released by a thread that does not hold it")]
pub struct NotOwner;

/// Who holds the lock within all processes: a number in its process, and the process's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holder(u64);

impl RLock {
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

    /// Waits for the lock, unless this thread holds it already.
    ///
    /// # Errors
    ///
    /// Returns [`OwnerDied`], with the lock, if its holder died.
    pub fn lock(&self) -> Result<RLockGuard<'_>, OwnerDied<RLockGuard<'_>>> {
        let holder = self.this_thread();
        if self.takes_again(holder) {
            return Ok(self.guard(holder));
        }
        let acquired = self.monitor.acquire_until(None);
        let acquired = acquired.expect("waiting without a deadline ends only with the lock");
        self.begin(holder, acquired, self.guard(holder))
    }

    /// Takes the lock if nobody else holds it.
    ///
    /// # Errors
    ///
    /// Returns [`TryLockError::Held`] if another holds it, and [`TryLockError::OwnerDied`], with
    /// the lock, if its holder died.
    pub fn try_lock(&self) -> Result<RLockGuard<'_>, TryLockError<RLockGuard<'_>>> {
        self.lock_by(|| {
            let is_free = self.monitor.try_acquire();
            let free = is_free.then_some(Acquired::Free);
            free.or_else(|| self.monitor.take_over_now())
        })
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
    ) -> Result<RLockGuard<'_>, TryLockError<RLockGuard<'_>>> {
        // A time too long to be reckoned with is for ever.
        let deadline = Instant::now().checked_add(timeout);
        self.lock_by(|| self.monitor.acquire_until(deadline))
    }

    /// Waits for the lock without holding a thread.
    ///
    /// It waits also if this thread holds the lock: the guard belongs to the task.
    ///
    /// # Errors
    ///
    /// As [`lock`](Self::lock).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up; the lock then goes to whoever else waits.
    pub async fn lock_async(&self) -> Result<RLockTaskGuard<'_>, OwnerDied<RLockTaskGuard<'_>>> {
        let place = self.monitor.lock_place();
        let acquired = wait_async(place, Wake::One, |look| self.monitor.attempt(look)).await;
        let holder = self.holder(next_number());
        self.begin(holder, acquired, RLockTaskGuard { lock: self, holder })
    }

    /// Releases the lock once, for a guard of this thread that was [kept](RLockGuard::keep).
    ///
    /// # Errors
    ///
    /// Returns [`NotOwner`] if this thread does not hold it.
    pub fn release(&self) -> Result<(), NotOwner> {
        self.release_of(self.this_thread())
    }

    /// Whether somebody holds the lock, at this moment.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.monitor.holder().is_some()
    }

    fn lock_by(
        &self,
        acquire: impl FnOnce() -> Option<Acquired>,
    ) -> Result<RLockGuard<'_>, TryLockError<RLockGuard<'_>>> {
        let holder = self.this_thread();
        if self.takes_again(holder) {
            return Ok(self.guard(holder));
        }
        let acquired = acquire().ok_or(TryLockError::Held)?;
        let begun = self.begin(holder, acquired, self.guard(holder));
        begun.map_err(TryLockError::OwnerDied)
    }

    fn this_thread(&self) -> Holder {
        self.holder(this_threads_number())
    }

    fn holder(&self, number: u64) -> Holder {
        Holder(number << MEMBER_BITS | u64::from(self.monitor.own().0))
    }

    /// Whether this holder has the lock; only it can make that change.
    fn is_held_by(&self, holder: Holder) -> bool {
        // What a dead holder wrote does not count once another process has the lock.
        self.monitor.holder() == Some(self.monitor.own()) && get(self.holder_wide()) == holder.0
    }

    fn takes_again(&self, holder: Holder) -> bool {
        let is_held = self.is_held_by(holder);
        if is_held {
            self.depth().fetch_add(1, Relaxed);
        }
        is_held
    }

    /// Enters who holds the lock that was just taken.
    fn begin<G>(&self, holder: Holder, acquired: Acquired, guard: G) -> Result<G, OwnerDied<G>> {
        self.depth().write(1);
        put(self.holder_wide(), holder.0);
        match acquired {
            Acquired::Free => Ok(guard),
            Acquired::OwnerDied(_) => Err(OwnerDied::new(guard)),
        }
    }

    fn release_of(&self, holder: Holder) -> Result<(), NotOwner> {
        if !self.is_held_by(holder) {
            return Err(NotOwner);
        }
        if self.depth().fetch_sub(1, Relaxed) == 1 {
            put(self.holder_wide(), 0);
            self.monitor.release();
        }
        Ok(())
    }

    fn guard(&self, holder: Holder) -> RLockGuard<'_> {
        RLockGuard {
            lock: self,
            holder,
            stays_on_its_thread: PhantomData,
        }
    }

    /// How often the holder has to release it yet.
    fn depth(&self) -> &AtomicU32 {
        &self.monitor.words()[0]
    }

    fn holder_wide(&self) -> &AtomicU64 {
        &self.monitor.wides()[0]
    }
}

shared_object!(RLock);

impl RLockGuard<'_> {
    /// Holds the lock on after the guard, until this thread calls [`RLock::release`].
    pub fn keep(self) {
        let _kept = ManuallyDrop::new(self);
    }
}

impl Drop for RLockGuard<'_> {
    fn drop(&mut self) {
        // If `release` was called too often, it is no longer held.
        let _released_before = self.lock.release_of(self.holder);
    }
}

impl RLockTaskGuard<'_> {
    /// Takes the lock again, which its holder may do at once.
    pub fn again(&self) -> Self {
        self.lock.takes_again(self.holder);
        Self {
            lock: self.lock,
            holder: self.holder,
        }
    }
}

impl Drop for RLockTaskGuard<'_> {
    fn drop(&mut self) {
        // In a process that was forked it never was.
        let _not_ours = self.lock.release_of(self.holder);
    }
}

/// The bits of a member's number.
const MEMBER_BITS: u32 = 11;

const LAYOUT: Layout = Layout { words: 1, wides: 1 };

/// The number that the next thread or task of this process is given; none is given twice.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

fn next_number() -> u64 {
    NEXT_NUMBER.fetch_add(1, Relaxed)
}

fn this_threads_number() -> u64 {
    thread_local! {
        static NUMBER: Cell<u64> = const { Cell::new(0) };
    }
    let number = NUMBER.get();
    if number != 0 {
        return number;
    }
    let number = next_number();
    NUMBER.set(number);
    number
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::Parcel;

    fn is_free_for_others(lock: &RLock) -> bool {
        let tries = || lock.try_lock().is_ok();
        thread::scope(|threads| threads.spawn(tries).join().unwrap())
    }

    #[test]
    fn a_lock_taken_three_times_needs_three_releases() {
        let lock = RLock::new().unwrap();
        let first = lock.lock().unwrap();
        let second = lock.try_lock().unwrap();
        lock.lock_timeout(Duration::ZERO).unwrap().keep();

        drop(second);
        assert!(!is_free_for_others(&lock));
        drop(first);
        assert!(!is_free_for_others(&lock));
        assert_eq!(lock.release(), Ok(()));

        assert!(is_free_for_others(&lock));
        assert_eq!(lock.release(), Err(NotOwner));
    }

    #[test]
    fn another_thread_cannot_release_it() {
        let lock = RLock::new().unwrap();
        let guard = lock.lock().unwrap();

        let released = thread::scope(|threads| threads.spawn(|| lock.release()).join().unwrap());

        assert_eq!(released, Err(NotOwner));
        assert!(lock.is_locked());
        drop(guard);
        assert!(!lock.is_locked());
    }

    #[test]
    fn the_same_thread_takes_it_again_through_a_copy_that_was_sent() {
        let lock = RLock::new().unwrap();
        let received: RLock = Parcel::encode(&lock).unwrap().decode().unwrap();
        let guard = lock.lock().unwrap();

        let again = received.try_lock().unwrap();

        drop(guard);
        assert!(!is_free_for_others(&lock));
        drop(again);
        assert!(is_free_for_others(&lock));
    }
}
