//! The clock that all processes of a machine share.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The time that all processes of this machine share; it never goes back.
#[must_use]
pub fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::try_from(now).expect("monotonic time is not negative")
}

/// The same as a number of nanoseconds, which suffice for centuries.
#[inline]
pub(crate) fn monotonic_nanos() -> u64 {
    let now = monotonic();
    now.as_secs() * 1_000_000_000 + u64::from(now.subsec_nanos())
}
