//! What the front end and a worker say to each other.
//!
//! Each message is one postcard value on a `SOCK_SEQPACKET` channel. What happens often, the
//! taking and the finishing of connections, is not said here but written in the
//! [ledger](crate::LedgerWriter), which costs neither side a system call.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Peer {
    /// A TCP client, with its address.
    Inet(SocketAddr),
    /// A client on this machine, through a Unix socket.
    Unix,
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(formatter),
            Self::Unix => formatter.write_str("unix"),
        }
    }
}

/// How many bytes of state may travel with connections in one message.
pub const STATE_BYTES_MAX: usize = 32 * 1024;

/// Room for the longest message, either way.
pub const CHANNEL_BYTES_MAX: usize = STATE_BYTES_MAX + 4096;

/// One connection on its way to a worker; its descriptor travels beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// The number of the connection in this server, from 1.
    pub id: u64,
    /// The worker's place for it, which it is known by in the ledger.
    pub slot: u32,
    /// Which listener accepted it, counted from 0.
    pub listener: u16,
    /// Who is at the other end.
    pub peer: Peer,
    /// When it was sent, in nanoseconds of the machine's monotonic clock.
    pub sent_at: u64,
    /// What the handler that parked it has left for the next; `None` for a new connection.
    #[serde(with = "serde_bytes")]
    pub state: Option<Vec<u8>>,
}

/// What the front end tells a worker.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ToWorker {
    /// These connections are yours; as many descriptors come with the message.
    Connections(Vec<Handover>),
    /// Accept for yourself: the front end knows your process, and would see it die.
    Accept,
    /// Nothing more will come: finish what you have, then end.
    Drain,
}

/// What a worker tells the front end.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FromWorker {
    /// It is set up, and has room for this many descriptors.
    Ready {
        /// How many connections its descriptor table can hold.
        room: u32,
    },
    /// It could not be set up, for this reason.
    Failed(String),
    /// It wishes to be replaced.
    Retire,
    /// There is news in the ledger, and you asked to be told.
    Doorbell,
    /// The descriptors of these slots were lost on the way, for want of room.
    Nack(Vec<u32>),
    /// A handler is past its soft deadline.
    SoftDeadline {
        /// The number of its connection.
        connection: u64,
        /// Which of the server's addresses that came in by, counted from 0.
        listener: u16,
        /// Who is at the other end.
        peer: Peer,
        /// How long the handler has had it.
        age: Duration,
        /// Where the worker is, in words.
        place: String,
    },
    /// The connection of this slot, whose descriptor comes with the message, has nothing to say
    /// for now; the slot is free.
    Park {
        /// The worker's place for it.
        slot: u32,
        /// What its next handler has to know.
        #[serde(with = "serde_bytes")]
        state: Vec<u8>,
    },
    /// The worker has no use now for the connection of this slot, which is as it came and whose
    /// descriptor comes with the message; the slot is free.
    Decline {
        /// The worker's place for it.
        slot: u32,
        /// What came with it.
        #[serde(with = "serde_bytes")]
        state: Option<Vec<u8>>,
    },
}

/// Serialises `message` over what `buffer` held.
pub fn encode(message: &impl Serialize, buffer: &mut Vec<u8>) {
    buffer.clear();
    let taken = std::mem::take(buffer);
    *buffer = postcard::to_extend(message, taken).expect("messages hold nothing that fails");
}

/// Decodes a message; `None` if it is none of this type.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    postcard::from_bytes(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_hand_off_fits_in_the_receive_buffer() {
        let handover = Handover {
            id: u64::MAX,
            slot: u32::MAX,
            listener: u16::MAX,
            peer: Peer::Inet(
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"
                    .parse()
                    .unwrap(),
            ),
            sent_at: u64::MAX,
            state: Some(vec![7; STATE_BYTES_MAX / crate::DESCRIPTORS_MAX]),
        };
        let message = ToWorker::Connections(vec![handover; crate::DESCRIPTORS_MAX]);
        let mut bytes = Vec::new();

        encode(&message, &mut bytes);

        assert!(bytes.len() <= CHANNEL_BYTES_MAX);
        assert_eq!(decode::<ToWorker>(&bytes), Some(message));
    }

    #[test]
    fn a_connection_that_comes_back_with_the_longest_state_fits_in_the_receive_buffer() {
        let (slot, state) = (u32::MAX, vec![7; STATE_BYTES_MAX]);
        let parked = FromWorker::Park {
            slot,
            state: state.clone(),
        };
        let declined = FromWorker::Decline {
            slot,
            state: Some(state),
        };
        for message in [parked, declined] {
            let mut bytes = Vec::new();

            encode(&message, &mut bytes);

            assert!(bytes.len() <= CHANNEL_BYTES_MAX);
            assert_eq!(decode::<FromWorker>(&bytes), Some(message));
        }
    }
}
