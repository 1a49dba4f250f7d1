//! What is done at the end of a queue where messages are got, while its lock is held.

use std::sync::atomic::Ordering::{Relaxed, Release};

use super::calls::Calls;
use super::ends::End;
use super::frames::Frames;
use super::lease::State;
use super::parts::{Parts, Sleepers};
use super::{RingGetError, SPAN_LOG_KEPT, SPAN_LOG_MIN};
use crate::sync::{Acquired, Attempt, Look, Monitor, written};

/// The queue while this process is the one that gets.
pub(super) struct Getting<'a> {
    pub(super) parts: Parts<'a>,
    pub(super) calls: Calls,
}

impl<'a> Getting<'a> {
    /// Begins, once the lock was come by.
    #[inline(always)]
    pub(super) fn new(parts: Parts<'a>, acquired: Acquired) -> Self {
        let calls = match acquired {
            Acquired::Free => Calls::NONE,
            Acquired::OwnerDied(_) => {
                count_anew(parts.monitor);
                Calls::EVERYBODY
            }
        };
        Self { parts, calls }
    }

    /// Gets a message and removes it; `None` if there is none.
    #[inline(always)]
    pub(super) fn get(&mut self, buffer: &mut Vec<u8>) -> Option<Result<usize, RingGetError>> {
        let end = self.parts.get_end().own();
        let mut seen = self.parts.get_seen().own();
        if seen.position == end.position {
            seen = match look_for_more(self.parts, end) {
                Ok(seen) => seen?,
                Err(closed) => return Some(Err(closed)),
            };
        }
        let frames = self.parts.frames();
        let Ok(Some(header)) = frames.header(end.position, seen.position) else {
            return Some(Err(RingGetError::Scribbled));
        };
        frames.read(end.position, header, buffer);
        let end = End {
            position: Frames::behind(end.position, header),
            count: end.count.wrapping_add(1),
        };
        self.parts.get_end().set(end);
        self.calls.call_awaiting(Sleepers::Putters);
        if seen.position == end.position {
            self.give_back();
        }
        Some(Ok(header.bytes as usize))
    }

    /// Gives the memory of a large ring that has run empty back to the kernel, unless somebody is about
    /// to put something.
    #[inline(always)]
    pub(super) fn give_back(&self) {
        if self.parts.frames().span() > 1 << SPAN_LOG_KEPT {
            give_back_large(self.parts.monitor);
        }
    }

    /// Makes the ring so large that there is room for a message behind an end, if it can be; the caller
    /// is also the one that puts.
    pub(super) fn grow(&mut self, end: End, words: u32) {
        let mut frames = self.parts.frames();
        let head = self.parts.get_end().own();
        while frames.span().saturating_sub(end.words_since(head)) < words {
            if end.words_since(head) > frames.span() || !frames.grow(head.position, end.position) {
                return;
            }
        }
    }

    /// Does what may be in vain, or says that this process is going to sleep.
    pub(super) fn or_sleep<T>(
        &mut self,
        sleepers: Sleepers,
        mut attempt: impl FnMut(&mut Self) -> Option<T>,
    ) -> Attempt<T> {
        if let Some(outcome) = attempt(self) {
            return Attempt::Done(outcome);
        }
        let seen = self.parts.bell(sleepers).wait_for();
        match attempt(self) {
            Some(outcome) => Attempt::Done(outcome),
            None => Attempt::Wait(seen),
        }
    }

    /// Waits beside those who get, and gets nothing.
    pub(super) fn or_sleep_beside(
        &mut self,
        look: Look,
        is_ready: impl Fn() -> bool,
    ) -> Attempt<()> {
        let attempt = self.or_sleep(Sleepers::Getters, |_| is_ready().then_some(()));
        if matches!(attempt, Attempt::Done(())) && look.has_slept() {
            // It may have been woken in place of one who would get something.
            self.calls.call(Sleepers::Getters, 1);
        }
        attempt
    }

    /// After a sleep, sees to others who may sleep as this process did until it was woken.
    pub(super) fn after<T>(&mut self, attempt: &Attempt<Result<T, RingGetError>>, look: Look) {
        let Attempt::Done(outcome) = attempt else {
            return;
        };
        let parts = self.parts;
        let is_more = || outcome.is_err() || parts.count() > 0;
        if look.has_slept() && parts.bell(Sleepers::Getters).pass_on(is_more) {
            self.calls.call(Sleepers::Getters, 1);
        }
    }

    /// How many messages somebody was done with.
    pub(super) fn finished(&self) -> u32 {
        self.parts.finished().load(Relaxed) as u32
    }

    pub(super) fn set_finished(&self, count: u32) {
        set_finished(self.parts, count);
    }
}

/// Looks at the other end, where there was nothing more when it was last seen.
#[inline(always)]
fn look_for_more(parts: Parts<'_>, end: End) -> Result<Option<End>, RingGetError> {
    let mut seen = parts.put_end().others();
    if seen.position == end.position {
        if !parts.is_closed() {
            return Ok(None);
        }
        // Something may have been put before the queue was closed; nothing was after that.
        seen = parts.put_end().others();
        if seen.position == end.position {
            return Err(RingGetError::Closed);
        }
    }
    parts.get_seen().set(seen);
    Ok(Some(seen))
}

#[cold]
fn give_back_large(monitor: &Monitor) {
    let parts = Parts::of(monitor);
    // Whoever puts may wait for who gets, so this must not wait for who puts.
    let putters = parts.put_gate();
    if !putters.try_acquire() {
        return;
    }
    if parts.put_end().others().position == parts.get_end().own().position {
        let mut frames = parts.frames();
        let first = 1 << SPAN_LOG_MIN;
        // Where it cannot be given back it is used again. Should this process die here, the
        // ring is still large, and the next that empties it comes here too.
        let _kept = parts.discard(first, frames.span() as usize - first);
        written();
        frames.set_span(1 << SPAN_LOG_MIN);
    }
    putters.release();
}

/// Counts what was got and what somebody is done with: whoever held the lock died with it, and may
/// have changed something that it had not counted.
#[cold]
fn count_anew(monitor: &Monitor) {
    let parts = Parts::of(monitor);
    let put = parts.put_end().others();
    let (mut waiting, mut unfinished) = (0, 0);
    let frames = parts.frames();
    let head = parts.get_end().own().position;
    let mut position = head;
    while let Ok(Some(header)) = frames.header(position, put.position) {
        let state = State::from_word(header.state);
        waiting += u32::from(state.is_ready());
        unfinished += u32::from(!state.is_done());
        position = Frames::behind(position, header);
    }
    parts.get_end().set(End {
        position: head,
        count: put.count.wrapping_sub(waiting),
    });
    set_finished(parts, put.count.wrapping_sub(unfinished));
}

fn set_finished(parts: Parts<'_>, count: u32) {
    parts.finished().store(count.into(), Release);
    written();
}
