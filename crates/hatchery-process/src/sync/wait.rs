//! Waiting for a word in shared memory to change: the one loop behind every blocking call, and
//! behind every asynchronous one.
//!
//! An operation is an *attempt*: a function that either succeeds or says which value of the word it
//! has seen, so that waiting for another value misses nothing. The kernel wakes nobody when a
//! process dies, so a sleeper wakes by itself after a while, and then its attempt looks for
//! the dead.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hatchery_os::SharedMemory;
use rustix::thread::futex;

use super::reactor::{self, Registration};
use crate::readiness::timespec;

/// How long a sleeper first sleeps before it looks for the dead; each further time is doubled.
const LOOK_FIRST: Duration = Duration::from_millis(1);

/// The longest that a sleeper does not look for the dead.
const LOOK_MAX: Duration = Duration::from_millis(50);

/// Wakes everybody.
pub(crate) const ALL: u32 = i32::MAX.cast_unsigned();

/// Where processes wait: a word in memory that they share.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(super) memory: Arc<SharedMemory>,
    pub(super) index: usize,
}

impl Place {
    pub(crate) fn new(memory: &Arc<SharedMemory>, index: usize) -> Self {
        Self {
            memory: Arc::clone(memory),
            index,
        }
    }

    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.memory.words()[self.index]
    }
}

/// What an attempt is told about the sleep before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// There was none.
    First,
    /// Somebody woke it: whatever there was to be told, it alone may have been told.
    Woken,
    /// It is time to look for the dead.
    Due,
}

impl Look {
    /// Whether this is not the first attempt: others may sleep as this one did.
    ///
    /// A sleeper whose time is up may have been woken at the same moment.
    #[inline]
    pub(crate) fn has_slept(self) -> bool {
        self != Self::First
    }

    #[inline]
    pub(crate) fn was_woken(self) -> bool {
        self == Self::Woken
    }

    #[inline]
    pub(crate) fn is_due(self) -> bool {
        self == Self::Due
    }
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Attempt<T> {
    Done(T),
    /// Nothing yet: try again when the word no longer has this value.
    Wait(u32),
}

/// How many of those who wait in one process are woken by one change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// One, who wakes another if there is more.
    One,
    /// Each of them.
    All,
}

/// The growing time between two looks for the dead.
#[derive(Clone, Copy, Debug)]
struct Looks(Duration);

impl Looks {
    const fn new() -> Self {
        Self(LOOK_FIRST)
    }

    fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(LOOK_MAX);
        now
    }
}

/// Repeats an attempt until it succeeds, or until `deadline`; a deadline that has passed
/// allows one attempt.
pub(crate) fn wait_until<T>(
    word: &AtomicU32,
    deadline: Option<Instant>,
    mut attempt: impl FnMut(Look) -> Attempt<T>,
) -> Option<T> {
    let mut look = Look::First;
    let mut looks = Looks::new();
    loop {
        let seen = match attempt(look) {
            Attempt::Done(outcome) => return Some(outcome),
            Attempt::Wait(seen) => seen,
        };
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            // Whoever woke this one may have meant another.
            if look.was_woken() {
                wake(word, 1);
            }
            return None;
        }
        let nap = looks.next();
        let was_woken = sleep(word, seen, left.map_or(nap, |left| nap.min(left)));
        look = if was_woken { Look::Woken } else { Look::Due };
    }
}

/// Repeats an attempt until it succeeds, without holding a thread.
///
/// Dropping the future gives up, and passes a wake-up on that it did not use.
pub(crate) fn wait_async<T, A>(place: Place, wake: Wake, attempt: A) -> WaitAsync<A>
where
    A: FnMut(Look) -> Attempt<T> + Unpin,
{
    WaitAsync {
        place,
        wake,
        attempt,
        looks: Looks::new(),
        registration: None,
    }
}

/// See [`wait_async`].
#[derive(Debug)]
pub(crate) struct WaitAsync<A> {
    place: Place,
    wake: Wake,
    attempt: A,
    looks: Looks,
    registration: Option<Registration>,
}

impl<T, A> Future for WaitAsync<A>
where
    A: FnMut(Look) -> Attempt<T> + Unpin,
{
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        let mut look = match &this.registration {
            Some(registration) => match registration.poll(task) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(look) => look,
            },
            None => Look::First,
        };
        loop {
            let seen = match (this.attempt)(look) {
                Attempt::Done(outcome) => {
                    if let Some(registration) = this.registration.take() {
                        registration.end();
                    }
                    return Poll::Ready(outcome);
                }
                Attempt::Wait(seen) => seen,
            };
            let nap = this.looks.next();
            let registration = this
                .registration
                .get_or_insert_with(|| reactor::register(&this.place, this.wake));
            match registration.sleep(seen, nap, task) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(next) => look = next,
            }
        }
    }
}

/// Wakes up to `count` of those who sleep on a word.
pub(crate) fn wake(word: &AtomicU32, count: u32) {
    let _woken = futex::wake(word, futex::Flags::empty(), count);
}

/// Sleeps while the word has a value, for at most `time`; true unless the time was up.
fn sleep(word: &AtomicU32, seen: u32, time: Duration) -> bool {
    let time = timespec(time);
    let outcome = futex::wait(word, futex::Flags::empty(), seen, Some(&time));
    outcome != Err(rustix::io::Errno::TIMEDOUT)
}
