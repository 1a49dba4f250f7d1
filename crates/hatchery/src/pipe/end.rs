//! An end of a pipe, for blocking code.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use hatchery_process::{Outgoing, Packets, Parcel};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::direction::{CanReceive, CanSend, Direction, Duplex};
use super::{AsyncPipeEnd, PipeRecvError, PipeSendError};

/// One end of a pipe.
///
/// Any number of threads may use an end at once: a message that one of them sends stays whole,
/// and one that arrives goes to one of them. An end that is serialised inside a message or an
/// argument is duplicated; the pipe is closed when the last duplicate has been dropped, so a process
/// that waits for the end of a pipe drops its own copy of the other side.
pub struct PipeEnd<T, D = Duplex> {
    packets: Packets,
    carries: PhantomData<fn(T, D) -> T>,
}

impl<T, D> PipeEnd<T, D> {
    pub(super) fn new(packets: Packets) -> Self {
        Self {
            packets,
            carries: PhantomData,
        }
    }

    /// Duplicates this end.
    ///
    /// # Errors
    ///
    /// Returns the error of `fcntl(2)`.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.packets.try_clone().map(Self::new)
    }

    /// Makes an end for asynchronous code of this one.
    ///
    /// # Errors
    ///
    /// Returns the error of `epoll_ctl(2)`.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub fn into_async(self) -> io::Result<AsyncPipeEnd<T, D>>
    where
        D: Direction,
    {
        AsyncPipeEnd::new(self.packets)
    }
}

impl<T: Serialize, D: CanSend> PipeEnd<T, D> {
    /// Sends a message, waiting while the pipe is full.
    ///
    /// The receiver's process gets duplicates of the descriptors in it.
    ///
    /// # Errors
    ///
    /// See [`PipeSendError`]; it is never `Full` or `Timeout`.
    pub fn send(&self, message: &T) -> Result<(), PipeSendError> {
        Ok(self.packets.send(&outgoing(message)?, None)?)
    }

    /// Sends a message if there is room for it now.
    ///
    /// # Errors
    ///
    /// See [`PipeSendError`]; it is never `Timeout`.
    pub fn try_send(&self, message: &T) -> Result<(), PipeSendError> {
        Ok(self.packets.try_send(&outgoing(message)?)?)
    }

    /// Sends a message, waiting for room for at most `timeout`.
    ///
    /// # Errors
    ///
    /// See [`PipeSendError`]; it is never `Full`.
    pub fn send_timeout(&self, message: &T, timeout: Duration) -> Result<(), PipeSendError> {
        let deadline = Instant::now().checked_add(timeout);
        Ok(self.packets.send(&outgoing(message)?, deadline)?)
    }

    /// Sends bytes as they are, for [`PipeEnd::recv_bytes`].
    ///
    /// # Errors
    ///
    /// As [`PipeEnd::send`].
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<(), PipeSendError> {
        Ok(self
            .packets
            .send(&Outgoing::new(bytes, Vec::new())?, None)?)
    }
}

impl<T: DeserializeOwned, D: CanReceive> PipeEnd<T, D> {
    /// Receives a message, waiting for it.
    ///
    /// # Errors
    ///
    /// See [`PipeRecvError`]; it is never `Empty` or `Timeout`.
    pub fn recv(&self) -> Result<T, PipeRecvError> {
        decoded(self.packets.recv(None)?)
    }

    /// Receives a message if one has arrived.
    ///
    /// # Errors
    ///
    /// See [`PipeRecvError`]; it is never `Timeout`.
    pub fn try_recv(&self) -> Result<T, PipeRecvError> {
        decoded(self.packets.try_recv()?)
    }

    /// Receives a message, waiting for at most `timeout`.
    ///
    /// # Errors
    ///
    /// See [`PipeRecvError`]; it is never `Empty`.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, PipeRecvError> {
        let deadline = Instant::now().checked_add(timeout);
        decoded(self.packets.recv(deadline)?)
    }
}

impl<T, D: CanReceive> PipeEnd<T, D> {
    /// Receives the bytes of a message as they are, waiting for them.
    ///
    /// # Errors
    ///
    /// As [`PipeEnd::recv`]; it is never `Codec`.
    pub fn recv_bytes(&self) -> Result<Vec<u8>, PipeRecvError> {
        Ok(self.packets.recv(None)?.bytes)
    }

    /// Waits for at most `timeout` until receiving would not block, and tells whether it would not.
    ///
    /// It would not if a message has arrived, and if the other end is closed. Another thread
    /// or process that holds a duplicate of this end may be faster than what follows.
    ///
    /// # Errors
    ///
    /// Returns the error of `poll(2)`.
    pub fn poll(&self, timeout: Duration) -> io::Result<bool> {
        self.packets.poll(Instant::now().checked_add(timeout))
    }
}

/// Readable when receiving would not block.
impl<T, D> AsFd for PipeEnd<T, D> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.packets.as_fd()
    }
}

impl<T, D> Serialize for PipeEnd<T, D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.packets.serialize(serializer)
    }
}

impl<'de, T, D> Deserialize<'de> for PipeEnd<T, D> {
    fn deserialize<E: Deserializer<'de>>(deserializer: E) -> Result<Self, E::Error> {
        Packets::deserialize(deserializer).map(Self::new)
    }
}

impl<T, D> fmt::Debug for PipeEnd<T, D> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PipeEnd")
            .field("descriptor", &self.packets.as_fd())
            .finish_non_exhaustive()
    }
}

/// Makes a packet of a message.
pub(super) fn outgoing<T: Serialize>(message: &T) -> Result<Outgoing<'static>, PipeSendError> {
    let parcel = Parcel::encode(message).map_err(PipeSendError::Codec)?;
    Ok(parcel.try_into()?)
}

/// Makes a message of what arrived.
pub(super) fn decoded<T: DeserializeOwned>(parcel: Parcel) -> Result<T, PipeRecvError> {
    parcel.decode().map_err(PipeRecvError::Codec)
}
