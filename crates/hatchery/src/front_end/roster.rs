//! Which worker is free, which gets the next connection, and who holds what.
//!
//! This is bookkeeping alone: no descriptor, no clock, no system call. The caller tells the
//! roster what happened and does what it answers. `C` is whatever stands for a connection; the
//! roster keeps it, as the lease, from the moment it is given out until its worker has used it.
//!
//! ```text
//! add ──▶ starting ──ready──▶ ready ──drain──▶ draining ──lost──▶ (seat empty)
//!             └───────────────┴──────lost───────────┘
//! ```

use std::time::Duration;

use super::lease::{LeaseError, Leases};
use crate::config::Dispatch;

/// How many connections may be on their way to one worker, not yet taken by it.
///
/// Descriptors in flight count against the user's limit, and wait behind whatever keeps the
/// worker from taking them.
pub(crate) const WINDOW: u32 = 32;

/// A worker that has not taken what it was sent for this long is passed over while others can.
pub(crate) const STALLED_AFTER: Duration = Duration::from_millis(20);

/// How often in a row a worker without connections may have no room for one.
const REFUSALS_MAX: u32 = 3;

/// A worker's place in the roster. It is given to another worker once this one is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Seat(pub(crate) usize);

/// Where a connection was placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    pub(crate) seat: Seat,
    pub(crate) slot: u32,
}

/// What a worker that is gone leaves behind.
#[derive(Debug)]
pub(crate) struct Estate<C> {
    /// Connections that it had not used: they go to other workers. The flag says whether it had
    /// taken them from the channel.
    pub(crate) unused: Vec<(C, bool)>,
    /// How many its handlers had in hand: they are lost.
    pub(crate) in_hand: u32,
}

/// Which stage of its life a worker is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not ready yet: it gets nothing.
    Starting,
    /// It gets connections while it has credit.
    Ready,
    /// It gets nothing more, and ends when it has finished what it has.
    Draining,
}

/// All workers of a server.
#[derive(Debug)]
pub(crate) struct Roster<C> {
    seats: Vec<Option<Member<C>>>,
    dispatch: Dispatch,
    /// How many connections all workers may have together.
    connections_max: u32,
    connections: u32,
    /// How many connections the front end keeps itself, since their clients have nothing to say.
    kept: u32,
    /// The seat after which round robin goes on.
    last: usize,
}

#[derive(Debug)]
struct Member<C> {
    stage: Stage,
    leases: Leases<C>,
    /// How many connections it may hold: the configured limit, or less if it has less room.
    capacity_max: u32,
    /// How many it may hold now: less after it ran out of room, and one more for each that ends.
    capacity: u32,
    /// Connections placed with it, and those it has taken, both since it started.
    placed: u32,
    received: u32,
    /// Placed and sent back, since it started.
    returned: u32,
    /// Whether it gets nothing because its loop does not answer.
    is_passed_over: bool,
    /// Whether it gets nothing because it would decline it.
    is_declining: bool,
    /// How many it has declined, since it started.
    declined: u32,
    /// How many more it gets one by one, after it has declined some.
    one_by_one: u32,
    /// How often in a row it had no room although it had no connection.
    refusals: u32,
    /// When it last took, used or finished a connection, or was given one with none on its way.
    progress: Duration,
    /// When it was last seen to take, use or finish a connection, if it was.
    heard: Option<Duration>,
}

impl<C> Roster<C> {
    /// Makes a roster without workers.
    pub(crate) fn new(dispatch: Dispatch, connections_max: u32) -> Self {
        Self {
            seats: Vec::new(),
            dispatch,
            connections_max,
            connections: 0,
            kept: 0,
            last: usize::MAX,
        }
    }

    /// Changes how workers are chosen, and how many connections all may have together.
    pub(crate) fn change(&mut self, dispatch: Dispatch, connections_max: u32) {
        self.dispatch = dispatch;
        self.connections_max = connections_max;
    }

    /// Seats a worker that is starting and may have so many connections.
    pub(crate) fn add(&mut self, capacity: u32) -> Seat {
        let member = Member {
            stage: Stage::Starting,
            leases: Leases::new(),
            capacity_max: capacity,
            capacity,
            placed: 0,
            received: 0,
            returned: 0,
            refusals: 0,
            is_passed_over: false,
            is_declining: false,
            declined: 0,
            one_by_one: 0,
            progress: Duration::ZERO,
            heard: None,
        };
        let free = self.seats.iter().position(Option::is_none);
        let seat = free.unwrap_or(self.seats.len());
        if seat == self.seats.len() {
            self.seats.push(None);
        }
        self.seats[seat] = Some(member);
        Seat(seat)
    }

    /// Notes that a starting worker is ready, with room for `room` connections.
    pub(crate) fn ready(&mut self, seat: Seat, room: u32, now: Duration) {
        if let Some(member) = self.member(seat)
            && member.stage == Stage::Starting
        {
            member.stage = Stage::Ready;
            member.capacity_max = member.capacity_max.min(room.max(1));
            member.capacity = member.capacity_max;
            member.progress = now;
        }
    }

    /// Gives a worker nothing more.
    pub(crate) fn drain(&mut self, seat: Seat) {
        if let Some(member) = self.member(seat) {
            member.stage = Stage::Draining;
        }
    }

    /// Gives a worker nothing while its loop does not answer, or something again.
    pub(crate) fn pass_over(&mut self, seat: Seat, is_passed_over: bool) {
        if let Some(member) = self.member(seat) {
            member.is_passed_over = is_passed_over;
        }
    }

    /// Gives a worker nothing while it says that it would decline it; true if that is news.
    ///
    /// One that has declined gets connections one by one from then on, until it has taken as many in a
    /// row as may be on their way: of several it might again have a use for the first alone.
    pub(crate) fn declines(&mut self, seat: Seat, is_declining: bool) -> bool {
        let Some(member) = self.member(seat) else {
            return false;
        };
        if is_declining {
            member.one_by_one = WINDOW;
        }
        std::mem::replace(&mut member.is_declining, is_declining) != is_declining
    }

    /// Takes back a connection that a worker has declined.
    ///
    /// # Errors
    ///
    /// Returns [`LeaseError`] if the worker does not have that connection.
    pub(crate) fn declined(
        &mut self,
        placement: Placement,
        now: Duration,
    ) -> Result<Option<C>, LeaseError> {
        let lease = self.finished(placement, now)?;
        if let Some(member) = self.member(placement.seat) {
            member.declined = member.declined.wrapping_add(1);
            member.one_by_one = WINDOW;
        }
        Ok(lease)
    }

    /// Takes a worker that is gone off the roster.
    pub(crate) fn lost(&mut self, seat: Seat) -> Option<Estate<C>> {
        let mut member = self.seats.get_mut(seat.0)?.take()?;
        self.connections -= member.leases.len();
        // A channel keeps the order, so what a worker has taken is what it was given first.
        let arrived = member.arrived();
        let unused = member.leases.take_unused().into_iter();
        let unused = unused.map(|(connection, number)| {
            let is_before = arrived.wrapping_sub(number).cast_signed() > 0;
            (connection, is_before)
        });
        let unused = unused.collect();
        Some(Estate {
            unused,
            in_hand: member.leases.len(),
        })
    }

    /// Chooses a worker for a connection of the peer with this hash, and leases it to that worker.
    ///
    /// # Errors
    ///
    /// Gives the connection back if no worker has credit for it.
    pub(crate) fn place(
        &mut self,
        connection: C,
        peer: u64,
        now: Duration,
    ) -> Result<Placement, C> {
        if self.is_full() {
            return Err(connection);
        }
        self.give(connection, peer, now)
    }

    /// As [`place`](Self::place), for a connection that the front end kept: it counts already.
    ///
    /// # Errors
    ///
    /// Gives the connection back if no worker is free; it is still kept.
    pub(crate) fn place_kept(
        &mut self,
        connection: C,
        peer: u64,
        now: Duration,
    ) -> Result<Placement, C> {
        let placement = self.give(connection, peer, now)?;
        self.let_go();
        Ok(placement)
    }

    /// Notes that a worker has given a connection back, which the front end keeps from now on.
    ///
    /// # Errors
    ///
    /// Returns [`LeaseError`] if the worker does not have that connection.
    pub(crate) fn parked(
        &mut self,
        placement: Placement,
        now: Duration,
    ) -> Result<Option<C>, LeaseError> {
        let is_seated = self.seated(placement.seat).is_some();
        let lease = self.finished(placement, now)?;
        if is_seated {
            self.keep();
        }
        Ok(lease)
    }

    /// Counts a connection that the front end keeps.
    pub(crate) fn keep(&mut self) {
        self.kept += 1;
    }

    /// Counts a connection no more that the front end kept, and that is over or placed anew.
    pub(crate) fn let_go(&mut self) {
        debug_assert!(self.kept > 0, "somebody keeps it");
        self.kept -= 1;
    }

    /// Whether there are as many connections as there may be, with those that are kept.
    pub(crate) fn is_full(&self) -> bool {
        self.connections.saturating_add(self.kept) >= self.connections_max
    }

    fn give(&mut self, connection: C, peer: u64, now: Duration) -> Result<Placement, C> {
        let Some(seat) = self.pick(peer, now) else {
            return Err(connection);
        };
        self.last = seat.0;
        self.connections += 1;
        let member = self.member(seat).expect("a picked seat is taken");
        if member.in_flight() == 0 {
            member.progress = now;
        }
        let slot = member.leases.give(connection, member.placed);
        member.placed = member.placed.wrapping_add(1);
        Ok(Placement { seat, slot })
    }

    /// Whether some worker could be given a new connection now.
    pub(crate) fn has_credit(&self, now: Duration) -> bool {
        !self.is_full() && self.has_free_worker(now)
    }

    /// Whether some worker could be given a connection now that is kept.
    pub(crate) fn has_free_worker(&self, now: Duration) -> bool {
        // The peer decides which worker it would be, and not whether there is one.
        self.pick(0, now).is_some()
    }

    /// Whether something is on its way to a worker that has not taken it.
    pub(crate) fn has_in_flight(&self) -> bool {
        self.members().any(|(_, member)| member.in_flight() > 0)
    }

    /// Lends what stands for a connection that its worker has not used.
    pub(crate) fn leased(&self, placement: Placement) -> Option<&C> {
        let member = self.seated(placement.seat)?;
        member.leases.leased(placement.slot)
    }

    /// Notes how many connections a worker has taken since it started; true if that is news.
    ///
    /// # Errors
    ///
    /// Returns [`LeaseError::Received`] if that is more than it was sent.
    pub(crate) fn received(
        &mut self,
        seat: Seat,
        total: u32,
        now: Duration,
    ) -> Result<bool, LeaseError> {
        let Some(member) = self.member(seat) else {
            return Ok(false);
        };
        let news = total.wrapping_sub(member.received);
        if news > member.in_flight() {
            return Err(LeaseError::Received(news));
        }
        if news > 0 {
            member.received = total;
            member.refusals = 0;
            member.one_by_one = member.one_by_one.saturating_sub(news);
            member.progressed(now);
        }
        Ok(news > 0)
    }

    /// Notes that a worker uses a connection, and ends the lease.
    ///
    /// # Errors
    ///
    /// Returns [`LeaseError`] if the worker does not have that connection, or used it before.
    pub(crate) fn claimed(
        &mut self,
        placement: Placement,
        now: Duration,
    ) -> Result<Option<C>, LeaseError> {
        let Some(member) = self.member(placement.seat) else {
            return Ok(None);
        };
        let lease = member.leases.claim(placement.slot)?;
        member.progressed(now);
        Ok(lease)
    }

    /// Notes that a worker has finished a connection, used or not.
    ///
    /// # Errors
    ///
    /// Returns [`LeaseError`] if the worker does not have that connection.
    pub(crate) fn finished(
        &mut self,
        placement: Placement,
        now: Duration,
    ) -> Result<Option<C>, LeaseError> {
        let Some(member) = self.member(placement.seat) else {
            return Ok(None);
        };
        let lease = member.leases.end(placement.slot)?;
        member.progressed(now);
        member.capacity = member.capacity.saturating_add(1).min(member.capacity_max);
        self.connections -= 1;
        Ok(lease)
    }

    /// Takes back a connection that did not reach its worker.
    ///
    /// # Errors
    ///
    /// Returns [`LeaseError::NotOnItsWay`] if the worker does not have that connection, has used
    /// it, or has taken all that it was sent.
    pub(crate) fn take_back(&mut self, placement: Placement) -> Result<Option<C>, LeaseError> {
        let Some(member) = self.member(placement.seat) else {
            return Ok(None);
        };
        if member.in_flight() == 0 || member.leases.leased(placement.slot).is_none() {
            return Err(LeaseError::NotOnItsWay(placement.slot));
        }
        let connection = member.leases.end(placement.slot)?;
        member.returned = member.returned.wrapping_add(1);
        self.connections -= 1;
        Ok(connection)
    }

    /// Notes that a worker's descriptor table is full, and says whether it is still of use.
    ///
    /// It gets no more until something ends. One that has nothing that could end is tried again,
    /// for its connections may have just ended; if it never has room, it leaks descriptors.
    pub(crate) fn no_room(&mut self, seat: Seat) -> bool {
        let Some(member) = self.member(seat) else {
            return false;
        };
        member.capacity = member.leases.len().max(1);
        if member.leases.len() > 0 {
            return true;
        }
        member.refusals += 1;
        member.refusals < REFUSALS_MAX
    }

    /// Gives up the leases of connections that have reached their workers, to free descriptors.
    ///
    /// Those connections are lost with their worker from now on.
    pub(crate) fn release_received(&mut self) -> Vec<C> {
        let mut released = Vec::new();
        for member in self.seats.iter_mut().flatten() {
            if member.in_flight() == 0 {
                let leases = member.leases.release_all().into_iter();
                released.extend(leases.map(|(connection, _)| connection));
            }
        }
        released
    }

    /// The stage of a worker, if there is one in this seat.
    pub(crate) fn stage(&self, seat: Seat) -> Option<Stage> {
        let member = self.seated(seat)?;
        Some(member.stage)
    }

    /// How many connections a worker has been given since it started, and has not sent back unserved.
    pub(crate) fn served(&self, seat: Seat) -> u32 {
        let member = self.seated(seat);
        member.map_or(0, |member| {
            let unserved = member.returned.wrapping_add(member.declined);
            member.placed.wrapping_sub(unserved)
        })
    }

    /// When a worker was last seen to take, use or finish a connection, if it was.
    pub(crate) fn heard(&self, seat: Seat) -> Option<Duration> {
        self.seated(seat)?.heard
    }

    /// How many connections a worker has.
    pub(crate) fn connections_of(&self, seat: Seat) -> u32 {
        self.seated(seat).map_or(0, |member| member.leases.len())
    }

    /// Whether some connection is leased, so that somebody waits to hear of its use.
    pub(crate) fn has_leases(&self) -> bool {
        self.members().any(|(_, member)| member.leases.unused() > 0)
    }

    /// The connections of all workers.
    pub(crate) fn connections(&self) -> u32 {
        self.connections
    }

    /// How many connections the front end keeps.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> u32 {
        self.kept
    }

    fn seated(&self, seat: Seat) -> Option<&Member<C>> {
        self.seats.get(seat.0)?.as_ref()
    }

    fn member(&mut self, seat: Seat) -> Option<&mut Member<C>> {
        self.seats.get_mut(seat.0)?.as_mut()
    }

    fn members(&self) -> impl Iterator<Item = (usize, &Member<C>)> {
        let seats = self.seats.iter().enumerate();
        seats.filter_map(|(seat, member)| Some((seat, member.as_ref()?)))
    }

    fn pick(&self, peer: u64, now: Duration) -> Option<Seat> {
        let free = self.members().filter(|(_, member)| member.has_credit());
        let seat = match self.dispatch {
            Dispatch::RoundRobin => {
                let after = self.last.wrapping_add(1);
                free.min_by_key(|&(seat, _)| (seat < after, seat))
            }
            // A worker that is full is passed over; its peers come back once it has room.
            Dispatch::Hash => free.max_by_key(|&(seat, _)| rendezvous(peer, seat)),
            _ => return self.least_loaded(now),
        };
        seat.map(|(seat, _)| Seat(seat))
    }

    /// The worker with the fewest connections, if it has credit.
    ///
    /// If it only has to take what it was sent, it is waited for rather than passed over: a burst
    /// would end up with whoever is quickest to take. One that is stalled is not waited for, nor one that
    /// may have a use for none.
    fn least_loaded(&self, now: Duration) -> Option<Seat> {
        let open = self.members().filter(|(_, member)| member.has_capacity());
        let ranked = open.filter_map(|(seat, member)| {
            let age = now.saturating_sub(member.progress);
            let is_stalled = member.in_flight() > 0 && age >= STALLED_AFTER;
            let is_full = !member.has_window();
            let rank = (is_stalled, member.leases.len(), is_full, age);
            let is_waited_for = !is_stalled && member.one_by_one == 0;
            (!is_full || is_waited_for).then_some((rank, seat))
        });
        let ((_, _, is_full, _), seat) = ranked.min()?;
        (!is_full).then_some(Seat(seat))
    }
}

impl<C> Member<C> {
    fn progressed(&mut self, now: Duration) {
        self.progress = now;
        self.heard = Some(now);
    }

    fn in_flight(&self) -> u32 {
        self.placed.wrapping_sub(self.arrived())
    }

    /// How many of those placed with it were taken or sent back.
    fn arrived(&self) -> u32 {
        self.received.wrapping_add(self.returned)
    }

    fn has_credit(&self) -> bool {
        self.has_capacity() && self.has_window()
    }

    /// Whether it may have another connection.
    fn has_capacity(&self) -> bool {
        let is_shunned = self.is_passed_over || self.is_declining;
        let is_open = self.stage == Stage::Ready && !is_shunned;
        is_open && self.leases.len() < self.capacity
    }

    /// Whether another connection may be on its way to it.
    fn has_window(&self) -> bool {
        let window = if self.one_by_one > 0 { 1 } else { WINDOW };
        self.in_flight() < window
    }
}

/// The weight of a seat for a peer: highest random weight hashing (Thaler and Ravishankar, 1998),
/// so that a seat that comes or goes moves only its own share of the peers.
fn rendezvous(peer: u64, seat: usize) -> u64 {
    mix(peer ^ mix(seat as u64 + 1))
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
