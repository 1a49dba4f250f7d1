//! A queue that processes share.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{calls, deadline, decode, done, encode, proxy};
use crate::manager::client::{Asked, Handle};
use crate::manager::error::{ManagedGetError, ManagedPutError, ManagerError};
use crate::manager::protocol::{Blob, Operation, QueueOperation, Refusal, Reply};

proxy! {
    /// A queue that processes share: first in, first out.
    ///
    /// An item is in the queue when `put` has returned, whatever happens to the process that put it.
    /// It has left the queue when `get` has it: one that was on its way to a process that died, or
    /// to a future that was dropped, goes to the next.
    ManagedQueue<T>
}

impl<T: Serialize + DeserializeOwned> ManagedQueue<T> {
    /// Takes the next item, waiting until there is one.
    ///
    /// # Errors
    ///
    /// Returns [`ManagedGetError::Closed`] if the queue was closed and is empty, and
    /// [`ManagedGetError::Failed`] if the manager is gone or the item is of another type; then it
    /// is out of the queue all the same.
    pub fn get(&self) -> Result<T, ManagedGetError> {
        received(self.handle.ask(get(true), None)?)
    }

    /// Takes the next item if there is one.
    ///
    /// # Errors
    ///
    /// Returns [`ManagedGetError::Empty`] if there is none, and otherwise as [`Self::get`].
    pub fn try_get(&self) -> Result<T, ManagedGetError> {
        received(self.handle.ask(get(false), None)?)
    }

    /// Takes the next item, waiting for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Returns [`ManagedGetError::Empty`] if there was none, and otherwise as [`Self::get`].
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, ManagedGetError> {
        received(self.handle.ask(get(true), deadline(timeout))?)
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
    pub async fn get_async(&self) -> Result<T, ManagedGetError> {
        received(Some(self.handle.ask_async(get(true)).await?))
    }
}

/// Defines what queues have in common.
macro_rules! queue_methods {
    ($name:ident) => {
        impl<T: Serialize + DeserializeOwned> $name<T> {
            /// Appends `item`, waiting until there is room.
            ///
            /// # Errors
            ///
            /// Returns [`ManagedPutError::Closed`] if the queue was closed, and
            /// [`ManagedPutError::Failed`] if the item cannot be serialised or the manager is gone;
            /// the item is in the error.
            pub fn put(&self, item: T) -> Result<(), ManagedPutError<T>> {
                $crate::manager::proxies::queue::put(&self.handle, item, true, None)
            }

            /// Appends `item` if there is room.
            ///
            /// # Errors
            ///
            /// Returns [`ManagedPutError::Full`] if there is none, and otherwise as [`Self::put`].
            pub fn try_put(&self, item: T) -> Result<(), ManagedPutError<T>> {
                $crate::manager::proxies::queue::put(&self.handle, item, false, None)
            }

            /// Appends `item`, waiting for room for at most `timeout`.
            ///
            /// # Errors
            ///
            /// Returns [`ManagedPutError::Full`] if there was none, and otherwise as
            /// [`Self::put`].
            pub fn put_timeout(
                &self,
                item: T,
                timeout: Duration,
            ) -> Result<(), ManagedPutError<T>> {
                let deadline = deadline(timeout);
                $crate::manager::proxies::queue::put(&self.handle, item, true, deadline)
            }

            /// As [`Self::put`], without blocking the thread.
            ///
            /// # Errors
            ///
            /// As [`Self::put`].
            ///
            /// # Cancel safety
            ///
            /// Dropped before it is ready, the item is in the queue in full or not at all.
            pub async fn put_async(&self, item: T) -> Result<(), ManagedPutError<T>> {
                $crate::manager::proxies::queue::put_async(&self.handle, item).await
            }

            calls! {
                /// Closes the queue: nothing more can be put, and what is in it can be got.
                ///
                /// Whoever waits for room or for an item learns of it.
                fn close / close_async(&self) -> () {
                    Ok(Operation::Queue(QueueOperation::Close)) => done
                }

                /// Counts the items that wait to be got.
                fn len / len_async(&self) -> usize {
                    Ok(Operation::Queue(QueueOperation::Status))
                        => |reply| $crate::manager::proxies::queue::status(reply)
                            .map(|status| status.0)
                }

                /// Tells whether no item waits to be got.
                fn is_empty / is_empty_async(&self) -> bool {
                    Ok(Operation::Queue(QueueOperation::Status))
                        => |reply| $crate::manager::proxies::queue::status(reply)
                            .map(|status| status.0 == 0)
                }

                /// Tells whether there is no room for another item.
                fn is_full / is_full_async(&self) -> bool {
                    Ok(Operation::Queue(QueueOperation::Status))
                        => |reply| $crate::manager::proxies::queue::status(reply)
                            .map(|status| status.1)
                }
            }
        }
    };
}

pub(super) use queue_methods;

queue_methods!(ManagedQueue);

pub(super) fn get(waits: bool) -> Operation {
    Operation::Queue(QueueOperation::Get { waits })
}

pub(super) fn put<T: Serialize>(
    handle: &Handle,
    item: T,
    waits: bool,
    deadline: Option<Instant>,
) -> Result<(), ManagedPutError<T>> {
    let outcome = encode(&item).and_then(|bytes| handle.ask(put_operation(bytes, waits), deadline));
    match outcome {
        Ok(asked) => has_put(item, asked),
        Err(error) => Err(ManagedPutError::Failed(item, error)),
    }
}

pub(super) async fn put_async<T: Serialize>(
    handle: &Handle,
    item: T,
) -> Result<(), ManagedPutError<T>> {
    let outcome = match encode(&item) {
        Ok(bytes) => handle.ask_async(put_operation(bytes, true)).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(asked) => has_put(item, Some(asked)),
        Err(error) => Err(ManagedPutError::Failed(item, error)),
    }
}

fn put_operation(item: Blob, waits: bool) -> Operation {
    Operation::Queue(QueueOperation::Put { item, waits })
}

fn has_put<T>(item: T, asked: Option<Asked>) -> Result<(), ManagedPutError<T>> {
    match asked.map(|asked| asked.reply) {
        Some(Reply::Done) => Ok(()),
        None | Some(Reply::Refused(Refusal::Full)) => Err(ManagedPutError::Full(item)),
        Some(Reply::Refused(Refusal::Closed)) => Err(ManagedPutError::Closed(item)),
        Some(Reply::Refused(refusal)) => Err(ManagedPutError::Failed(item, refusal.into())),
        Some(_) => Err(ManagedPutError::Failed(item, ManagerError::Protocol)),
    }
}

/// Takes an answer that is no item apart.
pub(super) fn item_of(asked: Option<Asked>) -> Result<(Asked, Blob, u32), ManagedGetError> {
    let Some(asked) = asked else {
        return Err(ManagedGetError::Empty);
    };
    match &asked.reply {
        Reply::Item { item, deliveries } => {
            let (item, deliveries) = (item.clone(), *deliveries);
            Ok((asked, item, deliveries))
        }
        Reply::Refused(Refusal::Empty) => Err(ManagedGetError::Empty),
        Reply::Refused(Refusal::Closed) => Err(ManagedGetError::Closed),
        Reply::Refused(refusal) => Err(ManagerError::from(refusal.clone()).into()),
        _ => Err(ManagerError::Protocol.into()),
    }
}

fn received<T: DeserializeOwned>(asked: Option<Asked>) -> Result<T, ManagedGetError> {
    let (asked, item, _) = item_of(asked)?;
    asked.confirm(Operation::Queue(QueueOperation::Done))?;
    Ok(decode(&item)?)
}

/// Reads how many items there are, and whether there is room for more.
pub(super) fn status(reply: &Reply) -> Result<(usize, bool), ManagerError> {
    match *reply {
        Reply::Queue { len, is_full, .. } => {
            let len = usize::try_from(len).map_err(|_| ManagerError::Protocol)?;
            Ok((len, is_full))
        }
        _ => Err(ManagerError::Protocol),
    }
}
