//! The threads on which a process waits for words when no thread of its own does.
//!
//! One thread waits for up to 127 words at once with `futex_waitv(2)` and wakes tasks. It is
//! started when a task first waits. It knows nothing of what the words mean.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, Ordering::Acquire, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::io::Errno;
use rustix::thread::ClockId;
use rustix::thread::futex::{self, Wait, WaitFlags, WaitPtr, WaitvFlags};

use super::wait::{ALL, Look, Place, Wake, wake};
use crate::clock::monotonic;
use crate::readiness::timespec;

/// How many words one thread waits for; the kernel allows one more, which is the bell.
const PLACES_MAX: usize = 127;

/// How often the words are looked at where the kernel, before Linux 5.16, cannot wait for many.
const LOOK_OLD_KERNEL: Duration = Duration::from_millis(5);

/// The threads of this process.
static REACTORS: Mutex<Vec<Arc<Reactor>>> = Mutex::new(Vec::new());

/// One thread and those who sleep with it.
#[derive(Debug, Default)]
struct Reactor {
    state: Mutex<State>,
    /// Changes when the thread has to look at the state again.
    bell: AtomicU32,
}

#[derive(Debug, Default)]
struct State {
    beds: Vec<Bed>,
    next_sleeper: u64,
    /// While the thread sleeps: until when, if nobody wakes it.
    thread_sleeps: Option<Option<Instant>>,
}

/// Everybody in this process who waits for one word.
#[derive(Debug)]
struct Bed {
    place: Place,
    /// The value for whose change the thread waits.
    seen: u32,
    /// Whether the thread knows of it.
    is_watched: bool,
    sleepers: VecDeque<Sleeper>,
}

#[derive(Debug)]
struct Sleeper {
    id: u64,
    wake: Wake,
    due: Instant,
    /// Whether it was told that it is due.
    was_told: bool,
    waker: Waker,
}

/// One task's wish to be woken; dropping it passes on a wake-up that it did not use.
#[derive(Debug)]
pub(super) struct Registration {
    reactor: Arc<Reactor>,
    place: Place,
    wake: Wake,
    id: u64,
    is_used: bool,
}

/// Prepares to wait for a word.
pub(super) fn register(place: &Place, wake: Wake) -> Registration {
    let mut reactors = lock(&REACTORS);
    // Those who wait for one word share a bed, so that one of them is woken and not all.
    let known = reactors.iter().find(|reactor| reactor.has_room(place));
    let reactor = known.cloned().unwrap_or_else(|| {
        let reactor = Arc::new(Reactor::default());
        start(&reactor);
        reactors.push(Arc::clone(&reactor));
        reactor
    });
    let mut state = lock(&reactor.state);
    state.next_sleeper += 1;
    let id = state.next_sleeper;
    drop(state);
    Registration {
        reactor,
        place: place.clone(),
        wake,
        id,
        is_used: false,
    }
}

impl Registration {
    /// Tells whether the sleep is over.
    pub(super) fn poll(&self, task: &mut Context<'_>) -> Poll<Look> {
        let mut state = lock(&self.reactor.state);
        let Some(sleeper) = state.sleeper(self) else {
            return Poll::Ready(Look::Woken);
        };
        if sleeper.due <= Instant::now() {
            // Whoever is woken while it looks is to be another: it does not need that.
            let former = state.remove(self);
            drop(state);
            drop(former);
            return Poll::Ready(Look::Due);
        }
        let is_same = sleeper.waker.will_wake(task.waker());
        let former =
            (!is_same).then(|| std::mem::replace(&mut sleeper.waker, task.waker().clone()));
        // Dropping a waker may drop a task, and that may come here.
        drop(state);
        drop(former);
        Poll::Pending
    }

    /// Falls asleep for at most `nap`, unless the word has changed since it was `seen`.
    pub(super) fn sleep(&self, seen: u32, nap: Duration, task: &mut Context<'_>) -> Poll<Look> {
        let mut woken = Vec::new();
        let mut state = lock(&self.reactor.state);
        let former = state.remove(self);
        let has_changed = self.place.word().load(Acquire) != seen;
        if !has_changed {
            let due = Instant::now() + nap;
            let sleeper = Sleeper {
                id: self.id,
                wake: self.wake,
                due,
                was_told: false,
                waker: task.waker().clone(),
            };
            let bed = state.bed(&self.place, seen);
            if bed.seen != seen {
                // The thread has not noticed yet that others are to be woken.
                bed.seen = seen;
                bed.is_watched = false;
                bed.wake_up(&mut woken);
            }
            bed.sleepers.push_back(sleeper);
            let is_watched = bed.is_watched;
            if state.needs_bell(is_watched, due) {
                self.reactor.ring();
            }
        }
        drop(state);
        drop(former);
        woken.into_iter().for_each(Waker::wake);
        if has_changed {
            Poll::Ready(Look::Woken)
        } else {
            Poll::Pending
        }
    }

    /// Ends the wish: if there was a wake-up, it was used.
    pub(super) fn end(mut self) {
        self.is_used = true;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut woken = Vec::new();
        let mut state = lock(&self.reactor.state);
        let asleep = state.remove(self);
        let passes_on = asleep.is_none() && !self.is_used;
        let is_passed_on = passes_on && state.wake_another(&self.place, &mut woken);
        drop(state);
        drop(asleep);
        woken.into_iter().for_each(Waker::wake);
        if passes_on && !is_passed_on {
            wake(self.place.word(), 1);
        }
    }
}

impl State {
    fn bed(&mut self, place: &Place, seen: u32) -> &mut Bed {
        let index = self.beds.iter().position(|bed| bed.is_at(place));
        let index = index.unwrap_or_else(|| {
            self.beds.push(Bed {
                place: place.clone(),
                seen,
                is_watched: false,
                sleepers: VecDeque::new(),
            });
            self.beds.len() - 1
        });
        &mut self.beds[index]
    }

    fn known_bed(&mut self, place: &Place) -> Option<&mut Bed> {
        self.beds.iter_mut().find(|bed| bed.is_at(place))
    }

    fn sleeper(&mut self, registration: &Registration) -> Option<&mut Sleeper> {
        let bed = self.known_bed(&registration.place)?;
        let mut sleepers = bed.sleepers.iter_mut();
        sleepers.find(|sleeper| sleeper.id == registration.id)
    }

    /// Takes a sleeper out of its bed, if it is in one.
    fn remove(&mut self, registration: &Registration) -> Option<Sleeper> {
        let bed = self.known_bed(&registration.place)?;
        let mut sleepers = bed.sleepers.iter();
        let index = sleepers.position(|sleeper| sleeper.id == registration.id)?;
        bed.sleepers.remove(index)
    }

    /// Wakes another sleeper at the same place; false if there is none in this process.
    fn wake_another(&mut self, place: &Place, woken: &mut Vec<Waker>) -> bool {
        self.known_bed(place).is_some_and(|bed| bed.wake_up(woken))
    }

    /// Whether the thread sleeps and would not wake for a sleeper that is due then.
    fn needs_bell(&self, is_watched: bool, due: Instant) -> bool {
        self.thread_sleeps
            .is_some_and(|until| !is_watched || until.is_none_or(|until| until > due))
    }
}

impl Bed {
    fn is_at(&self, place: &Place) -> bool {
        Arc::ptr_eq(&self.place.memory, &place.memory) && self.place.index == place.index
    }

    /// Takes out the first sleeper, and with it all others if it is of that kind.
    fn wake_up(&mut self, woken: &mut Vec<Waker>) -> bool {
        let Some(first) = self.sleepers.pop_front() else {
            return false;
        };
        woken.push(first.waker);
        if first.wake == Wake::All {
            woken.extend(self.sleepers.drain(..).map(|sleeper| sleeper.waker));
        }
        true
    }

    /// Tells those who are due; they stay until they look.
    fn tell_due(&mut self, now: Instant, woken: &mut Vec<Waker>) {
        for sleeper in &mut self.sleepers {
            if sleeper.due <= now && !sleeper.was_told {
                sleeper.was_told = true;
                woken.push(sleeper.waker.clone());
            }
        }
    }
}

impl Reactor {
    fn has_room(&self, place: &Place) -> bool {
        let state = lock(&self.state);
        state.beds.len() < PLACES_MAX || state.beds.iter().any(|bed| bed.is_at(place))
    }

    /// Has the thread look at the state.
    fn ring(&self) {
        self.bell.fetch_add(1, Relaxed);
        wake(&self.bell, ALL);
    }

    fn run(&self) {
        loop {
            let (waits, until) = self.fall_asleep();
            let woken = sleep(&waits, until);
            self.wake_up(woken);
        }
    }

    /// What the thread waits for, and until when; the first wait is that for the bell.
    fn fall_asleep(&self) -> (Vec<Wait>, Option<Instant>) {
        let mut state = lock(&self.state);
        state.beds.retain(|bed| !bed.sleepers.is_empty());
        let bell = wait_for(&self.bell, self.bell.load(Relaxed));
        let mut waits = vec![bell];
        let mut until: Option<Instant> = None;
        for bed in &mut state.beds {
            waits.push(wait_for(bed.place.word(), bed.seen));
            bed.is_watched = true;
            let untold = bed.sleepers.iter().filter(|sleeper| !sleeper.was_told);
            until = untold.map(|sleeper| sleeper.due).chain(until).min();
        }
        state.thread_sleeps = Some(until);
        (waits, until)
    }

    /// Wakes those whose word has changed, or whose time has come.
    fn wake_up(&self, woken_wait: Option<usize>) {
        let mut woken = Vec::new();
        let mut state = lock(&self.state);
        state.thread_sleeps = None;
        let now = Instant::now();
        for (index, bed) in state.beds.iter_mut().enumerate() {
            let value = bed.place.word().load(Acquire);
            // The bell comes first, so the beds count from one.
            if value != bed.seen || woken_wait == Some(index + 1) {
                bed.seen = value;
                bed.wake_up(&mut woken);
            }
            bed.tell_due(now, &mut woken);
        }
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }
}

fn start(reactor: &Arc<Reactor>) {
    let reactor = Arc::clone(reactor);
    let thread = thread::Builder::new().name("hatchery-waits".to_owned());
    let started = thread.spawn(move || reactor.run());
    started.expect("a process that runs tasks may start a thread");
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that could panic runs while it is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait_for(word: &AtomicU32, seen: u32) -> Wait {
    let mut wait = Wait::new();
    wait.val = seen.into();
    wait.uaddr = WaitPtr::new(word.as_ptr().cast::<c_void>());
    wait.flags = WaitFlags::SIZE_U32;
    wait
}

/// Sleeps until one of the words changes or is woken; returns which, if the kernel knows.
fn sleep(waits: &[Wait], until: Option<Instant>) -> Option<usize> {
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    let timeout = left.map(at);
    let flags = WaitvFlags::empty();
    let woken = futex::waitv(waits, flags, timeout.as_ref(), ClockId::Monotonic);
    if woken == Err(Errno::NOSYS) {
        let look = left.map_or(LOOK_OLD_KERNEL, |left| left.min(LOOK_OLD_KERNEL));
        let _slept = rustix::event::poll(&mut [], Some(&timespec(look)));
    }
    woken.ok()
}

/// The time on the monotonic clock that is this far away.
fn at(left: Duration) -> Timespec {
    timespec(monotonic().saturating_add(left))
}
