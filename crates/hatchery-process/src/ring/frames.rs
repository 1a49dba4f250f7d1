//! Messages of any length, one behind the other, in a ring of words in shared memory.
//!
//! A position is a count of words since the ring was made, modulo 2³². It names a place by its
//! remainder by the ring's present size, its *span*, which is a power of two. A message is one
//! word that holds its length and its state, and then its bytes, the last word filled up.
//!
//! Each change takes effect by one store: a message is there once `tail` is behind it, and gone
//! once `head` is. A ring grows by copying what would be elsewhere with twice the span, to
//! words that were not in use; both spans find everything then, until the one store to `span`. So
//! a process may be killed between any two stores, and the ring is whole.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::sync::written;

/// The bytes of a word.
const WORD_BYTES: usize = size_of::<u64>();

/// The words that say where things are; only the holder of the ring's lock uses them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends<'a> {
    pub(super) head: &'a AtomicU32,
    pub(super) tail: &'a AtomicU32,
    /// The span, as a power of two.
    pub(super) span_log: &'a AtomicU32,
}

/// The ring: its ends, and the words for its messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frames<'a> {
    pub(super) ends: Ends<'a>,
    pub(super) words: &'a [AtomicU64],
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

impl Frames<'_> {
    pub(super) fn head(&self) -> u32 {
        self.ends.head.load(Relaxed)
    }

    pub(super) fn tail(&self) -> u32 {
        self.ends.tail.load(Relaxed)
    }

    /// The words in use.
    fn used(&self) -> u32 {
        self.tail().wrapping_sub(self.head())
    }

    fn span(&self) -> u32 {
        // What cannot be is bounded here, so that it cannot lead beyond the memory.
        let log = self
            .ends
            .span_log
            .load(Relaxed)
            .min(self.words.len().ilog2());
        1 << log
    }

    /// Makes room for a message of so many words; false if there is none until others are gone.
    pub(super) fn make_room(&self, words: u32) -> bool {
        loop {
            let (used, span) = (self.used(), self.span());
            if used <= span && span - used >= words {
                return true;
            }
            if used > span || span as usize >= self.words.len() {
                return false;
            }
            self.grow(span);
        }
    }

    /// Doubles the span.
    fn grow(&self, span: u32) {
        let (head, tail) = (self.head(), self.tail());
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
        self.ends.span_log.store(span.ilog2() + 1, Relaxed);
        written();
    }

    /// The span of an empty ring that is larger than `kept`, as a power of two.
    #[inline]
    pub(super) fn idle_span(&self, kept: u32) -> Option<usize> {
        let span_log = self.ends.span_log.load(Relaxed);
        (span_log > kept && self.used() == 0).then(|| self.span() as usize)
    }

    /// Makes an empty ring small again: its span is then this power of two.
    pub(super) fn shrink(&self, small: u32) {
        self.ends.span_log.store(small, Relaxed);
        written();
    }

    /// Appends a message, for which there is room.
    #[inline]
    pub(super) fn append(&self, bytes: &[u8], state: u32) {
        let header = Header {
            bytes: u32::try_from(bytes.len()).expect("there is no room for a longer message"),
            state,
        };
        let (tail, span) = (self.tail(), self.span());
        self.words[place(tail, span)].store(header.word(), Relaxed);
        written();
        let start = place(tail.wrapping_add(1), span);
        let until_wrap = (span as usize - start) * WORD_BYTES;
        let (first, second) = bytes.split_at(until_wrap.min(bytes.len()));
        copy_in(&self.words[start..], first);
        written();
        copy_in(self.words, second);
        written();
        let tail = tail.wrapping_add(header.words());
        self.ends.tail.store(tail, Relaxed);
        written();
    }

    /// Reads the header of the message at a position, if there is one.
    #[inline]
    pub(super) fn header(&self, position: u32) -> Result<Option<Header>, Scribbled> {
        let left = self.tail().wrapping_sub(position);
        if left == 0 {
            return Ok(None);
        }
        let word = self.words[place(position, self.span())].load(Relaxed);
        let header = Header::from_word(word);
        if self.used() > self.span() || left > self.used() || header.words() > left {
            return Err(Scribbled);
        }
        Ok(Some(header))
    }

    /// Changes the state of the message at a position.
    pub(super) fn set_state(&self, position: u32, header: Header) {
        self.words[place(position, self.span())].store(header.word(), Relaxed);
        written();
    }

    /// The position behind a message.
    pub(super) fn behind(position: u32, header: Header) -> u32 {
        position.wrapping_add(header.words())
    }

    /// Copies the bytes of the message at a position to the start of `buffer`, which grows if it
    /// must.
    #[inline]
    pub(super) fn read(&self, position: u32, header: Header, buffer: &mut Vec<u8>) {
        let len = header.bytes as usize;
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        let span = self.span();
        let start = place(position.wrapping_add(1), span);
        let until_wrap = (span as usize - start) * WORD_BYTES;
        let (first, second) = buffer[..len].split_at_mut(until_wrap.min(len));
        copy_out(&self.words[start..], first);
        copy_out(self.words, second);
    }

    /// Removes everything before a position.
    pub(super) fn remove_to(&self, position: u32) {
        written();
        self.ends.head.store(position, Relaxed);
        written();
    }
}

fn place(position: u32, span: u32) -> usize {
    (position & (span - 1)) as usize
}

#[inline]
fn copy_in(words: &[AtomicU64], bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks::<WORD_BYTES>();
    let (for_whole, for_rest) = words.split_at(whole.len());
    for (word, chunk) in for_whole.iter().zip(whole) {
        word.store(u64::from_ne_bytes(*chunk), Relaxed);
    }
    if !rest.is_empty() {
        let mut last = [0; WORD_BYTES];
        last[..rest.len()].copy_from_slice(rest);
        for_rest[0].store(u64::from_ne_bytes(last), Relaxed);
    }
}

#[inline]
fn copy_out(words: &[AtomicU64], bytes: &mut [u8]) {
    let (whole, rest) = bytes.as_chunks_mut::<WORD_BYTES>();
    let (of_whole, of_rest) = words.split_at(whole.len());
    for (word, chunk) in of_whole.iter().zip(whole) {
        *chunk = word.load(Relaxed).to_ne_bytes();
    }
    if !rest.is_empty() {
        let last = of_rest[0].load(Relaxed).to_ne_bytes();
        rest.copy_from_slice(&last[..rest.len()]);
    }
}
