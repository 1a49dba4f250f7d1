//! A place where one sleeps until somebody rings, without ringing in vain.
//!
//! It is one word. Whoever sleeps says so there, *then* looks once more, and then sleeps; whoever
//! brings something brings it, *then* looks whether anybody sleeps. Between the two steps of either
//! side is a fence, so at least one of them sees the other. The first who rings takes the sleep away
//! from the word, so that the next need not.

use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::thread::futex;

use crate::readiness::timespec;
use crate::sync::Word;

/// Nobody is here.
const EMPTY: u32 = 0;

/// Somebody is here and looks without sleeping.
const LOOKING: u32 = 1;

/// Somebody sleeps here, or is about to.
const ASLEEP: u32 = 2;

/// Somebody slept here and was rung for: it is about to look.
const RUNG: u32 = 3;

/// A word with a fence between what is written before and what is read after.
pub(crate) trait Fenced: Word {
    /// Orders all that was written before with all that is read after, for everybody.
    fn fence();
}

impl Fenced for AtomicU32 {
    #[inline]
    fn fence() {
        fence(Ordering::SeqCst);
    }
}

/// The word of such a place. At most one is there at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Berth<'a, W>(pub(crate) &'a W);

impl<W: Fenced> Berth<'_, W> {
    /// Says that the caller looks from now on, until it lies down or leaves.
    #[inline]
    pub(crate) fn look(&self) {
        self.0.write(LOOKING);
        W::fence();
    }

    /// Says that the caller is going to sleep; it looks once more before it does.
    #[inline]
    pub(crate) fn lie_down(&self) {
        self.0.write(ASLEEP);
        W::fence();
    }

    /// Says that nobody is here; the caller looks once more, for nobody rings for it any longer.
    #[inline]
    pub(crate) fn leave(&self) {
        self.0.write(EMPTY);
        W::fence();
    }

    /// Rings, after the caller has brought something; false if there is nobody here.
    ///
    /// [`Fenced::fence`] was called in between.
    #[inline]
    pub(crate) fn ring(&self) -> bool {
        match self.0.read() {
            EMPTY => false,
            ASLEEP => {
                // Whoever is no longer asleep looks after it has said so.
                if self.0.replace(ASLEEP, RUNG).is_ok() {
                    self.0.wake(1);
                }
                true
            }
            _ => true,
        }
    }

    /// Rings for whoever may be here, also if somebody else died while it did.
    pub(crate) fn ring_again(&self) {
        W::fence();
        let _asleep = self.0.replace(ASLEEP, RUNG);
        self.0.wake(1);
    }
}

impl Berth<'_, AtomicU32> {
    /// Sleeps until somebody rings or the deadline has come.
    pub(super) fn sleep(&self, deadline: Option<Instant>) {
        self.sleep_as(ASLEEP, deadline);
    }

    /// Lets time pass, as one who looks, until somebody rings in spite of that.
    pub(super) fn nap(&self, deadline: Instant) {
        self.sleep_as(LOOKING, Some(deadline));
    }

    fn sleep_as(&self, seen: u32, deadline: Option<Instant>) {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return;
        }
        let left = left.map(timespec);
        let outcome = futex::wait(self.0, futex::Flags::empty(), seen, left.as_ref());
        debug_assert!(
            matches!(
                outcome,
                Ok(()) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT)
            ),
            "the word is mapped, and the time is one"
        );
    }
}
