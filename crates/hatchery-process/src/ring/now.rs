//! What is done to a queue while its lock is held.

use std::sync::atomic::Ordering::Relaxed;

use super::frames::{Frames, words_for};
use super::lease::State;
use super::{
    CLOSED, COUNT, COUNT_MAX, GETTERS, JOINERS, PUTTERS, RING_MESSAGE_BYTES_MAX, Ring,
    RingGetError, RingPutError, SPAN_LOG_KEPT, SPAN_LOG_MIN, Sleepers, UNFINISHED,
};
use crate::sync::{ALL, Attempt, wake, written};

/// The queue while this process holds its lock; dropping it gives the lock up, and then wakes who
/// is to be woken.
pub(super) struct Now<'a> {
    pub(super) ring: &'a Ring,
    /// How many of each kind are woken.
    wakes: [u32; 3],
}

impl<'a> Now<'a> {
    pub(super) fn new(ring: &'a Ring) -> Self {
        Self {
            ring,
            wakes: [0; 3],
        }
    }

    /// Puts a message; `None` if there is no room.
    #[inline]
    pub(super) fn put(
        &mut self,
        bytes: &[u8],
        has_slept: bool,
    ) -> Option<Result<(), RingPutError>> {
        let ring = self.ring;
        if bytes.len() > RING_MESSAGE_BYTES_MAX {
            return Some(Err(RingPutError::TooLong(bytes.len())));
        }
        if ring.is_closed() {
            return Some(Err(RingPutError::Closed));
        }
        let frames = ring.frames();
        let count_max = ring.word(COUNT_MAX).load(Relaxed);
        let before = ring.word(COUNT).load(Relaxed);
        if (count_max != 0 && before >= count_max) || !frames.make_room(words_for(bytes.len())) {
            return None;
        }
        frames.append(bytes, State::READY.word());
        let after = before.wrapping_add(1);
        ring.word(COUNT).store(after, Relaxed);
        written();
        let unfinished = ring.word(UNFINISHED);
        unfinished.store(unfinished.load(Relaxed).wrapping_add(1), Relaxed);
        written();
        self.wake_up(GETTERS);
        if has_slept {
            self.pass_on(PUTTERS, count_max == 0 || after < count_max);
        }
        Some(Ok(()))
    }

    /// Gets a message and removes it; `None` if there is none.
    #[inline]
    pub(super) fn get(
        &mut self,
        buffer: &mut Vec<u8>,
        has_slept: bool,
    ) -> Option<Result<usize, RingGetError>> {
        let ring = self.ring;
        let frames = ring.frames();
        let head = frames.head();
        let header = match frames.header(head) {
            Ok(Some(header)) => header,
            Ok(None) if ring.is_closed() => return Some(Err(RingGetError::Closed)),
            Ok(None) => return None,
            Err(_) => return Some(Err(RingGetError::Scribbled)),
        };
        frames.read(head, header, buffer);
        frames.remove_to(Frames::behind(head, header));
        let left = self.count_down();
        self.count_finished();
        if has_slept {
            self.pass_on(GETTERS, left > 0);
        }
        if left == 0 {
            self.give_back(&frames);
        }
        Some(Ok(header.bytes as usize))
    }

    /// Counts a message that no longer waits, and returns how many still do.
    #[inline]
    pub(super) fn count_down(&mut self) -> u32 {
        let count = self.ring.word(COUNT);
        let left = count.load(Relaxed).saturating_sub(1);
        count.store(left, Relaxed);
        written();
        if self.ring.has_worthwhile_room() {
            self.wake_up(PUTTERS);
        }
        left
    }

    /// Counts a message that is done with.
    #[inline]
    pub(super) fn count_finished(&mut self) {
        let unfinished = self.ring.word(UNFINISHED);
        let left = unfinished.load(Relaxed).saturating_sub(1);
        unfinished.store(left, Relaxed);
        written();
        if left == 0 {
            self.wake_all(JOINERS);
        }
    }

    /// Closes the queue.
    pub(super) fn close(&mut self) {
        self.ring.word(CLOSED).store(1, Relaxed);
        written();
        self.ring_for(GETTERS, ALL);
        self.ring_for(PUTTERS, ALL);
    }

    /// Says that this process is going to sleep, and what it has seen.
    pub(super) fn sleep_as<T>(&self, sleepers: Sleepers) -> Attempt<T> {
        Attempt::Wait(self.ring.bell(sleepers).wait_for())
    }

    /// Wakes one of those who sleep, if any do.
    #[inline]
    pub(super) fn wake_up(&mut self, sleepers: Sleepers) {
        self.wake_if_asleep(sleepers, 1);
    }

    /// Wakes all who sleep, if any do.
    #[inline]
    pub(super) fn wake_all(&mut self, sleepers: Sleepers) {
        self.wake_if_asleep(sleepers, ALL);
    }

    #[inline]
    fn wake_if_asleep(&mut self, sleepers: Sleepers, count: u32) {
        if self.ring.bell(sleepers).ring_if_awaited() {
            self.will_wake(sleepers, count);
        }
    }

    /// Sees to others who may sleep as this process did until it was woken.
    pub(super) fn pass_on(&mut self, sleepers: Sleepers, is_more: bool) {
        if self.ring.bell(sleepers).pass_on(is_more) {
            self.will_wake(sleepers, 1);
        }
    }

    /// Wakes so many sleepers once the lock is given up.
    #[cold]
    pub(super) fn ring_for(&mut self, sleepers: Sleepers, count: u32) {
        self.ring.bell(sleepers).ring();
        self.will_wake(sleepers, count);
    }

    /// Notes whom to wake once the lock is given up.
    fn will_wake(&mut self, sleepers: Sleepers, count: u32) {
        let wakes = &mut self.wakes[sleepers.0];
        *wakes = (*wakes).max(count);
    }

    /// Counts anew, and has everybody look: whoever held the lock before died with it.
    #[cold]
    pub(super) fn recount(&mut self) {
        let frames = self.ring.frames();
        let (mut waiting, mut unfinished) = (0, 0);
        let mut position = frames.head();
        while let Ok(Some(header)) = frames.header(position) {
            let state = State::from_word(header.state);
            waiting += u32::from(state.is_ready());
            unfinished += u32::from(!state.is_done());
            position = Frames::behind(position, header);
        }
        self.ring.word(COUNT).store(waiting, Relaxed);
        self.ring.word(UNFINISHED).store(unfinished, Relaxed);
        // It may have taken a flag back and not woken the sleeper.
        for sleepers in [GETTERS, PUTTERS, JOINERS] {
            self.ring_for(sleepers, ALL);
        }
    }

    /// Gives the memory of a large ring that has run empty back to the kernel.
    #[inline]
    pub(super) fn give_back(&self, frames: &Frames<'_>) {
        if let Some(words) = frames.idle_span(SPAN_LOG_KEPT) {
            let first = 1 << SPAN_LOG_MIN;
            // Where it cannot be given back it is used again. Should this process die here, the
            // ring is still large, and the next that empties it comes here too.
            let _kept = self.ring.monitor.discard(first, words - first);
            written();
            frames.shrink(SPAN_LOG_MIN);
        }
    }
}

impl Drop for Now<'_> {
    #[inline]
    fn drop(&mut self) {
        written();
        self.ring.monitor.release();
        if self.wakes != [0; 3] {
            written();
            for sleepers in [GETTERS, PUTTERS, JOINERS] {
                let count = self.wakes[sleepers.0];
                if count > 0 {
                    wake(self.ring.word(sleepers.bell()), count);
                }
            }
        }
    }
}
