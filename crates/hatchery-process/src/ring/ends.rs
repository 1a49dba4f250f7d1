//! The two ends of a ring: how far it was written, and how far it was read.
//!
//! An end is a position and a count in one word, so that both change in one store. Each side keeps what it last saw
//! of the other's end beside its own, and looks again only when there seems to be nothing to do: so
//! long as there is, the two sides write to no memory that the other reads, but for the messages.

use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use crate::sync::written;

/// Where one end is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct End {
    pub(super) position: u32,
    /// How many messages have passed it since the ring was made, modulo 2³².
    pub(super) count: u32,
}

/// The word of one end.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndWord<'a>(pub(super) &'a AtomicU64);

impl End {
    fn word(self) -> u64 {
        u64::from(self.count) << 32 | u64::from(self.position)
    }

    fn from_word(word: u64) -> Self {
        Self {
            position: word as u32,
            count: (word >> 32) as u32,
        }
    }

    /// How many words are between another end and this one, which is ahead.
    #[inline]
    pub(super) fn words_since(self, other: Self) -> u32 {
        self.position.wrapping_sub(other.position)
    }

    /// How many messages have passed this end, which is ahead, and not the other.
    #[inline]
    pub(super) fn messages_since(self, other: Self) -> u32 {
        self.count.wrapping_sub(other.count)
    }
}

impl EndWord<'_> {
    /// Reads what this side wrote itself, under its lock.
    #[inline]
    pub(super) fn own(self) -> End {
        End::from_word(self.0.load(Relaxed))
    }

    /// Reads what the other side may be changing: what it did before is done.
    #[inline]
    pub(super) fn others(self) -> End {
        End::from_word(self.0.load(Acquire))
    }

    /// Moves the end, after all that was done before.
    #[inline]
    pub(super) fn set(self, end: End) {
        written();
        self.0.store(end.word(), Release);
        written();
    }
}
