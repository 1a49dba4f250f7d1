//! What an old and a new program say to each other.
//!
//! They may be of different versions of this library, so it is JSON with a version number, and an
//! item of a kind that the new one does not know stays with the old one.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use hatchery_os::RecvError;
use hatchery_process::Peer;
use serde::{Deserialize, Serialize};

/// The version of what is said.
const VERSION: u32 = 1;

/// The longest message.
const MESSAGE_BYTES_MAX: usize = 128 * 1024;

/// Something that is handed over, for which one descriptor comes along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Item {
    /// The standard error of the old program.
    Stderr,
    /// A socket that listens.
    Listener {
        /// Which address of the old program: those of one group are one address.
        group: usize,
        /// The address as it was set.
        configured: String,
        /// The address as clients use it.
        address: String,
    },
    /// The socket of `hatchery ctl`.
    Control {
        /// Where it is.
        path: PathBuf,
    },
    /// The admin listener.
    Admin {
        /// The address as it was set.
        configured: String,
        /// The address as clients use it.
        address: String,
    },
    /// Something of a later version, which stays where it is.
    #[serde(other)]
    Unknown,
}

/// A connection that waits for its client, whose descriptor comes along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parked {
    /// The address that it came to, as [`Item::Listener`] has it.
    pub(crate) group: usize,
    pub(crate) peer: Peer,
    /// What the handler that parked it has left; `None` if its client has sent nothing yet.
    #[serde(with = "hex")]
    pub(crate) state: Option<Vec<u8>>,
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub(crate) enum Message {
    /// The old one: take these; perhaps there are more.
    Items { items: Vec<Item>, more: bool },
    /// The new one: all my workers are ready, and I have taken these groups of listeners.
    Ready {
        groups: Vec<usize>,
        control: bool,
        #[serde(default)]
        admin: bool,
        /// Whether it takes connections that wait for their clients.
        #[serde(default)]
        parked: bool,
    },
    /// The new one: I cannot.
    Failed { words: String },
    /// The old one: the server is yours.
    Yours,
    /// The old one, after that: this connection is yours, too.
    Parked { connection: Parked },
    /// Something of a later version, which need not be understood.
    #[serde(other)]
    Unknown,
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    v: u32,
    #[serde(flatten)]
    message: Message,
}

/// Says `message`, with a descriptor for each item that is in it.
///
/// # Errors
///
/// Returns the error of `sendmsg(2)`.
pub(crate) fn send(
    channel: impl AsFd,
    message: &Message,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let envelope = Envelope {
        v: VERSION,
        message: message.clone(),
    };
    let bytes = serde_json::to_vec(&envelope)?;
    hatchery_os::send(channel, &[IoSlice::new(&bytes)], descriptors)
}

/// Reads the next message; `None` if there is none yet.
///
/// # Errors
///
/// Returns `UnexpectedEof` if the other program has hung up, `InvalidData` for what is no message
/// of this version, and the errors of `recvmsg(2)`.
pub(crate) fn receive(channel: impl AsFd) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
    let invalid = |words: String| io::Error::new(io::ErrorKind::InvalidData, words);
    let mut buffer = vec![0; MESSAGE_BYTES_MAX];
    let mut descriptors = Vec::new();
    let received = match hatchery_os::recv(channel, &mut buffer, &mut descriptors) {
        Ok(received) => received,
        Err(RecvError::Empty) => return Ok(None),
        Err(RecvError::Closed) => return Err(io::ErrorKind::UnexpectedEof.into()),
        Err(RecvError::Os(error)) => return Err(error),
        Err(error) => return Err(invalid(error.to_string())),
    };
    if received.descriptors_lost {
        return Err(rustix::io::Errno::MFILE.into());
    }
    let bytes = &buffer[..received.len];
    let version = serde_json::from_slice::<serde_json::Value>(bytes)
        .map_err(|error| invalid(error.to_string()))?["v"]
        .clone();
    if version != VERSION {
        return Err(invalid(format!(
            "it speaks version {version} of the upgrade; allowed: {VERSION}"
        )));
    }
    let envelope: Envelope =
        serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
    let count = match &envelope.message {
        Message::Items { items, .. } => items.len(),
        Message::Parked { .. } => 1,
        _ => 0,
    };
    if descriptors.len() != count {
        let came = descriptors.len();
        return Err(invalid(format!(
            "{came} descriptors came for {count} items"
        )));
    }
    Ok(Some((envelope.message, descriptors)))
}

/// Bytes as a string of two digits each: a third of what JSON makes of them.
mod hex {
    use std::fmt::Write;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let digits = |bytes: &Vec<u8>| {
            let mut digits = String::with_capacity(2 * bytes.len());
            for byte in bytes {
                write!(digits, "{byte:02x}").expect("a string takes all");
            }
            digits
        };
        bytes.as_ref().map(digits).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        let digits = Option::<String>::deserialize(deserializer)?;
        let bytes = |digits: String| {
            let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
            let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
            let bytes = pairs.iter().map(byte).collect::<Option<Vec<u8>>>();
            bytes.filter(|_| rest.is_empty())
        };
        let bytes = digits.map(|digits| bytes(digits).ok_or("it is not made of pairs of digits"));
        bytes.transpose().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parked_connection_arrives_with_its_state_and_its_descriptor() {
        let (here, there) = hatchery_os::pair().unwrap();
        for state in [
            None,
            Some(vec![]),
            Some((0..=255).cycle().take(32 * 1024).collect()),
        ] {
            let connection = Parked {
                group: 1,
                peer: Peer::Inet("[::1]:9".parse().unwrap()),
                state,
            };
            let message = Message::Parked { connection };

            send(&here, &message, &[here.as_fd()]).unwrap();

            let (received, descriptors) = receive(&there).unwrap().unwrap();
            assert_eq!(received, message);
            assert_eq!(descriptors.len(), 1);
        }
    }

    fn raw(bytes: &[u8]) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
        let (here, there) = hatchery_os::pair().unwrap();
        hatchery_os::send(&here, &[IoSlice::new(bytes)], &[]).unwrap();
        receive(&there)
    }

    #[test]
    fn items_arrive_with_their_descriptors() {
        let (here, there) = hatchery_os::pair().unwrap();
        let message = Message::Items {
            items: vec![
                Item::Stderr,
                Item::Listener {
                    group: 3,
                    configured: "127.0.0.1:0".to_owned(),
                    address: "127.0.0.1:7000".to_owned(),
                },
            ],
            more: true,
        };

        send(&here, &message, &[here.as_fd(), here.as_fd()]).unwrap();

        let (received, descriptors) = receive(&there).unwrap().unwrap();
        assert_eq!(received, message);
        assert_eq!(descriptors.len(), 2);
        assert!(receive(&there).unwrap().is_none());
        drop((here, descriptors));
        let gone = receive(&there).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_a_later_version_says_beside_is_passed_over() {
        let later = br#"{"v":1,"say":"how-are-you","mood":7}"#;
        assert_eq!(raw(later).unwrap().unwrap().0, Message::Unknown);

        let item: Item = serde_json::from_str(r#"{"kind":"parked","peer":"::1"}"#).unwrap();
        assert_eq!(item, Item::Unknown);
    }

    #[test]
    fn what_is_of_another_version_or_no_message_is_refused() {
        for (bytes, words) in [
            (&br#"{"v":2,"say":"yours"}"#[..], "version 2"),
            (br#"{"say":"yours"}"#, "version null"),
            (b"hello", "expected value"),
            (
                br#"{"v":1,"say":"items","items":[{"kind":"stderr"}],"more":false}"#,
                "0 descriptors",
            ),
        ] {
            let error = raw(bytes).unwrap_err();

            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
