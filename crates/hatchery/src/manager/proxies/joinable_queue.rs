//! A queue whose items are done only when somebody says so.

use std::ops::Deref;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::queue::{get, item_of, queue_methods};
use super::{calls, deadline, decode, done, has_happened, proxy};
use crate::manager::client::{Asked, Held};
use crate::manager::error::{ManagedGetError, ManagedPutError, ManagerError};
use crate::manager::protocol::{Operation, QueueOperation, Reply};

proxy! {
    /// A queue whose items are done only when somebody says so, and that can be waited for.
    ///
    /// An item whose holder dies, or drops it, is delivered again.
    ManagedJoinableQueue<T>
}

queue_methods!(ManagedJoinableQueue);

impl<T: Serialize + DeserializeOwned> ManagedJoinableQueue<T> {
    /// Takes the next item in hand, waiting until there is one.
    ///
    /// # Errors
    ///
    /// Returns [`ManagedGetError::Closed`] if the queue was closed and no item waits, even if one
    /// that somebody has in hand may come back, and [`ManagedGetError::Failed`] if the manager is
    /// gone or the item is of another type; then it is given back.
    pub fn get(&self) -> Result<ManagedItem<T>, ManagedGetError> {
        in_hand(self.handle.ask(get(true), None)?, false)
    }

    /// Takes the next item in hand if there is one.
    ///
    /// # Errors
    ///
    /// Returns [`ManagedGetError::Empty`] if there is none, and otherwise as [`Self::get`].
    pub fn try_get(&self) -> Result<ManagedItem<T>, ManagedGetError> {
        in_hand(self.handle.ask(get(false), None)?, false)
    }

    /// Takes the next item in hand, waiting for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Returns [`ManagedGetError::Empty`] if there was none, and otherwise as [`Self::get`].
    pub fn get_timeout(&self, timeout: Duration) -> Result<ManagedItem<T>, ManagedGetError> {
        in_hand(self.handle.ask(get(true), deadline(timeout))?, false)
    }

    /// As [`Self::get`], without blocking the thread.
    ///
    /// # Errors
    ///
    /// As [`Self::get`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has taken nothing.
    pub async fn get_async(&self) -> Result<ManagedItem<T>, ManagedGetError> {
        in_hand(Some(self.handle.ask_async(get(true)).await?), true)
    }

    /// Waits until every item that was put is done.
    ///
    /// # Errors
    ///
    /// Returns [`ManagerError::ManagerLost`] if the manager is gone.
    pub fn join(&self) -> Result<(), ManagerError> {
        has_happened(self.handle.ask(JOIN, None)?).map(drop)
    }

    /// As [`Self::join`], for at most `timeout`; tells whether every item is done.
    ///
    /// # Errors
    ///
    /// As [`Self::join`].
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, ManagerError> {
        has_happened(self.handle.ask(JOIN, deadline(timeout))?)
    }

    /// As [`Self::join`], without blocking the thread.
    ///
    /// # Errors
    ///
    /// As [`Self::join`].
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time.
    pub async fn join_async(&self) -> Result<(), ManagerError> {
        has_happened(Some(self.handle.ask_async(JOIN).await?)).map(drop)
    }

    calls! {
        /// Says that an item that was kept with [`ManagedItem::into_inner`] is done.
        ///
        /// Once too often is [`ManagerError::TooManyDone`].
        fn task_done / task_done_async(&self) -> () {
            Ok(Operation::Queue(QueueOperation::TaskDone)) => done
        }

        /// Counts the items that are not done: those that wait, and those in somebody's hand.
        fn unfinished / unfinished_async(&self) -> usize {
            Ok(Operation::Queue(QueueOperation::Status)) => |reply: &Reply| match *reply {
                Reply::Queue { unfinished, .. } => {
                    usize::try_from(unfinished).map_err(|_| ManagerError::Protocol)
                }
                _ => Err(ManagerError::Protocol),
            }
        }
    }
}

/// Waits until all is done.
const JOIN: Operation = Operation::Queue(QueueOperation::Join);

/// An item of a joinable queue in somebody's hand.
///
/// Dropped before it is [done](ManagedItem::done), it is given back and delivered again, in its old
/// place; so it is if the process dies. Dropped, one that was got by a blocking call is back when
/// that returns, and one that was got by an asynchronous call is soon.
#[derive(Debug)]
pub struct ManagedItem<T> {
    item: T,
    deliveries: u32,
    held: Held,
}

impl<T> ManagedItem<T> {
    /// Says that the item is done.
    ///
    /// # Errors
    ///
    /// Returns [`ManagerError::ManagerLost`] if the manager is gone; where it comes back with a
    /// snapshot, the item is delivered again.
    pub fn done(self) -> Result<(), ManagerError> {
        self.held
            .give_back(Some(Operation::Queue(QueueOperation::Done)))
    }

    /// As [`ManagedItem::done`], under the name that it has in Python.
    ///
    /// # Errors
    ///
    /// As [`ManagedItem::done`].
    pub fn task_done(self) -> Result<(), ManagerError> {
        self.done()
    }

    /// As [`ManagedItem::done`], without blocking the thread.
    ///
    /// # Errors
    ///
    /// As [`ManagedItem::done`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, the item is done or given back.
    pub async fn done_async(self) -> Result<(), ManagerError> {
        let done = Operation::Queue(QueueOperation::Done);
        self.held.give_back_async(Some(done)).await
    }

    /// Keeps the item for good, and has it count as undone until
    /// [`ManagedJoinableQueue::task_done`].
    ///
    /// It is no longer delivered again if the process dies: then nobody can say that it is done.
    ///
    /// # Errors
    ///
    /// Returns [`ManagerError::ManagerLost`] if the manager is gone.
    pub fn into_inner(self) -> Result<T, ManagerError> {
        self.held
            .give_back(Some(Operation::Queue(QueueOperation::Keep)))?;
        Ok(self.item)
    }

    /// How often the item was delivered, this time included.
    #[must_use]
    pub fn deliveries(&self) -> u32 {
        self.deliveries
    }
}

impl<T> Deref for ManagedItem<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

fn in_hand<T: DeserializeOwned>(
    asked: Option<Asked>,
    is_async: bool,
) -> Result<ManagedItem<T>, ManagedGetError> {
    let (asked, item, deliveries) = item_of(asked)?;
    let (held, _) = asked.hold(Operation::Queue(QueueOperation::GiveBack), is_async);
    Ok(ManagedItem {
        item: decode(&item)?,
        deliveries,
        held,
    })
}
