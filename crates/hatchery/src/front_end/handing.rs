//! Handing connections to workers, and hearing what became of them.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll};
use std::time::Duration;

use hatchery_process::{DESCRIPTORS_MAX, FromWorker, Handover, LedgerEvent, Peer, STATE_BYTES_MAX};

use super::commanding::millis;
use super::complaints::Complaint;
use super::lease::LeaseError;
use super::member::Origin;
use super::roster::{Placement, Seat, mix};
use super::suspecting::Trace;
use super::{Accepted, FrontEnd};
use crate::control::{Retirement, ServerEvent};
use crate::metrics::clock_nanos;

/// How many messages of one worker are read in a turn.
const MESSAGES_PER_TURN: usize = 32;

impl FrontEnd {
    /// Leases a connection to the worker that the roster picks; it is sent at the end of the turn.
    pub(super) fn place(&mut self, accepted: Accepted, now: Duration) -> Result<(), Accepted> {
        let (peer, origin) = (peer_hash(&accepted), origin_of(&accepted));
        let placement = self.roster.place(accepted, peer, now)?;
        self.placed(placement, origin);
        Ok(())
    }

    /// As [`place`](Self::place), for a connection that was kept here.
    pub(super) fn place_kept(&mut self, accepted: Accepted, now: Duration) -> Result<(), Accepted> {
        let (peer, origin) = (peer_hash(&accepted), origin_of(&accepted));
        let placement = self.roster.place_kept(accepted, peer, now)?;
        self.placed(placement, origin);
        Ok(())
    }

    fn placed(&mut self, placement: Placement, origin: Origin) {
        self.crew.is_busy = true;
        self.outside.exchange.board.handed();
        self.retire_if_served(placement.seat);
        let member = self.crew.get_mut(placement.seat);
        let member = member.expect("the roster seats nobody but the crew");
        member.placed(placement.slot, origin);
    }

    /// Places those who wait, the longest first.
    pub(super) fn place_waiting(&mut self, now: Duration) {
        while self.roster.has_credit(now)
            && let Some((accepted, since)) = self.queue.pop()
        {
            if let Err(accepted) = self.place(accepted, now) {
                self.queue.put_back(accepted, since);
                return;
            }
        }
    }

    /// Sends what was placed in this turn, up to 32 connections a message.
    pub(super) fn hand_over(&mut self, now: Duration) {
        if !self.crew.may_be_sent_to() {
            return;
        }
        for seat in self.crew.seats() {
            while self.send_batch(seat, now) {}
        }
    }

    /// Sends one message to a worker; true if there is more for it.
    fn send_batch(&mut self, seat: Seat, now: Duration) -> bool {
        let Some(member) = self.crew.get_mut(seat) else {
            return false;
        };
        let count = member.outbox.len().min(DESCRIPTORS_MAX);
        if count == 0 {
            return false;
        }
        let mut state_bytes = 0;
        let sent_at = clock_nanos();
        let mut handovers = Vec::with_capacity(count);
        let mut sockets: Vec<BorrowedFd<'_>> = Vec::with_capacity(count);
        for &slot in &member.outbox[..count] {
            let placement = Placement { seat, slot };
            let Some(accepted) = self.roster.leased(placement) else {
                // It reported on a connection that it was never sent.
                member.outbox.clear();
                self.condemn(seat, &LeaseError::NotOnItsWay(slot));
                return false;
            };
            state_bytes += accepted.state.as_ref().map_or(0, Vec::len);
            if state_bytes > STATE_BYTES_MAX {
                // One state alone is never too long.
                break;
            }
            handovers.push(Handover {
                id: accepted.id,
                slot,
                listener: self.listeners.place_of(accepted.listener),
                peer: accepted.peer,
                sent_at,
                state: accepted.state.clone(),
            });
            sockets.push(accepted.socket.as_fd());
        }
        let count = handovers.len();
        match member.hand_over(handovers, &sockets) {
            Ok(()) => {
                member.outbox.drain(..count);
                !member.outbox.is_empty()
            }
            Err(obstacle) if obstacle.passes() => {
                self.crew.send_later(now);
                false
            }
            Err(_gone) => {
                // Its exit is on the way, and with it all that it had goes to others.
                self.roster.drain(seat);
                false
            }
        }
    }

    /// Reads what workers say.
    pub(super) fn read_messages(&mut self, context: &mut Context<'_>, now: Duration) {
        for seat in self.crew.seats() {
            self.read_messages_of(seat, context, now);
        }
    }

    fn read_messages_of(&mut self, seat: Seat, context: &mut Context<'_>, now: Duration) {
        for _ in 0..MESSAGES_PER_TURN {
            if !self.crew.may_speak(seat, context) || !self.has_room_for_one(now) {
                return;
            }
            match self.crew.poll_read(seat, context) {
                Poll::Pending => return,
                // Whether there is more is asked once more, and whether there is room for it.
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Ok(Some((message, socket)))) => self.heard(seat, message, socket, now),
                Poll::Ready(Err(error)) => {
                    // A worker that hung up is dead or as good as dead. Its exit tells which, and
                    // until then nothing it holds may go to another.
                    tracing::debug!(worker = seat.0, %error, "a worker's channel ended");
                    self.kill(seat);
                    return;
                }
            }
        }
        // A worker that has more to say is heard in the next turn, after the others.
        context.waker().wake_by_ref();
    }

    /// Takes in what a worker that is gone has left in its channel and its ledger.
    pub(super) fn hear_out(&mut self, seat: Seat, now: Duration) {
        loop {
            // Now or never: what has no room is lost.
            let _room = self.has_room_for_one(now);
            let Some((message, socket)) = self.crew.read_last(seat) else {
                break;
            };
            self.heard(seat, message, socket, now);
        }
        if let Err(error) = self.read_ledger(seat, now) {
            tracing::error!(worker = seat.0, %error, "a worker that is gone had misreported");
        }
    }

    fn heard(&mut self, seat: Seat, message: FromWorker, socket: Option<OwnedFd>, now: Duration) {
        match message {
            FromWorker::Ready { room } => self.became_ready(seat, room, now),
            FromWorker::Failed(reason) => {
                if let Some(member) = self.crew.get_mut(seat) {
                    member.complaint = Some(format!("said: {reason}"));
                }
            }
            FromWorker::Retire => {
                self.retire(seat, Retirement::OwnWish);
            }
            // The ledgers are read in every turn.
            FromWorker::Doorbell => {}
            FromWorker::Park { slot, state } => {
                self.take_parked_by(Placement { seat, slot }, socket, state, now);
            }
            FromWorker::Decline { slot, state } => {
                self.take_declined(Placement { seat, slot }, socket, state, now);
            }
            FromWorker::Nack(slots) => self.take_back(seat, &slots, now),
            FromWorker::SoftDeadline {
                connection,
                listener,
                peer,
                age,
                place,
            } => self.tell_of(seat, |worker, generation| ServerEvent::SoftDeadline {
                worker,
                generation,
                connection,
                listener,
                peer: peer.to_string(),
                age_ms: millis(age),
                place,
            }),
            other => tracing::warn!(worker = seat.0, "a worker said {other:?}"),
        }
    }

    /// Takes back connections whose descriptors a worker had no room for.
    fn take_back(&mut self, seat: Seat, slots: &[u32], now: Duration) {
        if slots.is_empty() {
            self.condemn(seat, &LeaseError::EmptyNack);
            return;
        }
        for &slot in slots.iter().rev() {
            match self.roster.take_back(Placement { seat, slot }) {
                Ok(Some(accepted)) => self.queue.put_back(accepted, now),
                Ok(None) => {}
                Err(error) => {
                    self.condemn(seat, &error);
                    return;
                }
            }
        }
        let is_of_use = self.roster.no_room(seat);
        let (why, connections) = (Complaint::WorkerFull, slots.len());
        if self.outside.complain(why, connections, now) {
            tracing::warn!(worker = seat.0, connections, "{}", why.words());
        }
        if !is_of_use {
            // None of what it holds are connections that will end.
            self.kill(seat);
        }
    }

    /// Reads what workers have done; true if there was news.
    pub(super) fn read_ledgers(&mut self, now: Duration) -> bool {
        let mut news = false;
        for seat in self.crew.seats() {
            match self.read_ledger(seat, now) {
                Ok(some) => news |= some,
                Err(error) => self.condemn(seat, &error),
            }
        }
        self.crew.is_busy |= news;
        news
    }

    pub(super) fn read_ledger(&mut self, seat: Seat, now: Duration) -> Result<bool, Misreport> {
        let Some(member) = self.crew.get_mut(seat) else {
            return Ok(false);
        };
        if self.plan.is_direct() {
            // This worker accepts for itself, and its ledger says only how often.
            return Ok(false);
        }
        let taken = member.ledger.received();
        let is_declining = member.ledger.is_declining();
        let mut news = self.roster.received(seat, taken, now)?;
        news |= self.roster.declines(seat, is_declining);
        while let Some(event) = member.ledger.take()? {
            news = true;
            // The lease ends here: dropping it closes the front end's copy.
            match event {
                LedgerEvent::Claimed(slot) => {
                    let lease = self.roster.claimed(Placement { seat, slot }, now)?;
                    if let Some(accepted) = lease {
                        member.traces.put(slot, Trace::of(&accepted));
                    }
                }
                LedgerEvent::Finished(slot) => {
                    let lease = self.roster.finished(Placement { seat, slot }, now)?;
                    let used = member.traces.take(slot);
                    let trace = used.or_else(|| lease.as_ref().map(Trace::of));
                    self.suspicion.poison.acquit_trace(trace);
                }
            }
        }
        Ok(news)
    }

    /// Kills a worker whose reports cannot be true.
    pub(super) fn condemn(&mut self, seat: Seat, error: &impl std::error::Error) {
        tracing::error!(
            worker = seat.0,
            %error,
            "a worker misreported, and is killed"
        );
        self.kill(seat);
    }
}

/// What is wrong with a worker's ledger.
#[derive(Debug, thiserror::Error)]
pub(super) enum Misreport {
    #[error(transparent)]
    Ledger(#[from] hatchery_process::LedgerError),
    #[error(transparent)]
    Lease(#[from] LeaseError),
}

fn origin_of(accepted: &Accepted) -> Origin {
    Origin {
        id: accepted.id,
        listener: accepted.listener,
        peer: accepted.peer,
    }
}

/// The same number for every connection of one peer: of an address without its port.
///
/// Clients of a Unix socket have no address, so each of their connections is a peer of its own.
fn peer_hash(accepted: &Accepted) -> u64 {
    // Not keyed: whoever can choose an address for its hash could choose the address as well.
    let hasher = BuildHasherDefault::<DefaultHasher>::new();
    match accepted.peer {
        Peer::Inet(address) => mix(hasher.hash_one(address.ip())),
        _ => mix(accepted.id),
    }
}
