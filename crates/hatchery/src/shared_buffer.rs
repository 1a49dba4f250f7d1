//! Bytes that are passed to other processes without being copied.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use hatchery_process::{MapError, SealedMemory, descriptor};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes in memory of their own, which never change and are read in place by whoever has them.
///
/// Inside of arguments, results and messages it goes as a descriptor: however long it is, and however
/// many processes get it, its bytes are there once. It counts as one of the descriptors that a message
/// may hold. A clone is the same memory.
///
/// # Examples
///
/// ```
/// use hatchery::SharedBuffer;
///
/// let (sender, receiver) = hatchery::one_way_pipe::<SharedBuffer>()?;
/// sender.send(&SharedBuffer::new(b"a long text")?)?;
/// assert_eq!(&receiver.recv()?[2..6], b"long");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SharedBuffer(Arc<SealedMemory>);

impl SharedBuffer {
    /// Copies `bytes` into memory that can be passed on.
    ///
    /// # Errors
    ///
    /// Returns the error of the kernel, which has no memory or no descriptor left.
    pub fn new(bytes: &[u8]) -> io::Result<Self> {
        Self::of(SealedMemory::new(bytes))
    }

    /// Makes memory of `len` bytes and has `fill` write them there, without a copy elsewhere.
    ///
    /// They are zero before.
    ///
    /// # Errors
    ///
    /// As [`SharedBuffer::new`].
    pub fn filled(len: usize, fill: impl FnOnce(&mut [u8])) -> io::Result<Self> {
        Self::of(SealedMemory::filled(len, fill))
    }

    fn of(memory: Result<SealedMemory, MapError>) -> io::Result<Self> {
        match memory {
            Ok(memory) => Ok(Self(Arc::new(memory))),
            Err(MapError::Os(error)) => Err(error),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

impl Deref for SharedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for SharedBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for SharedBuffer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || **self == **other
    }
}

impl Eq for SharedBuffer {}

impl fmt::Debug for SharedBuffer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SharedBuffer")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl Serialize for SharedBuffer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        descriptor::serialize(&*self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for SharedBuffer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let memory: OwnedFd = descriptor::deserialize(deserializer)?;
        let memory = SealedMemory::map(memory).map_err(D::Error::custom)?;
        Ok(Self(Arc::new(memory)))
    }
}

#[cfg(test)]
mod tests {
    use hatchery_process::Parcel;

    use super::*;

    #[test]
    fn a_buffer_that_was_sent_has_the_same_bytes() {
        let buffer = SharedBuffer::filled(3 << 20, |bytes| bytes.fill(7)).unwrap();

        let parcel = Parcel::encode(&buffer).unwrap();
        let bytes = parcel.bytes.len();
        let received: SharedBuffer = parcel.decode().unwrap();

        assert!(bytes < 8, "its bytes were not copied");
        assert_eq!(received, buffer);
        assert_eq!(received.len(), 3 << 20);
    }

    #[test]
    fn buffers_are_equal_if_their_bytes_are() {
        let buffer = SharedBuffer::new(b"abc").unwrap();

        assert_eq!(buffer, buffer.clone());
        assert_eq!(buffer, SharedBuffer::new(b"abc").unwrap());
        assert_ne!(buffer, SharedBuffer::new(b"abd").unwrap());
    }
}
