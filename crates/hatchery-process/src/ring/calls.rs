//! Who is to be woken once a lock of a queue is given up.

use super::parts::{GETTERS, JOINERS, PUTTERS, Parts, Sleepers};
use crate::sync::{ALL, wake};

/// The calls to make.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calls([Call; 3]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Nobody,
    /// Whoever says that it waits, if there is a reason.
    Awaiting,
    /// So many, whether they say that they wait or not.
    Surely(u32),
}

impl Calls {
    pub(super) const NONE: Self = Self([Call::Nobody; 3]);

    /// Notes that something changed for which some may wait.
    #[inline(always)]
    pub(super) fn call_awaiting(&mut self, sleepers: Sleepers) {
        let call = &mut self.0[sleepers.0];
        if *call == Call::Nobody {
            *call = Call::Awaiting;
        }
    }

    /// Notes that so many are to be woken.
    pub(super) fn call(&mut self, sleepers: Sleepers, count: u32) {
        let call = &mut self.0[sleepers.0];
        let noted = match *call {
            Call::Surely(noted) => noted,
            _ => 0,
        };
        *call = Call::Surely(noted.max(count));
    }

    /// Wakes them: the lock has been given up.
    #[inline(always)]
    pub(super) fn make(&self, parts: Parts<'_>) {
        for sleepers in [GETTERS, PUTTERS, JOINERS] {
            match self.0[sleepers.0] {
                Call::Nobody => {}
                Call::Awaiting if !parts.bell(sleepers).is_awaited() => {}
                Call::Awaiting => wake_awaiting(parts, sleepers),
                Call::Surely(count) => wake_surely(parts, sleepers, count),
            }
        }
    }
}

#[cold]
fn wake_awaiting(parts: Parts<'_>, sleepers: Sleepers) {
    if sleepers == PUTTERS && !parts.has_worthwhile_room() {
        return;
    }
    if sleepers == JOINERS && parts.unfinished() > 0 {
        return;
    }
    if parts.bell(sleepers).ring_awaited() {
        let count = if sleepers == JOINERS { ALL } else { 1 };
        wake(parts.bell_word(sleepers), count);
    }
}

#[cold]
fn wake_surely(parts: Parts<'_>, sleepers: Sleepers, count: u32) {
    parts.bell(sleepers).ring();
    wake(parts.bell_word(sleepers), count);
}
