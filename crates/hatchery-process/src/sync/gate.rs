//! A robust lock: one word, and the monitor that knows who may own it.
//!
//! Each monitor has one; an object may have more among its own words.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::lock_word::{LockWord, Taken};
use super::monitor::{Acquired, Member, Monitor};
use super::spin::pause;
use super::wait::{Attempt, Look, wait_until};

/// How often to look at a lock that is held before sleeping.
const SPINS: u32 = 200;

/// The pauses between two looks: time for the holder to come and go several times, since each look
/// takes the lock's memory away from its CPU.
const SPIN_PAUSES: u32 = 16;

/// A lock whose owner is a member of a monitor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gate<'a> {
    pub(super) monitor: &'a Monitor,
    pub(super) word: &'a AtomicU32,
}

impl<'a> Gate<'a> {
    /// Takes the lock if it is free.
    #[inline(always)]
    pub(crate) fn try_acquire(self) -> bool {
        self.lock().try_take(self.monitor.own().0)
    }

    /// Takes the lock, waiting for it as long as it takes.
    #[inline(always)]
    pub(crate) fn acquire(self) -> Acquired {
        if self.try_acquire() {
            return Acquired::Free;
        }
        self.acquire_slowly()
    }

    #[cold]
    fn acquire_slowly(self) -> Acquired {
        self.acquire_until(None)
            .expect("waiting without a deadline ends only with the lock")
    }

    /// Takes the lock, waiting for it until the deadline.
    pub(crate) fn acquire_until(self, deadline: Option<Instant>) -> Option<Acquired> {
        if self.try_acquire() || self.spin() {
            return Some(Acquired::Free);
        }
        wait_until(self.word, deadline, |look| self.attempt(look))
    }

    /// Takes the lock, or says what to wait for; if it is time, from a dead owner too.
    pub(crate) fn attempt(self, look: Look) -> Attempt<Acquired> {
        let is_alive = |owner| self.monitor.is_alive(Member(owner));
        match self.lock().attempt(self.monitor.own().0, look, is_alive) {
            Attempt::Done(Taken::Free) => Attempt::Done(Acquired::Free),
            Attempt::Done(Taken::FromDead(owner)) => {
                Attempt::Done(Acquired::OwnerDied(Member(owner)))
            }
            Attempt::Wait(seen) => Attempt::Wait(seen),
        }
    }

    /// Takes the lock from an owner that is dead, if it is.
    pub(crate) fn take_over_now(self) -> Option<Acquired> {
        let held = self.word.load(Ordering::Relaxed);
        let is_alive = |owner| self.monitor.is_alive(Member(owner));
        let owner = self.lock().take_over(held, self.monitor.own().0, is_alive);
        owner.map(|owner| Acquired::OwnerDied(Member(owner)))
    }

    /// Looks at a lock that is held a few times more, unless others sleep for it already.
    #[cold]
    fn spin(self) -> bool {
        for _ in 0..SPINS {
            match self.lock().spins_for() {
                Some(0) if self.try_acquire() => return true,
                Some(_held) => pause(SPIN_PAUSES),
                None => return false,
            }
        }
        false
    }

    /// Gives the lock up, whoever holds it; false if nobody does.
    #[inline(always)]
    pub(crate) fn release(self) -> bool {
        self.lock().release()
    }

    /// Who holds the lock, as far as that can be said.
    #[inline]
    pub(crate) fn holder(self) -> Option<Member> {
        let owner = self.lock().owner();
        (owner != 0).then_some(Member(owner))
    }

    #[inline]
    fn lock(self) -> LockWord<'a, AtomicU32> {
        LockWord(self.word)
    }
}
