//! The keeper: the thread that starts workers, learns of their deaths, and looks at the time.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{self, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hatchery_process::{Child, Entry, Parcel, Program, StartError, TaskFate, TaskSender};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::process::{PidfdFlags, Signal, getpid, pidfd_open};

use super::hand::Hand;
use super::moving::stopped;
use super::{Ending, Engine, State};
use crate::pool::error::{PoolStartError, TaskError};
use crate::pool::payload::Content;
use crate::pool::schedule::{Lost, Stage, TaskId, WorkerEnd, WorkerId};
use crate::pool::worker::{WorkerOpening, worker_entry};
use crate::process::current_process;

/// How long a pool may be without its keeper looking: for the sake of what nobody could tell of.
const LOOK: Duration = Duration::from_secs(1);

/// The pause where the kernel gives nothing to wait with.
const PAUSE: Duration = Duration::from_millis(10);

/// How workers are started and ended.
#[derive(Debug)]
pub(in crate::pool) struct Plan {
    pub(in crate::pool) name: String,
    pub(in crate::pool) initializer: Option<(Entry, Parcel)>,
    /// How long a task that is asked to stop may take.
    pub(in crate::pool) stop_grace: Duration,
}

/// What wakes the keeper.
#[derive(Debug)]
pub(super) struct Alarm(OwnedFd);

impl Alarm {
    pub(super) fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self(eventfd(0, flags)?))
    }

    pub(super) fn ring(&self) {
        // If there is no room for one more, it rings already.
        let _rings = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    fn stop_ringing(&self) {
        let _silent = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

/// What the keeper is to do outside of the lock.
struct Round {
    starts: Vec<(WorkerId, usize)>,
    children: Vec<(WorkerId, Arc<Child>)>,
    due: Option<Instant>,
    is_over: bool,
}

impl Engine {
    /// Keeps the pool until it has ended.
    pub(super) fn keep(&self) {
        loop {
            let round = self.turn(|state| state.round(Instant::now()));
            if round.is_over {
                self.tell_news();
                return;
            }
            let has_started = !round.starts.is_empty();
            for (worker, place) in round.starts {
                self.start_worker(worker, place);
            }
            if has_started {
                continue;
            }
            for worker in self.wait_for_deaths(&round.children, round.due) {
                self.bury(worker);
            }
        }
    }

    /// Waits until there is something to do; returns the workers that may have ended.
    fn wait_for_deaths(
        &self,
        children: &[(WorkerId, Arc<Child>)],
        due: Option<Instant>,
    ) -> Vec<WorkerId> {
        let mut sources = vec![PollFd::new(&self.alarm.0, PollFlags::IN)];
        let ends = children.iter().map(|(_, child)| child.wait_source());
        sources.extend(ends.map(|source| PollFd::from_borrowed_fd(source, PollFlags::IN)));
        let left = due.map(|due| due.saturating_duration_since(Instant::now()));
        let left = left.unwrap_or(LOOK).min(LOOK);
        // Rounded up, so that it is due then.
        let left = left + Duration::from_micros(50);
        let ready = poll(&mut sources, Timespec::try_from(left).ok().as_ref());
        if ready.is_err_and(|error| error != rustix::io::Errno::INTR) {
            let _paused = poll(&mut [], Timespec::try_from(PAUSE).ok().as_ref());
        }
        self.alarm.stop_ringing();
        let ended = sources[1..].iter().zip(children);
        let ended = ended.filter(|(source, _)| !source.revents().is_empty());
        ended.map(|(_, &(worker, _))| worker).collect()
    }

    fn start_worker(&self, worker: WorkerId, place: usize) {
        let launched = self.launch(place);
        self.turn(|state| match launched {
            Ok((sender, child)) => state.hire(worker, Hand::new(sender, child)),
            Err(error) => state.not_started(worker, error),
        });
        // Those who wait are to watch this worker as well.
        self.tell_news();
    }

    /// Starts the process of a worker.
    fn launch(&self, place: usize) -> Result<(TaskSender, Child), StartError> {
        let (sender, end) = TaskSender::new(&self.doorbell)
            .map_err(|error| StartError::Os(io::Error::other(error)))?;
        let this = pidfd_open(getpid(), PidfdFlags::empty())
            .map_err(|error| StartError::Os(error.into()))?;
        let parent = current_process();
        let name = format!("{}-{place}", self.plan.name);
        let initializer = self.plan.initializer.as_ref();
        let arguments = initializer.map_or(&[][..], |(_, arguments)| &arguments.bytes);
        let opening = WorkerOpening {
            name: &name,
            index: u32::try_from(place).expect("there are fewer workers than that"),
            parent_name: parent.name(),
            parent_pid: process::id(),
            arguments,
        };
        let bytes = opening.encode();
        let passed = initializer
            .into_iter()
            .flat_map(|(_, arguments)| &arguments.descriptors);
        let mut descriptors: Vec<BorrowedFd<'_>> = vec![this.as_fd()];
        descriptors.extend(passed.map(AsFd::as_fd));
        let functions: Vec<Entry> = initializer.map(|(entry, _)| *entry).into_iter().collect();
        let program = Program {
            bytes: &bytes,
            descriptors: &descriptors,
            functions: &functions,
            ..Program::new(&name, worker_entry())
        };
        let start = || end.begin(program)?.finish();
        let child = match start() {
            Err(StartError::ForkServerLost) => start(),
            outcome => outcome,
        };
        Ok((sender, child?))
    }

    /// Sees to what a worker leaves, if it has ended.
    fn bury(&self, worker: WorkerId) {
        let is_buried = self.turn(|state| {
            let status = state.hand(worker).and_then(|hand| hand.ended());
            if let Some(status) = status {
                state.bury(worker, status);
            }
            status.is_some()
        });
        if is_buried {
            self.tell_news();
        }
    }
}

impl State {
    /// Decides what the keeper does next.
    fn round(&mut self, now: Instant) -> Round {
        self.keeper_is_called = false;
        let overdue = self.stop_overdue(now);
        let idle = self.schedule.retire_idle(now);
        let leaving = self.see_off(now);
        let mut starts = Vec::new();
        while let Some(worker) = self.schedule.next_start(now) {
            let place = self.schedule.worker(worker).map_or(0, |view| view.place);
            starts.push((worker, place));
        }
        self.fill();
        self.needs_keeper = false;
        self.keeper_has_timer = self.schedule.is_any_timed();
        let overdue = overdue.filter(|_| self.keeper_has_timer);
        let due = [overdue, idle, leaving, self.schedule.start_due()];
        let children = (0..).map(WorkerId::of).zip(&self.hands);
        let children = children
            .filter_map(|(id, hand)| Some((id, Arc::clone(&hand.as_ref()?.child))))
            .collect();
        let is_over = self.is_over();
        if is_over {
            self.reach_milestone();
        }
        Round {
            starts,
            children,
            due: due.into_iter().flatten().min(),
            is_over,
        }
    }

    /// Tells workers to end that are not needed, and kills those that have not; says when to look again.
    fn see_off(&mut self, now: Instant) -> Option<Instant> {
        let until = now + self.stop_grace;
        for worker in self.schedule.leaving() {
            if let Some(hand) = self.hand(worker) {
                hand.leave(until);
            }
        }
        let mut next: Option<Instant> = None;
        for hand in self.hands.iter_mut().flatten() {
            match hand.leaves_until {
                Some(until) if until <= now => {
                    hand.leaves_until = None;
                    hand.kill();
                }
                until => next = next.into_iter().chain(until).min(),
            }
        }
        next
    }

    /// Takes in a worker whose process was started.
    fn hire(&mut self, worker: WorkerId, mut hand: Hand) {
        let is_leaving = self
            .schedule
            .worker(worker)
            .is_none_or(|view| view.stage == Stage::Leaving);
        if self.ending == Ending::Terminated {
            hand.kill();
        } else if is_leaving {
            hand.leave(Instant::now() + self.stop_grace);
        }
        let index = worker.index();
        if self.hands.len() <= index {
            self.hands.resize_with(index + 1, || None);
        }
        self.hands[index] = Some(hand);
        self.watch_all();
    }

    pub(super) fn worker_ready(&mut self, worker: WorkerId) {
        self.schedule.ready(worker);
        self.reach_milestone();
    }

    /// Notes that the process of a worker was not started.
    fn not_started(&mut self, worker: WorkerId, error: StartError) {
        tracing::warn!(
            error = crate::error::with_causes(&error),
            "a pool's worker was not started"
        );
        self.last_failure = crate::error::with_causes(&error);
        self.start_error = Some(error.into());
        let end = WorkerEnd {
            by_itself: true,
            at: Instant::now(),
        };
        self.schedule.lost(worker, end, |_| false);
        self.despair();
        self.reach_milestone();
    }

    /// Sees to what a worker leaves that has ended.
    fn bury(&mut self, worker: WorkerId, status: Option<ExitStatus>) {
        self.drain_all(worker);
        let Some(hand) = self.hands.get_mut(worker.index()).and_then(Option::take) else {
            return;
        };
        self.watch_all();
        let signal = status.and_then(|status| status.signal());
        let exit = status.and_then(|status| status.code());
        let stage = self.schedule.worker(worker).map(|view| view.stage);
        if stage == Some(Stage::Starting) {
            self.note_failed_start(&hand, signal, exit);
        }
        let by_others = [Signal::KILL, Signal::TERM, Signal::INT].map(Signal::as_raw);
        let end = WorkerEnd {
            by_itself: !hand.was_killed
                && !signal.is_some_and(|signal| by_others.contains(&signal)),
            at: Instant::now(),
        };
        let begun = |seq| hand.sender.fate(seq) == TaskFate::Started;
        for lost in self.schedule.lost(worker, end, begun) {
            self.resolve_lost(lost, |task| TaskError::WorkerLost {
                signal,
                exit,
                task: task.number(),
            });
        }
        self.despair();
        self.reach_milestone();
        self.fill();
    }

    fn note_failed_start(&mut self, hand: &Hand, signal: Option<i32>, exit: Option<i32>) {
        let error = match &hand.failure {
            Some(reason) => PoolStartError::Initializer(reason.clone()),
            None => PoolStartError::WorkerLost { signal, exit },
        };
        self.last_failure = error.to_string();
        if self.ending == Ending::Open {
            tracing::warn!(%error, "a pool's worker did not start");
        }
        self.start_error = Some(error);
    }

    fn resolve_lost(&mut self, lost: Lost, why: impl Fn(TaskId) -> TaskError) {
        let is_terminated = self.ending == Ending::Terminated;
        let (task, content) = match lost {
            Lost::Again(_) => return,
            Lost::Stopped(task, why) => (task, stopped(why)),
            Lost::Unknown(task) | Lost::Quarantined(task, _) if is_terminated => {
                (task, Content::failed(TaskError::PoolClosed))
            }
            Lost::Unknown(task) => (task, Content::failed(why(task))),
            Lost::Quarantined(task, kills) => {
                (task, Content::failed(TaskError::Quarantined { kills }))
            }
        };
        self.resolve(task, content);
    }

    /// Ends the tasks that would wait for ever, or too long.
    fn despair(&mut self) {
        if self.ending == Ending::Terminated {
            self.end_waiting(&TaskError::PoolClosed);
        } else if self.schedule.is_hopeless() {
            let reason = self.last_failure.clone();
            self.end_waiting(&TaskError::NoWorkers { reason });
        }
    }

    /// Has those who wait watch the workers that there are now.
    fn watch_all(&mut self) {
        let hands = self.hands.iter().flatten();
        self.watches = hands.map(|hand| hand.sender.watch()).collect();
    }

    /// How the start of the pool went, once that is known.
    pub(in crate::pool) fn started(&mut self) -> Option<Result<(), PoolStartError>> {
        if let Some(error) = self.start_error.take() {
            return Some(Err(error));
        }
        self.schedule.is_complete().then_some(Ok(()))
    }
}
