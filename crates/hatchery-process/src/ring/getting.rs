//! What is done at the end of a queue where messages are got, while its lock is held.

use std::sync::atomic::Ordering::{Relaxed, Release};

use super::calls::Calls;
use super::ends::End;
use super::frames::Frames;
use super::lease::State;
use super::parts::{GETTERS, JOINERS, PUTTERS, Parts, Sleepers};
use super::{RingGetError, SPAN_LOG_KEPT, SPAN_LOG_MIN};
use crate::sync::{ALL, Attempt, written};

/// The queue while this process is the one that gets; dropping it gives that up, and then wakes
/// who is to be woken.
pub(super) struct Getting<'a> {
    pub(super) parts: Parts<'a>,
    pub(super) calls: Calls,
}

impl<'a> Getting<'a> {
    #[inline(always)]
    pub(super) fn new(parts: Parts<'a>) -> Self {
        Self {
            parts,
            calls: Calls::NONE,
        }
    }

    /// Counts anew, and has everybody look: whoever held the lock before died with it.
    #[cold]
    pub(super) fn after_death(&mut self) {
        let put = self.parts.put_end().others();
        let (mut waiting, mut unfinished) = (0, 0);
        let frames = self.parts.frames();
        let head = self.parts.get_end().own().position;
        let mut position = head;
        while let Ok(Some(header)) = frames.header(position, put.position) {
            let state = State::from_word(header.state);
            waiting += u32::from(state.is_ready());
            unfinished += u32::from(!state.is_done());
            position = Frames::behind(position, header);
        }
        self.parts.get_end().set(End {
            position: head,
            count: put.count.wrapping_sub(waiting),
        });
        self.set_finished(put.count.wrapping_sub(unfinished));
        for sleepers in [GETTERS, PUTTERS, JOINERS] {
            self.calls.call(sleepers, ALL);
        }
    }

    /// Gets a message and removes it; `None` if there is none.
    #[inline(always)]
    pub(super) fn get(&mut self, buffer: &mut Vec<u8>) -> Option<Result<usize, RingGetError>> {
        let end = self.parts.get_end().own();
        let mut seen = self.parts.get_seen().own();
        if seen.position == end.position {
            seen = match self.look_for_more(end) {
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
        self.calls.call_awaiting(PUTTERS);
        if seen.position == end.position {
            self.give_back(&frames);
        }
        Some(Ok(header.bytes as usize))
    }

    /// Looks at the other end, where there was nothing more when it was last seen.
    #[inline(always)]
    fn look_for_more(&self, end: End) -> Result<Option<End>, RingGetError> {
        let mut seen = self.parts.put_end().others();
        if seen.position == end.position {
            if !self.parts.is_closed() {
                return Ok(None);
            }
            // Something may have been put before the queue was closed; nothing was after that.
            seen = self.parts.put_end().others();
            if seen.position == end.position {
                return Err(RingGetError::Closed);
            }
        }
        self.parts.get_seen().set(seen);
        Ok(Some(seen))
    }

    /// Gives the memory of a large ring that has run empty back to the kernel, unless somebody is about
    /// to put something.
    #[inline(always)]
    pub(super) fn give_back(&self, frames: &Frames<'_>) {
        if frames.span() > 1 << SPAN_LOG_KEPT {
            self.give_back_large();
        }
    }

    #[cold]
    fn give_back_large(&self) {
        let parts = self.parts;
        // Whoever puts may wait for who gets, so this must not wait for who puts.
        let putters = parts.put_gate();
        if !putters.try_acquire() {
            return;
        }
        if parts.put_end().others().position == self.parts.get_end().own().position {
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

    /// Sees to others who may sleep as this process did until it was woken.
    pub(super) fn pass_on(&mut self, is_over: bool) {
        let parts = self.parts;
        if parts.bell(GETTERS).pass_on(|| is_over || parts.count() > 0) {
            self.calls.call(GETTERS, 1);
        }
    }

    /// How many messages somebody was done with.
    pub(super) fn finished(&self) -> u32 {
        self.parts.finished().load(Relaxed) as u32
    }

    pub(super) fn set_finished(&self, count: u32) {
        self.parts.finished().store(count.into(), Release);
        written();
    }
}

impl Drop for Getting<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.parts.get_gate().release();
        self.calls.make(self.parts);
    }
}
