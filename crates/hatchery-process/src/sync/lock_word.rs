//! The word of a lock: who owns it, and whether somebody waits.
//!
//! Waiting and waking is that of a futex mutex with three states (Drepper, "Futexes Are Tricky",
//! 2011), with the owner's number in place of "locked". Who the numbers are is for others.

use super::wait::{Attempt, Look};
use super::word::Word;

/// The bit that says that somebody waits.
const CONTENDED: u32 = 1 << 31;

/// A lock's word: 0, or its owner's number, and a bit if somebody waits.
#[derive(Debug)]
pub(super) struct LockWord<'a, W>(pub(super) &'a W);

/// How a lock was come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Nobody owned it.
    Free,
    /// The owner of this number was dead.
    FromDead(u32),
}

impl<W: Word> LockWord<'_, W> {
    /// Takes the lock if it is free.
    #[inline]
    pub(super) fn try_take(&self, own: u32) -> bool {
        self.0.replace(0, own).is_ok()
    }

    /// Takes the lock, or says what to wait for; if it is time, from a dead owner too.
    pub(super) fn attempt(
        &self,
        own: u32,
        look: Look,
        is_alive: impl Fn(u32) -> bool,
    ) -> Attempt<Taken> {
        // Who has slept may not be the only one who did.
        let taken = own | if look.has_slept() { CONTENDED } else { 0 };
        loop {
            let Err(held) = self.0.replace(0, taken) else {
                return Attempt::Done(Taken::Free);
            };
            if look.is_due()
                && let Some(owner) = self.take_over(held, own, &is_alive)
            {
                return Attempt::Done(Taken::FromDead(owner));
            }
            let marked = held | CONTENDED;
            if held == marked || self.0.replace(held, marked).is_ok() {
                return Attempt::Wait(marked);
            }
        }
    }

    /// Takes the lock from the owner that was seen, if it is dead; returns its number then.
    pub(super) fn take_over(
        &self,
        held: u32,
        own: u32,
        is_alive: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let owner = held & !CONTENDED;
        if owner == 0 || is_alive(owner) {
            return None;
        }
        self.0
            .replace(held, own | CONTENDED)
            .is_ok()
            .then_some(owner)
    }

    /// Gives the lock up, whoever owns it; false if nobody does.
    #[inline]
    pub(super) fn release(&self) -> bool {
        let held = self.0.exchange(0);
        if held & CONTENDED != 0 {
            self.0.wake(1);
        }
        held != 0
    }

    /// The owner's number, or 0; `None` if somebody sleeps, who would only be overtaken.
    #[inline]
    pub(super) fn spins_for(&self) -> Option<u32> {
        let held = self.0.read();
        (held & CONTENDED == 0).then_some(held)
    }

    /// The owner's number, or 0.
    #[inline]
    pub(super) fn owner(&self) -> u32 {
        self.0.read() & !CONTENDED
    }
}
