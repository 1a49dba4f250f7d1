//! Waiting for something to become true under a lock, across processes.

use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::{Duration, Instant};

use hatchery_os::Layout;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::lock::{Lock, LockGuard, OwnerDied, TryLockError};
use super::monitor::{Monitor, ShareError};
use super::wait::{Attempt, Look, Wake, wait_async, wait_until};
use super::waiters::{self, WAITERS_MAX, Waiters};
use super::word::{Word, get, put};

/// A lock whose holder can wait for others to tell it something.
///
/// Whoever waits has a record of its own, so a notification wakes exactly as many as it says,
/// those first who wait longest. Processes that died are not counted, and one that begins to
/// wait later takes nothing from those before it.
#[derive(Clone, Debug)]
pub struct Condition {
    monitor: Monitor,
    lock: Lock,
}

/// A held [`Condition`]; dropping it gives its lock up.
#[derive(Debug)]
#[must_use = "a guard that is dropped at once protects nothing"]
pub struct ConditionGuard<'a> {
    condition: &'a Condition,
    /// Absent only while this waits.
    held: Option<LockGuard<'a>>,
}

/// Why a wait did not end as it should; the lock is held in any case.
///
/// Inside is what the wait would have returned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConditionError<T> {
    /// While this waited, a process died that held the lock.
    #[error("the process that held the lock died, and what it protects may be half changed")]
    OwnerDied(T),
    /// So many wait that there is no place for another; this did not wait.
    #[error("{WAITERS_MAX} wait for the condition already, and no more can")]
    Full(T),
}

impl<T> ConditionError<T> {
    /// Returns what the wait would have returned.
    pub fn into_inner(self) -> T {
        match self {
            Self::OwnerDied(inner) | Self::Full(inner) => inner,
        }
    }

    fn map<U>(self, map: impl FnOnce(T) -> U) -> ConditionError<U> {
        match self {
            Self::OwnerDied(inner) => ConditionError::OwnerDied(map(inner)),
            Self::Full(inner) => ConditionError::Full(map(inner)),
        }
    }
}

impl Condition {
    /// Makes a condition with a lock of its own.
    ///
    /// # Errors
    ///
    /// Returns [`ShareError::Memory`] for any error of the kernel.
    pub fn new() -> Result<Self, ShareError> {
        Self::with_lock(&Lock::new()?)
    }

    /// Makes a condition for a lock that is used elsewhere too.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_lock(lock: &Lock) -> Result<Self, ShareError> {
        let monitor = Monitor::create(LAYOUT, has_claims)?;
        let lock = lock.clone();
        Ok(Self { monitor, lock })
    }

    /// Waits for the lock.
    ///
    /// # Errors
    ///
    /// Returns [`OwnerDied`], with the lock, if its holder died.
    pub fn lock(&self) -> Result<ConditionGuard<'_>, OwnerDied<ConditionGuard<'_>>> {
        self.guard(self.lock.lock())
    }

    /// Takes the lock if nobody holds it.
    ///
    /// # Errors
    ///
    /// As [`Lock::try_lock`].
    pub fn try_lock(&self) -> Result<ConditionGuard<'_>, TryLockError<ConditionGuard<'_>>> {
        self.guard_in_time(self.lock.try_lock())
    }

    /// Waits for the lock, for at most `timeout`.
    ///
    /// # Errors
    ///
    /// As [`Lock::lock_timeout`].
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<ConditionGuard<'_>, TryLockError<ConditionGuard<'_>>> {
        self.guard_in_time(self.lock.lock_timeout(timeout))
    }

    /// Waits for the lock without holding a thread.
    ///
    /// # Errors
    ///
    /// As [`lock`](Self::lock).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up; the lock then goes to whoever else waits.
    pub async fn lock_async(&self) -> Result<ConditionGuard<'_>, OwnerDied<ConditionGuard<'_>>> {
        self.guard(self.lock.lock_async().await)
    }

    fn guard<'a>(
        &'a self,
        locked: Result<LockGuard<'a>, OwnerDied<LockGuard<'a>>>,
    ) -> Result<ConditionGuard<'a>, OwnerDied<ConditionGuard<'a>>> {
        let with = |held| ConditionGuard {
            condition: self,
            held: Some(held),
        };
        locked
            .map(with)
            .map_err(|died| OwnerDied::new(with(died.into_guard())))
    }

    fn guard_in_time<'a>(
        &'a self,
        locked: Result<LockGuard<'a>, TryLockError<LockGuard<'a>>>,
    ) -> Result<ConditionGuard<'a>, TryLockError<ConditionGuard<'a>>> {
        let locked = match locked {
            Ok(held) => Ok(held),
            Err(TryLockError::OwnerDied(died)) => Err(died),
            Err(TryLockError::Held) => return Err(TryLockError::Held),
        };
        self.guard(locked).map_err(TryLockError::OwnerDied)
    }

    /// Makes a record of one who waits from now on; `None` if there is no room.
    fn enlist(&self) -> Option<Record<'_>> {
        let _entered = self.monitor.enter();
        let ticket = get(self.next_ticket());
        put(self.next_ticket(), ticket + 1);
        let own = self.monitor.own().0;
        let index = self.waiters().enlist(own, ticket, self.is_alive())?;
        Some(Record {
            condition: self,
            index,
        })
    }

    fn notify(&self, count: usize) -> usize {
        let entered = self.monitor.enter();
        let until = get(self.next_ticket());
        let told = self.waiters().notify(count, until, self.is_alive());
        drop(entered);
        self.wake(&told);
        told.len()
    }

    fn wake(&self, told: &[usize]) {
        for &record in told {
            self.waiters().words[record].wake(1);
        }
    }

    fn waiters(&self) -> Waiters<'_, AtomicU32> {
        waiters_of(&self.monitor)
    }

    fn is_alive(&self) -> impl Fn(u32) -> bool {
        |member| self.monitor.is_alive(super::monitor::Member(member))
    }

    /// The ticket of the next who waits.
    fn next_ticket(&self) -> &AtomicU64 {
        &self.monitor.wides()[waiters::WIDES]
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (crate::Passed(&self.monitor), &self.lock).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (memory, lock): (crate::Passed, Lock) = Deserialize::deserialize(deserializer)?;
        let monitor = Monitor::map(memory.into(), LAYOUT, has_claims);
        let monitor = monitor.map_err(serde::de::Error::custom)?;
        Ok(Self { monitor, lock })
    }
}

impl<'a> ConditionGuard<'a> {
    /// Gives the lock up, waits to be notified, and takes the lock again.
    ///
    /// # Errors
    ///
    /// Returns [`ConditionError::OwnerDied`] if a process died that held the lock meanwhile, and
    /// [`ConditionError::Full`] if too many wait already.
    pub fn wait(&mut self) -> Result<(), ConditionError<()>> {
        let waited = self.wait_until(None);
        waited.map(drop).map_err(|error| error.map(drop))
    }

    /// Does as [`wait`](Self::wait), for at most `timeout`; false if nobody notified it.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<bool, ConditionError<bool>> {
        // A time too long to be reckoned with is for ever.
        self.wait_until(Instant::now().checked_add(timeout))
    }

    /// Waits until `is_true`, which is asked now and after each notification.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait); `is_true` was not asked again then.
    pub fn wait_for(
        &mut self,
        mut is_true: impl FnMut() -> bool,
    ) -> Result<(), ConditionError<()>> {
        while !is_true() {
            self.wait()?;
        }
        Ok(())
    }

    /// Does as [`wait_for`](Self::wait_for), for at most `timeout`; returns what was last true.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait); `is_true` was not asked again then.
    pub fn wait_for_timeout(
        &mut self,
        timeout: Duration,
        mut is_true: impl FnMut() -> bool,
    ) -> Result<bool, ConditionError<bool>> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            if is_true() {
                return Ok(true);
            }
            if !self.wait_until(deadline)? {
                return Ok(is_true());
            }
        }
    }

    /// Does as [`wait`](Self::wait) without holding a thread.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up; the lock is not held then. A notification that it had is
    /// handed on to another who waited at that time.
    pub async fn wait_async(mut self) -> Result<ConditionGuard<'a>, ConditionError<Self>> {
        let condition = self.condition;
        let Some(record) = condition.enlist() else {
            return Err(ConditionError::Full(self));
        };
        self.held = None;
        let place = condition.monitor.place(record.index);
        wait_async(place, Wake::One, |look| record.attempt(look)).await;
        let locked = condition.lock_async().await;
        record.finish();
        locked.map_err(|died| ConditionError::OwnerDied(died.into_guard()))
    }

    /// Wakes up to `count` who wait, and returns how many those are.
    ///
    /// They go on when the lock is given up.
    pub fn notify(&self, count: usize) -> usize {
        self.condition.notify(count)
    }

    /// Wakes all who wait.
    pub fn notify_all(&self) {
        self.condition.notify(usize::MAX);
    }

    fn wait_until(&mut self, deadline: Option<Instant>) -> Result<bool, ConditionError<bool>> {
        let condition = self.condition;
        let Some(record) = condition.enlist() else {
            return Err(ConditionError::Full(false));
        };
        self.held = None;
        wait_until(record.word(), deadline, |look| record.attempt(look));
        // One that is told in the very moment when its time is up was told.
        let is_notified = record.finish();
        match condition.lock.lock() {
            Ok(held) => {
                self.held = Some(held);
                Ok(is_notified)
            }
            Err(died) => {
                self.held = Some(died.into_guard());
                Err(ConditionError::OwnerDied(is_notified))
            }
        }
    }
}

/// The record of one who waits; dropping it gives up.
#[derive(Debug)]
struct Record<'a> {
    condition: &'a Condition,
    index: usize,
}

impl Record<'_> {
    fn attempt(&self, _look: Look) -> Attempt<()> {
        self.condition.waiters().attempt(self.index)
    }

    fn word(&self) -> &AtomicU32 {
        &self.condition.monitor.words()[self.index]
    }

    /// Ends the wait; true if it was notified.
    fn finish(self) -> bool {
        let record = std::mem::ManuallyDrop::new(self);
        let _entered = record.condition.monitor.enter();
        record.condition.waiters().finish(record.index)
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        let condition = self.condition;
        let entered = condition.monitor.enter();
        let told = condition
            .waiters()
            .give_up(self.index, condition.is_alive());
        drop(entered);
        condition.wake(&told);
    }
}

const LAYOUT: Layout = Layout {
    words: WAITERS_MAX,
    wides: waiters::WIDES + 1,
};

fn waiters_of(monitor: &Monitor) -> Waiters<'_, AtomicU32> {
    Waiters {
        words: monitor.words(),
        wides: monitor.wides(),
    }
}

fn has_claims(monitor: &Monitor, member: super::monitor::Member) -> bool {
    waiters_of(monitor).has_record_of(member.0)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::Parcel;

    #[test]
    fn two_of_six_are_woken_by_a_notification_of_two() {
        let condition = Condition::new().unwrap();
        let (sender, receiver) = mpsc::channel();
        thread::scope(|threads| {
            for _ in 0..6 {
                threads.spawn(|| {
                    let mut guard = condition.lock().unwrap();
                    sender.send("waits").unwrap();
                    guard.wait().unwrap();
                    sender.send("woken").unwrap();
                });
            }
            (0..6).for_each(|_| assert_eq!(receiver.recv(), Ok("waits")));

            let guard = condition.lock().unwrap();
            assert_eq!(guard.notify(2), 2);
            drop(guard);

            (0..2).for_each(|_| assert_eq!(receiver.recv(), Ok("woken")));
            let guard = condition.lock().unwrap();
            assert_eq!(condition.waiters().waiting().count(), 4);
            guard.notify_all();
        });
    }

    #[test]
    fn a_wait_that_nobody_notifies_ends_in_time_with_the_lock_held() {
        let condition = Condition::new().unwrap();
        let received: Condition = Parcel::encode(&condition).unwrap().decode().unwrap();
        let mut guard = condition.lock().unwrap();

        assert!(!guard.wait_timeout(Duration::from_millis(5)).unwrap());
        assert!(
            !guard
                .wait_for_timeout(Duration::from_millis(5), || false)
                .unwrap()
        );

        assert!(matches!(received.try_lock(), Err(TryLockError::Held)));
        drop(guard);
        assert_eq!(received.lock().unwrap().notify(1), 0);
    }

    #[test]
    fn a_given_lock_is_the_lock() {
        let lock = Lock::new().unwrap();
        let condition = Condition::with_lock(&lock).unwrap();

        let guard = condition.lock().unwrap();

        assert!(lock.is_locked());
        drop(guard);
        assert!(!lock.is_locked());
    }
}
