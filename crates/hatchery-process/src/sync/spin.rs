//! Looking a little longer before going to sleep.
//!
//! A sleep and the wake-up from it cost as much as hundreds of messages, so where another CPU is
//! about to bring what is waited for, looking for it is cheaper. Where it is not, looking only takes
//! its time. Which it is, is learnt: each vain look halves the patience for the next.

use std::hint::spin_loop;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread::available_parallelism;

/// The most looks before a sleep.
const PATIENCE_MAX: u32 = 256;

/// The least, so that it can be learnt that looking pays again.
const PATIENCE_MIN: u32 = 4;

/// The pauses between two looks: whoever brings something is not to be disturbed.
const PAUSES: u32 = 16;

/// Whether something can happen while this process looks.
static HAS_OTHER_CPUS: LazyLock<bool> =
    LazyLock::new(|| available_parallelism().is_ok_and(|count| count.get() > 1));

/// How patient this process is about one thing.
#[derive(Debug)]
pub(crate) struct Patience(AtomicU32);

impl Patience {
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(PATIENCE_MAX))
    }

    /// Looks until something is there, or the patience is over; true if it is there.
    #[cold]
    pub(crate) fn look(&self, mut is_there: impl FnMut() -> bool) -> bool {
        if !*HAS_OTHER_CPUS {
            return false;
        }
        let patience = self.0.load(Relaxed);
        for _ in 0..patience {
            pause(PAUSES);
            if is_there() {
                self.0.store((patience * 2).min(PATIENCE_MAX), Relaxed);
                return true;
            }
        }
        self.0.store((patience / 2).max(PATIENCE_MIN), Relaxed);
        false
    }
}

/// Lets a short time pass without giving up the CPU.
pub(super) fn pause(pauses: u32) {
    for _ in 0..pauses {
        spin_loop();
    }
}
