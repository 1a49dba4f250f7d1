//! Connections that the front end keeps: those whose clients are silent, and those parked by handlers.
//!
//! None of them occupies a worker. One whose client sends something goes to whichever worker is
//! free; until there is one, it stays where it is. They count among `max_connections`.

use std::os::fd::OwnedFd;
use std::task::Context;
use std::time::Duration;

use super::roster::Placement;
use super::watching::has_spoken;
use super::{Accepted, FrontEnd};
use crate::config::Overload;
use crate::upgrade::Parked;

/// How many connections are found in a turn, before others have theirs.
const LOOKS_PER_TURN: usize = 4;

impl FrontEnd {
    /// Accepts, and gives to workers what they have room for; true if there is more.
    pub(super) fn take_in(&mut self, context: &mut Context<'_>, now: Duration) -> bool {
        let kept_first = self.kept.come_first();
        let mut more = false;
        if kept_first {
            more |= self.take_awake(context, now);
        }
        more |= self.accept(context, now);
        self.place_waiting(now);
        if !kept_first {
            more |= self.take_awake(context, now);
        }
        more
    }

    /// Keeps a new connection until its client has sent something; gives it back if it cannot.
    pub(super) fn await_first_bytes(
        &mut self,
        accepted: Accepted,
        now: Duration,
    ) -> Result<(), Accepted> {
        if !self.plan.server.wait_for_data || self.roster.is_full() {
            return Err(accepted);
        }
        self.kept.newcomers.add(accepted, now)?;
        self.roster.keep();
        Ok(())
    }

    /// Gives connections to workers whose clients have sent something.
    fn take_awake(&mut self, context: &mut Context<'_>, now: Duration) -> bool {
        let more = self.take_awake_newcomers(context, now);
        self.take_awake_parked(context, now) || more
    }

    /// Places parked connections; one whose client has ended is closed without a handler.
    fn take_awake_parked(&mut self, context: &mut Context<'_>, now: Duration) -> bool {
        for _ in 0..LOOKS_PER_TURN {
            if !self.roster.has_free_worker(now) {
                return false;
            }
            let found = self.kept.parked.look(context);
            if found.is_empty() {
                return false;
            }
            for key in found {
                if !self.roster.has_free_worker(now) {
                    return false;
                }
                if let Some(accepted) = self.kept.parked.take(key) {
                    self.wake(accepted, now);
                }
            }
        }
        true
    }

    fn wake(&mut self, accepted: Accepted, now: Duration) {
        if !has_spoken(&accepted) {
            return self.roster.let_go();
        }
        let Some(accepted) = self.pass(accepted, now) else {
            return self.roster.let_go();
        };
        if let Err(accepted) = self.place_kept(accepted, now) {
            self.roster.let_go();
            self.queue.push_anyway(accepted, now);
        }
    }

    /// Takes over a connection that a worker has parked.
    pub(super) fn take_parked_by(
        &mut self,
        placement: Placement,
        socket: Option<OwnedFd>,
        state: Vec<u8>,
        now: Duration,
    ) {
        // What it did with the connection before is in its ledger.
        let read = self.read_ledger(placement.seat, now);
        let parked = read.and_then(|_news| Ok(self.roster.parked(placement, now)?));
        // The lease ends, if there still is one: the worker's own descriptor is here.
        let _lease = match parked {
            Ok(lease) => lease,
            Err(error) => return self.condemn(placement.seat, &error),
        };
        self.acquit(placement);
        match self.came_back(placement, socket, Some(state)) {
            Some(accepted) => self.park(accepted, now),
            None => self.roster.let_go(),
        }
    }

    /// Takes back a connection that a worker has no use for now: it goes to whoever has.
    pub(super) fn take_declined(
        &mut self,
        placement: Placement,
        socket: Option<OwnedFd>,
        state: Option<Vec<u8>>,
        now: Duration,
    ) {
        // That it has taken the connection is in its ledger.
        let read = self.read_ledger(placement.seat, now);
        let declined = read.and_then(|_news| Ok(self.roster.declined(placement, now)?));
        let lease = match declined {
            Ok(lease) => lease,
            Err(error) => return self.condemn(placement.seat, &error),
        };
        self.outside.exchange.board.declined();
        // Where the front end has no copy any more, the worker's own descriptor is here.
        let accepted = lease.or_else(|| self.came_back(placement, socket, state));
        if let Some(accepted) = accepted {
            self.queue.put_back(accepted, now);
        }
    }

    /// Makes a connection of what a worker has sent back; `None` if it is lost.
    fn came_back(
        &mut self,
        placement: Placement,
        socket: Option<OwnedFd>,
        state: Option<Vec<u8>>,
    ) -> Option<Accepted> {
        let member = self.crew.get_mut(placement.seat);
        let origin = member.and_then(|member| member.origin(placement.slot));
        let origin = origin.expect("what a worker holds was placed with it");
        self.crew.is_busy = true;
        let Some(socket) = socket else {
            tracing::error!(connection = origin.id, peer = %origin.peer,
                "a connection that a worker gave back is lost: there was no descriptor for it");
            return None;
        };
        self.room.note(&socket);
        Some(Accepted {
            consumed: hatchery_os::bytes_consumed(&socket).unwrap_or(0),
            socket,
            id: origin.id,
            listener: origin.listener,
            peer: origin.peer,
            deaths: 0,
            first: None,
            state,
        })
    }

    /// Whether a worker's message may be read, which may bring a connection; makes room if need be.
    pub(super) fn has_room_for_one(&mut self, now: Duration) -> bool {
        let Err(error) = self.room.check(&self.children, now) else {
            return true;
        };
        self.free_descriptors(&error, now);
        let has_room = self.room.check(&self.children, now).is_ok();
        if !has_room {
            self.room.try_again(now);
        }
        has_room
    }

    /// Keeps a connection, which the roster counts as kept, until its client sends something.
    fn park(&mut self, accepted: Accepted, now: Duration) {
        let is_serving = self.life.is_serving();
        let unwatched = match is_serving {
            true => self.kept.parked.add(accepted, now),
            false => Err(accepted),
        };
        if let Err(accepted) = unwatched {
            self.roster.let_go();
            self.release(accepted, is_serving, now);
        }
    }

    /// Lets a connection wait here that another program has kept before.
    pub(super) fn take_over_parked(
        &mut self,
        connection: Parked,
        socket: OwnedFd,
        place: u16,
        now: Duration,
    ) {
        let serial = self.listeners.serial_at(place);
        // Handlers that block need it to; those of the other program may have differed.
        let is_blocking = self.plan.body.is_blocking;
        let _as_it_was = rustix::io::ioctl_fionbio(&socket, !is_blocking);
        let consumed = hatchery_os::bytes_consumed(&socket).unwrap_or(0);
        let accepted = Accepted {
            consumed,
            state: connection.state,
            ..self.enroll(serial, socket, connection.peer)
        };
        if accepted.state.is_some() {
            self.roster.keep();
            self.park(accepted, now);
        } else if let Err(accepted) = self.await_first_bytes(accepted, now) {
            self.queue.push_anyway(accepted, now);
        }
    }

    fn take_awake_newcomers(&mut self, context: &mut Context<'_>, now: Duration) -> bool {
        for _ in 0..LOOKS_PER_TURN {
            if !self.may_admit_newcomers(now) {
                return false;
            }
            let found = self.kept.newcomers.look(context);
            if found.is_empty() {
                return false;
            }
            for key in found {
                if !self.may_admit_newcomers(now) {
                    return false;
                }
                if let Some(accepted) = self.kept.newcomers.take(key) {
                    self.roster.let_go();
                    self.admit(accepted, now);
                }
            }
        }
        true
    }

    /// Whether a connection that has sent its first bytes would be given a place, or turned away.
    fn may_admit_newcomers(&self, now: Duration) -> bool {
        match self.plan.server.overload {
            // What nobody has room for waits where it is.
            Overload::Wait => self.queue.is_empty() && self.roster.has_free_worker(now),
            Overload::Reject | Overload::Reset => true,
        }
    }

    /// Closes connections whose clients have been silent for too long.
    pub(super) fn expire_silent(&mut self, now: Duration) {
        while let Some(_closed) = self.kept.take_silent(&self.plan.server, now) {
            self.roster.let_go();
        }
    }

    /// Gives all connections to the program that takes over. Where there is none, it closes those with
    /// nothing to say, and lets the others wait for a worker.
    pub(super) fn release_kept(&mut self, now: Duration) {
        for accepted in self.kept.take_all() {
            self.roster.let_go();
            self.release(accepted, false, now);
        }
    }

    /// Gives a connection that is not kept to whoever has a use for it; a silent one only if the
    /// server goes on.
    fn release(&mut self, accepted: Accepted, goes_on: bool, now: Duration) {
        let Err(accepted) = self.bequeath_parked(accepted) else {
            return;
        };
        // A server that stops closes whoever has nothing to say.
        if goes_on || has_spoken(&accepted) {
            self.queue.push_anyway(accepted, now);
        }
    }
}
