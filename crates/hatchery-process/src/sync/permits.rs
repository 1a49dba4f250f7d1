//! The word of a semaphore: how many permits are free, and whether somebody waits.
//!
//! It changes inside the semaphore's critical section only, and processes wait for it outside.
//! One waiter is woken at a time: who was woken takes its permit and wakes the next if there
//! are more (the baton), so that many permits at once need not count who waits.

use super::wait::{Attempt, Look};
use super::word::Word;

/// The bit that says that somebody waits who would not be woken otherwise.
const WAITED_FOR: u32 = 1 << 31;

/// The bit that says that somebody was woken and found nothing: newcomers wait behind it.
///
/// Nobody need take it back who dies: a newcomer that has waited a while is none any more.
const HUNGRY: u32 = 1 << 30;

/// The most permits there can be.
pub(super) const PERMITS_MAX: u32 = HUNGRY - 1;

/// The word of a semaphore.
#[derive(Debug)]
pub(super) struct PermitsWord<'a, W>(pub(super) &'a W);

/// Whether one who waits is to be woken once the critical section is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) struct WakesOne(pub(super) bool);

impl<W: Word> PermitsWord<'_, W> {
    /// How many permits are free.
    pub(super) fn value(&self) -> u32 {
        self.0.read() & PERMITS_MAX
    }

    /// Takes a permit, or says what to wait for.
    pub(super) fn take(&self, look: Look) -> Attempt<WakesOne> {
        let seen = self.0.read();
        let value = seen & PERMITS_MAX;
        let has_slept = look.has_slept();
        let is_behind = seen & HUNGRY != 0 && !has_slept;
        if value == 0 || is_behind {
            let hungry = if look.was_woken() { HUNGRY } else { 0 };
            let waited_for = seen | WAITED_FOR | hungry;
            if waited_for != seen {
                self.0.write(waited_for);
            }
            return Attempt::Wait(waited_for);
        }
        let left = value - 1;
        if !has_slept {
            self.0.write(left | (seen & WAITED_FOR));
            return Attempt::Done(WakesOne(false));
        }
        // Who has slept may not be the only one: the next is woken now, or by the next permit.
        let waited_for = if left == 0 { WAITED_FOR } else { 0 };
        self.0.write(left | waited_for);
        Attempt::Done(WakesOne(left > 0))
    }

    /// Takes a permit if there is one, whoever else waits.
    pub(super) fn try_take(&self) -> bool {
        let seen = self.0.read();
        let is_free = seen & PERMITS_MAX > 0;
        if is_free {
            self.0.write(seen - 1);
        }
        is_free
    }

    /// Adds a free permit.
    pub(super) fn give(&self) -> WakesOne {
        let seen = self.0.read();
        self.0.write((seen + 1) & !WAITED_FOR);
        WakesOne(seen & WAITED_FOR != 0)
    }

    /// Sets the number of free permits, whatever it was.
    pub(super) fn reset(&self, value: u32) -> WakesOne {
        // Whether somebody waits is not known any more, so somebody does.
        let waited_for = if value == 0 { WAITED_FOR } else { 0 };
        self.0.write(value | waited_for);
        WakesOne(value > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    fn is_taken(attempt: Attempt<WakesOne>) -> bool {
        matches!(attempt, Attempt::Done(_))
    }

    #[test]
    fn who_was_woken_and_found_nothing_goes_before_newcomers() {
        let word = AtomicU32::new(1);
        let permits = PermitsWord(&word);
        assert!(is_taken(permits.take(Look::First)));
        assert!(!is_taken(permits.take(Look::Woken)));
        assert_eq!(permits.give(), WakesOne(true));

        assert!(!is_taken(permits.take(Look::First)), "a newcomer waits");
        assert!(
            is_taken(permits.take(Look::Woken)),
            "who was woken does not"
        );
    }

    #[test]
    fn newcomers_do_not_wait_for_ever_behind_one_that_died() {
        let word = AtomicU32::new(0);
        let permits = PermitsWord(&word);
        assert!(!is_taken(permits.take(Look::Woken)));
        let _nobody_wakes = permits.give();
        assert!(!is_taken(permits.take(Look::First)));

        assert!(is_taken(permits.take(Look::Due)));

        let _nobody_waits = permits.give();
        assert!(is_taken(permits.take(Look::First)), "all is as before");
    }
}
