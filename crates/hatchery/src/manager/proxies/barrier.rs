//! A barrier that processes share.

use std::time::Duration;

use super::{calls, deadline, done, proxy, read_count};
use crate::manager::client::Asked;
use crate::manager::error::ManagerError;
use crate::manager::protocol::{BarrierOperation, Operation, Reply};

proxy! {
    /// A barrier that processes share: nobody passes before all parties are there.
    ///
    /// A party that dies, or no longer waits, breaks it: all others get
    /// [`ManagerError::BrokenBarrier`], until it is reset.
    ManagedBarrier
}

/// How it stands with a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BarrierStatus {
    /// How many parties it takes.
    pub parties: usize,
    /// How many of them wait.
    pub waiting: usize,
    /// Whether it is broken.
    pub is_broken: bool,
}

impl ManagedBarrier {
    /// Waits until all parties are there, and returns as which this one came: the first is 0.
    ///
    /// # Errors
    ///
    /// Returns [`ManagerError::BrokenBarrier`] if the barrier is or gets broken, and
    /// [`ManagerError::ManagerLost`] if the manager is gone.
    pub fn wait(&self) -> Result<usize, ManagerError> {
        passed(self.handle.ask(WAIT, None)?)
    }

    /// As [`ManagedBarrier::wait`], for at most `timeout`; then the barrier is broken.
    ///
    /// # Errors
    ///
    /// As [`ManagedBarrier::wait`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<usize, ManagerError> {
        passed(self.handle.ask(WAIT, deadline(timeout))?)
    }

    /// As [`ManagedBarrier::wait`], without blocking the thread.
    ///
    /// # Errors
    ///
    /// As [`ManagedBarrier::wait`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it breaks the barrier, unless that has just opened.
    pub async fn wait_async(&self) -> Result<usize, ManagerError> {
        passed(Some(self.handle.ask_async(WAIT).await?))
    }

    calls! {
        /// Breaks the barrier.
        fn abort / abort_async(&self) -> () {
            Ok(Operation::Barrier(BarrierOperation::Abort)) => done
        }

        /// Makes the barrier as new; whoever waits gets [`ManagerError::BrokenBarrier`].
        fn reset / reset_async(&self) -> () {
            Ok(Operation::Barrier(BarrierOperation::Reset)) => done
        }

        /// Tells how it stands with the barrier.
        fn status / status_async(&self) -> BarrierStatus {
            Ok(Operation::Barrier(BarrierOperation::Status)) => read_status
        }
    }
}

/// Waits for the others.
const WAIT: Operation = Operation::Barrier(BarrierOperation::Wait);

fn passed(asked: Option<Asked>) -> Result<usize, ManagerError> {
    // Without an answer the connection is closed, and that breaks the barrier.
    let asked = asked.ok_or(ManagerError::BrokenBarrier)?;
    read_count(&asked.into_reply()?)
}

fn read_status(reply: &Reply) -> Result<BarrierStatus, ManagerError> {
    let Reply::Barrier {
        parties,
        waiting,
        is_broken,
    } = *reply
    else {
        return Err(ManagerError::Protocol);
    };
    let count = |number| usize::try_from(number).map_err(|_| ManagerError::Protocol);
    Ok(BarrierStatus {
        parties: count(parties)?,
        waiting: count(waiting)?,
        is_broken,
    })
}
