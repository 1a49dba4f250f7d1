//! A condition that processes share.

use std::time::{Duration, Instant};

use super::{deadline, proxy, read_bool, read_count, take, take_sure};
use crate::manager::client::Held;
use crate::manager::error::ManagerError;
use crate::manager::protocol::{ConditionOperation, Operation};

proxy! {
    /// A lock whose holder can wait for word from later holders.
    ///
    /// If a holder dies, the lock passes to the next; a waiter that dies is notified no more.
    ManagedCondition
}

impl ManagedCondition {
    /// Takes the condition's lock, waiting until it is free.
    ///
    /// # Errors
    ///
    /// Returns [`ManagerError::ManagerLost`] if the manager is gone.
    pub fn lock(&self) -> Result<ManagedConditionGuard, ManagerError> {
        let asked = self.handle.ask(acquire(true), None)?;
        take_sure(asked, RELEASE, false).map(ManagedConditionGuard)
    }

    /// Takes the condition's lock if it is free.
    ///
    /// # Errors
    ///
    /// As [`ManagedCondition::lock`].
    pub fn try_lock(&self) -> Result<Option<ManagedConditionGuard>, ManagerError> {
        let asked = self.handle.ask(acquire(false), None)?;
        Ok(take(asked, RELEASE, false)?.map(ManagedConditionGuard))
    }

    /// Takes the condition's lock, waiting for at most `timeout`.
    ///
    /// # Errors
    ///
    /// As [`ManagedCondition::lock`].
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<Option<ManagedConditionGuard>, ManagerError> {
        let asked = self.handle.ask(acquire(true), deadline(timeout))?;
        Ok(take(asked, RELEASE, false)?.map(ManagedConditionGuard))
    }

    /// As [`ManagedCondition::lock`], without blocking the thread.
    ///
    /// # Errors
    ///
    /// As [`ManagedCondition::lock`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has not taken the lock, and has lost its place.
    pub async fn lock_async(&self) -> Result<ManagedConditionGuard, ManagerError> {
        let asked = self.handle.ask_async(acquire(true)).await?;
        take_sure(Some(asked), RELEASE, true).map(ManagedConditionGuard)
    }
}

/// A condition whose lock is held; dropping it lets the lock go.
///
/// Waiting takes the guard and returns it, because the lock is free meanwhile.
#[derive(Debug)]
pub struct ManagedConditionGuard(Held);

impl ManagedConditionGuard {
    /// Lets the lock go, waits to be notified, and takes the lock again.
    ///
    /// # Errors
    ///
    /// Returns [`ManagerError::ManagerLost`] if the manager is gone, and the lock with it.
    pub fn wait(mut self) -> Result<Self, ManagerError> {
        self.0.call(WAIT, None)?;
        Ok(self)
    }

    /// As [`Self::wait`], for at most `timeout`; tells whether it was notified.
    ///
    /// Taking the lock again may take longer, for as long as others hold it.
    ///
    /// # Errors
    ///
    /// As [`Self::wait`].
    pub fn wait_timeout(mut self, timeout: Duration) -> Result<(Self, bool), ManagerError> {
        let is_notified = self.wait_until(deadline(timeout))?;
        Ok((self, is_notified))
    }

    /// Waits until `predicate` holds, which is asked now and whenever it was notified.
    ///
    /// # Errors
    ///
    /// As [`Self::wait`], and the errors of `predicate`.
    pub fn wait_for(
        mut self,
        mut predicate: impl FnMut() -> Result<bool, ManagerError>,
    ) -> Result<Self, ManagerError> {
        while !predicate()? {
            self.wait_until(None)?;
        }
        Ok(self)
    }

    /// As [`Self::wait_for`], for at most `timeout`; tells whether `predicate` held at last.
    ///
    /// # Errors
    ///
    /// As [`Self::wait_for`].
    pub fn wait_for_timeout(
        mut self,
        timeout: Duration,
        mut predicate: impl FnMut() -> Result<bool, ManagerError>,
    ) -> Result<(Self, bool), ManagerError> {
        let deadline = deadline(timeout);
        loop {
            let holds = predicate()?;
            let is_over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if holds || is_over {
                return Ok((self, holds));
            }
            self.wait_until(deadline)?;
        }
    }

    /// As [`Self::wait`], without blocking the thread.
    ///
    /// # Errors
    ///
    /// As [`Self::wait`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it waits no more and lets the lock go; the guard is gone.
    pub async fn wait_async(mut self) -> Result<Self, ManagerError> {
        self.0.call_async(WAIT).await?;
        Ok(self)
    }

    /// Notifies `count` of those who wait, longest first, and returns how many there were.
    ///
    /// They go on when the lock is theirs.
    ///
    /// # Errors
    ///
    /// As [`Self::wait`].
    pub fn notify(&mut self, count: usize) -> Result<usize, ManagerError> {
        read_count(&self.0.call(notify(count), None)?)
    }

    /// Notifies everybody who waits, and returns how many that are.
    ///
    /// # Errors
    ///
    /// As [`Self::wait`].
    pub fn notify_all(&mut self) -> Result<usize, ManagerError> {
        self.notify(usize::MAX)
    }

    /// As [`Self::notify`], without blocking the thread.
    ///
    /// # Errors
    ///
    /// As [`Self::wait`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, they may have been notified.
    pub async fn notify_async(&mut self, count: usize) -> Result<usize, ManagerError> {
        read_count(&self.0.call_async(notify(count)).await?)
    }

    /// Lets the lock go, and waits until the manager knows.
    ///
    /// # Errors
    ///
    /// As [`Self::wait`].
    pub fn unlock(self) -> Result<(), ManagerError> {
        self.0.give_back(None)
    }

    /// As [`Self::unlock`], without blocking the thread.
    ///
    /// # Errors
    ///
    /// As [`Self::wait`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it lets the lock go all the same.
    pub async fn unlock_async(self) -> Result<(), ManagerError> {
        self.0.give_back_async(None).await
    }

    fn wait_until(&mut self, deadline: Option<Instant>) -> Result<bool, ManagerError> {
        read_bool(&self.0.call(WAIT, deadline)?)
    }
}

/// Lets the lock go.
const RELEASE: Operation = Operation::Condition(ConditionOperation::Release);

/// Waits to be notified.
const WAIT: Operation = Operation::Condition(ConditionOperation::Wait);

fn acquire(waits: bool) -> Operation {
    Operation::Condition(ConditionOperation::Acquire { waits })
}

fn notify(count: usize) -> Operation {
    Operation::Condition(ConditionOperation::Notify(count as u64))
}
