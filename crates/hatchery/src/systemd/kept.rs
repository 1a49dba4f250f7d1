//! Listening sockets in systemd's store: how they are named there, and which came back.
//!
//! A name says which address a socket listens at, so that each can be removed on its own. What comes
//! back is recognised by its local address alone.

use std::fmt::Write;
use std::os::fd::OwnedFd;

use hatchery_os::KEPT_PREFIX;
use rustix::net::Shutdown;
use rustix::net::sockopt::socket_acceptconn;
use socket2::{SockAddr, SockRef};

use crate::config::BindAddress;

/// The longest name that systemd gives a descriptor.
const NAME_BYTES_MAX: usize = 255;

/// The sockets that systemd has kept for this program.
#[derive(Debug)]
pub(crate) struct KeptListeners {
    sockets: Vec<(String, OwnedFd)>,
    names: Vec<String>,
}

impl KeptListeners {
    /// Takes them; only the first who asks gets any.
    pub(crate) fn take() -> Self {
        Self::of(hatchery_os::take_kept_sockets())
    }

    fn of(sockets: Vec<(String, OwnedFd)>) -> Self {
        let names = sockets.iter().map(|(name, _)| name.clone()).collect();
        Self { sockets, names }
    }

    /// Closes those that are left, and returns the names of all that systemd keeps.
    pub(crate) fn close(self) -> Vec<String> {
        for (_, socket) in &self.sockets {
            // systemd still has it, and a process that was just forked may: nobody is to connect, and
            // its address can be bound.
            let _stopped = rustix::net::shutdown(socket, Shutdown::Read);
        }
        self.names
    }

    /// Takes the one that listens at `address`; at port 0, one with any port.
    pub(crate) fn take_for(&mut self, address: &BindAddress) -> Option<OwnedFd> {
        let serves = |(_, socket): &(String, OwnedFd)| {
            let listens = socket_acceptconn(socket).unwrap_or(false);
            let local = SockRef::from(socket).local_addr();
            listens && local.is_ok_and(|local| is_at(&local, address))
        };
        let index = self.sockets.iter().position(serves)?;
        Some(self.sockets.remove(index).1)
    }
}

fn is_at(local: &SockAddr, address: &BindAddress) -> bool {
    match address {
        BindAddress::Tcp(wanted) => local.as_socket().is_some_and(|local| {
            let is_port = wanted.port() == 0 || local.port() == wanted.port();
            is_port && local.ip() == wanted.ip()
        }),
        BindAddress::Abstract(name) => local.as_abstract_namespace() == Some(name.as_bytes()),
        _ => false,
    }
}

/// The name in the store of the socket that listens at this address.
///
/// There is none for what systemd does not keep: a socket file goes at a clean stop, and what systemd
/// has passed itself is its own. Nor is there one if the name would be too long.
pub(crate) fn kept_name(configured: &BindAddress, address: &str) -> Option<String> {
    if !matches!(configured, BindAddress::Tcp(_) | BindAddress::Abstract(_)) {
        return None;
    }
    let mut name = KEPT_PREFIX.to_owned();
    for byte in address.bytes() {
        // systemd allows ASCII without control characters and colons.
        if byte == b' ' || (byte.is_ascii_graphic() && !b":%".contains(&byte)) {
            name.push(char::from(byte));
        } else {
            write!(name, "%{byte:02X}").expect("a string takes everything");
        }
    }
    (name.len() <= NAME_BYTES_MAX).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn name_of(address: &str) -> Option<String> {
        kept_name(&address.parse().unwrap(), address)
    }

    #[test]
    fn names_are_what_systemd_allows_and_differ_where_addresses_do() {
        assert_eq!(
            name_of("[::1]:80").as_deref(),
            Some("hatchery/[%3A%3A1]%3A80")
        );
        assert_eq!(
            name_of("unix:@a %\u{7f}ä").as_deref(),
            Some("hatchery/unix%3A@a %25%7F%C3%A4")
        );
        assert!(name_of(&format!("unix:@{}", "ä".repeat(50))).is_none());
        for not_kept in ["unix:/run/s", "fd:3", "fd:http", "systemd"] {
            assert_eq!(name_of(not_kept), None);
        }
    }

    #[test]
    fn a_socket_is_taken_for_its_own_address_and_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut kept = KeptListeners::of(vec![("hatchery/x".to_owned(), listener.into())]);
        let mut take = |address: &str| kept.take_for(&address.parse().unwrap()).is_some();

        assert!(!take("127.0.0.1:1"));
        assert!(!take("127.0.0.2:0"));
        assert!(!take("unix:@x"));
        assert!(take(&address));
        assert!(!take(&address));
        assert_eq!(kept.close(), ["hatchery/x"]);
    }
}
