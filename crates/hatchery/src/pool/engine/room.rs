//! Room in a queue that is bounded.

use std::task::Waker;

use super::State;
use super::waiting::enlist;

impl State {
    /// Has `waker` woken when there is room.
    pub(in crate::pool) fn await_room(&mut self, waker: &Waker) {
        enlist(&mut self.room_waiters, waker);
    }

    /// Wakes as many as there is room for. Those who use no room wake another.
    pub(in crate::pool) fn wake_for_room(&mut self) {
        if self.room_waiters.is_empty() {
            return;
        }
        let count = self.schedule.room().min(self.room_waiters.len());
        self.woken.extend(self.room_waiters.drain(..count));
    }

    /// Wakes all who wait for room, for there will be none.
    pub(super) fn wake_all_for_room(&mut self) {
        self.woken.append(&mut self.room_waiters);
    }
}
