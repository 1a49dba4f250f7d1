//! Where a manager is found.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// What the names of managers' Unix sockets start with.
const PREFIX: &str = "hatchery-manager-";

/// The address of a manager, which its proxies carry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Address {
    /// A name in Linux's abstract namespace: no file, so none is left behind.
    Unix(String),
    Tcp(SocketAddr),
}

impl Address {
    /// Makes a name that nobody else has.
    pub(super) fn unix(random: [u8; 16]) -> Self {
        Self::Unix(format!("{PREFIX}{:032x}", u128::from_le_bytes(random)))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(name) => write!(formatter, "unix:@{name}"),
            Self::Tcp(address) => write!(formatter, "{address}"),
        }
    }
}
