//! What was sent through a socket and has not been received.
#![expect(unsafe_code, reason = "libc has no safe form of ioctl")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Returns the memory that messages take which were sent through a Unix `socket` and nobody has
/// received, in bytes.
///
/// It is 0 if there are none, and each message adds to it.
///
/// # Errors
///
/// Returns the error of `ioctl(2)`.
pub fn bytes_queued(socket: impl AsFd) -> io::Result<u32> {
    let mut bytes: libc::c_int = 0;
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: this request, which is also known as SIOCOUTQ, writes one integer.
    let outcome = unsafe { libc::ioctl(socket, libc::TIOCOUTQ, &raw mut bytes) };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(bytes.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::*;
    use crate::message::{pair, recv, send};

    #[test]
    fn each_message_counts_until_it_is_received() {
        let (sender, receiver) = pair().unwrap();
        assert_eq!(bytes_queued(&sender).unwrap(), 0);

        send(&sender, &[IoSlice::new(b"a")], &[]).unwrap();
        let one = bytes_queued(&sender).unwrap();
        send(&sender, &[IoSlice::new(b"b")], &[]).unwrap();
        let two = bytes_queued(&sender).unwrap();
        assert!(0 < one && one < two);

        recv(&receiver, &mut [0; 8], &mut Vec::new()).unwrap();
        assert_eq!(bytes_queued(&sender).unwrap(), one);
        recv(&receiver, &mut [0; 8], &mut Vec::new()).unwrap();
        assert_eq!(bytes_queued(&sender).unwrap(), 0);
    }
}
