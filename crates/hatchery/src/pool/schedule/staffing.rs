//! Which workers there are to be: when one is started, replaced, or no longer needed.
//!
//! A worker sits in a *place*. The tasks of one key go to one place, whoever sits there.

use std::time::{Duration, Instant};

use super::seat::{AHEAD_MAX, Seat, Stage, WorkerId};
use super::slab::{Queue, TaskId};
use super::{Schedule, Settings};
use crate::front_end::{FAILED_STARTS_MAX, Restarts, Verdict};

/// Who sits in each place, and how starts have gone.
#[derive(Debug)]
pub(super) struct Staff {
    pub(super) places: Vec<Place>,
    /// The places in which there is always a worker. Keys are spread over them.
    permanent: usize,
    restarts: Restarts,
    failed_in_a_row: u32,
    /// No worker is started before.
    not_before: Option<Instant>,
    /// No more tasks come, and none of the workers is needed once those that there are have ended.
    is_closing: bool,
}

#[derive(Debug, Default)]
pub(super) struct Place {
    worker: Option<WorkerId>,
    /// Who will sit here next.
    successor: Option<WorkerId>,
    /// Tasks that are to be run here and nowhere else.
    pub(super) keyed: Queue,
}

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorkerEnd {
    /// Nobody from outside had a hand in it.
    pub(crate) by_itself: bool,
    pub(crate) at: Instant,
}

impl Staff {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            places: (0..settings.workers_max)
                .map(|_| Place::default())
                .collect(),
            permanent: settings.workers_min,
            restarts: Restarts::default(),
            failed_in_a_row: 0,
            not_before: None,
            is_closing: false,
        }
    }

    /// The place in which tasks of a key are run.
    pub(super) fn place_of(&self, key: u64) -> usize {
        let places = self.permanent.max(1) as u64;
        usize::try_from(key % places).expect("it is less than the number of places")
    }

    /// Empties the place of a worker that leaves it; its successor takes it at once if there is one.
    pub(super) fn vacate(&mut self, place: usize, worker: WorkerId) -> Option<WorkerId> {
        let place = self.places.get_mut(place)?;
        if place.successor == Some(worker) {
            place.successor = None;
        }
        if place.worker == Some(worker) {
            place.worker = place.successor.take();
            return place.worker;
        }
        None
    }

    /// Learns from the end of a worker when the next may be started.
    pub(super) fn note_end(&mut self, stage: Stage, end: WorkerEnd, has_worked: bool) {
        let verdict = match stage {
            Stage::Starting => self.restarts.failed(),
            Stage::Ready | Stage::Standby => self.restarts.ended(end.by_itself && !has_worked),
            Stage::Retiring | Stage::Leaving => return,
        };
        let failed = stage == Stage::Starting || (end.by_itself && !has_worked);
        self.failed_in_a_row = if failed { self.failed_in_a_row + 1 } else { 0 };
        // A pool is never given up: it fails the tasks that wait, and goes on trying.
        let pause = match verdict {
            Verdict::RestartAfter(pause) => pause,
            Verdict::GiveUp => Duration::from_secs(1),
        };
        self.not_before = (!pause.is_zero()).then(|| end.at + pause);
    }
}

impl<P> Schedule<P> {
    /// Picks a place for which a worker is to be started now, and counts the worker as starting.
    pub(crate) fn next_start(&mut self, now: Instant) -> Option<WorkerId> {
        if self.staff.not_before.is_some_and(|time| time > now) {
            return None;
        }
        self.staff.not_before = None;
        let place = (0..self.staff.places.len()).find(|&place| self.is_wanted(place))?;
        let free = self.seats.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            self.seats.push(None);
            self.seats.len() - 1
        });
        let worker = WorkerId::of(index);
        self.seats[index] = Some(Seat::new(place));
        let place = &mut self.staff.places[place];
        match place.worker {
            None => place.worker = Some(worker),
            Some(_) => place.successor = Some(worker),
        }
        Some(worker)
    }

    /// When a worker may be started at the earliest, if one is to be.
    pub(crate) fn start_due(&self) -> Option<Instant> {
        let is_any = (0..self.staff.places.len()).any(|place| self.is_wanted(place));
        self.staff.not_before.filter(|_| is_any)
    }

    /// Whether a worker is to be started, and nothing speaks against doing that now.
    pub(crate) fn wants_start(&self) -> bool {
        self.staff.not_before.is_none()
            && (0..self.staff.places.len()).any(|place| self.is_wanted(place))
    }

    fn is_wanted(&self, index: usize) -> bool {
        let place = &self.staff.places[index];
        if self.staff.is_closing && self.waiting == 0 {
            return false;
        }
        let Some(worker) = place.worker else {
            return place.successor.is_none() && (index < self.staff.permanent || self.is_short());
        };
        place.successor.is_none()
            && !self.staff.is_closing
            && self
                .seat(worker)
                .is_some_and(|seat| self.needs_successor(seat))
    }

    /// Whether tasks wait that nobody could take, and nobody is on the way.
    fn is_short(&self) -> bool {
        let is_on_the_way = |seat: &Seat| seat.stage == Stage::Starting || self.has_room(seat);
        !self.lanes.is_empty() && !self.seats().any(|(_, seat)| is_on_the_way(seat))
    }

    /// Whether a worker has so few tasks left that the next should be made ready.
    fn needs_successor(&self, seat: &Seat) -> bool {
        let max = self.settings.tasks_max;
        seat.stage == Stage::Ready && max.is_some_and(|max| seat.taken + max / 4 + 1 >= max)
    }

    /// Notes that a worker is ready.
    pub(crate) fn ready(&mut self, worker: WorkerId) {
        let Some(seat) = self
            .seat_mut(worker)
            .filter(|seat| seat.stage == Stage::Starting)
        else {
            return;
        };
        let place = seat.place;
        let is_first = self
            .staff
            .places
            .get(place)
            .map(|place| place.worker == Some(worker));
        let stage = match is_first {
            Some(true) => Stage::Ready,
            Some(false) => Stage::Standby,
            None => Stage::Retiring,
        };
        if let Some(seat) = self.seat_mut(worker) {
            seat.stage = stage;
        }
        self.staff.failed_in_a_row = 0;
        self.staff.restarts.ready();
        if self.is_complete() {
            self.staff.restarts.complete();
        }
    }

    /// Whether every permanent place has a worker that is ready.
    pub(crate) fn is_complete(&self) -> bool {
        let permanent = &self.staff.places[..self.staff.permanent];
        permanent.iter().all(|place| {
            let seat = place.worker.and_then(|worker| self.seat(worker));
            seat.is_some_and(|seat| seat.stage == Stage::Ready)
        })
    }

    /// Whether starts have failed so often that those who wait for a worker should be told.
    pub(crate) fn is_hopeless(&self) -> bool {
        let is_ready = |seat: &Seat| seat.stage == Stage::Ready;
        self.staff.failed_in_a_row >= FAILED_STARTS_MAX
            && !self.seats().any(|(_, seat)| is_ready(seat))
    }

    /// Sends a worker nothing more, for it will be killed. Its place is free for another.
    pub(crate) fn condemn(&mut self, worker: WorkerId) {
        self.retire(worker);
        if let Some(seat) = self.seat_mut(worker) {
            seat.stage = Stage::Leaving;
        }
    }

    /// Ends a worker once it has done what it has, and gives its place to its successor.
    pub(crate) fn retire(&mut self, worker: WorkerId) {
        let Some(seat) = self.seat_mut(worker) else {
            return;
        };
        if seat.stage == Stage::Leaving {
            return;
        }
        seat.stage = Stage::Retiring;
        let place = seat.place;
        let successor = self.staff.vacate(place, worker);
        let successor = successor.and_then(|successor| self.seat_mut(successor));
        if let Some(successor) = successor.filter(|seat| seat.stage == Stage::Standby) {
            successor.stage = Stage::Ready;
        }
    }

    pub(super) fn retire_if_spent(&mut self, worker: WorkerId) {
        let max = self.settings.tasks_max;
        let seat = self.seat(worker);
        if seat.is_some_and(|seat| max.is_some_and(|max| seat.taken >= max)) {
            self.retire(worker);
        }
    }

    /// Retires those that have been idle for too long; says when to look again.
    pub(crate) fn retire_idle(&mut self, now: Instant) -> Option<Instant> {
        let timeout = self.settings.idle_timeout?;
        let permanent = self.staff.permanent;
        let mut due: Option<Instant> = None;
        let mut over = Vec::new();
        for (index, seat) in (0..).zip(&mut self.seats) {
            let Some(seat) = seat.as_mut().filter(|seat| seat.place >= permanent) else {
                continue;
            };
            if !seat.is_idle() {
                // It may become idle any time.
                due = due.into_iter().chain([now + timeout]).min();
                continue;
            }
            let end = *seat.idle_since.get_or_insert(now) + timeout;
            if end <= now {
                over.push(WorkerId(index));
            } else {
                due = due.into_iter().chain([end]).min();
            }
        }
        for worker in over {
            self.retire(worker);
        }
        due
    }

    /// Changes how many workers there are.
    ///
    /// Those that are too many end when they have done what they have.
    pub(crate) fn resize(&mut self, workers_min: usize, workers_max: usize) {
        // The keys are spread anew.
        let mut keyed = Vec::new();
        for place in &mut self.staff.places {
            while let Some(id) = self.tasks.pop_front(&mut place.keyed) {
                keyed.push(id);
            }
        }
        let beyond: Vec<WorkerId> = (self.staff.places.iter().skip(workers_max))
            .flat_map(|place| [place.successor, place.worker])
            .flatten()
            .collect();
        for worker in beyond {
            self.retire(worker);
        }
        self.staff.places.resize_with(workers_max, Place::default);
        self.staff.permanent = workers_min;
        self.settings.workers_min = workers_min;
        self.settings.workers_max = workers_max;
        for id in keyed {
            if let Some(key) = self.tasks.get(id).and_then(super::Task::key) {
                self.await_place(id, key, false);
            }
        }
    }

    /// Takes no more tasks; once there is none left, all workers end.
    pub(crate) fn close(&mut self) {
        self.staff.is_closing = true;
    }

    /// Whether the pool was closed and nothing is left of it.
    pub(crate) fn is_over(&self) -> bool {
        self.staff.is_closing && self.waiting == 0 && self.seats().next().is_none()
    }

    /// Lists the workers that are to be told to end, each once.
    pub(crate) fn leaving(&mut self) -> Vec<WorkerId> {
        if self.is_done() {
            let all: Vec<WorkerId> = self.seats().map(|(id, _)| id).collect();
            for worker in all {
                self.retire(worker);
            }
        }
        let mut leaving = Vec::new();
        for (index, seat) in (0..).zip(&mut self.seats) {
            let over = seat
                .as_mut()
                .filter(|seat| seat.stage == Stage::Retiring && seat.sent.is_empty());
            if let Some(seat) = over {
                seat.stage = Stage::Leaving;
                leaving.push(WorkerId(index));
            }
        }
        leaving
    }

    /// Whether there is a worker that is to be told to end.
    pub(crate) fn has_leaving(&self) -> bool {
        let is_done = self.is_done();
        self.seats().any(|(_, seat)| match seat.stage {
            Stage::Retiring => seat.sent.is_empty(),
            Stage::Leaving => false,
            Stage::Starting | Stage::Standby | Stage::Ready => is_done,
        })
    }

    /// Whether no task is left and none will come.
    fn is_done(&self) -> bool {
        self.staff.is_closing && self.waiting == 0 && self.outstanding() == 0
    }

    /// Lists all workers.
    pub(crate) fn workers(&self) -> impl Iterator<Item = WorkerId> {
        self.seats().map(|(id, _)| id)
    }

    /// How far a worker is, and how many tasks it has and has done.
    pub(crate) fn worker(&self, worker: WorkerId) -> Option<WorkerView> {
        self.seat(worker).map(|seat| WorkerView {
            place: seat.place,
            stage: seat.stage,
            outstanding: seat.sent.len(),
            done: seat.done,
            run_time: seat.window.average(),
        })
    }

    pub(super) fn window(&self, seat: &Seat) -> u32 {
        match self.settings.ahead {
            Some(ahead) => (ahead + 1).clamp(1, AHEAD_MAX),
            None => seat.window.size(),
        }
    }

    pub(super) fn has_room(&self, seat: &Seat) -> bool {
        seat.stage == Stage::Ready && !seat.is_full && seat.outstanding() < self.window(seat)
    }

    /// The worker that has the least of those that have room.
    pub(super) fn least_loaded(&self) -> Option<WorkerId> {
        let mut least: Option<(u32, WorkerId)> = None;
        for (id, seat) in self.seats().filter(|(_, seat)| self.has_room(seat)) {
            let outstanding = seat.outstanding();
            if outstanding == 0 {
                return Some(id);
            }
            if least.is_none_or(|(least, _)| outstanding < least) {
                least = Some((outstanding, id));
            }
        }
        least.map(|(_, id)| id)
    }

    /// Takes the next task for a worker: one for its place, and one for anybody, in turn.
    pub(super) fn take_for(&mut self, worker: WorkerId) -> Option<TaskId> {
        let seat = self.seats.get_mut(worker.index())?.as_mut()?;
        let keyed = self
            .staff
            .places
            .get_mut(seat.place)
            .map(|place| &mut place.keyed);
        if let Some(keyed) = keyed.filter(|keyed| !keyed.is_empty()) {
            seat.prefers_keyed = !seat.prefers_keyed;
            if !seat.prefers_keyed {
                return self.tasks.pop_front(keyed);
            }
        }
        self.lanes.pop(&mut self.tasks)
    }

    /// Takes the next task that waits for the place of a worker with room.
    pub(super) fn take_keyed(&mut self) -> Option<(WorkerId, TaskId)> {
        let mut places = self.staff.places.iter().enumerate();
        let (index, worker) = places.find_map(|(index, place)| {
            let worker = place.worker.filter(|_| !place.keyed.is_empty())?;
            let has_room = self.seat(worker).is_some_and(|seat| self.has_room(seat));
            has_room.then_some((index, worker))
        })?;
        let task = self.tasks.pop_front(&mut self.staff.places[index].keyed)?;
        Some((worker, task))
    }
}

/// What can be seen of a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkerView {
    pub(crate) place: usize,
    pub(crate) stage: Stage,
    pub(crate) outstanding: usize,
    pub(crate) done: u64,
    /// The moving average.
    pub(crate) run_time: Duration,
}
