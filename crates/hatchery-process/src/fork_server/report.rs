//! What the main process and the fork server say to each other about one child.

use std::any::Any;

use serde::{Deserialize, Serialize};

use super::Program;
use crate::usage::Usage;

/// What the fork server is to do with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// Run it in a new process.
    Fork,
    /// Run it in a new process that executes the program again.
    Spawn,
    /// Run it in the fork server itself.
    Preload,
}

/// The payload of an order: how to run the function, and the function's own arguments.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request<'a> {
    pub(crate) kind: Kind,
    pub(crate) name: &'a str,
    /// Whether it is given the channel of its reports, and the main process's pidfd.
    pub(crate) speaks: bool,
    #[serde(with = "serde_bytes")]
    pub(crate) bytes: &'a [u8],
}

impl Request<'_> {
    pub(crate) fn encode(kind: Kind, program: &Program<'_>) -> Vec<u8> {
        let request = Request {
            kind,
            name: program.name,
            speaks: program.speaks,
            bytes: program.bytes,
        };
        postcard::to_stdvec(&request).expect("a request holds nothing that cannot be serialised")
    }
}

/// The payload of the order that a process gives to itself when it executes the program again.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Rebirth<'a> {
    pub(crate) name: &'a str,
    /// The fork server.
    pub(crate) parent: i32,
    /// The main process.
    pub(crate) keeper: i32,
    pub(crate) speaks: bool,
    #[serde(with = "serde_bytes")]
    pub(crate) bytes: &'a [u8],
}

/// What the fork server says about one order, each as a message of its own.
///
/// A child that [speaks](Program::speaks) sends a packet by the same channel, and no packet begins
/// with the number of one of these.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The child runs; its pidfd comes with the message.
    Started { pid: i32 },
    /// The function has run in the fork server.
    Preloaded,
    /// The order was not carried out, for this reason.
    Failed { reason: String },
    /// The child has ended, with this status in the form of `wait(2)`.
    Exited { status: i32, usage: Usage },
}

impl Report {
    pub(crate) fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("a report holds nothing that cannot be serialised")
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }
}

/// Returns the words of a panic, or says that it has none.
#[must_use]
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value that is not text")
}
