//! Why a message did not go through a pipe.

use std::io;

use hatchery_process::{PacketRecvError, PacketSendError, ParcelError};

/// Why a message was not sent. Nothing of it was, and the caller still has it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipeSendError {
    /// Nobody holds the other end any more.
    #[error("the other end of the pipe is closed")]
    Closed,
    /// There is no room until the other end receives.
    #[error("the pipe is full")]
    Full,
    /// There was no room in time.
    #[error("the pipe was full until the time was up")]
    Timeout,
    /// The message is longer than a gigabyte.
    #[error("the message has {len} bytes, and at most {max} are allowed")]
    TooLarge {
        /// How many bytes it has.
        len: usize,
        /// How many are allowed.
        max: usize,
    },
    /// The message cannot be serialised, or holds too many descriptors.
    #[error("the message cannot be sent")]
    Codec(#[source] ParcelError),
    /// The kernel refused.
    #[error("the kernel refused to send")]
    Os(#[source] io::Error),
}

/// Why no message was received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipeRecvError {
    /// Nobody holds the other end any more, and all that was sent has been received.
    #[error("the other end of the pipe is closed")]
    Closed,
    /// There is no message yet.
    #[error("the pipe is empty")]
    Empty,
    /// No message came in time.
    #[error("the pipe was empty until the time was up")]
    Timeout,
    /// A message came that is not of this pipe's type. The next one is not affected.
    #[error("a message cannot be read")]
    Codec(#[source] ParcelError),
    /// A message came that no pipe sends. The next one is not affected.
    #[error("what came is not a message: {0}")]
    Malformed(&'static str),
    /// A message was lost because this process has too many files open for what came with it.
    ///
    /// Descriptors come with a message that holds some, and with one above 64 KiB. The next one is
    /// not affected.
    #[error("a message was lost, for this process has too many files open")]
    DescriptorsLost,
    /// The kernel refused.
    #[error("the kernel refused to receive")]
    Os(#[source] io::Error),
}

impl From<PacketSendError> for PipeSendError {
    fn from(error: PacketSendError) -> Self {
        match error {
            PacketSendError::Closed => Self::Closed,
            PacketSendError::Full | PacketSendError::Busy(_) => Self::Full,
            PacketSendError::Timeout => Self::Timeout,
            PacketSendError::TooLarge { len, max } => Self::TooLarge { len, max },
            PacketSendError::TooManyDescriptors { count, max } => {
                Self::Codec(ParcelError::TooManyDescriptors { count, max })
            }
            PacketSendError::Os(error) => Self::Os(error),
            other => Self::Os(io::Error::other(other)),
        }
    }
}

impl From<PacketRecvError> for PipeRecvError {
    fn from(error: PacketRecvError) -> Self {
        match error {
            PacketRecvError::Closed => Self::Closed,
            PacketRecvError::Empty => Self::Empty,
            PacketRecvError::Timeout => Self::Timeout,
            PacketRecvError::DescriptorsLost => Self::DescriptorsLost,
            PacketRecvError::Malformed(what) => Self::Malformed(what),
            PacketRecvError::Os(error) => Self::Os(error),
            other => Self::Os(io::Error::other(other)),
        }
    }
}
