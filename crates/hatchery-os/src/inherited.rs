//! Listening sockets that this process was started with.
#![expect(
    unsafe_code,
    reason = "a descriptor number from the environment is not yet an owned descriptor"
)]

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_getfd, fcntl_setfd};

/// Why an inherited socket cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InheritError {
    /// No descriptor of this number is open.
    #[error("descriptor {0} is not open; the program that starts this one must pass it")]
    NotOpen(RawFd),
    /// The descriptor is open, but is not a listening socket.
    #[error("descriptor {0} is not a listening socket")]
    NotListening(RawFd),
    /// The kernel refused.
    #[error("descriptor {0} cannot be used")]
    Os(RawFd, #[source] io::Error),
}

/// Duplicates the listening socket with the descriptor number `number`.
///
/// The original stays open, so that the socket can be had again, but no program that this one
/// executes inherits it any more.
///
/// # Errors
///
/// See [`InheritError`].
pub fn inherit_listener(number: RawFd) -> Result<OwnedFd, InheritError> {
    if number < 0 {
        return Err(InheritError::NotOpen(number));
    }
    // SAFETY: the number is not negative, and the borrow ends with this function, which only
    // asks the kernel about it and duplicates it: if it is not open, each call says so.
    let original = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = fcntl_getfd(original).map_err(|_| InheritError::NotOpen(number))?;
    if !rustix::net::sockopt::socket_acceptconn(original).unwrap_or(false) {
        return Err(InheritError::NotListening(number));
    }
    let refused = |error: rustix::io::Errno| InheritError::Os(number, error.into());
    fcntl_setfd(original, flags | FdFlags::CLOEXEC).map_err(refused)?;
    fcntl_dupfd_cloexec(original, 3).map_err(refused)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_listening_socket_is_duplicated() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();

        let duplicate = inherit_listener(listener.as_raw_fd()).unwrap();

        let address = listener.local_addr().unwrap();
        drop(listener);
        let _client = TcpStream::connect(address).unwrap();
        TcpListener::from(duplicate).accept().unwrap();
    }

    #[test]
    fn what_does_not_listen_is_refused_by_number() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let number = file.as_raw_fd();

        let error = inherit_listener(number).unwrap_err();

        assert_eq!(
            error.to_string(),
            format!("descriptor {number} is not a listening socket")
        );
        assert!(matches!(
            inherit_listener(19_999),
            Err(InheritError::NotOpen(19_999))
        ));
    }
}
