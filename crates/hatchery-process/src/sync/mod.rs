//! Locks and their like, across processes.
//!
//! Each lives in memory of its own, which is found by a descriptor. Whoever holds something is
//! recorded there by who it is, so that those who wait can tell when it has died.

mod barrier;
mod condition;
mod crash;
mod event;
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

pub use barrier::{Barrier, BrokenBarrier};
pub use condition::{Condition, ConditionError, ConditionGuard};
#[cfg(feature = "crash-points")]
pub use crash::{crash_after, stay_alive};
pub use event::Event;
pub use lock::{Lock, LockGuard, NotLocked, OwnerDied, TryLockError};
pub use monitor::ShareError;
pub use rlock::{NotOwner, RLock, RLockGuard, RLockTaskGuard};
pub use semaphore::{BoundedSemaphore, NoPermit, OverRelease, Permit, Semaphore};

pub(crate) use crash::written;
pub(crate) use monitor::{Acquired, Entered, HasClaims, Member, Monitor};
pub(crate) use object::shared_object;
pub(crate) use spin::Patience;
pub(crate) use wait::{ALL, Attempt, Look, Wake, wait_async, wait_until, wake};
pub(crate) use word::{get, put};
