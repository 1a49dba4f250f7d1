//! What is done at the end of a queue where messages are put, while its lock is held.

use std::sync::atomic::Ordering::Release;

use super::calls::Calls;
use super::ends::End;
use super::frames::{Frames, words_for};
use super::lease::State;
use super::parts::{GETTERS, PUTTERS, Parts};
use super::{RING_MESSAGE_BYTES_MAX, RingPutError};
use crate::sync::{ALL, Attempt, written};

/// A ring of this many words is no longer grown by one who can wait: 1 MiB, which the CPU keeps near.
const SPAN_EASY: u32 = 1 << 17;

/// The messages for which a ring is grown in any case.
const MESSAGES_EASY: u32 = 4;

/// Whether room is made for a message where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Growth {
    /// As long as the ring stays so small that it is cheaper than waiting.
    Easy,
    /// As much as can be.
    Any,
}

/// The queue while this process is the one that puts; dropping it gives that up, and then wakes
/// who is to be woken.
pub(super) struct Putting<'a> {
    parts: Parts<'a>,
    calls: Calls,
}

impl<'a> Putting<'a> {
    #[inline(always)]
    pub(super) fn new(parts: Parts<'a>) -> Self {
        Self {
            parts,
            calls: Calls::NONE,
        }
    }

    /// Has everybody look: whoever held the lock before died with it, and may have put something.
    #[cold]
    pub(super) fn after_death(&mut self) {
        self.calls.call(GETTERS, ALL);
        self.calls.call(PUTTERS, ALL);
    }

    /// Puts a message; `None` if there is no room.
    #[inline(always)]
    pub(super) fn put(&mut self, bytes: &[u8], growth: Growth) -> Option<Result<(), RingPutError>> {
        if bytes.len() > RING_MESSAGE_BYTES_MAX {
            return Some(Err(RingPutError::TooLong(bytes.len())));
        }
        if self.parts.is_closed() {
            return Some(Err(RingPutError::Closed));
        }
        let mut frames = self.parts.frames();
        let end = self.parts.put_end().own();
        let words = words_for(bytes.len());
        if !self.has_room(&frames, end, self.parts.put_seen().own(), words) {
            match self.find_room(&mut frames, end, words, growth) {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
        let position = frames.write(end.position, bytes, State::READY.word());
        let count = end.count.wrapping_add(1);
        self.parts.put_end().set(End { position, count });
        self.calls.call_awaiting(GETTERS);
        Some(Ok(()))
    }

    /// Whether a message may be put, with what was seen of the other end.
    #[inline(always)]
    fn has_room(&self, frames: &Frames<'_>, end: End, seen: End, words: u32) -> bool {
        let free = frames.span().saturating_sub(end.words_since(seen));
        self.may_wait(end, seen) && words <= free
    }

    /// Whether one more message may wait.
    #[inline(always)]
    fn may_wait(&self, end: End, seen: End) -> bool {
        let count_max = self.parts.count_max();
        count_max == 0 || end.messages_since(seen) < count_max
    }

    /// Looks again at the other end, and makes room where it may; true if there is some.
    #[cold]
    fn find_room(
        &self,
        frames: &mut Frames<'_>,
        end: End,
        words: u32,
        growth: Growth,
    ) -> Result<bool, RingPutError> {
        let mut seen = self.look();
        if !self.has_room(frames, end, seen, words) && self.may_wait(end, seen) {
            let easy = words.saturating_mul(MESSAGES_EASY).max(SPAN_EASY);
            if growth == Growth::Easy && frames.span() >= easy {
                return Ok(false);
            }
            self.grow(frames, end, words);
            seen = self.look();
        }
        if end.words_since(seen) > frames.span() {
            return Err(RingPutError::Scribbled);
        }
        Ok(self.has_room(frames, end, seen, words))
    }

    /// Looks at the other end.
    fn look(&self) -> End {
        let seen = self.parts.get_end().others();
        self.parts.put_seen().set(seen);
        seen
    }

    /// Makes the ring so large that there is room for a message, if it can be.
    fn grow(&self, frames: &mut Frames<'_>, end: End, words: u32) {
        // Nobody may read where messages are while that changes. Whoever gets never waits for one who puts.
        let _getting = self.parts.getting();
        let head = self.parts.get_end().own();
        while frames.span().saturating_sub(end.words_since(head)) < words {
            if end.words_since(head) > frames.span() || !frames.grow(head.position, end.position) {
                return;
            }
        }
    }

    /// Closes the queue.
    pub(super) fn close(&mut self) {
        self.parts.closed().store(1, Release);
        written();
        self.calls.call(GETTERS, ALL);
        self.calls.call(PUTTERS, ALL);
    }

    /// Puts a message, or says that this process is going to sleep.
    pub(super) fn put_or_sleep(&mut self, bytes: &[u8]) -> Attempt<Result<(), RingPutError>> {
        if let Some(outcome) = self.put(bytes, Growth::Any) {
            return Attempt::Done(outcome);
        }
        let seen = self.parts.bell(PUTTERS).wait_for();
        match self.put(bytes, Growth::Any) {
            Some(outcome) => Attempt::Done(outcome),
            None => Attempt::Wait(seen),
        }
    }

    /// Sees to others who may sleep as this process did until it was woken.
    pub(super) fn pass_on(&mut self, is_over: bool) {
        let is_more = || is_over || self.may_wait(self.parts.put_end().own(), self.look());
        if self.parts.bell(PUTTERS).pass_on(is_more) {
            self.calls.call(PUTTERS, 1);
        }
    }
}

impl Drop for Putting<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.parts.put_gate().release();
        self.calls.make(self.parts);
    }
}
