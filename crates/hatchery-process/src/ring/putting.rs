//! What is done at the end of a queue where messages are put, while its lock is held.

use std::sync::atomic::Ordering::Release;

use super::calls::Calls;
use super::ends::End;
use super::frames::words_for;
use super::lease::State;
use super::parts::{Parts, SPAN_EASY, Sleepers};
use super::{RING_MESSAGE_BYTES_MAX, RingPutError};
use crate::sync::{ALL, Acquired, Attempt, Look, Monitor, written};

/// The messages for which a ring is grown in any case.
const MESSAGES_EASY: u32 = 3;

/// Whether room is made for a message where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Growth {
    /// As long as the ring stays so small that it is cheaper than waiting.
    Easy,
    /// As much as can be.
    Any,
}

/// The queue while this process is the one that puts.
pub(super) struct Putting<'a> {
    parts: Parts<'a>,
    pub(super) calls: Calls,
}

impl<'a> Putting<'a> {
    /// Begins, once the lock was come by.
    #[inline(always)]
    pub(super) fn new(parts: Parts<'a>, acquired: Acquired) -> Self {
        let calls = match acquired {
            Acquired::Free => Calls::NONE,
            // Whoever died with the lock may have put something and told nobody.
            Acquired::OwnerDied(_) => Calls::EVERYBODY,
        };
        Self { parts, calls }
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
        let end = self.parts.put_end().own();
        let words = words_for(bytes.len());
        // What was seen holds for as long as messages only go. What comes back waits again.
        let is_known = !self.parts.is_leasing();
        if !(is_known && has_room(self.parts, end, self.parts.put_seen().own(), words)) {
            match find_room(self.parts.monitor, end, words, growth) {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
        let frames = self.parts.frames();
        let position = frames.write(end.position, bytes, State::READY.word());
        let count = end.count.wrapping_add(1);
        self.parts.put_end().set(End { position, count });
        self.calls.call_awaiting(Sleepers::Getters);
        Some(Ok(()))
    }

    /// Closes the queue.
    pub(super) fn close(&mut self) {
        self.parts.closed().store(1, Release);
        written();
        self.calls.call(Sleepers::Getters, ALL);
        self.calls.call(Sleepers::Putters, ALL);
    }

    /// Puts a message, or says that this process is going to sleep; after a sleep, sees to others who
    /// may sleep as this process did until it was woken.
    pub(super) fn put_or_sleep(
        &mut self,
        bytes: &[u8],
        growth: Growth,
        look: Look,
    ) -> Attempt<Result<(), RingPutError>> {
        let outcome = match self.put(bytes, growth) {
            Some(outcome) => outcome,
            None => {
                let seen = self.parts.bell(Sleepers::Putters).wait_for();
                match self.put(bytes, growth) {
                    Some(outcome) => outcome,
                    None => return Attempt::Wait(seen),
                }
            }
        };
        if look.has_slept() {
            self.pass_on(outcome.is_err());
        }
        Attempt::Done(outcome)
    }

    fn pass_on(&mut self, is_over: bool) {
        let parts = self.parts;
        let is_more = || is_over || may_wait(parts, parts.put_end().own(), look(parts));
        if parts.bell(Sleepers::Putters).pass_on(is_more) {
            self.calls.call(Sleepers::Putters, 1);
        }
    }
}

/// Whether a message may be put, with what was seen of the other end.
#[inline(always)]
fn has_room(parts: Parts<'_>, end: End, seen: End, words: u32) -> bool {
    let free = parts.frames().span().saturating_sub(end.words_since(seen));
    may_wait(parts, end, seen) && words <= free
}

/// Whether one more message may wait.
#[inline(always)]
fn may_wait(parts: Parts<'_>, end: End, seen: End) -> bool {
    let count_max = parts.count_max();
    count_max == 0 || end.messages_since(seen) < count_max
}

/// Looks again at the other end, and makes room where it may; true if there is some.
#[cold]
fn find_room(
    monitor: &Monitor,
    end: End,
    words: u32,
    growth: Growth,
) -> Result<bool, RingPutError> {
    let parts = Parts::of(monitor);
    let mut seen = look(parts);
    if !has_room(parts, end, seen, words) && may_wait(parts, end, seen) {
        let easy = words.saturating_mul(MESSAGES_EASY).max(SPAN_EASY);
        if growth == Growth::Easy && parts.frames().span() >= easy {
            return Ok(false);
        }
        // Nobody may read where messages are while that changes. Whoever gets never waits for one who puts.
        parts.getting(|getting| getting.grow(end, words));
        seen = look(parts);
    }
    if end.words_since(seen) > parts.frames().span() {
        return Err(RingPutError::Scribbled);
    }
    Ok(has_room(parts, end, seen, words))
}

/// Looks at the other end.
fn look(parts: Parts<'_>) -> End {
    let seen = parts.get_end().others();
    parts.put_seen().set(seen);
    seen
}
