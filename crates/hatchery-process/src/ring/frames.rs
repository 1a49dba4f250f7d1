//! Messages of any length, one behind the other, in a ring of words in shared memory.
//!
//! A position is a count of words since the ring was made, modulo 2³². It names a place by its
//! remainder by the ring's present size, its *span*, which is a power of two. A message is one
//! word that holds its length and its state, and then its bytes, the last word filled up.
//!
//! Which positions hold messages is for others, who say so with one store. A ring grows by copying what would
//! be elsewhere with twice the span, to words that were not in use; both spans find everything then,
//! until the one store to the span. So a process may be killed between any two stores, and the ring is
//! whole.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use hatchery_os::{copy_in, copy_out, expect_write};

use crate::sync::written;

/// The bytes of a word.
const WORD_BYTES: usize = size_of::<u64>();

/// The words ahead of a message that is appended to ask for, since the next will be written there soon.
const WORDS_AHEAD: u32 = 40;

/// The words for messages, and how many of them are in use as a ring.
///
/// The span changes only while nobody else reads or writes messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frames<'a> {
    /// The span, as a power of two.
    span_log: &'a AtomicU32,
    words: &'a [AtomicU64],
    span: u32,
}

/// What the first word of a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) bytes: u32,
    /// What the message's state means is for others.
    pub(super) state: u32,
}

/// Something in the ring that nobody can have written there in good faith.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue's memory was overwritten by something else")]
pub(super) struct Scribbled;

impl Header {
    fn word(self) -> u64 {
        u64::from(self.state) << 32 | u64::from(self.bytes)
    }

    fn from_word(word: u64) -> Self {
        Self {
            bytes: word as u32,
            state: (word >> 32) as u32,
        }
    }

    /// How many words the message takes, with this one.
    fn words(self) -> u32 {
        words_for(self.bytes as usize)
    }
}

/// How many words a message of so many bytes takes.
pub(super) fn words_for(bytes: usize) -> u32 {
    let words = 1 + bytes.div_ceil(WORD_BYTES);
    u32::try_from(words).unwrap_or(u32::MAX)
}

impl<'a> Frames<'a> {
    #[inline]
    pub(super) fn new(span_log: &'a AtomicU32, words: &'a [AtomicU64]) -> Self {
        // What cannot be is bounded here, so that it cannot lead beyond the memory.
        let log = span_log.load(Relaxed).min(words.len().ilog2());
        Self {
            span_log,
            words,
            span: 1 << log,
        }
    }

    /// How many words are in use as a ring.
    #[inline]
    pub(super) fn span(&self) -> u32 {
        self.span
    }

    /// Doubles the span of a ring whose messages are at the positions from `head` to `tail`; false if it
    /// is as large as can be.
    pub(super) fn grow(&mut self, head: u32, tail: u32) -> bool {
        let span = self.span;
        if span as usize >= self.words.len() {
            return false;
        }
        let mut position = head;
        while position != tail {
            let (from, to) = (place(position, span), place(position, span * 2));
            if from != to {
                let word = self.words[from].load(Relaxed);
                self.words[to].store(word, Relaxed);
            }
            position = position.wrapping_add(1);
        }
        written();
        self.set_span(span * 2);
        true
    }

    /// Changes the span of a ring that is empty, or whose messages are where the new span finds them.
    pub(super) fn set_span(&mut self, span: u32) {
        self.span_log.store(span.ilog2(), Relaxed);
        written();
        self.span = span;
    }

    /// Writes a message to a position where there is room for it; returns the position behind it.
    #[inline(always)]
    pub(super) fn write(&self, position: u32, bytes: &[u8], state: u32) -> u32 {
        let header = Header {
            bytes: u32::try_from(bytes.len()).expect("there is no room for a longer message"),
            state,
        };
        let behind = Self::behind(position, header);
        expect_write(&self.words[place(behind.wrapping_add(WORDS_AHEAD), self.span)]);
        self.words[place(position, self.span)].store(header.word(), Relaxed);
        written();
        let start = place(position.wrapping_add(1), self.span);
        let until_wrap = (self.span as usize - start) * WORD_BYTES;
        if bytes.len() <= until_wrap {
            copy_in(&self.words[start..], bytes);
        } else {
            write_around(self.words, start, bytes.split_at(until_wrap));
        }
        written();
        behind
    }

    /// Reads the header of the message at a position before `tail`, if there is one.
    #[inline]
    pub(super) fn header(&self, position: u32, tail: u32) -> Result<Option<Header>, Scribbled> {
        let left = tail.wrapping_sub(position);
        if left == 0 {
            return Ok(None);
        }
        let word = self.words[place(position, self.span)].load(Relaxed);
        let header = Header::from_word(word);
        if left > self.span || header.words() > left {
            return Err(Scribbled);
        }
        Ok(Some(header))
    }

    /// Changes the state of the message at a position.
    pub(super) fn set_state(&self, position: u32, header: Header) {
        self.words[place(position, self.span)].store(header.word(), Relaxed);
        written();
    }

    /// The position behind a message.
    #[inline]
    pub(super) fn behind(position: u32, header: Header) -> u32 {
        position.wrapping_add(header.words())
    }

    /// Copies the bytes of the message at a position to the start of `buffer`, which grows if it
    /// must.
    #[inline(always)]
    pub(super) fn read(&self, position: u32, header: Header, buffer: &mut Vec<u8>) {
        let len = header.bytes as usize;
        if buffer.len() < len {
            grow_buffer(buffer, len);
        }
        let start = place(position.wrapping_add(1), self.span);
        let until_wrap = (self.span as usize - start) * WORD_BYTES;
        if len <= until_wrap {
            copy_out(&self.words[start..], &mut buffer[..len]);
        } else {
            read_around(self.words, start, buffer[..len].split_at_mut(until_wrap));
        }
    }
}

/// Makes a buffer long enough for so many bytes.
///
/// It ends in the middle of a page. What is allocated next, for a copy of these bytes, then begins at
/// another place in its page than they do, which some CPUs copy ten times as fast (see `rep movsb`).
#[cold]
fn grow_buffer(buffer: &mut Vec<u8>, len: usize) {
    const PAGE_BYTES: usize = 4096;
    let len = if len < PAGE_BYTES / 2 {
        len
    } else {
        len.next_multiple_of(PAGE_BYTES) + PAGE_BYTES / 2
    };
    buffer.reserve_exact(len - buffer.len());
    buffer.resize(len, 0);
}

/// Writes bytes to the end of the ring, and further ones to its start.
#[cold]
fn write_around(words: &[AtomicU64], start: usize, (first, second): (&[u8], &[u8])) {
    copy_in(&words[start..], first);
    written();
    copy_in(words, second);
}

/// Reads bytes from the end of the ring, and further ones from its start.
#[cold]
fn read_around(words: &[AtomicU64], start: usize, (first, second): (&mut [u8], &mut [u8])) {
    copy_out(&words[start..], first);
    copy_out(words, second);
}

#[inline]
fn place(position: u32, span: u32) -> usize {
    (position & (span - 1)) as usize
}
