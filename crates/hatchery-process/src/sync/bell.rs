//! A bell that wakes those who wait for something to change, as few of them as will do.
//!
//! It is two words, which change inside a critical section only: a number, on which processes sleep
//! outside of it, and whether anybody waits. Whoever rings takes that back *before* the sleeper
//! is awake, so that it makes no system call for each further change until then. The sleeper that was
//! woken may not have been the only one: once it has what it waited for, it passes the ring on.

use super::word::Word;

/// The words of a bell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bell<'a, W> {
    /// Changes with each ring.
    pub(crate) number: &'a W,
    /// Whether anybody waits who was not rung for.
    pub(crate) is_awaited: &'a W,
}

impl<W: Word> Bell<'_, W> {
    /// Says that the caller is going to wait, and returns the number for whose change.
    pub(crate) fn wait_for(&self) -> u32 {
        self.is_awaited.write(1);
        self.number.read()
    }

    /// Rings if anybody waits; true if somebody is to be woken then.
    #[inline]
    #[must_use]
    pub(crate) fn ring_if_awaited(&self) -> bool {
        if self.is_awaited.read() == 0 {
            return false;
        }
        self.is_awaited.write(0);
        self.ring();
        true
    }

    /// Sees to others who may wait as the caller did, until it slept; true if one of them is to be
    /// woken, since there `is_more`.
    #[must_use]
    pub(crate) fn pass_on(&self, is_more: bool) -> bool {
        if is_more {
            self.ring();
        } else {
            self.is_awaited.write(1);
        }
        is_more
    }

    /// Rings whether anybody waits or not.
    #[cold]
    pub(crate) fn ring(&self) {
        self.number.write(self.number.read().wrapping_add(1));
    }
}
