//! The acting half of a pool: it does what the schedule decides.
//!
//! All of it is behind one mutex, which is taken once for as much as there is to do. Whoever submits
//! puts tasks into the workers' memory himself, and whoever waits takes the results out. Two threads
//! help: the *pump* takes results where nobody waits, and the *keeper* sees to starts, deaths and
//! time.

mod ending;
mod hand;
mod keeper;
mod moving;
mod room;
mod stopping;
mod submitting;
mod waiting;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use hatchery_process::{Doorbell, ResultWatch, TaskFunctions};

#[cfg(feature = "tower")]
pub(super) use self::ending::Ending;
pub(super) use self::keeper::Plan;
pub(super) use self::submitting::{Job, Refusal};
pub(super) use self::waiting::{Wish, WishOf, own_waker};

#[cfg(not(feature = "tower"))]
use self::ending::Ending;
use self::hand::Hand;
use self::keeper::Alarm;
use super::error::PoolStartError;
use super::payload::{CollectorId, Content, Payload};
use super::schedule::{Schedule, Settings, TaskId, WorkerId};

/// A pool.
#[derive(Debug)]
pub(super) struct Engine {
    state: Mutex<State>,
    doorbell: Doorbell,
    /// Wakes the keeper.
    alarm: Alarm,
    /// Changes when something has happened that no worker tells of.
    news: AtomicU32,
    plan: Plan,
}

/// All of a pool that changes.
#[derive(Debug)]
pub(super) struct State {
    pub(super) schedule: Schedule<Payload>,
    /// The workers, by their numbers.
    hands: Vec<Option<Hand>>,
    functions: TaskFunctions,
    /// Tells whether any worker has put a result.
    watches: Arc<[ResultWatch]>,
    /// Whether a thread is in the leader's place.
    has_leader: bool,
    /// Threads that wait, and could lead.
    followers: Vec<Waker>,
    /// Who waits for room.
    room_waiters: Vec<Waker>,
    collectors: Vec<Option<Collector>>,
    streams: HashMap<TaskId, Items>,
    /// Who is to be woken when the lock has been given up.
    woken: Vec<Waker>,
    needs_keeper: bool,
    /// Whether the keeper knows that it is needed.
    keeper_is_called: bool,
    /// Whether the keeper looks at the time.
    keeper_has_timer: bool,
    pub(super) counts: Counts,
    ending: Ending,
    /// Who waits for the pool's end, or for its beginning.
    milestone_wakers: Vec<Waker>,
    /// Who waits for any task to be over.
    progress_wakers: Vec<Waker>,
    /// Why the first of all workers are not there.
    start_error: Option<PoolStartError>,
    /// Why no worker could be started lately.
    last_failure: String,
    /// How long a task that is asked to stop may take.
    stop_grace: Duration,
    /// For the bytes of a result.
    buffer: Vec<u8>,
}

/// How many tasks have come to which end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) done: u64,
    pub(super) failed: u64,
}

/// Takes the results of many tasks in the order in which they come.
#[derive(Debug, Default)]
struct Collector {
    finished: Vec<TaskId>,
    waker: Option<Waker>,
}

/// What a task has put of its stream.
#[derive(Debug)]
struct Items {
    waiting: std::collections::VecDeque<Content>,
    waker: Option<Waker>,
    /// How many were taken.
    taken: u32,
    /// How many the task may put in all.
    granted: u32,
}

impl Engine {
    /// Makes a pool and starts its threads, which start its workers.
    pub(super) fn start(settings: Settings, plan: Plan) -> io::Result<Arc<Self>> {
        let doorbell = Doorbell::new().map_err(io::Error::other)?;
        let engine = Arc::new(Self {
            state: Mutex::new(State::new(settings, plan.stop_grace)),
            doorbell,
            alarm: Alarm::new()?,
            news: AtomicU32::new(0),
            plan,
        });
        let keeper = Arc::clone(&engine);
        start_thread("pool-keeper", move || keeper.keep())?;
        let pump = Arc::clone(&engine);
        if let Err(error) = start_thread("pool-pump", move || pump.pump()) {
            engine.terminate();
            return Err(error);
        }
        Ok(engine)
    }

    /// Does something under the lock, and afterwards what has to be done without.
    #[inline]
    pub(super) fn turn<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let outcome = act(&mut state);
        let woken = std::mem::take(&mut state.woken);
        let calls_keeper = state.needs_keeper && !state.keeper_is_called;
        state.needs_keeper = false;
        state.keeper_is_called |= calls_keeper;
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        if calls_keeper {
            self.alarm.ring();
        }
        outcome
    }

    /// Has whoever waits look again, for something has changed that no worker tells of.
    fn tell_news(&self) {
        self.news.fetch_add(1, Ordering::SeqCst);
        self.doorbell.ring_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing of the user's runs while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new(settings: Settings, stop_grace: Duration) -> Self {
        Self {
            schedule: Schedule::new(settings),
            hands: Vec::new(),
            functions: TaskFunctions::default(),
            watches: Arc::new([]),
            has_leader: false,
            followers: Vec::new(),
            room_waiters: Vec::new(),
            collectors: Vec::new(),
            streams: HashMap::new(),
            woken: Vec::new(),
            needs_keeper: false,
            keeper_is_called: false,
            keeper_has_timer: false,
            counts: Counts::default(),
            ending: Ending::Open,
            milestone_wakers: Vec::new(),
            progress_wakers: Vec::new(),
            start_error: None,
            last_failure: String::new(),
            stop_grace,
            buffer: Vec::new(),
        }
    }

    fn hand(&mut self, worker: WorkerId) -> Option<&mut Hand> {
        self.hands.get_mut(worker.index())?.as_mut()
    }

    /// Gives a task its result. The schedule has ended it.
    fn resolve(&mut self, id: TaskId, content: Content) {
        match content.is_failed() {
            true => self.counts.failed += 1,
            false => self.counts.done += 1,
        }
        self.woken.append(&mut self.progress_wakers);
        let Some(task) = self.schedule.task_mut(id) else {
            return;
        };
        let payload = &mut task.payload;
        payload.content = content;
        self.woken.extend(payload.waker.take());
        let is_detached = payload.is_detached;
        if let Some(collector) = payload.collector {
            self.collect(collector, id);
        } else if is_detached {
            self.schedule.forget(id);
        }
        if let Some(items) = self.streams.get_mut(&id) {
            self.woken.extend(items.waker.take());
        }
    }

    fn collect(&mut self, id: CollectorId, task: TaskId) {
        let collector = self.collectors.get_mut(id.0 as usize);
        let Some(collector) = collector.and_then(Option::as_mut) else {
            // Nobody collects any more.
            self.schedule.forget(task);
            return;
        };
        collector.finished.push(task);
        self.woken.extend(collector.waker.take());
    }

    /// Tells those who wait for the pool as a whole.
    fn reach_milestone(&mut self) {
        self.woken.append(&mut self.milestone_wakers);
    }
}

fn start_thread(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(run).map(drop)
}

/// Whether the time is up.
fn is_past(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}
