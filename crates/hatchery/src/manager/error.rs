//! What can go wrong with a manager and its proxies.

use std::io;
use std::path::PathBuf;

use hatchery_process::StartError;
use serde::{Deserialize, Serialize};

use super::protocol::Refusal;

/// Why an operation on a managed object was not done, or its outcome is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManagerError {
    /// The manager's process has ended, or nobody listens at its address.
    ///
    /// What was being done may have been done. A supervised manager comes back at the same
    /// address, and the same proxy works again.
    #[error("the manager is lost: its process has ended, or nobody listens at its address")]
    ManagerLost,
    /// The manager did not answer a new connection in time.
    #[error("the manager does not answer")]
    Unresponsive,
    /// The manager does not accept this process, for this reason.
    #[error("the manager refused the connection: {0}")]
    Rejected(Rejection),
    /// This process has no key for a manager that is reached over TCP.
    #[error(
        "there is no authkey for the manager at {0}: call ManagerClient::provide_authkey with the \
         key that its builder was given"
    )]
    NoAuthkey(String),
    /// Whoever listens at the address does not know the key.
    #[error("whoever listens at the manager's address does not know its authkey")]
    Impostor,
    /// Whoever listens at the address belongs to another user.
    #[error("whoever listens at the manager's address is user {0}, not this process's user")]
    Stranger(u32),
    /// The manager has no such object: it was restarted without a snapshot that holds it.
    #[error("the manager has no such object, for it was restarted since the object was made")]
    NoSuchObject,
    /// The object is of another kind than its proxy.
    #[error("the object is of another kind than its proxy")]
    WrongKind,
    /// There is an object of this name, and it is of another kind.
    #[error("there is an object of this name already, and it is of another kind")]
    NameTaken,
    /// There is no item at this index.
    #[error("there is no place {index} in a list of {len}")]
    IndexOutOfRange {
        /// The index.
        index: u64,
        /// How long the list is.
        len: u64,
    },
    /// The value does not have the type of number that was to be added.
    #[error("the value is not the type of number that was to be added")]
    NotNumber,
    /// The value is not a sequence, so nothing can be pushed.
    #[error("the value is not a sequence")]
    NotSequence,
    /// The sum has no room in its type; nothing was changed.
    #[error("the sum has no room in its type")]
    Overflow,
    /// The message or the value is larger than this manager takes.
    #[error(
        "{bytes} bytes are too many; allowed: {bytes_max}, or what ManagerBuilder::frame_bytes_max says"
    )]
    TooLarge {
        /// How large it is.
        bytes: u64,
        /// What is allowed.
        bytes_max: u64,
    },
    /// The semaphore would have more permits than it started with.
    #[error("the bounded semaphore has all its {permits} permits")]
    OverRelease {
        /// How many it started with.
        permits: u64,
    },
    /// More items were reported as done than were taken and kept.
    #[error("task_done was called more often than items were taken and kept")]
    TooManyDone,
    /// A party gave up, died, or broke the barrier.
    #[error("the barrier is broken")]
    BrokenBarrier,
    /// What was to be released is not held: its manager was restarted.
    #[error("what was to be given back is not held")]
    NotHeld,
    /// A value could not be serialised.
    #[error("the value cannot be serialised: {0}")]
    Encode(String),
    /// A value that the manager holds is not of the proxy's type.
    #[error("the value cannot be read as {type_name}: {reason}")]
    Decode {
        /// The proxy's type.
        type_name: &'static str,
        /// What the decoder says.
        reason: String,
    },
    /// A barrier was to have no party.
    #[error("a barrier has 0 parties; allowed: 1 or more")]
    NoParties,
    /// The answer could not be understood: whoever listens is not a manager of this version.
    #[error("the answer cannot be understood: whoever listens is no manager of this version")]
    Protocol,
    /// The kernel refused.
    #[error("the kernel refused to talk to the manager")]
    Os(#[source] io::Error),
}

impl ManagerError {
    /// Whether the manager is gone.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::ManagerLost)
    }
}

impl From<Refusal> for ManagerError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoSuchObject => Self::NoSuchObject,
            Refusal::WrongKind => Self::WrongKind,
            Refusal::NameTaken => Self::NameTaken,
            Refusal::IndexOutOfRange { index, len } => Self::IndexOutOfRange { index, len },
            Refusal::NotNumber => Self::NotNumber,
            Refusal::NotSequence => Self::NotSequence,
            Refusal::Overflow => Self::Overflow,
            Refusal::TooLarge { bytes, bytes_max } => Self::TooLarge { bytes, bytes_max },
            Refusal::OverRelease { permits } => Self::OverRelease { permits },
            Refusal::TooManyDone => Self::TooManyDone,
            Refusal::Broken => Self::BrokenBarrier,
            Refusal::NotHeld => Self::NotHeld,
            // Only queues refuse in these ways, and their proxies have errors of their own.
            Refusal::Full | Refusal::Empty | Refusal::Closed => Self::Protocol,
        }
    }
}

/// Why a manager does not accept a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The client belongs to another user than the manager.
    #[error("this process belongs to another user than the manager")]
    Stranger,
    /// The client does not know the authkey.
    #[error("this process's authkey is not the manager's")]
    WrongAuthkey,
    /// There are as many connections as the manager takes.
    #[error("it has as many connections as it takes; see ManagerBuilder::connections_max")]
    Crowded,
}

/// Why an item was not put, and the item.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ManagedPutError<T> {
    /// The queue is full, or was for as long as the caller waited.
    #[error("the queue is full")]
    Full(T),
    /// The queue has been closed.
    #[error("the queue is closed")]
    Closed(T),
    /// The operation failed.
    #[error("the item was not put")]
    Failed(T, #[source] ManagerError),
}

impl<T> ManagedPutError<T> {
    /// Gives the item back.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(item) | Self::Closed(item) | Self::Failed(item, _) => item,
        }
    }
}

impl<T> std::fmt::Debug for ManagedPutError<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Full(_) => formatter.write_str("Full"),
            Self::Closed(_) => formatter.write_str("Closed"),
            Self::Failed(_, error) => formatter.debug_tuple("Failed").field(error).finish(),
        }
    }
}

/// Why no item was got.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManagedGetError {
    /// The queue is empty, or was for as long as the caller waited.
    #[error("the queue is empty")]
    Empty,
    /// The queue has been closed, and there is nothing left in it.
    #[error("the queue is closed and empty")]
    Closed,
    /// The operation failed.
    #[error("no item was got")]
    Failed(#[from] ManagerError),
}

/// Why a manager was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManagerStartError {
    /// It was to be reached over TCP, and nobody could have been told from anybody else.
    #[error("a manager that is reached over TCP needs an authkey: use ManagerBuilder::authkey")]
    NoAuthkey,
    /// The authkey is empty.
    #[error("the authkey is empty; allowed: 1 byte or more, and 32 random ones are best")]
    EmptyAuthkey,
    /// The TCP address is none.
    #[error("{0:?} is no address to listen on; allowed: an IP address and a port, as 127.0.0.1:0")]
    Address(String),
    /// A limit is out of its range.
    #[error("ManagerBuilder::{setting}: {value} is not allowed; allowed: {allowed}")]
    Limit {
        /// The builder's method.
        setting: &'static str,
        /// What it was given.
        value: u64,
        /// What it takes.
        allowed: &'static str,
    },
    /// The snapshot is there and cannot be used.
    #[error("the snapshot {path:?} cannot be used")]
    Snapshot {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        source: SnapshotError,
    },
    /// The process could not be started.
    #[error("the manager's process could not be started")]
    Start(#[from] StartError),
    /// The process started and could not listen, for this reason.
    #[error("the manager cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: String,
        /// The kernel's answer.
        reason: String,
    },
    /// The process ended before it was ready.
    #[error("the manager's process ended before it was ready")]
    Died,
    /// The process was not ready in time.
    #[error("the manager was not ready in time")]
    Timeout,
    /// The kernel refused.
    #[error("the kernel refused what a manager needs")]
    Os(#[source] io::Error),
}

/// Why a snapshot cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The file is something else.
    #[error("the file is no snapshot of a manager")]
    NotSnapshot,
    /// The file was written by another version.
    #[error("the snapshot has version {found}; allowed: {known}")]
    Version {
        /// The version of the file.
        found: u32,
        /// The version that can be read.
        known: u32,
    },
    /// The file's end is missing, or it has more than one.
    #[error("the snapshot has {found} bytes, and should have {expected}")]
    Length {
        /// How many bytes there are.
        found: u64,
        /// How many there should be.
        expected: u64,
    },
    /// The contents are not what was written.
    #[error("the snapshot is damaged: its checksum is wrong")]
    Checksum,
    /// The contents are whole and make no sense.
    #[error("the snapshot's contents cannot be decoded")]
    Contents,
    /// The kernel refused, in these words.
    #[error("{0}")]
    Os(String),
}

/// Why a manager did not end in order.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManagerShutdownError {
    /// It had ended before.
    #[error("the manager had ended before it was told to")]
    ManagerLost,
    /// Its last snapshot could not be written.
    #[error("the manager's last snapshot could not be written")]
    Snapshot(#[source] SnapshotError),
    /// It did not end in time, and was killed.
    #[error("the manager did not end in time and was killed")]
    Timeout,
}
