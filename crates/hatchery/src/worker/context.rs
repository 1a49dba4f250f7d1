//! What a worker knows of itself, for as long as its process lives.

use std::any::{Any, type_name};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use hatchery_process::{Farewell, FromWorker, WorkerLink};
use tokio::sync::{Notify, watch};

use super::FAILED;
use super::access::Access;
use super::breaking_off::BrokenOff;
use super::clocks::Clocks;
use super::connection::ConnectionInfo;
use super::title::Title;
use crate::metrics::{Page, Tally, clock_nanos};

/// The longest complaint that is sent to the front end.
const COMPLAINT_BYTES_MAX: usize = 2048;

/// The state that the program gave its workers.
pub(super) static STATE: OnceLock<Box<dyn Any + Send + Sync>> = OnceLock::new();

/// The worker that this process is, once it is set up.
static CURRENT: OnceLock<&'static Context> = OnceLock::new();

/// Wishes the worker that this process is to be replaced; false if it is no worker.
///
/// The worker goes on as before until its successor is ready. Then it gets nothing more, finishes
/// what it has, and ends. A handler says this that knows of a leak or of damage: its own connection
/// goes on. A second wish changes nothing.
pub fn retire_worker() -> bool {
    let worker = CURRENT.get();
    if let Some(worker) = worker {
        worker.tell_retire();
    }
    worker.is_some()
}

/// The worker that this process is, if it is one.
pub(super) fn current() -> Option<&'static Context> {
    CURRENT.get().copied()
}

/// Counts one more in the worker that this process is.
pub(super) fn count(what: Tally) {
    if let Some(worker) = current() {
        worker.page.count(what, 1);
    }
}

/// The number of the worker that this process is.
pub(super) fn seat() -> Option<u32> {
    current().map(|worker| worker.seat)
}

/// One worker: there is one in a process, and it is never dropped.
#[derive(Debug)]
pub(crate) struct Context {
    pub(super) link: WorkerLink,
    /// What this worker counts.
    pub(super) page: &'static Page,
    /// What `ps` shows of it.
    pub(super) title: Title,
    pub(super) seat: u32,
    pub(super) generation: u32,
    /// How many connections its descriptor table has room for.
    pub(super) room: u32,
    /// The listeners it accepts from, where workers accept themselves, until it has a runtime.
    pub(super) listeners: Mutex<Vec<OwnedFd>>,
    /// By when handlers should be done.
    pub(super) clocks: Clocks,
    /// How far this worker is on its way out, for whoever awaits that.
    pub(super) farewell: watch::Sender<Farewell>,
    /// The sockets of handlers that were broken off.
    pub(super) broken_off: Mutex<Vec<BrokenOff>>,
    /// Rung by the front end when it asks or tells something, until whoever listens has it.
    pub(super) bell: Mutex<Option<OwnedFd>>,
    /// What keeps it from accepting until it can be read, if anything does.
    pub(super) gate: Mutex<Option<OwnedFd>>,
    pub(super) is_direct: bool,
    /// Whether it is scheduled as batch work, if it does not block.
    pub(super) is_batch: bool,
    /// Whether it logs each connection that is over.
    pub(super) logs_access: bool,
    /// How many connections it may have where it accepts for itself.
    pub(super) direct_share: u32,
    /// Its connections.
    live: AtomicU32,
    /// Tells of a connection that ended, when somebody waits for that.
    ended: Notify,
    /// The task that accepts, while this worker has as many connections as it may.
    acceptor: Mutex<Option<Waker>>,
    /// Whether anybody has ever waited for an end: mostly nobody does.
    is_awaited: AtomicBool,
    /// Whether it has said that it wishes to be replaced.
    has_retired: AtomicBool,
    /// Whether it is to finish what it has.
    is_draining: AtomicBool,
}

impl Context {
    /// Makes this process known as a worker.
    pub(super) fn install(&'static self) {
        let installed = CURRENT.set(self);
        assert!(installed.is_ok(), "a worker is set up once");
    }

    pub(super) fn new(
        link: WorkerLink,
        page: &'static Page,
        (seat, generation): (u32, u32),
    ) -> Self {
        Self {
            link,
            page,
            title: Title::none(),
            seat,
            generation,
            room: u32::MAX,
            listeners: Mutex::default(),
            clocks: Clocks::default(),
            farewell: watch::Sender::default(),
            broken_off: Mutex::default(),
            bell: Mutex::default(),
            gate: Mutex::default(),
            is_direct: false,
            is_batch: false,
            logs_access: false,
            direct_share: u32::MAX,
            live: AtomicU32::new(0),
            ended: Notify::new(),
            acceptor: Mutex::new(None),
            is_awaited: AtomicBool::new(false),
            has_retired: AtomicBool::new(false),
            is_draining: AtomicBool::new(false),
        }
    }

    /// The worker that this process is, if it is one.
    pub(super) fn current() -> Option<&'static Self> {
        CURRENT.get().copied()
    }

    /// Waits until this worker is so far on its way out.
    pub(super) async fn until(&self, farewell: Farewell) {
        let mut told = self.farewell.subscribe();
        // The sender lives as long as the process.
        let _told = told.wait_for(|so_far| *so_far >= farewell).await;
    }

    /// Tells the front end that this worker can be used.
    pub(super) fn tell_ready(&self) {
        self.link.tell(&FromWorker::Ready { room: self.room });
    }

    /// Tells the front end that this worker wishes to be replaced.
    pub(super) fn tell_retire(&self) {
        if !self.has_retired.swap(true, Ordering::Relaxed) {
            self.link.tell(&FromWorker::Retire);
        }
    }

    /// Tells the front end why this worker ends, and returns its exit code.
    pub(super) fn fail(&self, reason: &str) -> u8 {
        let reason = &reason[..reason.floor_char_boundary(COMPLAINT_BYTES_MAX)];
        self.link.tell(&FromWorker::Failed(reason.to_owned()));
        FAILED
    }

    pub(super) fn note_drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// Whether this worker is to finish what it has.
    pub(super) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    pub(super) fn connection_began(&self) {
        self.live.fetch_add(1, Ordering::SeqCst);
        self.title.count_changed();
        self.page.count(Tally::Taken, 1);
    }

    /// Begins what the access log says of a connection, if there is one.
    pub(super) fn begin_access(
        &self,
        info: ConnectionInfo,
        knows_bytes: bool,
    ) -> Option<Arc<Access>> {
        let begin = || Arc::new(Access::new(self.seat, info, knows_bytes));
        self.logs_access.then(begin)
    }

    /// Notes that connections have arrived that were sent at this time.
    pub(super) fn arrived(&self, sent_at: u64) {
        let time = clock_nanos().saturating_sub(sent_at);
        self.page.was_on_the_way(Duration::from_nanos(time));
    }

    /// Notes that a connection is no more in this worker's hands, after this time.
    pub(super) fn connection_ended(&self, held: Duration) {
        self.page.count(Tally::Finished, 1);
        self.page.held(held);
        self.connection_left();
    }

    /// Notes that this worker has one connection less, which may have gone to another as it came.
    pub(super) fn connection_left(&self) {
        self.live.fetch_sub(1, Ordering::SeqCst);
        self.title.count_changed();
        if !self.is_awaited.load(Ordering::SeqCst) {
            return;
        }
        self.ended.notify_waiters();
        let acceptor = self
            .acceptor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(waker) = acceptor {
            waker.wake();
        }
    }

    /// How many connections this worker has.
    pub(super) fn live(&self) -> u32 {
        self.live.load(Ordering::SeqCst)
    }

    /// Wakes a task when the next connection ends.
    pub(super) fn wake_when_ended(&self, waker: &Waker) {
        *self.acceptor.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
        self.is_awaited.store(true, Ordering::SeqCst);
    }

    /// Waits until this worker has no connection.
    pub(super) async fn all_ended(&self) {
        self.is_awaited.store(true, Ordering::SeqCst);
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            // From here on an end is noticed, so that the look at the count cannot miss one.
            ended.as_mut().enable();
            if self.live() == 0 {
                return;
            }
            ended.await;
        }
    }
}

/// The state, as the type that the program gave.
///
/// # Panics
///
/// Panics if the server was built without [`state`](crate::ServerBuilder::state), or with one of
/// another type.
pub(super) fn state<T: Any>() -> &'static T {
    let state = STATE.get().and_then(|state| state.downcast_ref());
    state.unwrap_or_else(|| {
        panic!(
            "the server has no state of the type {}: give it one with ServerBuilder::state",
            type_name::<T>()
        )
    })
}
