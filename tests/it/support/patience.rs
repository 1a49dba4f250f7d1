//! How long a test waits before it fails.

use std::env;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, poll};

/// The time after which what has not happened never will.
const USUAL: Duration = Duration::from_secs(5);

/// The pause before something without an event of its own is looked at again.
const PAUSE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 3_000_000,
};

/// A moment by which something has to have happened.
///
/// The variable `HATCHERY_TEST_PATIENCE` multiplies the time until then, for slow machines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// Sets a deadline the usual time from now.
    pub(crate) fn usual() -> Self {
        Self::after(USUAL)
    }

    /// Sets a deadline for what is promised within `time`.
    pub(crate) fn after(time: Duration) -> Self {
        Self(Instant::now() + time * patience())
    }

    /// Tells whether the time is up.
    pub(crate) fn has_passed(self) -> bool {
        Instant::now() >= self.0
    }

    /// Returns what is left of the time, for `poll(2)`.
    pub(crate) fn left(self) -> Timespec {
        let left = self.0.saturating_duration_since(Instant::now());
        Timespec::try_from(left).expect("a deadline is less than years away")
    }
}

/// Waits until `predicate` holds, where no event tells of it; fails with `what` if it never does.
#[track_caller]
pub(crate) fn eventually(deadline: Deadline, what: &str, mut predicate: impl FnMut() -> bool) {
    while !predicate() {
        assert!(!deadline.has_passed(), "not in time: {what}");
        let _interrupted = poll(&mut [], Some(&PAUSE));
    }
}

fn patience() -> u32 {
    match env::var("HATCHERY_TEST_PATIENCE") {
        Ok(factor) => factor
            .parse()
            .expect("HATCHERY_TEST_PATIENCE is a whole number"),
        Err(_) => 1,
    }
}
