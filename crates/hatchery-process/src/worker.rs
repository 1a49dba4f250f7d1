//! A worker's end of the hand-off, and the loop of a worker that blocks.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hatchery_os::{Obstacle, RecvError, SocketNumber};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{Shutdown, shutdown};

use crate::channel::{CHANNEL_BYTES_MAX, FromWorker, Handover, ToWorker, decode, encode};
use crate::child::wait_readable;
use crate::ledger::{Farewell, LedgerEvent, LedgerWriter};
use crate::parking::{ParkRefusal, try_decline, try_park};
use crate::readiness::pause;

/// How long to wait before sending again what the kernel had no room for.
const SEND_RETRY: Duration = Duration::from_millis(5);

/// What a worker shares with the front end: the channel and the ledger.
#[derive(Debug)]
pub struct WorkerLink {
    channel: OwnedFd,
    ledger: LedgerWriter,
    /// What messages are received into.
    buffer: Mutex<Vec<u8>>,
    /// The connection that a blocking handler has, until it has parked it.
    in_hand: Mutex<Option<InHand>>,
}

/// A connection in the hands of a blocking handler, which owns its socket.
#[derive(Debug)]
struct InHand {
    id: u64,
    claim: Claim,
    socket: io::Result<SocketNumber>,
    is_broken_off: bool,
}

/// What came out of the channel.
#[derive(Debug)]
#[non_exhaustive]
pub enum Batch {
    /// Connections, each with its descriptor.
    Connections(Vec<(Handover, OwnedFd)>),
    /// This worker is to accept for itself from now on.
    Accept,
    /// Nothing more will come.
    Drain,
}

/// Why nothing came out of the channel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// Nothing has arrived yet.
    #[error("nothing has arrived yet")]
    Empty,
    /// The front end is gone.
    #[error("the front end is gone")]
    Closed,
    /// What arrived is not a message of this version.
    #[error("a message from the front end cannot be read")]
    Malformed,
    /// The kernel refused.
    #[error("the kernel refused to receive")]
    Os(#[source] io::Error),
}

impl WorkerLink {
    /// Joins the two halves of the link.
    #[must_use]
    pub fn new(channel: OwnedFd, ledger: LedgerWriter) -> Self {
        Self {
            channel,
            ledger,
            buffer: Mutex::new(vec![0; CHANNEL_BYTES_MAX]),
            in_hand: Mutex::default(),
        }
    }

    /// Tells the front end something, once there is room for it; a front end that is gone is told
    /// nothing.
    pub fn tell(&self, message: &FromWorker) {
        let mut bytes = Vec::new();
        encode(message, &mut bytes);
        loop {
            let sent = hatchery_os::send(&self.channel, &[IoSlice::new(&bytes)], &[]);
            match sent.map_err(|error| Obstacle::of(&error)) {
                // A full channel has something in it that will wake the front end as well.
                Err(Obstacle::Full) if *message == FromWorker::Doorbell => return,
                Err(Obstacle::Full) if self.wait_for_room().is_ok() => {}
                Err(Obstacle::Busy) => pause(SEND_RETRY),
                // Told, or gone.
                Ok(()) | Err(_) => return,
            }
        }
    }

    fn wait_for_room(&self) -> io::Result<()> {
        let mut room = [PollFd::new(&self.channel, PollFlags::OUT)];
        rustix::io::retry_on_intr(|| poll(&mut room, None))?;
        Ok(())
    }

    /// Takes the next message, if one has arrived.
    ///
    /// Connections whose descriptors did not fit are sent back; the front end still has them.
    ///
    /// # Errors
    ///
    /// See [`BatchError`].
    pub fn recv(&self) -> Result<Batch, BatchError> {
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut descriptors = Vec::new();
        let received = hatchery_os::recv(&self.channel, &mut buffer, &mut descriptors);
        let received = received.map_err(|error| match error {
            RecvError::Empty => BatchError::Empty,
            RecvError::Closed => BatchError::Closed,
            RecvError::Os(error) => BatchError::Os(error),
            _ => BatchError::Malformed,
        })?;
        match decode(&buffer[..received.len]).ok_or(BatchError::Malformed)? {
            ToWorker::Accept => Ok(Batch::Accept),
            ToWorker::Drain => Ok(Batch::Drain),
            ToWorker::Connections(handovers) => Ok(self.take(handovers, descriptors)),
        }
    }

    /// Notes that this worker has taken `count` more connections.
    pub fn note_received(&self, count: u32) {
        if self.ledger.received(count) {
            self.tell(&FromWorker::Doorbell);
        }
    }

    /// Notes that the handler has read from or written to the connection in `slot`.
    pub fn claim(&self, slot: u32) {
        self.note(LedgerEvent::Claimed(slot));
    }

    /// Notes that the connection in `slot` is over.
    pub fn finish(&self, slot: u32) {
        self.note(LedgerEvent::Finished(slot));
    }

    /// Gives the connection with this number back, which a blocking handler has in hand.
    ///
    /// It waits for room in the channel.
    ///
    /// # Errors
    ///
    /// Returns [`ParkRefusal`], and the handler still has the connection.
    pub fn park_in_hand(
        &self,
        id: u64,
        socket: BorrowedFd<'_>,
        state: &mut Vec<u8>,
    ) -> Result<(), ParkRefusal> {
        let mut in_hand = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        let held = in_hand.as_mut().filter(|held| held.id == id);
        let held = held.ok_or(ParkRefusal::NotInHand)?;
        loop {
            match held.claim.try_park(socket, state) {
                Err(ParkRefusal::Full) => self.wait_for_room().map_err(ParkRefusal::Os)?,
                Err(ParkRefusal::Busy) => pause(SEND_RETRY),
                Ok(()) => {
                    *in_hand = None;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends the input of the connection that a blocking handler has in hand, if it has one.
    ///
    /// A handler that waits for its client reads the end then, as if the client had hung up, and
    /// can still answer. Returns the connection's number and another descriptor of it, the first
    /// time.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection's socket cannot be found, unless the handler has closed it.
    pub fn break_off_in_hand(&self) -> io::Result<Option<(u64, OwnedFd)>> {
        // Nobody parks it meanwhile: what has been parked is not this worker's any more.
        let mut in_hand = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = in_hand.as_mut().filter(|held| !held.is_broken_off) else {
            return Ok(None);
        };
        held.is_broken_off = true;
        let number = held.socket.as_ref();
        let number = number.map_err(|error| io::Error::from(error.kind()))?;
        let Some(socket) = number.find()? else {
            return Ok(None);
        };
        let _already_ended = shutdown(&socket, Shutdown::Read);
        Ok(Some((held.id, socket)))
    }

    /// Notes that this worker's loop turns, as the front end has asked.
    pub fn beat(&self) {
        if self.ledger.beat() {
            self.tell(&FromWorker::Doorbell);
        }
    }

    /// Notes whether this worker declines what it is sent: then it is sent nothing more.
    pub fn set_declining(&self, is_declining: bool) {
        if self.ledger.set_declining(is_declining) {
            self.tell(&FromWorker::Doorbell);
        }
    }

    /// How far this worker is on its way out.
    #[must_use]
    pub fn farewell(&self) -> Farewell {
        self.ledger.farewell()
    }

    /// Notes by when the handler in `place` has to be done.
    pub fn hold(&self, place: u32, connection: u64, deadline: Duration) {
        self.ledger.hold(place, connection, deadline);
    }

    /// Notes that the handler in `place` is done.
    pub fn let_go(&self, place: u32) {
        self.ledger.let_go(place);
    }

    fn note(&self, event: LedgerEvent) {
        if self.ledger.write(event) {
            self.tell(&FromWorker::Doorbell);
        }
    }

    /// Puts another connection into the handler's hands; what it had is finished, if not parked.
    fn keep_in_hand(&self, next: Option<InHand>) {
        let mut in_hand = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        let finished = std::mem::replace(&mut *in_hand, next);
        drop(in_hand);
        drop(finished);
    }

    fn take(&self, handovers: Vec<Handover>, descriptors: Vec<OwnedFd>) -> Batch {
        // Descriptors arrive in order, and those that did not fit are the last ones.
        let lost: Vec<u32> = handovers[descriptors.len().min(handovers.len())..]
            .iter()
            .map(|handover| handover.slot)
            .collect();
        let taken = handovers.len() - lost.len();
        if !lost.is_empty() {
            self.tell(&FromWorker::Nack(lost));
        }
        self.note_received(u32::try_from(taken).unwrap_or(u32::MAX));
        Batch::Connections(handovers.into_iter().zip(descriptors).collect())
    }
}

/// Becomes readable when there is a message to take.
impl AsFd for WorkerLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// The right to a connection: it is finished when this is dropped.
#[derive(Debug)]
pub struct Claim {
    link: &'static WorkerLink,
    slot: u32,
    claimed: bool,
    /// Whether the front end has it again.
    is_back: bool,
}

impl Claim {
    /// Takes the connection in `slot` into a worker's hands.
    #[must_use]
    pub fn new(link: &'static WorkerLink, slot: u32) -> Self {
        Self {
            link,
            slot,
            claimed: false,
            is_back: false,
        }
    }

    /// Notes, the first time, that the connection is being used.
    ///
    /// Until then it goes to another worker if this one dies.
    #[inline]
    pub fn note_use(&mut self) {
        if !self.claimed {
            self.claimed = true;
            self.link.claim(self.slot);
        }
    }
}

impl Claim {
    /// Whether the connection has not been used.
    #[must_use]
    pub fn is_unused(&self) -> bool {
        !self.claimed
    }

    /// Gives the connection, whose socket this is, back to the front end, if there is room now.
    ///
    /// The caller closes its own copy without a word.
    ///
    /// # Errors
    ///
    /// Returns [`ParkRefusal`], and the connection is where it was.
    pub fn try_park(
        &mut self,
        socket: BorrowedFd<'_>,
        state: &mut Vec<u8>,
    ) -> Result<(), ParkRefusal> {
        assert!(!self.is_back, "a connection is parked once");
        try_park(self.link, self.slot, socket, state)?;
        self.is_back = true;
        Ok(())
    }

    /// Gives the connection, whose socket this is and which came with this state, back to the front
    /// end for another worker, if there is room now.
    ///
    /// The caller closes its own copy without a word.
    ///
    /// # Errors
    ///
    /// Returns [`ParkRefusal`], and the connection is where it was.
    ///
    /// # Panics
    ///
    /// Panics if the connection has been used.
    pub fn try_decline(
        &mut self,
        socket: BorrowedFd<'_>,
        state: &mut Option<Vec<u8>>,
    ) -> Result<(), ParkRefusal> {
        assert!(self.is_unused() && !self.is_back, "it is as it came");
        try_decline(self.link, self.slot, socket, state)?;
        self.is_back = true;
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Once it is given back the slot may be another connection's.
        if !self.is_back {
            self.link.finish(self.slot);
        }
    }
}

/// Serves connections one after the other until the front end drains this worker or is gone.
///
/// `handler` is given each connection's descriptor, in blocking mode, and must not unwind.
///
/// # Errors
///
/// Returns [`BatchError`] if the channel fails; a front end that is gone is the end, not an error.
pub fn serve_blocking(
    link: &'static WorkerLink,
    mut handler: impl FnMut(Handover, OwnedFd),
) -> Result<(), BatchError> {
    loop {
        match link.recv() {
            Ok(Batch::Connections(connections)) => {
                for (handover, socket) in connections {
                    let mut claim = Claim::new(link, handover.slot);
                    claim.note_use();
                    link.keep_in_hand(Some(InHand {
                        id: handover.id,
                        claim,
                        socket: SocketNumber::of(&socket),
                        is_broken_off: false,
                    }));
                    handler(handover, socket);
                    link.keep_in_hand(None);
                }
            }
            // There is nothing to accept from.
            Ok(Batch::Accept) => {}
            Ok(Batch::Drain) | Err(BatchError::Closed) => return Ok(()),
            Err(BatchError::Empty) => {
                wait_readable(link.as_fd(), None).map_err(BatchError::Os)?;
            }
            Err(error) => return Err(error),
        }
    }
}
