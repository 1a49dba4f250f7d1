//! A message that is ready to be sent, as often as it takes.

use std::borrow::Cow;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use super::{HEAD_BYTES_MAX, HEADER_BYTES, MESSAGE_BYTES_MAX, PacketSendError, WHOLE, WITH_TAIL};
use crate::parcel::Parcel;

/// A message on its way out.
///
/// Making it does all that may be needed only once, so that trying again costs little.
#[derive(Debug)]
pub struct Outgoing<'a> {
    header: [u8; HEADER_BYTES],
    bytes: Cow<'a, [u8]>,
    /// With the memory of a long message as the last one.
    descriptors: Vec<OwnedFd>,
}

impl<'a> Outgoing<'a> {
    /// Prepares a message; a long one is written into memory of its own.
    ///
    /// # Errors
    ///
    /// Returns [`PacketSendError::TooLarge`] and [`PacketSendError::TooManyDescriptors`] for a
    /// message that never can be sent, and [`PacketSendError::Os`] if the memory cannot be had.
    pub fn new(
        bytes: impl Into<Cow<'a, [u8]>>,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Self, PacketSendError> {
        let bytes = bytes.into();
        let len = bytes.len();
        if len > MESSAGE_BYTES_MAX {
            let max = MESSAGE_BYTES_MAX;
            return Err(PacketSendError::TooLarge { len, max });
        }
        if descriptors.len() > Parcel::DESCRIPTORS_MAX {
            return Err(PacketSendError::TooManyDescriptors {
                count: descriptors.len(),
                max: Parcel::DESCRIPTORS_MAX,
            });
        }
        if len <= HEAD_BYTES_MAX {
            return Ok(Self {
                header: header(WHOLE, len),
                bytes,
                descriptors,
            });
        }
        Self::with_tail(&bytes, descriptors).map_err(PacketSendError::Os)
    }

    fn with_tail(bytes: &[u8], mut descriptors: Vec<OwnedFd>) -> io::Result<Self> {
        let (head, tail) = bytes.split_at(HEAD_BYTES_MAX);
        descriptors.push(sealed(tail)?);
        Ok(Self {
            header: header(WITH_TAIL, bytes.len()),
            bytes: head.to_vec().into(),
            descriptors,
        })
    }

    pub(super) fn send_to(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let parts = [IoSlice::new(&self.header), IoSlice::new(&self.bytes)];
        if self.descriptors.is_empty() {
            return hatchery_os::send(socket, &parts, &[]);
        }
        let descriptors: Vec<_> = self.descriptors.iter().map(AsFd::as_fd).collect();
        hatchery_os::send(socket, &parts, &descriptors)
    }
}

impl TryFrom<Parcel> for Outgoing<'static> {
    type Error = PacketSendError;

    fn try_from(parcel: Parcel) -> Result<Self, PacketSendError> {
        Self::new(parcel.bytes, parcel.descriptors)
    }
}

fn header(kind: u8, len: usize) -> [u8; HEADER_BYTES] {
    let mut header = [kind; HEADER_BYTES];
    header[1..].copy_from_slice(&(len as u64).to_le_bytes());
    header
}

/// Makes memory that holds `bytes` and can never change.
fn sealed(bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = memfd_create("hatchery-message", flags)?;
    let mut written = 0;
    while written < bytes.len() {
        let rest = &bytes[written..];
        written += rustix::io::retry_on_intr(|| rustix::io::write(&memory, rest))?;
    }
    fcntl_add_seals(&memory, final_seals() | SealFlags::SEAL)?;
    Ok(memory)
}

/// The seals without which the receiver does not read.
pub(super) fn final_seals() -> SealFlags {
    SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE
}
