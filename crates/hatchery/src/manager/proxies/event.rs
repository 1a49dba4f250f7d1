//! An event that processes share.

use std::time::Duration;

use super::{calls, deadline, done, has_happened, proxy, read_bool};
use crate::manager::error::ManagerError;
use crate::manager::protocol::{EventOperation, Operation};

proxy! {
    /// An event that processes share: once it is set, everybody who waits for it goes on.
    ManagedEvent
}

impl ManagedEvent {
    calls! {
        /// Sets the event, and wakes everybody who waits.
        fn set / set_async(&self) -> () {
            Ok(Operation::Event(EventOperation::Set)) => done
        }

        /// Has later waits wait again.
        fn clear / clear_async(&self) -> () {
            Ok(Operation::Event(EventOperation::Clear)) => done
        }

        /// Tells whether the event is set.
        fn is_set / is_set_async(&self) -> bool {
            Ok(Operation::Event(EventOperation::IsSet)) => read_bool
        }
    }

    /// Waits until the event is set.
    ///
    /// # Errors
    ///
    /// Returns [`ManagerError::ManagerLost`] if the manager is gone.
    pub fn wait(&self) -> Result<(), ManagerError> {
        has_happened(self.handle.ask(WAIT, None)?).map(drop)
    }

    /// Waits for at most `timeout`, and tells whether the event was set.
    ///
    /// # Errors
    ///
    /// As [`ManagedEvent::wait`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, ManagerError> {
        has_happened(self.handle.ask(WAIT, deadline(timeout))?)
    }

    /// As [`ManagedEvent::wait`], without blocking the thread.
    ///
    /// # Errors
    ///
    /// As [`ManagedEvent::wait`].
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time.
    pub async fn wait_async(&self) -> Result<(), ManagerError> {
        has_happened(Some(self.handle.ask_async(WAIT).await?)).map(drop)
    }
}

/// Waits until it is set.
const WAIT: Operation = Operation::Event(EventOperation::Wait);
