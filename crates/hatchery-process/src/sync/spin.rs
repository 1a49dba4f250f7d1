//! Looking a little longer before going to sleep.
//!
//! A sleep and the wake-up from it cost as much as hundreds of messages, so where another CPU is
//! about to bring what is waited for, looking for it is cheaper. Where it is not, looking only takes
//! its time. Which it is, is learnt: a long sleep after a vain look halves the patience for the next, and
//! a short one, which more patience would have spared, doubles it. But a sleep is short as well where both
//! share a CPU, and there each look only keeps the other from running: so after looks in vain, more and
//! more waits go by without one, until one finds something again. And where the first look mostly finds
//! something, it is put off: whoever brings it brings more in that time, undisturbed.

use std::hint::spin_loop;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

/// The most pauses before a sleep.
const PATIENCE_MAX: u32 = 4096;

/// The least, so that it can be learnt that looking pays again.
const PATIENCE_MIN: u32 = 64;

/// The fewest pauses before a look.
const PAUSES_MIN: u32 = 16;

/// The most pauses before a look: whoever brings something is disturbed by each.
const PAUSES_MAX: u32 = 128;

/// The most waits without a look after one that was in vain.
const SKIPS_MAX: u32 = 64;

/// A sleep that is no longer than this was hardly worth its while.
const SLEEP_SHORT: Duration = Duration::from_micros(150);

/// Whether something can happen while this process looks.
static HAS_OTHER_CPUS: LazyLock<bool> =
    LazyLock::new(|| available_parallelism().is_ok_and(|count| count.get() > 1));

/// How patient this process is about one thing.
#[derive(Debug)]
pub(crate) struct Patience {
    /// The pauses before a sleep.
    pauses: AtomicU32,
    /// The pauses before the first look.
    pauses_first: AtomicU32,
    /// The waits to come that do not look.
    skips: AtomicU32,
    /// How many go by after the next look in vain.
    skips_next: AtomicU32,
}

impl Patience {
    pub(crate) const fn new() -> Self {
        Self {
            pauses: AtomicU32::new(PATIENCE_MAX),
            pauses_first: AtomicU32::new(PAUSES_MIN),
            skips: AtomicU32::new(0),
            skips_next: AtomicU32::new(1),
        }
    }

    /// Looks until something is there, or the patience is over; then does what gets it, and sleeps
    /// for it if it must.
    #[cold]
    pub(crate) fn wait<T>(&self, mut is_there: impl FnMut() -> bool, get: impl FnOnce() -> T) -> T {
        if self.look(&mut is_there) {
            return get();
        }
        let start = Instant::now();
        let got = get();
        self.learn(start.elapsed());
        got
    }

    /// Looks until something is there, or the patience is over; true if it is there. How long the
    /// sleep was that followed is to be [told](Self::learn).
    #[cold]
    pub(crate) fn look(&self, mut is_there: impl FnMut() -> bool) -> bool {
        if !*HAS_OTHER_CPUS || self.is_skipped() {
            return false;
        }
        let patience = self.pauses.load(Relaxed);
        let first = self.pauses_first.load(Relaxed);
        let (mut paused, mut pauses) = (0, first);
        while paused < patience {
            pause(pauses);
            paused += pauses;
            if is_there() {
                let is_first = paused == first;
                self.learn_first(if is_first { first * 2 } else { first / 2 });
                self.skips_next.store(1, Relaxed);
                return true;
            }
            pauses = (pauses * 2).min(PAUSES_MAX);
        }
        self.learn_first(PAUSES_MIN);
        let skips = self.skips_next.load(Relaxed);
        self.skips.store(skips, Relaxed);
        self.skips_next.store((skips * 2).min(SKIPS_MAX), Relaxed);
        false
    }

    /// Whether this wait goes by without a look.
    fn is_skipped(&self) -> bool {
        let skips = self.skips.load(Relaxed);
        if skips > 0 {
            self.skips.store(skips - 1, Relaxed);
        }
        skips > 0
    }

    /// Learns from how long it slept after a look that was in vain.
    pub(crate) fn learn(&self, slept: Duration) {
        let pauses = self.pauses.load(Relaxed);
        let next = if slept < SLEEP_SHORT {
            pauses * 2
        } else {
            pauses / 2
        };
        let next = next.clamp(PATIENCE_MIN, PATIENCE_MAX);
        self.pauses.store(next, Relaxed);
    }

    fn learn_first(&self, pauses: u32) {
        let pauses = pauses.clamp(PAUSES_MIN, PAUSES_MAX);
        self.pauses_first.store(pauses, Relaxed);
    }
}

/// Lets a short time pass without giving up the CPU.
pub(super) fn pause(pauses: u32) {
    for _ in 0..pauses {
        spin_loop();
    }
}
