//! Finding a socket again that somebody else owns.
#![expect(
    unsafe_code,
    reason = "a descriptor number from a list is not yet an owned descriptor"
)]

use std::fs::read_dir;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::fstat;
use rustix::io::{Errno, fcntl_dupfd_cloexec};

/// The number by which the kernel knows a socket, which no other has while it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketNumber {
    device: u64,
    inode: u64,
}

impl SocketNumber {
    /// Returns the number of `socket`.
    ///
    /// # Errors
    ///
    /// Returns the error of `fstat(2)`.
    pub fn of(socket: impl AsFd) -> io::Result<Self> {
        let stat = fstat(socket)?;
        Ok(Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        })
    }

    /// Makes another descriptor of the socket, if this process still has one.
    ///
    /// Whoever owns that one may close it meanwhile: what is returned is that socket or nothing.
    ///
    /// # Errors
    ///
    /// Returns an error if `/proc/self/fd` cannot be read, or if there is no room for another
    /// descriptor.
    pub fn find(self) -> io::Result<Option<OwnedFd>> {
        for entry in read_dir("/proc/self/fd")? {
            let name = entry?.file_name();
            let Some(number) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let copy = copy_of(number)?;
            if let Some(copy) = copy.filter(|copy| Self::of(copy).is_ok_and(|it| it == self)) {
                return Ok(Some(copy));
            }
        }
        Ok(None)
    }
}

/// Duplicates the descriptor that has this number now, if there is one.
fn copy_of(number: RawFd) -> io::Result<Option<OwnedFd>> {
    if number < 0 {
        return Ok(None);
    }
    // SAFETY: the number is not negative, and the borrow ends with this function, which only has
    // the kernel duplicate it: if it is not open, the call says so.
    let original = unsafe { BorrowedFd::borrow_raw(number) };
    match fcntl_dupfd_cloexec(original, 3) {
        Ok(copy) => Ok(Some(copy)),
        Err(Errno::BADF) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_socket_is_found_as_long_as_anybody_has_it() {
        let (one, mut other) = UnixStream::pair().unwrap();
        let number = SocketNumber::of(&one).unwrap();
        let clone = one.try_clone().unwrap();
        drop(one);

        let found = number.find().unwrap().unwrap();

        drop(clone);
        UnixStream::from(found).write_all(b"here").unwrap();
        let mut heard = Vec::new();
        other.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, b"here");
        assert!(number.find().unwrap().is_none());
    }

    #[test]
    fn another_socket_of_the_same_descriptor_number_is_not_taken_for_it() {
        let (one, _other) = UnixStream::pair().unwrap();
        let number = SocketNumber::of(&one).unwrap();
        let (third, _fourth) = UnixStream::pair().unwrap();

        // What has the number of the descriptor now is another socket.
        let mut place = OwnedFd::from(one);
        rustix::io::dup3(&third, &mut place, rustix::io::DupFlags::CLOEXEC).unwrap();

        assert!(number.find().unwrap().is_none());
    }
}
