//! Whether anybody has read from a TCP connection.
#![expect(
    unsafe_code,
    reason = "libc has no safe form of getsockopt, nor this struct in full"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::io::ioctl_fionread;

/// Where `struct tcp_info` has its fields; it only ever grows at its end.
const STATE: usize = 0;
const BYTES_RECEIVED: usize = 128;
const INFO_BYTES: usize = BYTES_RECEIVED + size_of::<u64>();

/// The state of a connection whose peer has sent its end.
const CLOSE_WAIT: u8 = 8;

/// Counts the bytes that were received on a TCP connection and then read by some process.
///
/// All processes that hold the connection count together, also those that are dead.
///
/// # Errors
///
/// Returns the error of `getsockopt(2)`, for example for a socket that is not TCP, and
/// `Unsupported` for a kernel that does not count (before Linux 4.2).
pub fn bytes_consumed(connection: impl AsFd) -> io::Result<u64> {
    let connection = connection.as_fd();
    // What arrives between the two looks is unread in the second, so that fewer seem consumed and
    // never more.
    let (state, received) = received(connection.as_raw_fd())?;
    let unread = ioctl_fionread(connection)?;
    // The end of the stream counts as a byte.
    let end = u64::from(state == CLOSE_WAIT);
    Ok(received.saturating_sub(unread + end))
}

/// The state of a connection, and the bytes that it has received.
fn received(connection: libc::c_int) -> io::Result<(u8, u64)> {
    let mut info = [0_u8; INFO_BYTES];
    let mut len = libc::socklen_t::try_from(INFO_BYTES).expect("the struct is small");
    // SAFETY: the buffer has `len` bytes, and both live through the call.
    let outcome = unsafe {
        libc::getsockopt(
            connection,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    if (len as usize) < INFO_BYTES {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let bytes = info[BYTES_RECEIVED..].first_chunk();
    let bytes = bytes.expect("the buffer has room for the field");
    Ok((info[STATE], u64::from_ne_bytes(*bytes)))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};

    use super::*;

    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    /// Waits until the server's end has something to read, or the end.
    fn wait_for_input(server: &TcpStream) {
        server.peek(&mut [0; 1]).unwrap();
    }

    #[test]
    fn what_was_not_read_is_not_consumed() {
        let (mut client, server) = connection();
        assert_eq!(bytes_consumed(&server).unwrap(), 0);

        client.write_all(b"hello").unwrap();
        wait_for_input(&server);

        assert_eq!(bytes_consumed(&server).unwrap(), 0);
    }

    #[test]
    fn what_was_read_is_consumed_also_through_another_descriptor() {
        let (mut client, server) = connection();
        client.write_all(b"hello").unwrap();
        wait_for_input(&server);

        let mut other = server.try_clone().unwrap();
        other.read_exact(&mut [0; 3]).unwrap();
        drop(other);

        assert_eq!(bytes_consumed(&server).unwrap(), 3);
    }

    #[test]
    fn the_end_of_the_stream_is_no_byte() {
        let (mut client, mut server) = connection();
        client.write_all(b"hi").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        wait_for_input(&server);
        let mut all = Vec::new();

        let before = bytes_consumed(&server).unwrap();
        server.read_to_end(&mut all).unwrap();

        assert_eq!(before, 0);
        assert_eq!(bytes_consumed(&server).unwrap(), 2);
    }

    #[test]
    fn a_unix_socket_does_not_count() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();

        assert!(bytes_consumed(&one).is_err());
    }
}
