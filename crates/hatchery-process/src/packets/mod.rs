//! A channel of messages between processes: bytes and descriptors, whole or not at all.
//!
//! A message of up to 64 KiB is one packet. Of a longer one the rest is in sealed memory whose
//! descriptor comes with the packet: it cannot change or shrink any more while it is read. That
//! the head of a long message fills the kernel's buffer is on purpose: a sender that is faster than
//! its receiver has to wait after a few. What the bytes mean is for others.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use hatchery_os::{Obstacle, RecvError};
use rustix::event::PollFlags;
use rustix::net::{AddressFamily, SocketType, sockopt};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::parcel::{Parcel, descriptor};
use crate::readiness::{pause, wait_until};

mod incoming;
mod outgoing;
mod queue;

pub(crate) use incoming::{receive_as, unpack};
pub use outgoing::Outgoing;
pub use queue::PacketQueue;

/// The most bytes that a message may have.
pub const MESSAGE_BYTES_MAX: usize = 1 << 30;

/// The bytes of a message that are in the packet itself.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// A packet starts with its kind and the length of the message.
const HEADER_BYTES: usize = 9;

/// The whole message is in the packet.
const WHOLE: u8 = b'w';

/// The rest of the message is in the memory that the last descriptor names.
const WITH_TAIL: u8 = b't';

/// The pause before a send is tried again for which the kernel had no room, and tells of none.
const LOOK: Duration = Duration::from_millis(1);

/// Why a message was not sent. Nothing of it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PacketSendError {
    /// The other end is gone.
    #[error("the other end is closed")]
    Closed,
    /// The other end has to receive first; the descriptor becomes writable when it has.
    #[error("there is no room until the other end receives")]
    Full,
    /// The kernel is short of something that nothing tells of: try again a little later.
    #[error("the kernel has no room for the message now")]
    Busy(#[source] io::Error),
    /// There was no room in time.
    #[error("there was no room in time")]
    Timeout,
    /// The message has more than [`MESSAGE_BYTES_MAX`] bytes.
    #[error("the message has {len} bytes, and at most {max} are allowed")]
    TooLarge {
        /// How many it has.
        len: usize,
        /// How many are allowed.
        max: usize,
    },
    /// The message has more descriptors than [`Parcel::DESCRIPTORS_MAX`].
    #[error("the message has {count} descriptors, and at most {max} are allowed")]
    TooManyDescriptors {
        /// How many it has.
        count: usize,
        /// How many are allowed.
        max: usize,
    },
    /// The kernel refused.
    #[error("the kernel refused to send")]
    Os(#[source] io::Error),
}

/// Why no message was received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PacketRecvError {
    /// The other end is gone, and everything it sent has been received.
    #[error("the other end is closed")]
    Closed,
    /// There is no message yet.
    #[error("no message has arrived yet")]
    Empty,
    /// No message arrived in time.
    #[error("no message arrived in time")]
    Timeout,
    /// This process had no room for the message's descriptors, and the message is lost.
    ///
    /// A long message needs one descriptor itself. Those that follow are not affected.
    #[error("a message was lost, for this process has too many files open for its descriptors")]
    DescriptorsLost,
    /// What arrived is not a message of such a channel; it is lost.
    #[error("what arrived is not a message: {0}")]
    Malformed(&'static str),
    /// The kernel refused.
    #[error("the kernel refused to receive")]
    Os(#[source] io::Error),
}

/// One end of a channel of messages.
///
/// Any number of threads and processes may hold it and use it at once; each message goes to one
/// of them. It is serialised as its descriptor.
#[derive(Debug)]
pub struct Packets {
    /// A message channel that does not block.
    socket: OwnedFd,
}

impl Packets {
    /// Makes the two ends of a channel.
    ///
    /// # Errors
    ///
    /// Returns the error of `socketpair(2)`.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (here, there) = hatchery_os::pair()?;
        Ok((Self { socket: here }, Self { socket: there }))
    }

    /// Takes over an end that another process passed.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` if it is none.
    pub fn adopt(socket: OwnedFd) -> io::Result<Self> {
        let is_channel = sockopt::socket_domain(&socket) == Ok(AddressFamily::UNIX)
            && sockopt::socket_type(&socket) == Ok(SocketType::SEQPACKET);
        if !is_channel {
            let kind = io::ErrorKind::InvalidInput;
            return Err(io::Error::new(kind, "the descriptor is not a channel"));
        }
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self { socket })
    }

    /// Takes over the channel for its last words that a function was given.
    ///
    /// Nothing is asked of the kernel: the fork server gives no other.
    #[must_use]
    pub fn for_last_words(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// Duplicates this end; the channel closes when all duplicates have.
    ///
    /// # Errors
    ///
    /// Returns the error of `fcntl(2)`.
    pub fn try_clone(&self) -> io::Result<Self> {
        let socket = self.socket.try_clone()?;
        Ok(Self { socket })
    }

    /// Sends a message, or says why it cannot be sent now.
    ///
    /// # Errors
    ///
    /// See [`PacketSendError`]; it is never [`PacketSendError::Timeout`].
    pub fn try_send(&self, message: &Outgoing<'_>) -> Result<(), PacketSendError> {
        let Err(error) = message.send_to(self.socket.as_fd()) else {
            return Ok(());
        };
        Err(match Obstacle::of(&error) {
            Obstacle::Closed => PacketSendError::Closed,
            Obstacle::Full => PacketSendError::Full,
            Obstacle::Busy => PacketSendError::Busy(error),
            Obstacle::Other => PacketSendError::Os(error),
        })
    }

    /// Sends a message, waiting for room until `deadline`, or for ever.
    ///
    /// # Errors
    ///
    /// See [`PacketSendError`]; it is never [`PacketSendError::Full`] or
    /// [`PacketSendError::Busy`].
    pub fn send(
        &self,
        message: &Outgoing<'_>,
        deadline: Option<Instant>,
    ) -> Result<(), PacketSendError> {
        loop {
            match self.try_send(message) {
                Err(PacketSendError::Full) => {
                    wait_until(self.socket.as_fd(), PollFlags::OUT, deadline)
                        .map_err(PacketSendError::Os)?;
                }
                Err(PacketSendError::Busy(_)) => pause(LOOK),
                outcome => return outcome,
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return match self.try_send(message) {
                    Err(PacketSendError::Full | PacketSendError::Busy(_)) => {
                        Err(PacketSendError::Timeout)
                    }
                    outcome => outcome,
                };
            }
        }
    }

    /// Receives a message if one has arrived.
    ///
    /// # Errors
    ///
    /// See [`PacketRecvError`]; it is never [`PacketRecvError::Timeout`].
    pub fn try_recv(&self) -> Result<Parcel, PacketRecvError> {
        incoming::receive(self.socket.as_fd())
    }

    /// Receives a message, waiting for it until `deadline`, or for ever.
    ///
    /// # Errors
    ///
    /// See [`PacketRecvError`]; it is never [`PacketRecvError::Empty`].
    pub fn recv(&self, deadline: Option<Instant>) -> Result<Parcel, PacketRecvError> {
        loop {
            match self.try_recv() {
                Err(PacketRecvError::Empty) => {}
                outcome => return outcome,
            }
            let is_ready = wait_until(self.socket.as_fd(), PollFlags::IN, deadline)
                .map_err(PacketRecvError::Os)?;
            if !is_ready {
                return Err(PacketRecvError::Timeout);
            }
        }
    }

    /// Waits until receiving would not block, and tells whether it would not.
    ///
    /// That is so when a message has arrived and when the other end is gone.
    ///
    /// # Errors
    ///
    /// Returns the error of `poll(2)`.
    pub fn poll(&self, deadline: Option<Instant>) -> io::Result<bool> {
        wait_until(self.socket.as_fd(), PollFlags::IN, deadline)
    }
}

impl AsFd for Packets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Packets {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Serialize for Packets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        descriptor::serialize(&self.socket, serializer)
    }
}

impl<'de> Deserialize<'de> for Packets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let socket = descriptor::deserialize(deserializer)?;
        Self::adopt(socket).map_err(serde::de::Error::custom)
    }
}

impl From<RecvError> for PacketRecvError {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::Closed => Self::Closed,
            RecvError::Empty => Self::Empty,
            RecvError::TooLong(_) => Self::Malformed("it is longer than any packet"),
            RecvError::Os(error) => Self::Os(error),
            other => Self::Os(io::Error::other(other)),
        }
    }
}

#[cfg(test)]
mod tests;
