//! Locks and their like, across processes.
//!
//! Each lives in memory of its own, which is found by a descriptor. Whoever holds something is
//! recorded there by who it is, so that those who wait can tell when it has died.

mod barrier;
mod bell;
mod condition;
mod crash;
mod event;
mod gate;
mod lock;
mod lock_word;
#[cfg(test)]
mod models;
mod monitor;
mod object;
mod permits;
mod reactor;
mod rlock;
mod semaphore;
mod spin;
mod wait;
mod waiters;
mod word;

pub use barrier::{Barrier, BarrierError, BrokenBarrier};
pub use condition::{Condition, ConditionError, ConditionGuard};
#[cfg(feature = "crash-points")]
pub use crash::{crash_after, stay_alive};
pub use event::Event;
pub use lock::{Lock, LockGuard, NotLocked, OwnerDied, TryLockError};
pub use monitor::ShareError;
pub use rlock::{NotOwner, RLock, RLockGuard, RLockTaskGuard};
pub use semaphore::{BoundedSemaphore, NoPermit, OverRelease, Permit, Semaphore, SemaphoreError};

pub(crate) use bell::Bell;
pub(crate) use crash::written;
pub(crate) use gate::Gate;
pub(crate) use monitor::{Acquired, Entered, HasClaims, Member, Monitor};
pub(crate) use object::shared_object;
pub(crate) use spin::Patience;
pub(crate) use wait::{ALL, Attempt, Look, Wake, wait_async, wait_until, wake};
pub(crate) use word::{Word, get, put};

#[cfg(test)]
mod tests {
    use super::*;

    fn is_shared<T: Send + Sync + Clone + std::fmt::Debug>(value: &T) -> &T {
        value
    }

    fn is_sent<T: Send>(_: T) {}

    #[test]
    fn objects_are_shared_between_threads_and_futures_are_sent() {
        let condition = Condition::new().unwrap();

        is_sent(is_shared(&Lock::new().unwrap()).lock_async());
        is_sent(is_shared(&RLock::new().unwrap()).lock_async());
        is_sent(is_shared(&Semaphore::new(1).unwrap()).acquire_async());
        is_sent(is_shared(&BoundedSemaphore::new(1).unwrap()).acquire_async());
        is_sent(is_shared(&Event::new().unwrap()).wait_async());
        is_sent(is_shared(&Barrier::new(1).unwrap()).wait_async());
        is_sent(is_shared(&condition).lock().unwrap().wait_async());
    }
}
