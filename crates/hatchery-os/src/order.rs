//! Orders: "run this function, with these bytes and these descriptors".
//!
//! An order is one message. The sending end writes only what it made from an [`Entry`], and it
//! does not lend its descriptor, so what arrives at the other end of the pair is a function of
//! this program.
#![expect(
    unsafe_code,
    reason = "a received offset becomes a function again, and a large payload is mapped"
)]

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, memfd_create};

use crate::entry::{Entry, Start};
use crate::fork::close;
use crate::message::{self, DESCRIPTORS_MAX, RecvError};

/// The payload that fits in the message itself; a longer one travels in a memfd.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// How many functions an order may carry: the one to run, and those passed to it.
pub const FUNCTIONS_MAX: usize = 4;

/// What every order starts with: a mark, where its payload is, how many functions there are,
/// whether a queue comes with it, and room for their offsets.
const HEADER_BYTES: usize = 8 + FUNCTIONS_MAX * 8;

/// Where these are in it.
const PLACE_AT: usize = 4;
const COUNT_AT: usize = 5;
const HAS_QUEUE_AT: usize = 6;

/// The mark of this version of the format.
const MARK: [u8; 4] = *b"Hor1";

/// The payload follows the header.
const INLINE: u8 = 0;

/// The payload is in the last descriptor.
const IN_MEMFD: u8 = 1;

/// One order: which function to run, and what to give it.
#[derive(Debug)]
pub struct Order {
    /// The function.
    pub entry: Entry,
    /// What it is given.
    pub start: Start,
}

/// Why an order was not received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// No order arrived; the cause says whether one may yet.
    #[error(transparent)]
    Recv(#[from] RecvError),
    /// A message arrived that is not an order of this program.
    #[error("a message arrived that is not an order")]
    Malformed,
    /// The payload's memory could not be read.
    #[error("the payload of an order could not be read")]
    Payload(#[source] io::Error),
}

/// The sending end.
#[derive(Debug)]
pub struct Orders(OwnedFd);

/// The receiving end.
#[derive(Debug)]
pub struct OrderQueue {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

/// Makes a channel for orders; both ends are close-on-exec, and receiving does not block.
///
/// # Errors
///
/// Returns the error of `socketpair(2)`.
pub fn order_channel() -> io::Result<(Orders, OrderQueue)> {
    let (sender, receiver) = message::pair()?;
    // A sender that finds the channel full waits: orders are rare, and each one counts.
    rustix::io::ioctl_fionbio(&sender, false)?;
    Ok((Orders(sender), OrderQueue::adopt(receiver)))
}

impl Orders {
    /// Sends an order to run the first of `functions` and to pass it the others.
    ///
    /// Waits while the channel is full. Any number of threads may send.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` for more than 31 descriptors, and the error of `sendmsg(2)` or of
    /// making a memfd for a payload over 64 KiB. `BrokenPipe` means that the receiver is gone.
    ///
    /// # Panics
    ///
    /// Panics unless there are one to [`FUNCTIONS_MAX`] functions.
    pub fn send(
        &self,
        functions: &[Entry],
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        self.send_header(header(functions), bytes, descriptors)
    }

    /// As [`Orders::send`], and passes a queue too, which counts as a descriptor.
    ///
    /// # Errors
    ///
    /// As [`Orders::send`].
    ///
    /// # Panics
    ///
    /// As [`Orders::send`].
    pub fn send_with_queue(
        &self,
        functions: &[Entry],
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
        queue: &OrderQueue,
    ) -> io::Result<()> {
        let mut header = header(functions);
        header[HAS_QUEUE_AT] = 1;
        let mut descriptors = descriptors.to_vec();
        descriptors.push(queue.as_fd());
        self.send_header(header, bytes, &descriptors)
    }

    fn send_header(
        &self,
        mut header: [u8; HEADER_BYTES],
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        if descriptors.len() >= DESCRIPTORS_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "an order carries at most {} descriptors, not {}",
                    DESCRIPTORS_MAX - 1,
                    descriptors.len()
                ),
            ));
        }
        if bytes.len() <= INLINE_BYTES_MAX {
            header[PLACE_AT] = INLINE;
            let parts = [IoSlice::new(&header), IoSlice::new(bytes)];
            return message::send(&self.0, &parts, descriptors);
        }
        let payload = memfd_create("hatchery-order", MemfdFlags::CLOEXEC)?;
        write_all(&payload, bytes)?;
        let mut descriptors = descriptors.to_vec();
        descriptors.push(payload.as_fd());
        header[PLACE_AT] = IN_MEMFD;
        message::send(&self.0, &[IoSlice::new(&header)], &descriptors)
    }

    /// Sends a short order, or says that the channel is full.
    ///
    /// # Errors
    ///
    /// Returns `WouldBlock` if it is, and otherwise what [`Orders::send`] does.
    ///
    /// # Panics
    ///
    /// As [`Orders::send`], and for more than 64 KiB.
    pub fn try_send(&self, functions: &[Entry], bytes: &[u8]) -> io::Result<()> {
        assert!(bytes.len() <= INLINE_BYTES_MAX, "it is a short order");
        let header = header(functions);
        message::try_send(&self.0, &[IoSlice::new(&header), IoSlice::new(bytes)])
    }

    pub(crate) fn raw(&self) -> &OwnedFd {
        &self.0
    }
}

impl OrderQueue {
    /// Receives an order if one has arrived.
    ///
    /// # Errors
    ///
    /// See [`OrderError`].
    pub fn recv(&mut self) -> Result<Order, OrderError> {
        let mut descriptors = Vec::new();
        let received = message::recv(&self.socket, &mut self.buffer, &mut descriptors)?;
        let message = &self.buffer[..received.len];
        let (place, has_queue, offsets) = parse_header(message).ok_or(OrderError::Malformed)?;
        if received.descriptors_lost {
            return Err(OrderError::Malformed);
        }
        let bytes = match place {
            INLINE => message[HEADER_BYTES..].to_vec(),
            IN_MEMFD => {
                let payload = descriptors.pop().ok_or(OrderError::Malformed)?;
                read_all(&payload).map_err(OrderError::Payload)?
            }
            _ => return Err(OrderError::Malformed),
        };
        let orders = if has_queue {
            // It is one: the other end of this channel passes nothing else here.
            Some(Self::adopt(descriptors.pop().ok_or(OrderError::Malformed)?))
        } else {
            None
        };
        let mut functions = offsets.into_iter().map(|offset| {
            // SAFETY: an `OrderQueue` is one end of `order_channel`, whose other end sends nothing
            // but offsets of entries, or the same end adopted by a process that runs the same file.
            unsafe { Entry::from_offset(offset) }
        });
        let entry = functions.next().ok_or(OrderError::Malformed)?;
        let functions = functions.collect();
        Ok(Order {
            entry,
            start: Start {
                bytes,
                descriptors,
                functions,
                orders,
            },
        })
    }

    /// Takes over a queue from the process that executed this one.
    pub(crate) fn adopt(socket: OwnedFd) -> Self {
        Self {
            socket,
            buffer: vec![0; HEADER_BYTES + INLINE_BYTES_MAX],
        }
    }

    /// Closes the queue, and returns the memory that it received into.
    #[must_use]
    pub fn close(self) -> Vec<u8> {
        close(self.socket);
        self.buffer
    }

    /// Gives the socket up, for another process to adopt.
    pub(crate) fn into_socket(self) -> OwnedFd {
        self.socket
    }
}

impl AsFd for OrderQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn header(functions: &[Entry]) -> [u8; HEADER_BYTES] {
    let count = functions.len();
    assert!(
        (1..=FUNCTIONS_MAX).contains(&count),
        "an order carries 1 to {FUNCTIONS_MAX} functions, not {count}"
    );
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&MARK);
    header[COUNT_AT] = u8::try_from(count).expect("the count was just checked");
    for (room, function) in header[8..].chunks_exact_mut(8).zip(functions) {
        room.copy_from_slice(&function.offset().to_le_bytes());
    }
    header
}

/// Reads where the payload is, whether there is a queue, and the offsets of the functions.
fn parse_header(message: &[u8]) -> Option<(u8, bool, Vec<u64>)> {
    let (header, _) = message.split_first_chunk::<HEADER_BYTES>()?;
    let count = usize::from(header[COUNT_AT]);
    if header[..4] != MARK || count > FUNCTIONS_MAX {
        return None;
    }
    let (offsets, _) = header[8..].as_chunks::<8>();
    let offsets = offsets[..count]
        .iter()
        .map(|bytes| u64::from_le_bytes(*bytes));
    let has_queue = header[HAS_QUEUE_AT] != 0;
    Some((header[PLACE_AT], has_queue, offsets.collect()))
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(file, bytes))?;
        bytes = &bytes[written..];
    }
    Ok(())
}

/// Reads a whole memfd, whatever its position: the sender's writes have moved it to the end.
fn read_all(file: &OwnedFd) -> io::Result<Vec<u8>> {
    let size = rustix::fs::fstat(file)?.st_size;
    let size = usize::try_from(size).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut bytes = vec![0; size];
    let mut filled = 0;
    while filled < size {
        let read = rustix::io::retry_on_intr(|| {
            rustix::io::pread(file, &mut bytes[filled..], filled as u64)
        })?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += read;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "an entry has this signature")]
    fn length(start: Start) -> u8 {
        (start.bytes.len() % 251) as u8
    }

    #[test]
    fn an_order_arrives_whole_whatever_its_size() {
        let (orders, mut queue) = order_channel().unwrap();
        for size in [0, 1, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, 3 << 20] {
            let bytes = vec![b'x'; size];
            orders
                .send(&[Entry::new(length)], &bytes, &[queue.as_fd()])
                .unwrap();

            let order = queue.recv().unwrap();

            assert_eq!(order.start.bytes, bytes);
            assert_eq!(order.start.descriptors.len(), 1);
            assert_eq!(order.entry.run(order.start), (size % 251) as u8);
        }
    }

    #[test]
    fn functions_arrive_with_the_order() {
        let (orders, mut queue) = order_channel().unwrap();
        let functions = [
            Entry::new(length),
            Entry::new(|_| 1),
            Entry::new(|_| 2),
            Entry::new(|_| 3),
        ];
        orders.send(&functions, b"", &[]).unwrap();

        let passed = queue.recv().unwrap().start.functions;

        let codes: Vec<u8> = passed.iter().map(|f| f.run(Start::default())).collect();
        assert_eq!(codes, [1, 2, 3]);
    }

    #[test]
    fn too_many_descriptors_are_refused_with_the_number_allowed() {
        let (orders, queue) = order_channel().unwrap();
        let many = [queue.as_fd(); DESCRIPTORS_MAX];

        let error = orders.send(&[Entry::new(length)], b"", &many).unwrap_err();

        assert_eq!(
            error.to_string(),
            "an order carries at most 31 descriptors, not 32"
        );
    }

    #[test]
    fn what_is_not_an_order_is_refused() {
        let (orders, mut queue) = order_channel().unwrap();
        message::send(orders.raw(), &[IoSlice::new(&[b'?'; 100])], &[]).unwrap();

        assert!(matches!(queue.recv(), Err(OrderError::Malformed)));
    }
}
