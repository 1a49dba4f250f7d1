//! A bell that wakes those who wait for something to change, as few of them as will do.
//!
//! It is two words: a number, on which processes sleep, and whether anybody waits. Whoever rings
//! takes that back *before* the sleeper is awake, so that it makes no system call for each
//! further change until then. The sleeper that was woken may not have been the only one: once it has
//! what it waited for, it passes the ring on.
//!
//! What is waited for changes under one lock, and is seen without it. So whoever is going to sleep says so,
//! passes through that lock's word, and looks again; whoever changes something gives the lock up, and looks then
//! whether anybody waits. The lock's word has one order of changes: if the sleeper passes before the lock is
//! given up it is seen to wait, and if it passes after that it sees the change.

use super::word::Word;

/// The words of a bell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bell<'a, W> {
    /// Changes with each ring.
    pub(crate) number: &'a W,
    /// Whether anybody waits who was not rung for.
    pub(crate) is_awaited: &'a W,
    /// The lock that is given up before the bell is rung.
    pub(crate) lock: &'a W,
}

impl<W: Word> Bell<'_, W> {
    /// Says that the caller is going to wait unless it now sees what it waits for, and returns the
    /// number for whose change.
    pub(crate) fn wait_for(&self) -> u32 {
        // First: whoever sees below that somebody waits will change it.
        let seen = self.number.read();
        self.say_awaited();
        seen
    }

    /// Whether anybody waits.
    #[inline]
    pub(crate) fn is_awaited(&self) -> bool {
        self.is_awaited.read() != 0
    }

    /// Rings for who waits; true if somebody is to be woken then, since no other was faster.
    #[cold]
    #[must_use]
    pub(crate) fn ring_awaited(&self) -> bool {
        let is_first = self.is_awaited.exchange(0) != 0;
        if is_first {
            self.ring();
        }
        is_first
    }

    /// Sees to others who may wait as the caller did, until it slept; true if it is to be rung for
    /// one of them, since there `is_more`.
    #[cold]
    #[must_use]
    pub(crate) fn pass_on(&self, is_more: impl Fn() -> bool) -> bool {
        if is_more() {
            return true;
        }
        self.say_awaited();
        is_more()
    }

    /// Rings whether anybody waits or not.
    #[cold]
    pub(crate) fn ring(&self) {
        self.number.add_one();
    }

    fn say_awaited(&self) {
        self.is_awaited.write(1);
        self.lock.pass_through();
    }
}
