//! What its workers truly have, beside a roster that has to know it.
//!
//! Workers here are honest, but the front end may hear late of what they took. What a dishonest
//! one could say is tried in between, and has to be refused without a trace.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::worker::{Held, Use, Worker};
use super::{Lie, Op};
use crate::config::Dispatch;
use crate::front_end::lease::LeaseError;
use crate::front_end::roster::{Placement, Roster, Seat, Stage, WINDOW};

/// The most workers of a case: few, so that peers and seats meet often.
pub(super) const WORKERS_MAX: usize = 5;

/// What a worker may have at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections of one worker.
    pub(super) per_worker: u32,
    /// Connections of all workers together.
    pub(super) in_all: u32,
}

/// A connection, which cannot be in two places.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Connection {
    id: usize,
    peer: u64,
}

/// The roster, and what is true of everything around it.
#[derive(Debug)]
pub(super) struct World {
    roster: Roster<Connection>,
    dispatch: Dispatch,
    limits: Limits,
    workers: BTreeMap<usize, Worker>,
    /// The most workers there ever were at once.
    seats: usize,
    waiting: VecDeque<Connection>,
    /// Those that workers have parked, which the front end keeps.
    parked: Vec<Connection>,
    /// Those that the roster no longer keeps, because they were used, released or finished.
    ended: Vec<Connection>,
    born: usize,
    now: Duration,
    last: Option<usize>,
    /// Which seat each peer got, and out of which.
    chosen: Vec<(u64, Vec<usize>, usize)>,
}

impl World {
    pub(super) fn new(dispatch: Dispatch, limits: Limits) -> Self {
        Self {
            roster: Roster::new(dispatch, limits.in_all),
            dispatch,
            limits,
            workers: BTreeMap::new(),
            seats: 0,
            waiting: VecDeque::new(),
            parked: Vec::new(),
            ended: Vec::new(),
            born: 0,
            now: Duration::ZERO,
            last: None,
            chosen: Vec::new(),
        }
    }

    pub(super) fn apply(&mut self, op: &Op) {
        match *op {
            Op::Add => self.add(),
            Op::Offer { peer, count } => (0..count).for_each(|_| self.offer(peer)),
            Op::PlaceWaiting => self.place_waiting(),
            Op::Release => self.release(),
            Op::Wait { millis } => self.now += Duration::from_millis(millis),
            Op::Misreport { seat, which, lie } => self.misreport(seat, which, lie),
            Op::Ready { worker, room } => self.with(worker, |world, seat| world.ready(seat, room)),
            Op::Take {
                worker,
                count,
                is_told,
            } => self.with(worker, |world, seat| world.take(seat, count, is_told)),
            Op::Claim { worker, which } => {
                self.with(worker, |world, seat| world.claim(seat, which));
            }
            Op::Finish { worker, which } => {
                self.with(worker, |world, seat| world.finish(seat, which));
            }
            Op::Park { worker, which } => self.with(worker, |world, seat| world.park(seat, which)),
            Op::SetDeclining {
                worker,
                is_declining,
            } => {
                self.with(worker, |world, seat| {
                    world.set_declining(seat, is_declining)
                });
            }
            Op::Decline { worker, which } => {
                self.with(worker, |world, seat| world.decline(seat, which));
            }
            Op::Wake { which, is_over } => self.wake(which, is_over),
            Op::SendBack { worker, count } => {
                self.with(worker, |world, seat| world.send_back(seat, count));
            }
            Op::Drain { worker } => self.with(worker, Self::drain),
            Op::Lose { worker } => self.with(worker, Self::lose),
        }
    }

    /// Does something to the worker counted as `index`, if there is any worker.
    fn with(&mut self, index: usize, act: impl FnOnce(&mut Self, usize)) {
        if let Some(seat) = pick(&self.workers.keys().copied().collect::<Vec<_>>(), index) {
            act(self, seat);
        }
    }

    fn worker(&mut self, seat: usize) -> &mut Worker {
        self.workers.get_mut(&seat).unwrap()
    }

    fn add(&mut self) {
        if self.workers.len() == WORKERS_MAX {
            return;
        }
        let Seat(seat) = self.roster.add(self.limits.per_worker);
        let worker = Worker::starting(self.limits.per_worker);
        assert!(self.workers.insert(seat, worker).is_none(), "a taken seat");
        self.seats = self.seats.max(self.workers.len());
        assert!(seat < self.seats, "a free seat was left empty");
    }

    fn ready(&mut self, seat: usize, room: u32) {
        let now = self.now;
        self.roster.ready(Seat(seat), room, now);
        let worker = self.worker(seat);
        if worker.stage == Stage::Starting {
            worker.stage = Stage::Ready;
            worker.room = worker.room.min(room.max(1));
            worker.capacity = worker.room;
            worker.progress = now;
        }
    }

    fn drain(&mut self, seat: usize) {
        self.roster.drain(Seat(seat));
        self.worker(seat).stage = Stage::Draining;
    }

    fn offer(&mut self, peer: u64) {
        let id = self.born;
        self.born += 1;
        if let Err(connection) = self.place(Connection { id, peer }) {
            self.waiting.push_back(connection);
        }
    }

    fn place_waiting(&mut self) {
        while let Some(connection) = self.waiting.pop_front() {
            if let Err(connection) = self.place(connection) {
                self.waiting.push_front(connection);
                return;
            }
        }
    }

    fn place(&mut self, connection: Connection) -> Result<(), Connection> {
        let Connection { id, peer } = connection;
        let free = self.free();
        match self.roster.place(connection, peer, self.now) {
            Err(connection) => {
                assert_eq!((connection.id, connection.peer), (id, peer));
                assert!(free.is_empty(), "{free:?} had credit");
                Err(connection)
            }
            Ok(Placement { seat, slot }) => {
                assert!(free.contains(&seat.0), "{seat:?} had no credit");
                self.check_choice(seat.0, &free, peer);
                self.placed(id, seat.0, slot);
                Ok(())
            }
        }
    }

    fn placed(&mut self, id: usize, seat: usize, slot: u32) {
        let now = self.now;
        assert!(slot < self.limits.per_worker, "no ledger has slot {slot}");
        self.last = Some(seat);
        let worker = self.worker(seat);
        if worker.in_flight() == 0 {
            worker.progress = now;
        }
        let state = Use::Leased;
        let before = worker.held.insert(slot, Held { id, state });
        assert!(before.is_none(), "slot {slot} was held");
        worker.on_the_way.push_back(slot);
        worker.served += 1;
    }

    fn take(&mut self, seat: usize, count: usize, is_told: bool) {
        let now = self.now;
        let worker = self.worker(seat);
        let count = count.min(worker.on_the_way.len());
        worker.on_the_way.drain(..count);
        worker.taken_untold += u32::try_from(count).unwrap();
        if !is_told {
            return;
        }
        if worker.taken_untold > 0 {
            worker.progress = now;
        }
        let before = worker.taken;
        worker.one_by_one = worker.one_by_one.saturating_sub(worker.taken_untold);
        worker.taken += std::mem::take(&mut worker.taken_untold);
        let taken = worker.taken;
        let told = self.roster.received(Seat(seat), taken, now);
        assert_eq!(told, Ok(taken > before));
    }

    fn claim(&mut self, seat: usize, which: usize) {
        let now = self.now;
        let worker = self.worker(seat);
        let unused = worker.slots(|slot, held| held.state != Use::Used && worker.has_taken(slot));
        let Some(slot) = pick(&unused, which) else {
            return;
        };
        worker.progress = now;
        let held = worker.held.get_mut(&slot).unwrap();
        let before = std::mem::replace(
            held,
            Held {
                state: Use::Used,
                ..*held
            },
        );
        let lease = self.roster.claimed(at(seat, slot), now).unwrap();
        self.end(lease, before);
    }

    fn finish(&mut self, seat: usize, which: usize) {
        let now = self.now;
        let Some((slot, held)) = self.take_out(seat, which) else {
            return;
        };
        let lease = self.roster.finished(at(seat, slot), now).unwrap();
        self.end(lease, held);
    }

    /// Takes from a worker what it has taken; `None` if it has taken nothing.
    fn take_out(&mut self, seat: usize, which: usize) -> Option<(u32, Held)> {
        let now = self.now;
        let worker = self.worker(seat);
        let taken = worker.slots(|slot, _| worker.has_taken(slot));
        let slot = pick(&taken, which)?;
        worker.progress = now;
        worker.capacity = (worker.capacity + 1).min(worker.room);
        let held = worker.held.remove(&slot).unwrap();
        Some((slot, held))
    }

    /// Has a worker give back what it has taken, used or not; its lease ends, and it is kept.
    fn park(&mut self, seat: usize, which: usize) {
        let now = self.now;
        let Some((slot, held)) = self.take_out(seat, which) else {
            return;
        };
        let lease = self.roster.parked(at(seat, slot), now).unwrap();
        let connection = self.given_back(lease, held);
        self.parked.push(connection);
    }

    /// Takes back what was `held`, by its lease if there should still be one.
    fn given_back(&mut self, lease: Option<Connection>, held: Held) -> Connection {
        let expected = (held.state == Use::Leased).then_some(held.id);
        assert_eq!(lease.as_ref().map(|lease| lease.id), expected);
        let ended = self.ended.iter().position(|ended| ended.id == held.id);
        // Its own descriptor comes from the worker; what the front end had of it is gone.
        let connection = lease.or_else(|| Some(self.ended.swap_remove(ended?)));
        connection.expect("it is in one place")
    }

    /// Has a worker say whether it declines what comes.
    fn set_declining(&mut self, seat: usize, is_declining: bool) {
        let told = self.roster.declines(Seat(seat), is_declining);
        let worker = self.worker(seat);
        assert_eq!(told, worker.is_declining != is_declining);
        worker.is_declining = is_declining;
        if is_declining {
            worker.one_by_one = WINDOW;
        }
    }

    /// Has a worker decline what it has taken; it waits for another.
    fn decline(&mut self, seat: usize, which: usize) {
        let now = self.now;
        let Some((slot, held)) = self.take_out(seat, which) else {
            return;
        };
        let lease = self.roster.declined(at(seat, slot), now).unwrap();
        let worker = self.worker(seat);
        worker.one_by_one = WINDOW;
        worker.served -= 1;
        let connection = self.given_back(lease, held);
        self.waiting.push_front(connection);
    }

    /// Has a parked connection's client end, or say something: then any free worker gets it.
    fn wake(&mut self, which: usize, is_over: bool) {
        if self.parked.is_empty() {
            return;
        }
        let place = which % self.parked.len();
        let connection = self.parked.swap_remove(place);
        if is_over {
            self.roster.let_go();
            self.ended.push(connection);
            return;
        }
        let Connection { id, peer } = connection;
        let free = self.free_whoever_counts();
        match self.roster.place_kept(connection, peer, self.now) {
            Err(connection) => {
                assert!(free.is_empty(), "{free:?} had credit");
                self.parked.push(connection);
            }
            Ok(Placement { seat, slot }) => {
                assert!(free.contains(&seat.0), "{seat:?} had no credit");
                self.check_choice(seat.0, &free, peer);
                self.placed(id, seat.0, slot);
            }
        }
    }

    /// Takes over the lease of what was `held`, if there should be one.
    fn end(&mut self, lease: Option<Connection>, held: Held) {
        let expected = (held.state == Use::Leased).then_some(held.id);
        assert_eq!(lease.as_ref().map(|lease| lease.id), expected);
        self.ended.extend(lease);
    }

    fn send_back(&mut self, seat: usize, count: usize) {
        let worker = self.worker(seat);
        let count = count.min(worker.on_the_way.len());
        if count == 0 {
            return;
        }
        let slots: Vec<u32> = worker.on_the_way.drain(..count).collect();
        for &slot in slots.iter().rev() {
            let held = self.worker(seat).held.remove(&slot).unwrap();
            let connection = self.roster.take_back(at(seat, slot)).unwrap().unwrap();
            assert_eq!(connection.id, held.id);
            self.waiting.push_front(connection);
        }
        self.roster.no_room(Seat(seat));
        let worker = self.worker(seat);
        worker.served -= u32::try_from(count).unwrap();
        worker.capacity = worker.load().max(1);
    }

    fn release(&mut self) {
        let mut expected = Vec::new();
        for worker in self.workers.values_mut() {
            if worker.in_flight() > 0 {
                continue;
            }
            let held = worker.held.values_mut();
            for held in held.filter(|held| held.state == Use::Leased) {
                held.state = Use::Released;
                expected.push(held.id);
            }
        }
        let released = self.roster.release_received();
        assert_eq!(ids(&released), sorted(expected));
        self.ended.extend(released);
    }

    fn lose(&mut self, seat: usize) {
        // A dead worker's ledger is read to the end before it is given up.
        self.take(seat, 0, true);
        let estate = self.roster.lost(Seat(seat)).unwrap();
        let worker = self.workers.remove(&seat).unwrap();
        let unused = worker.slots(|_, held| held.state == Use::Leased);
        let taken: Vec<usize> = unused
            .iter()
            .filter(|slot| worker.has_taken(**slot))
            .map(|slot| worker.held[slot].id)
            .collect();
        let unused = unused.iter().map(|slot| worker.held[slot].id).collect();
        assert_eq!(estate.in_hand, worker.load() - worker.unused());
        let said: Vec<usize> = estate
            .unused
            .iter()
            .filter(|(_, was_taken)| *was_taken)
            .map(|(connection, _)| connection.id)
            .collect();
        assert_eq!(sorted(said), sorted(taken));
        let left: Vec<_> = estate.unused.into_iter().map(|(left, _)| left).collect();
        assert_eq!(ids(&left), sorted(unused));
        let left = left.into_iter().rev();
        left.for_each(|connection| self.waiting.push_front(connection));
        assert!(self.roster.lost(Seat(seat)).is_none());
    }

    /// Tells the roster what cannot be; it must say so and be as it was.
    fn misreport(&mut self, seat: usize, which: usize, lie: Lie) {
        let seat = seat % (self.seats + 1);
        let (number, expected) = match self.workers.get(&seat) {
            // What is said of a worker that is gone is no lie, but comes too late.
            None => (0, Ok(())),
            Some(worker) => match self.refuted(worker, which, lie) {
                Some((number, error)) => (number, Err(error)),
                None => return,
            },
        };
        let before = format!("{:?}", self.roster);

        assert_eq!(self.report(seat, number, lie), expected);

        assert_eq!(format!("{:?}", self.roster), before);
    }

    /// What to say so that it is this lie, if it can be told now, and what it should be called.
    fn refuted(&self, worker: &Worker, which: usize, lie: Lie) -> Option<(u32, LeaseError)> {
        let free = || {
            let slots = 0..=self.limits.per_worker;
            let slots = slots.filter(|slot| !worker.held.contains_key(slot));
            pick(&slots.collect::<Vec<_>>(), which)
        };
        match lie {
            Lie::ClaimedAgain => {
                let used = worker.slots(|_, held| held.state == Use::Used);
                pick(&used, which).map(|slot| (slot, LeaseError::UsedTwice(slot)))
            }
            Lie::ClaimedFree | Lie::FinishedFree => {
                free().map(|slot| (slot, LeaseError::NotHeld(slot)))
            }
            Lie::SentBackFree => free().map(|slot| (slot, LeaseError::NotOnItsWay(slot))),
            Lie::SentBackWhatItTook => {
                let all_taken = worker.in_flight() == 0;
                let taken = worker.slots(|_, held| all_taken || held.state != Use::Leased);
                pick(&taken, which).map(|slot| (slot, LeaseError::NotOnItsWay(slot)))
            }
            Lie::TookMore => {
                let news = worker.in_flight() + 1 + u32::try_from(which).unwrap();
                Some((worker.taken + news, LeaseError::Received(news)))
            }
        }
    }

    fn report(&mut self, seat: usize, number: u32, lie: Lie) -> Result<(), LeaseError> {
        let (roster, now) = (&mut self.roster, self.now);
        let answer = match lie {
            Lie::ClaimedAgain | Lie::ClaimedFree => roster.claimed(at(seat, number), now),
            Lie::FinishedFree => roster.finished(at(seat, number), now),
            Lie::SentBackFree | Lie::SentBackWhatItTook => roster.take_back(at(seat, number)),
            Lie::TookMore => return roster.received(Seat(seat), number, now).map(|_| ()),
        };
        answer.map(|lease| assert_eq!(lease, None))
    }

    fn load(&self) -> u32 {
        self.workers.values().map(Worker::load).sum()
    }

    /// The seats of workers that may be given a connection.
    fn free(&self) -> Vec<usize> {
        if self.load() + self.kept() >= self.limits.in_all {
            return Vec::new();
        }
        self.free_whoever_counts()
    }

    fn kept(&self) -> u32 {
        u32::try_from(self.parked.len()).unwrap()
    }

    /// The seats of workers that may be given a connection which counts already.
    fn free_whoever_counts(&self) -> Vec<usize> {
        let free = self.workers.iter().filter(|(_, worker)| worker.is_free());
        let free: Vec<usize> = free.map(|(&seat, _)| seat).collect();
        if self.dispatch == Dispatch::LeastLoaded && self.is_better_waited_for(&free) {
            return Vec::new();
        }
        free
    }

    /// Whether a worker with fewer connections than all of the `free` only has to take some.
    fn is_better_waited_for(&self, free: &[usize]) -> bool {
        let rank = |worker: &Worker| (worker.is_stalled(self.now), worker.load());
        let best = free.iter().map(|seat| rank(&self.workers[seat])).min();
        let mut slow = self.workers.values().filter(|worker| {
            let is_full = worker.in_flight() >= WINDOW && worker.one_by_one == 0;
            worker.is_open() && is_full && !worker.is_stalled(self.now)
        });
        slow.any(|worker| best.is_some_and(|best| rank(worker) < best))
    }

    /// Checks that none of the `free` was to be preferred to `chosen`.
    fn check_choice(&mut self, chosen: usize, free: &[usize], peer: u64) {
        match self.dispatch {
            Dispatch::RoundRobin => {
                // How many seats come before this one when counting on from the last.
                let after = self.last.map_or(0, |last| last + 1);
                let turn = |seat: usize| (seat + WORKERS_MAX - after) % WORKERS_MAX;
                let next = free.iter().copied().min_by_key(|&seat| turn(seat));
                assert_eq!(Some(chosen), next);
            }
            Dispatch::Hash => {
                for (_, others, seat) in self.chosen.iter().filter(|&&(who, ..)| who == peer) {
                    let both_could = others.contains(&chosen) && free.contains(seat);
                    assert!(!both_could || chosen == *seat, "the peer was moved");
                }
                self.chosen.push((peer, free.to_vec(), chosen));
            }
            _ => {
                let rank = |seat: &usize| {
                    let worker = &self.workers[seat];
                    let age = self.now - worker.progress;
                    (worker.is_stalled(self.now), worker.load(), age)
                };
                let best = free.iter().map(rank).min().unwrap();
                assert_eq!(rank(&chosen), best);
            }
        }
    }

    /// Checks what must be true after every event.
    pub(super) fn check(&self) {
        assert_eq!(self.roster.connections(), self.load());
        assert_eq!(self.roster.kept(), self.kept());
        assert!(self.load() + self.kept() <= self.limits.in_all);
        assert_eq!(self.roster.has_credit(self.now), !self.free().is_empty());
        let is_any_free = !self.free_whoever_counts().is_empty();
        assert_eq!(self.roster.has_free_worker(self.now), is_any_free);
        let unused: u32 = self.workers.values().map(Worker::unused).sum();
        assert_eq!(self.roster.has_leases(), unused > 0);
        for seat in 0..=self.seats {
            let worker = self.workers.get(&seat);
            let roster = &self.roster;
            let load = worker.map_or(0, Worker::load);
            assert_eq!(roster.connections_of(Seat(seat)), load);
            assert_eq!(roster.stage(Seat(seat)), worker.map(|worker| worker.stage));
            assert_eq!(
                roster.served(Seat(seat)),
                worker.map_or(0, |worker| worker.served)
            );
        }
        for worker in self.workers.values() {
            assert!(worker.load() <= worker.capacity);
            assert!(worker.capacity <= self.limits.per_worker);
            assert!(worker.in_flight() <= WINDOW);
        }
        self.take_census();
    }

    /// Checks that each connection is in one place, and each lease where the model has it.
    fn take_census(&self) {
        let mut places = vec![0; self.born];
        for connection in self.waiting.iter().chain(&self.ended).chain(&self.parked) {
            places[connection.id] += 1;
        }
        for seat in 0..=self.seats {
            for slot in 0..=self.limits.per_worker {
                let leased = self.roster.leased(at(seat, slot)).map(|leased| leased.id);
                let held = self.workers.get(&seat).and_then(|it| it.held.get(&slot));
                let held = held.filter(|held| held.state == Use::Leased);
                assert_eq!(leased, held.map(|held| held.id));
                leased.into_iter().for_each(|id| places[id] += 1);
            }
        }
        assert!(places.iter().all(|&count| count == 1), "{places:?}");
    }
}

fn at(seat: usize, slot: u32) -> Placement {
    let seat = Seat(seat);
    Placement { seat, slot }
}

fn pick<T: Copy>(list: &[T], index: usize) -> Option<T> {
    let index = index.checked_rem(list.len())?;
    Some(list[index])
}

fn ids(connections: &[Connection]) -> Vec<usize> {
    sorted(connections.iter().map(|connection| connection.id).collect())
}

fn sorted(mut ids: Vec<usize>) -> Vec<usize> {
    ids.sort_unstable();
    ids
}
