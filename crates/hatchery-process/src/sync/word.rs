//! A word that processes share, as the algorithms here see it.
//!
//! The algorithms are written against a trait, so that the models in `models` run the very same
//! code on words whose every interleaving is tried.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::crash::written;
use super::wait;

/// A word of 32 bits to wait for.
pub(crate) trait Word {
    /// Reads it, and sees all that was written before it was written.
    fn read(&self) -> u32;

    /// Writes it, after all that was written before.
    fn write(&self, value: u32);

    /// Writes it and returns what it was.
    fn exchange(&self, value: u32) -> u32;

    /// Writes it if it is as it was seen, and says otherwise what it is.
    fn replace(&self, seen: u32, value: u32) -> Result<(), u32>;

    /// Adds one to it.
    fn add_one(&self);

    /// Writes what it is already: comes either before or after what others exchange, sees all that those before
    /// it had written, and is seen by those after it with all that was written before.
    fn pass_through(&self);

    /// Wakes up to `count` of those who sleep on it.
    fn wake(&self, count: u32);
}

impl Word for AtomicU32 {
    #[inline]
    fn read(&self) -> u32 {
        self.load(Ordering::Acquire)
    }

    #[inline]
    fn write(&self, value: u32) {
        self.store(value, Ordering::Release);
        written();
    }

    #[inline]
    fn exchange(&self, value: u32) -> u32 {
        let former = self.swap(value, Ordering::AcqRel);
        written();
        former
    }

    #[inline]
    fn replace(&self, seen: u32, value: u32) -> Result<(), u32> {
        self.compare_exchange(seen, value, Ordering::AcqRel, Ordering::Acquire)?;
        written();
        Ok(())
    }

    #[inline]
    fn add_one(&self) {
        self.fetch_add(1, Ordering::AcqRel);
        written();
    }

    #[inline]
    fn pass_through(&self) {
        self.fetch_or(0, Ordering::AcqRel);
    }

    fn wake(&self, count: u32) {
        wait::wake(self, count);
    }
}

/// Writes a wide word, after all that was written before.
#[inline]
pub(crate) fn put(wide: &AtomicU64, value: u64) {
    wide.store(value, Ordering::Release);
    written();
}

/// Reads a wide word, and sees all that was written before it was written.
#[inline]
pub(crate) fn get(wide: &AtomicU64) -> u64 {
    wide.load(Ordering::Acquire)
}
