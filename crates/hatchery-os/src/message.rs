//! Messages that carry descriptors, over `SOCK_SEQPACKET`.
//!
//! A message arrives whole or not at all, with the descriptors that were sent with it. Every
//! descriptor that reaches this process is owned by someone from the moment it arrives, also when
//! the kernel could not deliver them all.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

/// How many descriptors one message may carry. The kernel's own limit is 253.
pub const DESCRIPTORS_MAX: usize = 32;

/// Room for the descriptors of one message, as the kernel lays them out.
const CONTROL_BYTES: usize = rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX));

/// A message that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// How many bytes of the buffer it fills.
    pub len: usize,
    /// Whether descriptors were lost because this process's table had no room for them.
    pub descriptors_lost: bool,
}

/// What stands in the way of a message that was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The other end has to read first; the socket becomes writable when it has.
    Full,
    /// The kernel is short of something that nothing tells of: try again a little later.
    Busy,
    /// The other end is gone.
    Closed,
    /// Something that stays.
    Other,
}

impl Obstacle {
    /// What an error of [`send`] means.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::WOULDBLOCK) => Self::Full,
            Some(Errno::TOOMANYREFS | Errno::NOBUFS | Errno::NOMEM) => Self::Busy,
            Some(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => Self::Closed,
            _ => Self::Other,
        }
    }

    /// Whether there may be room in a moment.
    #[must_use]
    pub fn passes(self) -> bool {
        matches!(self, Self::Full | Self::Busy)
    }
}

/// Why no message was received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// The other end is gone, and everything it sent has been read.
    #[error("the other end is closed")]
    Closed,
    /// There is nothing to read yet.
    #[error("no message has arrived yet")]
    Empty,
    /// The message was longer than the buffer of this many bytes; it is lost.
    #[error("a message was longer than {0} bytes")]
    TooLong(usize),
    /// The kernel refused.
    #[error("the kernel refused to receive")]
    Os(#[source] io::Error),
}

/// Makes the two ends of a message channel, both close-on-exec and non-blocking.
///
/// # Errors
///
/// Returns the error of `socketpair(2)`.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let ends = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    Ok(ends)
}

/// Sends one message with its descriptors; the caller keeps the descriptors.
///
/// # Errors
///
/// Returns the error of `sendmsg(2)`: `WouldBlock` if the other end has to read first,
/// `ETOOMANYREFS` if this user has too many descriptors on their way, `BrokenPipe` if the other
/// end is gone. [`Obstacle::of`] says what that means for whoever sends.
///
/// # Panics
///
/// Panics if the message is empty, which the other end could not tell from the end, or if there
/// are more than [`DESCRIPTORS_MAX`] descriptors.
pub fn send(
    socket: impl AsFd,
    bytes: &[IoSlice<'_>],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    assert!(
        bytes.iter().any(|part| !part.is_empty()),
        "a message has at least one byte"
    );
    assert!(
        descriptors.len() <= DESCRIPTORS_MAX,
        "a message carries at most {DESCRIPTORS_MAX} descriptors"
    );
    let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        let fits = control.push(SendAncillaryMessage::ScmRights(descriptors));
        assert!(fits, "the space is measured for the most descriptors");
    }
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(&socket, bytes, &mut control, SendFlags::NOSIGNAL)
    })?;
    Ok(())
}

/// Sends one message without descriptors, and never waits for room.
///
/// # Errors
///
/// As [`send`].
pub(crate) fn try_send(socket: impl AsFd, bytes: &[IoSlice<'_>]) -> io::Result<()> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let mut control = SendAncillaryBuffer::default();
    rustix::io::retry_on_intr(|| rustix::net::sendmsg(&socket, bytes, &mut control, flags))?;
    Ok(())
}

/// Receives one message into `buffer`, and appends its descriptors to `descriptors`.
///
/// # Errors
///
/// See [`RecvError`]. Descriptors that came with a message that is refused are closed.
pub fn recv(
    socket: impl AsFd,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> Result<Received, RecvError> {
    let room = buffer.len();
    let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        let outcome = rustix::net::recvmsg(
            &socket,
            &mut [IoSliceMut::new(buffer)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        );
        match outcome {
            Ok(message) => break message,
            Err(Errno::WOULDBLOCK) => return Err(RecvError::Empty),
            // The other end closed before it had read everything, which is said once and ahead of
            // what it sent; that can still be read.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            Err(error) => return Err(RecvError::Os(error.into())),
        }
    };
    let held = descriptors.len();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            descriptors.extend(rights);
        }
    }
    if message.flags.contains(ReturnFlags::TRUNC) {
        descriptors.truncate(held);
        return Err(RecvError::TooLong(room));
    }
    if message.bytes == 0 {
        descriptors.truncate(held);
        return Err(RecvError::Closed);
    }
    Ok(Received {
        len: message.bytes,
        descriptors_lost: message.flags.contains(ReturnFlags::CTRUNC),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send_bytes(socket: &OwnedFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
        send(socket, &[IoSlice::new(bytes)], descriptors).expect("the channel has room");
    }

    #[test]
    fn a_message_keeps_its_bounds_and_its_descriptors() {
        let (here, there) = pair().unwrap();
        let passed = [here.as_fd(); DESCRIPTORS_MAX];
        send_bytes(&here, b"first", &passed);
        send_bytes(&here, b"second", &[]);

        let (mut buffer, mut descriptors) = ([0; 16], Vec::new());
        let first = recv(&there, &mut buffer, &mut descriptors).unwrap();
        assert_eq!(&buffer[..first.len], b"first");
        let second = recv(&there, &mut buffer, &mut descriptors).unwrap();
        assert_eq!(&buffer[..second.len], b"second");

        assert_eq!(descriptors.len(), DESCRIPTORS_MAX);
        assert!(!first.descriptors_lost);
    }

    #[test]
    fn received_descriptors_are_close_on_exec() {
        let (here, there) = pair().unwrap();
        send_bytes(&here, b"x", &[here.as_fd()]);

        let mut descriptors = Vec::new();
        recv(&there, &mut [0; 8], &mut descriptors).unwrap();

        let flags = rustix::io::fcntl_getfd(&descriptors[0]).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }

    #[test]
    fn what_stands_in_the_way_is_told_by_the_error() {
        let (here, there) = pair().unwrap();
        let obstacle = || loop {
            if let Err(error) = send(&here, &[IoSlice::new(&[0; 4096])], &[]) {
                return Obstacle::of(&error);
            }
        };
        assert_eq!(obstacle(), Obstacle::Full);
        drop(there);
        assert_eq!(obstacle(), Obstacle::Closed);

        for (errno, obstacle, passes) in [
            (Errno::WOULDBLOCK, Obstacle::Full, true),
            (Errno::TOOMANYREFS, Obstacle::Busy, true),
            (Errno::NOBUFS, Obstacle::Busy, true),
            (Errno::NOMEM, Obstacle::Busy, true),
            (Errno::CONNRESET, Obstacle::Closed, false),
            (Errno::BADF, Obstacle::Other, false),
        ] {
            assert_eq!(Obstacle::of(&errno.into()), obstacle);
            assert_eq!(obstacle.passes(), passes);
        }
    }

    #[test]
    fn an_empty_channel_and_a_closed_one_are_told_apart() {
        let (here, there) = pair().unwrap();
        let mut none = Vec::new();
        assert!(matches!(
            recv(&there, &mut [0; 8], &mut none),
            Err(RecvError::Empty)
        ));

        drop(here);

        assert!(matches!(
            recv(&there, &mut [0; 8], &mut none),
            Err(RecvError::Closed)
        ));
    }

    #[test]
    fn what_was_sent_before_the_other_end_closed_is_received() {
        let (here, there) = pair().unwrap();
        send_bytes(&there, b"never read", &[]);
        send_bytes(&here, b"last words", &[]);
        drop(here);

        let mut buffer = [0; 16];
        let received = recv(&there, &mut buffer, &mut Vec::new()).unwrap();

        assert_eq!(&buffer[..received.len], b"last words");
        assert!(matches!(
            recv(&there, &mut buffer, &mut Vec::new()),
            Err(RecvError::Closed)
        ));
    }

    #[test]
    fn a_message_that_is_too_long_leaves_no_descriptor_behind() {
        let (here, there) = pair().unwrap();
        send_bytes(&here, &[7; 64], &[here.as_fd()]);

        let mut descriptors = Vec::new();
        let outcome = recv(&there, &mut [0; 8], &mut descriptors);

        assert!(matches!(outcome, Err(RecvError::TooLong(8))));
        assert!(descriptors.is_empty());
    }
}
