//! What became of each task that was sent to a worker.
//!
//! Each task has a word with its number and its state. Two may want to change that at once: the worker,
//! which starts it, and the main process, which takes it back. Whoever changes it from *sent* has it.
//! The number in the word keeps a task from being taken for another that had its place before.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::sync::written;

/// The bits of a word that are the state.
const STATE_BITS: u32 = 2;

/// What a task's word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// Nobody has touched it.
    Sent = 0,
    /// The worker has begun with it: nobody else may run it unasked.
    Running = 1,
    /// The worker has put its result.
    Done = 2,
    /// The main process has taken it back before the worker began.
    Revoked = 3,
}

/// A wide word of a tray.
pub(crate) trait Wide {
    /// Reads it, and sees all that was written before it was written.
    fn read(&self) -> u64;

    /// Writes it, after all that was written before.
    fn write(&self, value: u64);

    /// Writes it if it is as it was seen; true if it was.
    fn replace(&self, seen: u64, value: u64) -> bool;
}

impl Wide for AtomicU64 {
    #[inline]
    fn read(&self) -> u64 {
        self.load(Ordering::Acquire)
    }

    #[inline]
    fn write(&self, value: u64) {
        self.store(value, Ordering::Release);
        written();
    }

    #[inline]
    fn replace(&self, seen: u64, value: u64) -> bool {
        let replaced = self
            .compare_exchange(seen, value, Ordering::AcqRel, Ordering::Acquire)
            .is_ok();
        written();
        replaced
    }
}

/// The word of the task `seq`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot<'a, W> {
    pub(crate) word: &'a W,
    pub(crate) seq: u64,
}

impl<W: Wide> Slot<'_, W> {
    /// Writes down that it is sent; whatever was here before is over for the main process.
    #[inline]
    pub(crate) fn send(&self) {
        self.word.write(self.as_word(State::Sent));
    }

    /// Begins with it; false if it was taken back.
    #[inline]
    pub(crate) fn start(&self) -> bool {
        self.change(State::Sent, State::Running)
    }

    /// Says that its result is put. By now the main process may have another task here.
    #[inline]
    pub(crate) fn finish(&self) {
        self.change(State::Running, State::Done);
    }

    /// Takes it back; false if the worker has begun.
    #[inline]
    pub(crate) fn revoke(&self) -> bool {
        self.change(State::Sent, State::Revoked)
    }

    /// What it says; `None` if that is no word of this task.
    #[inline]
    pub(crate) fn state(&self) -> Option<State> {
        let word = self.word.read();
        [State::Sent, State::Running, State::Done, State::Revoked]
            .into_iter()
            .find(|&state| word == self.as_word(state))
    }

    fn change(&self, from: State, to: State) -> bool {
        self.word.replace(self.as_word(from), self.as_word(to))
    }

    fn as_word(&self, state: State) -> u64 {
        // Zero is no task's word: numbers begin with one.
        self.seq << STATE_BITS | state as u64
    }
}
