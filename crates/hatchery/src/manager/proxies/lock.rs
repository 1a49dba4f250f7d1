//! Locks that processes share.

use std::cell::Cell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{calls, deadline, proxy, read_bool, take, take_sure};
use crate::manager::client::Held;
use crate::manager::error::ManagerError;
use crate::manager::handshake::random;
use crate::manager::protocol::{LockOperation, Operation, Owner};

proxy! {
    /// A lock that processes share. Those who wait get it in the order in which they came.
    ///
    /// If its holder dies, it passes to the next.
    ManagedLock
}

proxy! {
    /// A lock that opens again to whoever holds it: to the same thread of the same process for
    /// blocking calls, and to the same task for asynchronous ones.
    ///
    /// Each time it opens there is a guard, and it is free when the last is gone. If its holder
    /// dies, it passes to the next.
    ManagedRLock
}

/// Defines what locks have in common.
macro_rules! lock_methods {
    ($name:ident) => {
        impl $name {
            /// Takes the lock, waiting until it is free.
            ///
            /// # Errors
            ///
            /// Returns [`ManagerError::ManagerLost`] if the manager is gone.
            pub fn lock(&self) -> Result<ManagedLockGuard, ManagerError> {
                let asked = self.handle.ask(acquire(thread_owner()?, true), None)?;
                take_sure(asked, RELEASE, false).map(ManagedLockGuard)
            }

            /// Takes the lock if it is free.
            ///
            /// # Errors
            ///
            /// As [`Self::lock`].
            pub fn try_lock(&self) -> Result<Option<ManagedLockGuard>, ManagerError> {
                let asked = self.handle.ask(acquire(thread_owner()?, false), None)?;
                Ok(take(asked, RELEASE, false)?.map(ManagedLockGuard))
            }

            /// Takes the lock, waiting for at most `timeout`.
            ///
            /// # Errors
            ///
            /// As [`Self::lock`].
            pub fn lock_timeout(
                &self,
                timeout: Duration,
            ) -> Result<Option<ManagedLockGuard>, ManagerError> {
                let operation = acquire(thread_owner()?, true);
                let asked = self.handle.ask(operation, deadline(timeout))?;
                Ok(take(asked, RELEASE, false)?.map(ManagedLockGuard))
            }

            /// As [`Self::lock`], without blocking the thread.
            ///
            /// # Errors
            ///
            /// As [`Self::lock`].
            ///
            /// # Cancel safety
            ///
            /// Dropped before it is ready, it has not taken the lock, and has lost its place.
            pub async fn lock_async(&self) -> Result<ManagedLockGuard, ManagerError> {
                let asked = self.handle.ask_async(acquire(task_owner()?, true)).await?;
                take_sure(Some(asked), RELEASE, true).map(ManagedLockGuard)
            }

            calls! {
                /// Tells whether somebody holds the lock.
                fn is_locked / is_locked_async(&self) -> bool {
                    Ok(Operation::Lock(LockOperation::IsHeld)) => read_bool
                }
            }
        }
    };
}

lock_methods!(ManagedLock);
lock_methods!(ManagedRLock);

/// A lock that is held; dropping it lets it go.
///
/// Dropped, a lock that was taken by a blocking call is free when that returns; one that was taken
/// by an asynchronous call is free soon. It can be held across an await.
#[derive(Debug)]
pub struct ManagedLockGuard(Held);

impl ManagedLockGuard {
    /// Lets the lock go, and waits until the manager knows.
    ///
    /// # Errors
    ///
    /// Returns [`ManagerError::ManagerLost`] if the manager is gone, and the lock with it.
    pub fn unlock(self) -> Result<(), ManagerError> {
        self.0.give_back(None)
    }

    /// As [`ManagedLockGuard::unlock`], without blocking the thread.
    ///
    /// # Errors
    ///
    /// As [`ManagedLockGuard::unlock`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it lets the lock go all the same.
    pub async fn unlock_async(self) -> Result<(), ManagerError> {
        self.0.give_back_async(None).await
    }
}

/// Lets the lock go.
const RELEASE: Operation = Operation::Lock(LockOperation::Release);

fn acquire(owner: Owner, waits: bool) -> Operation {
    Operation::Lock(LockOperation::Acquire { owner, waits })
}

/// This thread, among all threads and tasks of all processes.
fn thread_owner() -> Result<Owner, ManagerError> {
    /// The next thread's number; tasks' numbers are odd.
    static NEXT: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static NUMBER: Cell<u64> = Cell::new(NEXT.fetch_add(2, Ordering::Relaxed));
    }
    Ok(Owner(process_number()?, NUMBER.get()))
}

/// This task; outside of one, this thread.
fn task_owner() -> Result<Owner, ManagerError> {
    let Some(task) = tokio::task::try_id() else {
        return thread_owner();
    };
    let mut hasher = DefaultHasher::new();
    task.hash(&mut hasher);
    Ok(Owner(process_number()?, hasher.finish() | 1))
}

/// A number that no other process has, also not one that was forked from this.
fn process_number() -> Result<u64, ManagerError> {
    static NUMBER: Mutex<Option<(u32, u64)>> = Mutex::new(None);
    let mut number = NUMBER.lock().unwrap_or_else(PoisonError::into_inner);
    let pid = std::process::id();
    if let Some((owner, number)) = *number
        && owner == pid
    {
        return Ok(number);
    }
    let fresh = u64::from_le_bytes(random().map_err(ManagerError::Os)?);
    *number = Some((pid, fresh));
    Ok(fresh)
}
