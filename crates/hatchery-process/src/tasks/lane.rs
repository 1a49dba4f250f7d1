//! Messages from one process to one other, in a ring of words in shared memory.
//!
//! Only one side writes and only one side reads, so there is no lock that either could die in or
//! keep the other waiting for. A position is a count of words modulo 2³². A message takes effect by
//! the one store to `tail` and is gone by the one to `head`; each side keeps its own position to
//! itself and only publishes it, so the other may write what it wants there.

use std::sync::atomic::{
    AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

use super::{Scribbled, TASK_LIGHT_BYTES_MAX};
use crate::sync::written;

/// The words of a lane, a power of two: 1 MiB.
pub(super) const LANE_WORDS: usize = 1 << 17;

/// The bytes of a word.
const WORD_BYTES: usize = size_of::<u64>();

/// A message begins with its kind and length, its number, and something more.
const HEADER_WORDS: usize = 3;

/// The bits of a header's first word that are the length.
const LENGTH_BITS: u32 = 32;

/// What a message says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: u8,
    pub(super) seq: u64,
    pub(super) extra: u64,
}

/// The memory of a lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane<'a> {
    pub(super) head: &'a AtomicU32,
    pub(super) tail: &'a AtomicU32,
    pub(super) words: &'a [AtomicU64],
}

impl Lane<'_> {
    /// Whether there is a message, as far as both sides have published.
    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        self.tail.load(Acquire) != self.head.load(Relaxed)
    }

    #[inline]
    fn word(&self, position: u32) -> &AtomicU64 {
        &self.words[position as usize & (LANE_WORDS - 1)]
    }
}

/// The writing side.
#[derive(Debug, Default)]
pub(super) struct Producer {
    tail: u32,
    /// Where the reader was when last looked at.
    head: u32,
}

impl Producer {
    /// Whether a message of so many bytes fits.
    #[inline]
    pub(super) fn has_room(&mut self, lane: Lane<'_>, bytes: usize) -> Result<bool, Scribbled> {
        let needed = HEADER_WORDS + bytes.div_ceil(WORD_BYTES);
        if self.room()? >= needed {
            return Ok(true);
        }
        self.head = lane.head.load(Acquire);
        Ok(self.room()? >= needed)
    }

    /// Puts a message, for which there is room.
    #[inline]
    pub(super) fn put(&mut self, lane: Lane<'_>, header: Header, bytes: &[u8]) {
        debug_assert!(
            bytes.len() <= TASK_LIGHT_BYTES_MAX,
            "longer ones are packets"
        );
        let first = u64::from(header.kind) << LENGTH_BITS | bytes.len() as u64;
        let mut position = self.tail;
        for word in [first, header.seq, header.extra] {
            position = store(lane, position, word);
        }
        let (whole, rest) = bytes.as_chunks::<WORD_BYTES>();
        for &chunk in whole {
            position = store(lane, position, u64::from_le_bytes(chunk));
        }
        if !rest.is_empty() {
            let mut last = [0; WORD_BYTES];
            last[..rest.len()].copy_from_slice(rest);
            position = store(lane, position, u64::from_le_bytes(last));
        }
        self.tail = position;
        lane.tail.store(position, Release);
        written();
    }

    fn room(&self) -> Result<usize, Scribbled> {
        let used = self.tail.wrapping_sub(self.head) as usize;
        LANE_WORDS.checked_sub(used).ok_or(Scribbled)
    }
}

#[inline]
fn store(lane: Lane<'_>, position: u32, word: u64) -> u32 {
    lane.word(position).store(word, Relaxed);
    written();
    position.wrapping_add(1)
}

/// The reading side.
#[derive(Debug, Default)]
pub(super) struct Consumer {
    head: u32,
    /// Where the writer was when last looked at.
    tail: u32,
}

impl Consumer {
    /// Takes the next message, with its bytes as the whole of `buffer`.
    #[inline]
    pub(super) fn take(
        &mut self,
        lane: Lane<'_>,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<Header>, Scribbled> {
        if self.head == self.tail {
            self.tail = lane.tail.load(Acquire);
            if self.head == self.tail {
                return Ok(None);
            }
        }
        let there = self.tail.wrapping_sub(self.head) as usize;
        if !(HEADER_WORDS..=LANE_WORDS).contains(&there) {
            return Err(Scribbled);
        }
        let [first, seq, extra] =
            [0, 1, 2].map(|place| lane.word(self.head.wrapping_add(place)).load(Relaxed));
        let len = (first & ((1 << LENGTH_BITS) - 1)) as usize;
        let kind = u8::try_from(first >> LENGTH_BITS).map_err(|_| Scribbled)?;
        let words = len.div_ceil(WORD_BYTES);
        if len > TASK_LIGHT_BYTES_MAX || HEADER_WORDS + words > there {
            return Err(Scribbled);
        }
        let mut position = self.head.wrapping_add(HEADER_WORDS as u32);
        buffer.clear();
        buffer.reserve(words * WORD_BYTES);
        for _ in 0..words {
            let word = lane.word(position).load(Relaxed);
            buffer.extend_from_slice(&word.to_le_bytes());
            position = position.wrapping_add(1);
        }
        buffer.truncate(len);
        self.head = position;
        lane.head.store(position, Release);
        written();
        Ok(Some(Header { kind, seq, extra }))
    }
}
