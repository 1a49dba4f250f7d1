//! What arrives, checked before it is believed.

use std::cell::Cell;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::fs::{fcntl_get_seals, fstat};

use super::outgoing::final_seals;
use super::{HEAD_BYTES_MAX, HEADER_BYTES, MESSAGE_BYTES_MAX, PacketRecvError, WHOLE, WITH_TAIL};
use crate::parcel::Parcel;

thread_local! {
    /// Room for one packet, kept for the next.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Receives one message from `socket`.
pub(super) fn receive(socket: BorrowedFd<'_>) -> Result<Parcel, PacketRecvError> {
    receive_as(socket, unpack)
}

/// Receives one message from `socket`, and has `read` say what it is.
pub(crate) fn receive_as<T>(
    socket: BorrowedFd<'_>,
    read: impl FnOnce(&[u8], Vec<OwnedFd>) -> Result<T, PacketRecvError>,
) -> Result<T, PacketRecvError> {
    let mut buffer = BUFFER.take();
    buffer.resize(HEADER_BYTES + HEAD_BYTES_MAX, 0);
    let outcome = receive_into(&mut buffer, socket, read);
    BUFFER.set(buffer);
    outcome
}

fn receive_into<T>(
    buffer: &mut [u8],
    socket: BorrowedFd<'_>,
    read: impl FnOnce(&[u8], Vec<OwnedFd>) -> Result<T, PacketRecvError>,
) -> Result<T, PacketRecvError> {
    let mut descriptors = Vec::new();
    let received = hatchery_os::recv(socket, buffer, &mut descriptors)?;
    if received.descriptors_lost {
        return Err(PacketRecvError::DescriptorsLost);
    }
    read(&buffer[..received.len], descriptors)
}

/// Makes a message of a packet and its descriptors.
pub(crate) fn unpack(
    packet: &[u8],
    mut descriptors: Vec<OwnedFd>,
) -> Result<Parcel, PacketRecvError> {
    let (kind, len, head) = parse(packet).ok_or(PacketRecvError::Malformed("it has no header"))?;
    let bytes = match kind {
        WHOLE if len == head.len() => head.to_vec(),
        WITH_TAIL if len > head.len() && len <= MESSAGE_BYTES_MAX => {
            let memory = descriptors
                .pop()
                .ok_or(PacketRecvError::Malformed("its memory is missing"))?;
            read_all(head, &memory, len)?
        }
        _ => return Err(PacketRecvError::Malformed("its header is impossible")),
    };
    Ok(Parcel { bytes, descriptors })
}

fn parse(packet: &[u8]) -> Option<(u8, usize, &[u8])> {
    let (header, head) = packet.split_first_chunk::<HEADER_BYTES>()?;
    let (&kind, len) = header.split_first()?;
    let len = u64::from_le_bytes(len.try_into().ok()?);
    Some((kind, usize::try_from(len).ok()?, head))
}

/// Joins a message of `len` bytes from its head and the memory that holds the rest.
fn read_all(head: &[u8], memory: &OwnedFd, len: usize) -> Result<Vec<u8>, PacketRecvError> {
    let seals = fcntl_get_seals(memory);
    if !seals.is_ok_and(|seals| seals.contains(final_seals())) {
        return Err(PacketRecvError::Malformed("its memory may still change"));
    }
    let size = fstat(memory).map_err(os)?.st_size;
    if u64::try_from(size).ok() != Some((len - head.len()) as u64) {
        return Err(PacketRecvError::Malformed("its memory has another size"));
    }
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(len)
        .map_err(|_| PacketRecvError::Os(io::ErrorKind::OutOfMemory.into()))?;
    bytes.extend_from_slice(head);
    while bytes.len() < len {
        let offset = (bytes.len() - head.len()) as u64;
        let read = rustix::io::retry_on_intr(|| {
            rustix::io::pread(memory, spare_capacity(&mut bytes), offset)
        });
        if read.map_err(os)? == 0 {
            return Err(PacketRecvError::Malformed("its memory ends too early"));
        }
    }
    // The vector may have more room than was asked for.
    bytes.truncate(len);
    Ok(bytes)
}

fn os(error: rustix::io::Errno) -> PacketRecvError {
    PacketRecvError::Os(error.into())
}
