//! Semaphores that processes share.

use std::time::Duration;

use super::{calls, deadline, done, proxy, read_count, take, take_sure};
use crate::manager::client::Held;
use crate::manager::error::ManagerError;
use crate::manager::protocol::{Operation, SemaphoreOperation};

proxy! {
    /// A semaphore that processes share. Those who wait get permits in the order in which they came.
    ///
    /// Permits whose holder dies come back.
    ManagedSemaphore
}

proxy! {
    /// A semaphore that never has more permits than it started with.
    ///
    /// Permits whose holder dies come back.
    ManagedBoundedSemaphore
}

/// Defines what semaphores have in common.
macro_rules! semaphore_methods {
    ($name:ident, $over:literal) => {
        impl $name {
            /// Takes a permit, waiting until there is one.
            ///
            /// # Errors
            ///
            /// Returns [`ManagerError::ManagerLost`] if the manager is gone.
            pub fn acquire(&self) -> Result<ManagedPermit, ManagerError> {
                let asked = self.handle.ask(acquire(true), None)?;
                take_sure(asked, RELEASE, false).map(ManagedPermit)
            }

            /// Takes a permit if there is one.
            ///
            /// # Errors
            ///
            /// As [`Self::acquire`].
            pub fn try_acquire(&self) -> Result<Option<ManagedPermit>, ManagerError> {
                let asked = self.handle.ask(acquire(false), None)?;
                Ok(take(asked, RELEASE, false)?.map(ManagedPermit))
            }

            /// Takes a permit, waiting for at most `timeout`.
            ///
            /// # Errors
            ///
            /// As [`Self::acquire`].
            pub fn acquire_timeout(
                &self,
                timeout: Duration,
            ) -> Result<Option<ManagedPermit>, ManagerError> {
                let asked = self.handle.ask(acquire(true), deadline(timeout))?;
                Ok(take(asked, RELEASE, false)?.map(ManagedPermit))
            }

            /// As [`Self::acquire`], without blocking the thread.
            ///
            /// # Errors
            ///
            /// As [`Self::acquire`].
            ///
            /// # Cancel safety
            ///
            /// Dropped before it is ready, it has taken no permit, and has lost its place.
            pub async fn acquire_async(&self) -> Result<ManagedPermit, ManagerError> {
                let asked = self.handle.ask_async(acquire(true)).await?;
                take_sure(Some(asked), RELEASE, true).map(ManagedPermit)
            }

            calls! {
                /// Adds `permits`, as Python's `release` does, whoever took them.
                ///
                /// A permit in hand is given back by dropping it; this is for those that were
                /// forgotten.
                #[doc = $over]
                fn release / release_async(&self, permits: u64) -> () {
                    Ok(Operation::Semaphore(SemaphoreOperation::Add(permits))) => done
                }

                /// Counts the permits that can be taken.
                fn value / value_async(&self) -> usize {
                    Ok(Operation::Semaphore(SemaphoreOperation::Value)) => read_count
                }
            }
        }
    };
}

semaphore_methods!(ManagedSemaphore, "");
semaphore_methods!(
    ManagedBoundedSemaphore,
    "More than it started with is [`ManagerError::OverRelease`]."
);

/// A permit in hand; dropping it gives it back.
///
/// Dropped, a permit that was taken by a blocking call is back when that returns; one that was taken
/// by an asynchronous call is back soon.
#[derive(Debug)]
pub struct ManagedPermit(Held);

impl ManagedPermit {
    /// Gives the permit back, and waits until the manager knows.
    ///
    /// # Errors
    ///
    /// Returns [`ManagerError::ManagerLost`] if the manager is gone, and the semaphore with it.
    pub fn release(self) -> Result<(), ManagerError> {
        self.0.give_back(None)
    }

    /// As [`ManagedPermit::release`], without blocking the thread.
    ///
    /// # Errors
    ///
    /// As [`ManagedPermit::release`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it gives the permit back all the same.
    pub async fn release_async(self) -> Result<(), ManagerError> {
        self.0.give_back_async(None).await
    }

    /// Gives the permit up for good: it does not come back, not even if this process dies.
    ///
    /// Anybody may put it back with the semaphore's `release`.
    ///
    /// # Errors
    ///
    /// As [`ManagedPermit::release`].
    pub fn forget(self) -> Result<(), ManagerError> {
        self.0
            .give_back(Some(Operation::Semaphore(SemaphoreOperation::Forget)))
    }
}

/// Gives a permit back.
const RELEASE: Operation = Operation::Semaphore(SemaphoreOperation::Release);

fn acquire(waits: bool) -> Operation {
    Operation::Semaphore(SemaphoreOperation::Acquire { waits })
}
