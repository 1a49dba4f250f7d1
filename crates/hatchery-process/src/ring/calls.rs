//! Who is to be woken once a lock of a queue is given up.

use super::parts::{Parts, Sleepers};
use crate::sync::{ALL, Monitor, wake};

/// The calls to make.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calls {
    getters: Call,
    putters: Call,
    joiners: Call,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Nobody,
    /// Whoever says that it waits, if there is a reason.
    Awaiting,
    /// So many, whether they say that they wait or not.
    Surely(u32),
}

impl Calls {
    pub(super) const NONE: Self = Self::of(Call::Nobody);

    pub(super) const EVERYBODY: Self = Self::of(Call::Surely(ALL));

    const fn of(call: Call) -> Self {
        Self {
            getters: call,
            putters: call,
            joiners: call,
        }
    }

    #[inline(always)]
    fn call_of(&mut self, sleepers: Sleepers) -> &mut Call {
        match sleepers {
            Sleepers::Getters => &mut self.getters,
            Sleepers::Putters => &mut self.putters,
            Sleepers::Joiners => &mut self.joiners,
        }
    }

    /// Notes that something changed for which some may wait.
    #[inline(always)]
    pub(super) fn call_awaiting(&mut self, sleepers: Sleepers) {
        let call = self.call_of(sleepers);
        if *call == Call::Nobody {
            *call = Call::Awaiting;
        }
    }

    /// Notes that so many are to be woken.
    #[inline(always)]
    pub(super) fn call(&mut self, sleepers: Sleepers, count: u32) {
        let call = self.call_of(sleepers);
        let noted = match *call {
            Call::Surely(noted) => noted,
            _ => 0,
        };
        *call = Call::Surely(noted.max(count));
    }

    /// Wakes them: the lock has been given up.
    #[inline(always)]
    pub(super) fn make(self, parts: Parts<'_>) {
        self.getters.make(parts, Sleepers::Getters);
        self.putters.make(parts, Sleepers::Putters);
        self.joiners.make(parts, Sleepers::Joiners);
    }
}

impl Call {
    #[inline(always)]
    fn make(self, parts: Parts<'_>, sleepers: Sleepers) {
        match self {
            Self::Nobody => {}
            Self::Awaiting if !parts.bell(sleepers).is_awaited() => {}
            Self::Awaiting => wake_awaiting(parts.monitor, sleepers),
            Self::Surely(count) => wake_surely(parts.monitor, sleepers, count),
        }
    }
}

#[cold]
fn wake_awaiting(monitor: &Monitor, sleepers: Sleepers) {
    let parts = Parts::of(monitor);
    if sleepers == Sleepers::Putters && !parts.is_worth_waking() {
        return;
    }
    if sleepers == Sleepers::Joiners && parts.unfinished() > 0 {
        return;
    }
    if parts.bell(sleepers).ring_awaited() {
        let count = if sleepers == Sleepers::Joiners {
            ALL
        } else {
            1
        };
        wake(parts.bell_word(sleepers), count);
    }
}

#[cold]
fn wake_surely(monitor: &Monitor, sleepers: Sleepers, count: u32) {
    let parts = Parts::of(monitor);
    parts.bell(sleepers).ring();
    wake(parts.bell_word(sleepers), count);
}
