//! Giving a connection back to the front end, with what its next handler has to know: to be kept until
//! its client says more, or for another worker.
//!
//! The message and the descriptor leave this process in one system call: from then on they are
//! in the channel, whatever becomes of the worker.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use hatchery_os::Obstacle;

use crate::channel::{FromWorker, encode};
use crate::worker::WorkerLink;

/// Why a connection was not given back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParkRefusal {
    /// The front end has to read something first.
    #[error("the channel to the front end is full")]
    Full,
    /// The kernel is short of something that nothing tells of: try again a little later.
    #[error("the kernel has no room for the message now")]
    Busy,
    /// The front end is gone.
    #[error("the front end is gone")]
    Gone,
    /// The connection is no longer in the hands of a handler.
    #[error("its handler has ended")]
    NotInHand,
    /// The kernel refused.
    #[error("the kernel refused to send it")]
    Os(#[source] io::Error),
}

/// Sends the connection of `slot` back, if there is room for it now.
pub(crate) fn try_park(
    link: &WorkerLink,
    slot: u32,
    socket: BorrowedFd<'_>,
    state: &mut Vec<u8>,
) -> Result<(), ParkRefusal> {
    let message = FromWorker::Park {
        slot,
        state: std::mem::take(state),
    };
    let sent = send(link, &message, socket);
    if let FromWorker::Park { state: unsent, .. } = message {
        *state = unsent;
    }
    sent
}

/// Sends the connection of `slot` back for another worker, if there is room for it now.
pub(crate) fn try_decline(
    link: &WorkerLink,
    slot: u32,
    socket: BorrowedFd<'_>,
    state: &mut Option<Vec<u8>>,
) -> Result<(), ParkRefusal> {
    let message = FromWorker::Decline {
        slot,
        state: state.take(),
    };
    let sent = send(link, &message, socket);
    if let FromWorker::Decline { state: unsent, .. } = message {
        *state = unsent;
    }
    sent
}

fn send(
    link: &WorkerLink,
    message: &FromWorker,
    socket: BorrowedFd<'_>,
) -> Result<(), ParkRefusal> {
    let mut bytes = Vec::new();
    encode(message, &mut bytes);
    let sent = hatchery_os::send(link, &[IoSlice::new(&bytes)], &[socket]);
    sent.map_err(|error| match Obstacle::of(&error) {
        Obstacle::Full => ParkRefusal::Full,
        Obstacle::Busy => ParkRefusal::Busy,
        Obstacle::Closed => ParkRefusal::Gone,
        Obstacle::Other => ParkRefusal::Os(error),
    })
}
