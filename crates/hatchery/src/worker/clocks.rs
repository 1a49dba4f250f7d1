//! The clocks of connections: by when a handler should be done, and by when it must.
//!
//! The soft deadline is told by a thread of its own, since a handler that is past it may well keep
//! the loop. The hard one is only written down here: the front end reads it and kills. Where neither
//! is set, there is no clock and no thread.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use hatchery_process::{Entry, FromWorker, Peer, Start, monotonic};
use serde::{Deserialize, Serialize};

use super::connection::ConnectionInfo;
use super::context::Context;
use crate::whereabouts::Whereabouts;

/// The shortest and the longest time between two looks at what is past its soft deadline.
const LOOKS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));

/// How many looks there are in a soft deadline.
const LOOKS_PER_DEADLINE: u32 = 16;

/// A connection whose handler is not done with it by its soft deadline.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SoftDeadline {
    connection: u64,
    listener: u16,
    peer: Peer,
    age: Duration,
    worker: u32,
    place: String,
}

impl SoftDeadline {
    /// The number of the connection, as it is logged.
    #[must_use]
    pub fn connection(&self) -> u64 {
        self.connection
    }

    /// Which of the server's addresses it came in by, counted from 0.
    #[must_use]
    pub fn listener(&self) -> usize {
        usize::from(self.listener)
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// How long the handler has had the connection.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.age
    }

    /// Which worker has it, as [`Worker::id`](crate::Worker::id) says.
    #[must_use]
    pub fn worker(&self) -> u32 {
        self.worker
    }

    /// Where the thread that runs the worker's handlers is, in words.
    ///
    /// It is "runs" where a handler computes, and "sleeps in" with a function of the kernel where it
    /// blocks, or where the worker waits for events, and so the handler, too.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }
}

/// Makes an entry of the program's callback.
pub(crate) fn soft_hook<F>(hook: F) -> Entry
where
    F: Fn(&SoftDeadline) + Copy + Send + Sync + 'static,
{
    Entry::new(move |start: Start| {
        let passed = postcard::from_bytes(&start.bytes);
        hook(&passed.expect("this process has just written it"));
        0
    })
}

/// The clocks of all connections that this worker's handlers have.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    /// How long a handler may have its connection before that is told; zero is for ever.
    soft: Duration,
    /// How long before its worker is killed.
    hard: Duration,
    hook: Option<Entry>,
    held: Mutex<Held>,
    /// Tells the thread that there is something to look at again.
    began: Condvar,
}

#[derive(Debug, Default)]
struct Held {
    clocks: HashMap<u64, Times>,
    /// Places of the ledger that were used and are free.
    free: Vec<u32>,
    /// How many places have been used.
    places: u32,
    /// Whether the thread waits for a first clock.
    is_idle: bool,
}

/// One connection's times, all of the clock that processes share.
#[derive(Debug)]
struct Times {
    place: u32,
    info: ConnectionInfo,
    since: Duration,
    /// When the soft deadline is, unless it was told.
    soft_by: Option<Duration>,
    hard_by: Option<Duration>,
}

impl Clocks {
    pub(super) fn new(soft: Duration, hard: Duration, hook: Option<Entry>) -> Self {
        Self {
            soft,
            hard,
            hook,
            ..Self::default()
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the hard deadline is for a handler that has until `soft_by`.
    fn hard_after(&self, soft_by: Duration) -> Duration {
        let distance = if self.soft.is_zero() {
            Duration::ZERO
        } else {
            self.hard.saturating_sub(self.soft)
        };
        soft_by.saturating_add(distance)
    }

    fn add(&self, info: ConnectionInfo, now: Duration) -> (u32, Option<Duration>) {
        let mut held = self.lock();
        let place = held.free.pop().unwrap_or_else(|| {
            held.places += 1;
            held.places - 1
        });
        let after = |time: Duration| (!time.is_zero()).then(|| now.saturating_add(time));
        let times = Times {
            place,
            info,
            since: now,
            soft_by: after(self.soft),
            hard_by: after(self.hard),
        };
        let hard_by = times.hard_by;
        held.clocks.insert(info.id, times);
        if std::mem::take(&mut held.is_idle) {
            self.began.notify_one();
        }
        (place, hard_by)
    }

    /// Takes those that are past their soft deadline, and says when to look again.
    fn take_passed(&self, now: Duration) -> (Vec<(ConnectionInfo, Duration)>, Option<Duration>) {
        let mut held = self.lock();
        let mut passed = Vec::new();
        for times in held.clocks.values_mut() {
            if times.soft_by.take_if(|by| *by <= now).is_some() {
                passed.push((times.info, now.saturating_sub(times.since)));
            }
        }
        let next = held.clocks.values().filter_map(|times| times.soft_by).min();
        (passed, next)
    }

    /// Waits for the time, or without one for a first connection.
    fn wait(&self, until: Option<Duration>) {
        let pause = (self.soft / LOOKS_PER_DEADLINE).clamp(LOOKS.0, LOOKS.1);
        let Some(until) = until else {
            let mut held = self.lock();
            // One that came in between is seen: both sides hold the lock.
            held.is_idle = held.clocks.values().all(|times| times.soft_by.is_none());
            while held.is_idle {
                held = self
                    .began
                    .wait(held)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            return;
        };
        // Connections that come meanwhile are due later than those that were there.
        thread::park_timeout(until.saturating_sub(monotonic()).max(pause));
    }
}

impl Context {
    /// Starts the thread that tells of soft deadlines, if there are any.
    pub(super) fn watch_clocks(&'static self) -> std::io::Result<()> {
        if self.clocks.soft.is_zero() {
            return Ok(());
        }
        let thread = thread::Builder::new().name("hatchery-clock".to_owned());
        thread.spawn(move || {
            loop {
                let (passed, next) = self.clocks.take_passed(monotonic());
                for (info, age) in passed {
                    self.tell_soft_deadline(info, age);
                }
                self.clocks.wait(next);
            }
        })?;
        Ok(())
    }

    fn tell_soft_deadline(&self, info: ConnectionInfo, age: Duration) {
        // A worker's handlers run on its first thread.
        let place = Whereabouts::of(std::process::id()).to_string();
        let (connection, peer) = (info.id, info.peer);
        tracing::warn!(
            connection, %peer, ?age, worker = self.seat,
            "a handler is past its soft deadline; its worker {place}"
        );
        self.link.tell(&FromWorker::SoftDeadline {
            connection,
            listener: info.listener,
            peer,
            age,
            place: place.clone(),
        });
        let Some(hook) = self.clocks.hook else {
            return;
        };
        let passed = SoftDeadline {
            connection,
            listener: info.listener,
            peer,
            age,
            worker: self.seat,
            place,
        };
        let start = Start {
            bytes: postcard::to_stdvec(&passed).expect("it holds nothing that fails"),
            ..Start::default()
        };
        if catch_unwind(AssertUnwindSafe(|| hook.run(start))).is_err() {
            tracing::error!(connection, "the callback for soft deadlines panicked");
        }
    }

    /// Gives the handler of a connection more time: both deadlines move, and neither comes sooner.
    pub(super) fn extend(&self, connection: u64, time: Duration) {
        let mut held = self.clocks.lock();
        let Some(times) = held.clocks.get_mut(&connection) else {
            return;
        };
        let soft_by = monotonic().saturating_add(time);
        if !self.clocks.soft.is_zero() {
            times.soft_by = Some(times.soft_by.unwrap_or_default().max(soft_by));
        }
        if let Some(hard_by) = &mut times.hard_by {
            *hard_by = self.clocks.hard_after(soft_by).max(*hard_by);
            self.link.hold(times.place, connection, *hard_by);
        }
        if std::mem::take(&mut held.is_idle) {
            self.clocks.began.notify_one();
        }
    }
}

/// The clock of one connection, which runs until this is dropped.
#[derive(Debug)]
pub(super) struct Clock {
    context: &'static Context,
    connection: u64,
}

impl Clock {
    /// Starts the clock of a connection that a handler gets; `None` where there are no deadlines.
    pub(super) fn start(context: &'static Context, info: ConnectionInfo) -> Option<Self> {
        let clocks = &context.clocks;
        if clocks.soft.is_zero() && clocks.hard.is_zero() {
            return None;
        }
        let (place, hard_by) = clocks.add(info, monotonic());
        if let Some(hard_by) = hard_by {
            context.link.hold(place, info.id, hard_by);
        }
        Some(Self {
            context,
            connection: info.id,
        })
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        let mut held = self.context.clocks.lock();
        if let Some(times) = held.clocks.remove(&self.connection) {
            if times.hard_by.is_some() {
                self.context.link.let_go(times.place);
            }
            held.free.push(times.place);
        }
    }
}
