//! Which worker gets which task, and what becomes of the tasks of one that is lost.
//!
//! This is bookkeeping alone: no descriptor, no clock, no lock. The caller tells the schedule what
//! happened, and does what it answers.
//!
//! A task is in exactly one place: it waits, it is sent to one worker, or it is over. What a worker
//! has begun is never given to another, unless the task may be run again.

mod lanes;
mod seat;
mod slab;
mod staffing;
mod stopping;
mod task;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub(crate) use self::lanes::LaneId;
pub use self::lanes::Priority;
pub(crate) use self::seat::{AHEAD_MAX, Stage, WorkerId};
pub(crate) use self::slab::TaskId;
pub(crate) use self::staffing::WorkerEnd;
pub(crate) use self::stopping::{Overdue, StopStep};
pub(crate) use self::task::{Stop, Task, TaskOptions};

use self::lanes::Lanes;
use self::seat::Seat;
use self::slab::Slab;
use self::staffing::Staff;
use self::task::Phase;

/// What a pool was told when it was built.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// How many workers there are at least.
    pub(crate) workers_min: usize,
    /// How many workers there are at most.
    pub(crate) workers_max: usize,
    /// After how long without a task a worker above the least number ends.
    pub(crate) idle_timeout: Option<Duration>,
    /// After how many tasks a worker is replaced.
    pub(crate) tasks_max: Option<u32>,
    /// How many tasks may wait.
    pub(crate) queue_max: Option<usize>,
    /// How many tasks a worker is sent at once, if not as many as their run time suggests.
    pub(crate) ahead: Option<u32>,
    /// How long a task may run that was not given a time of its own.
    pub(crate) task_timeout: Option<Duration>,
}

/// A task on its way to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sending {
    pub(crate) worker: WorkerId,
    pub(crate) task: TaskId,
    /// Its number with this worker.
    pub(crate) seq: u64,
}

/// What becomes of the task that a lost worker ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// It is over: it was being stopped.
    Stopped(TaskId, Stop),
    /// It is over: it is not known how far it got.
    Unknown(TaskId),
    /// It is over: it has lost all the workers that it may, so many.
    Quarantined(TaskId, u32),
    /// It is run once more.
    Again(TaskId),
}

/// A worker told of a task that it does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Impossible;

/// All tasks and workers of a pool.
#[derive(Debug)]
pub(crate) struct Schedule<P> {
    tasks: Slab<Task<P>>,
    lanes: Lanes,
    seats: Vec<Option<Seat>>,
    staff: Staff,
    settings: Settings,
    /// How many tasks wait.
    waiting: usize,
    /// For how many tasks room is kept.
    reserved: usize,
    /// How many sent tasks have a time limit, or are being stopped.
    timed: usize,
    /// The shortest of all time limits so far.
    timeout_min: Option<Duration>,
}

impl<P> Schedule<P> {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            tasks: Slab::new(),
            lanes: Lanes::new(),
            seats: Vec::new(),
            staff: Staff::new(&settings),
            settings,
            waiting: 0,
            reserved: 0,
            timed: 0,
            timeout_min: None,
        }
    }

    pub(crate) fn open_lane(&mut self) -> LaneId {
        self.lanes.open()
    }

    pub(crate) fn close_lane(&mut self, lane: LaneId) {
        self.lanes.close(lane);
    }

    /// How many tasks wait to be sent.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many tasks workers have.
    pub(crate) fn outstanding(&self) -> usize {
        self.seats().map(|(_, seat)| seat.sent.len()).sum()
    }

    /// How many of the tasks that a worker has are such for which `has_begun`.
    pub(crate) fn begun(&self, worker: WorkerId, has_begun: impl Fn(u64) -> bool) -> usize {
        // It begins with them in order.
        self.seat(worker).map_or(0, |seat| {
            seat.sent.partition_point(|&(seq, _)| has_begun(seq))
        })
    }

    #[cfg(test)]
    /// How many tasks are kept, also those that are over.
    pub(crate) fn kept(&self) -> usize {
        self.tasks.len()
    }

    /// How many more tasks may be submitted.
    pub(crate) fn room(&self) -> usize {
        let max = self.settings.queue_max.unwrap_or(usize::MAX);
        max.saturating_sub(self.waiting + self.reserved)
    }

    #[cfg(any(test, feature = "tower"))]
    /// Keeps room for a task, if there is any.
    pub(crate) fn reserve(&mut self) -> bool {
        let has_room = self.room() > 0;
        self.reserved += usize::from(has_room);
        has_room
    }

    #[cfg(any(test, feature = "tower"))]
    /// Gives up room that was kept.
    pub(crate) fn unreserve(&mut self) {
        self.reserved -= 1;
    }

    /// Adds a task. Whether there is room is for the caller to have asked.
    pub(crate) fn submit(&mut self, lane: LaneId, options: &TaskOptions, payload: P) -> TaskId {
        let mut options = *options;
        options.timeout = options.timeout.or(self.settings.task_timeout);
        self.timeout_min = options.timeout.into_iter().chain(self.timeout_min).min();
        let id = self.tasks.insert(Task::new(lane, &options, payload));
        self.waiting += 1;
        match options.key {
            Some(key) => self.await_place(id, key, false),
            None => self.lanes.push(&mut self.tasks, id),
        }
        id
    }

    /// Adds a task that is over already.
    pub(crate) fn submit_over(&mut self, lane: LaneId, payload: P) -> TaskId {
        let id = self
            .tasks
            .insert(Task::new(lane, &TaskOptions::default(), payload));
        self.end(id);
        id
    }

    pub(crate) fn task(&self, id: TaskId) -> Option<&Task<P>> {
        self.tasks.get(id)
    }

    pub(crate) fn task_mut(&mut self, id: TaskId) -> Option<&mut Task<P>> {
        self.tasks.get_mut(id)
    }

    /// Lists the tasks that were submitted through a lane and are not forgotten.
    pub(crate) fn tasks_of(&self, lane: LaneId) -> Vec<TaskId> {
        let tasks = self.tasks.iter().filter(|(_, task)| task.lane == lane);
        tasks.map(|(id, _)| id).collect()
    }

    /// Forgets a task that is over.
    pub(crate) fn forget(&mut self, id: TaskId) -> Option<P> {
        let task = self.tasks.get(id)?;
        debug_assert!(task.is_over(), "a task is forgotten when it is over");
        self.tasks.remove(id).map(|task| task.payload)
    }

    /// Takes the next task to be sent, and says to whom.
    pub(crate) fn next(&mut self) -> Option<Sending> {
        if self.waiting == 0 {
            return None;
        }
        let any = (!self.lanes.is_empty())
            .then(|| self.least_loaded())
            .flatten();
        let (worker, task) = match any {
            Some(worker) => (worker, self.take_for(worker)?),
            None => self.take_keyed()?,
        };
        self.waiting -= 1;
        let is_timed = self.is_timed(task);
        self.timed += usize::from(is_timed);
        let seat = self.seat_mut(worker)?;
        let seq = seat.next_seq;
        seat.next_seq += 1;
        seat.taken += 1;
        seat.idle_since = None;
        seat.sent.push_back((seq, task));
        let phase = Phase::Sent { worker, seq };
        self.tasks.get_mut(task)?.phase = phase;
        self.retire_if_spent(worker);
        Some(Sending { worker, task, seq })
    }

    /// Picks a task that waits behind a busy worker's while another worker has nothing to do.
    ///
    /// If it has not begun, [`Schedule::revoked`] gets it back.
    pub(crate) fn stealable(&self) -> Option<Sending> {
        if !self.lanes.is_empty() {
            return None;
        }
        let idle = self
            .seats()
            .find(|(_, seat)| seat.is_idle() && self.has_room(seat))?;
        let (victim, seat) = self.seats().max_by_key(|(_, seat)| seat.sent.len())?;
        if victim == idle.0 {
            return None;
        }
        let mut ahead = seat.sent.iter().skip(1).rev();
        let (seq, task) = ahead.find(|(_, task)| {
            let task = self.tasks.get(*task);
            task.is_some_and(|task| task.key().is_none() && task.stopping().is_none())
        })?;
        Some(Sending {
            worker: victim,
            task: *task,
            seq: *seq,
        })
    }

    /// Lists what a worker has beside the task that it runs, the last first.
    pub(crate) fn ahead_of(&self, worker: WorkerId) -> Vec<Sending> {
        let sent = self.seat(worker).into_iter().flat_map(|seat| &seat.sent);
        let mut ahead: Vec<_> = sent
            .skip(1)
            .map(|&(seq, task)| Sending { worker, task, seq })
            .collect();
        ahead.reverse();
        ahead
    }

    /// Notes that a task was taken back before it had begun; it waits again.
    pub(crate) fn revoked(&mut self, sending: Sending) {
        if self.unsend(sending) {
            self.wait_again(sending.task);
        }
    }

    /// Notes that there was no room for a task; it waits again, and others for that room.
    pub(crate) fn unsent(&mut self, sending: Sending) {
        self.undo(sending);
        if let Some(seat) = self.seat_mut(sending.worker) {
            seat.is_full = true;
        }
        self.wait_again(sending.task);
    }

    /// Has all workers be tried again that had no room.
    pub(crate) fn try_all_again(&mut self) {
        for seat in self.seats.iter_mut().flatten() {
            seat.is_full = false;
        }
    }

    /// Notes that a task can never be sent: it is over.
    pub(crate) fn unsendable(&mut self, sending: Sending) {
        self.undo(sending);
        self.end(sending.task);
    }

    /// Takes back the last task that [`Schedule::next`] gave, and its number with it.
    fn undo(&mut self, sending: Sending) {
        self.unsend(sending);
        if let Some(seat) = self.seat_mut(sending.worker) {
            seat.next_seq = sending.seq;
        }
    }

    /// Notes that a task was taken back before it had begun, and is over.
    pub(crate) fn withdrawn(&mut self, sending: Sending) {
        if self.unsend(sending) {
            self.end(sending.task);
        }
    }

    /// Notes that a worker has done a task: it is over. Says also if it was being stopped.
    pub(crate) fn returned(
        &mut self,
        worker: WorkerId,
        seq: u64,
        run_time: Duration,
    ) -> Result<(TaskId, Option<Stop>), Impossible> {
        let seat = self.seats.get_mut(worker.index()).and_then(Option::as_mut);
        let seat = seat.ok_or(Impossible)?;
        // What was revoked is no longer among them, and the rest is done in order.
        let Some(&(first, task)) = seat.sent.front() else {
            return Err(Impossible);
        };
        if first != seq {
            return Err(Impossible);
        }
        seat.sent.pop_front();
        seat.is_full = false;
        seat.done += 1;
        seat.window.note(run_time);
        Ok((task, self.end_sent(task)))
    }

    /// Who has a task, and under which number.
    pub(crate) fn place_of(&self, id: TaskId) -> Option<(WorkerId, u64)> {
        match self.tasks.get(id)?.phase {
            Phase::Sent { worker, seq } => Some((worker, seq)),
            _ => None,
        }
    }

    /// The task that a worker can be at work on, if it has this number.
    pub(crate) fn running(&self, worker: WorkerId, seq: u64) -> Option<TaskId> {
        let first = self.seat(worker)?.sent.front();
        first
            .filter(|&&(first, _)| first == seq)
            .map(|&(_, task)| task)
    }

    /// Notes that a worker is gone, having begun those of its tasks for which `has_begun`.
    ///
    /// What it had not begun waits again, in the same order.
    pub(crate) fn lost(
        &mut self,
        worker: WorkerId,
        end: WorkerEnd,
        has_begun: impl Fn(u64) -> bool,
    ) -> Vec<Lost> {
        let Some(seat) = self.seats.get_mut(worker.index()).and_then(Option::take) else {
            return Vec::new();
        };
        self.staff.vacate(seat.place, worker);
        let has_worked = seat.done > 0 || seat.sent.iter().any(|&(seq, _)| has_begun(seq));
        self.staff.note_end(seat.stage, end, has_worked);
        let mut outcomes = Vec::new();
        for &(seq, id) in seat.sent.iter().rev() {
            if has_begun(seq) {
                outcomes.push(self.lost_task(id));
                continue;
            }
            self.timed -= usize::from(self.is_timed(id));
            match self.tasks.get(id).and_then(Task::stopping) {
                Some(stopping) => {
                    self.end(id);
                    outcomes.push(Lost::Stopped(id, stopping.why));
                }
                None => self.wait_again(id),
            }
        }
        outcomes
    }

    fn lost_task(&mut self, id: TaskId) -> Lost {
        if let Some(why) = self.end_sent(id) {
            return Lost::Stopped(id, why);
        }
        let Some(task) = self.tasks.get_mut(id) else {
            return Lost::Unknown(id);
        };
        if task
            .extras
            .as_ref()
            .is_none_or(|extras| extras.retries == 0)
        {
            return Lost::Unknown(id);
        }
        let extras = task.extras_mut();
        extras.kills += 1;
        if extras.kills > extras.retries {
            return Lost::Quarantined(id, extras.kills);
        }
        self.wait_again(id);
        Lost::Again(id)
    }

    /// Ends all tasks that wait.
    pub(crate) fn end_waiting(&mut self) -> Vec<TaskId> {
        let mut ended = Vec::new();
        while let Some(id) = self.lanes.pop(&mut self.tasks) {
            ended.push(id);
        }
        for place in &mut self.staff.places {
            while let Some(id) = self.tasks.pop_front(&mut place.keyed) {
                ended.push(id);
            }
        }
        self.waiting -= ended.len();
        for &id in &ended {
            self.end(id);
        }
        ended
    }

    /// How many tasks are best submitted ahead of their results, to keep the workers busy.
    pub(crate) fn ahead_wanted(&self) -> usize {
        let windows = self.seats().map(|(_, seat)| self.window(seat) as usize + 1);
        2 * windows.sum::<usize>().max(1)
    }

    /// Whether a task waits or was sent that has a time limit or is being stopped.
    fn is_timed(&self, id: TaskId) -> bool {
        let task = self.tasks.get(id);
        task.is_some_and(|task| task.timeout().is_some() || task.stopping().is_some())
    }

    /// Puts a task in front of all others that wait.
    fn wait_again(&mut self, id: TaskId) {
        self.waiting += 1;
        match self.tasks.get(id).and_then(Task::key) {
            Some(key) => self.await_place(id, key, true),
            None => {
                self.lanes.push_again(&mut self.tasks, id);
                self.set_phase(id, Phase::WaitingAgain);
            }
        }
    }

    fn await_place(&mut self, id: TaskId, key: u64, is_again: bool) {
        let place = self.staff.place_of(key);
        let queue = &mut self.staff.places[place].keyed;
        if is_again {
            self.tasks.push_front(queue, id);
        } else {
            self.tasks.push_back(queue, id);
        }
        self.set_phase(id, Phase::WaitingForPlace);
    }

    /// Takes out a task that waits.
    fn take_out(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get(id) else {
            return;
        };
        self.waiting -= 1;
        match (task.phase, task.key()) {
            (Phase::WaitingForPlace, Some(key)) => {
                let place = self.staff.place_of(key);
                self.tasks.take_out(&mut self.staff.places[place].keyed, id);
            }
            (phase, _) => {
                let is_again = phase == Phase::WaitingAgain;
                self.lanes.take_out(&mut self.tasks, id, is_again);
            }
        }
    }

    /// Takes back what was sent; false if the worker does not have it.
    fn unsend(&mut self, sending: Sending) -> bool {
        let is_timed = self.is_timed(sending.task);
        let Some(seat) = self.seat_mut(sending.worker) else {
            return false;
        };
        let mut sent = seat.sent.iter();
        let Some(index) = sent.rposition(|&(seq, _)| seq == sending.seq) else {
            return false;
        };
        seat.sent.remove(index);
        seat.taken -= 1;
        self.timed -= usize::from(is_timed);
        true
    }

    /// Ends a task that was sent, and says if it was being stopped.
    fn end_sent(&mut self, id: TaskId) -> Option<Stop> {
        self.timed -= usize::from(self.is_timed(id));
        self.end(id);
        let task = self.tasks.get(id)?;
        task.stopping().map(|stopping| stopping.why)
    }

    fn end(&mut self, id: TaskId) {
        self.set_phase(id, Phase::Over);
    }

    fn set_phase(&mut self, id: TaskId, phase: Phase) {
        if let Some(task) = self.tasks.get_mut(id) {
            task.phase = phase;
        }
    }

    fn seats(&self) -> impl Iterator<Item = (WorkerId, &Seat)> {
        let seats = (0..).map(WorkerId).zip(&self.seats);
        seats.filter_map(|(id, seat)| Some((id, seat.as_ref()?)))
    }

    fn seat(&self, worker: WorkerId) -> Option<&Seat> {
        self.seats.get(worker.index())?.as_ref()
    }

    fn seat_mut(&mut self, worker: WorkerId) -> Option<&mut Seat> {
        self.seats.get_mut(worker.index())?.as_mut()
    }
}
