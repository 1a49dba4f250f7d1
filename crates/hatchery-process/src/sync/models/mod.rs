//! The algorithms on words whose every interleaving is tried, up to a number of preemptions.
//!
//! A model runs the code that the processes run, on words of loom instead of shared memory. A
//! wake-up that is lost is a thread that waits for ever, which loom reports as a deadlock.

mod bell;
mod berth;
mod locking;
mod permits;
mod tray;
mod waiting;

use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Condvar, Mutex};

use super::wait::{Attempt, Look};
use super::word::Word;

/// How often threads are interrupted where they would not have to be.
const PREEMPTIONS_MAX: usize = 3;

/// Tries a model in every way.
fn model(body: impl Fn() + Sync + Send + 'static) {
    model_with(PREEMPTIONS_MAX, body);
}

/// Tries a model in every way with so many interruptions.
fn model_with(preemptions_max: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions_max);
    builder.check(body);
}

/// A word with the kernel's part in it: who sleeps until it is woken.
#[derive(Debug)]
struct ModelWord {
    value: AtomicU32,
    /// The kernel compares and falls asleep in one step, and so does this under its lock.
    kernel: Mutex<()>,
    sleepers: Condvar,
}

impl ModelWord {
    fn new(value: u32) -> Self {
        Self {
            value: AtomicU32::new(value),
            kernel: Mutex::new(()),
            sleepers: Condvar::new(),
        }
    }

    /// Sleeps until somebody wakes it, unless the word has changed since it was seen.
    fn sleep(&self, seen: u32) {
        let kernel = self.kernel.lock().unwrap();
        if self.read() == seen {
            drop(self.sleepers.wait(kernel).unwrap());
        }
    }

    /// Repeats an attempt until it succeeds, as `wait_until` does without a deadline.
    fn wait<T>(&self, mut attempt: impl FnMut(Look) -> Attempt<T>) -> T {
        let mut look = Look::First;
        loop {
            match attempt(look) {
                Attempt::Done(outcome) => return outcome,
                Attempt::Wait(seen) => self.sleep(seen),
            }
            look = Look::Woken;
        }
    }
}

impl Word for ModelWord {
    fn read(&self) -> u32 {
        self.value.load(Ordering::Acquire)
    }

    fn write(&self, value: u32) {
        self.value.store(value, Ordering::Release);
    }

    fn exchange(&self, value: u32) -> u32 {
        self.value.swap(value, Ordering::AcqRel)
    }

    fn replace(&self, seen: u32, value: u32) -> Result<(), u32> {
        let replaced =
            self.value
                .compare_exchange(seen, value, Ordering::AcqRel, Ordering::Acquire);
        replaced.map(drop)
    }

    fn add_one(&self) {
        self.value.fetch_add(1, Ordering::AcqRel);
    }

    fn pass_through(&self) {
        self.value.fetch_or(0, Ordering::AcqRel);
    }

    fn wake(&self, count: u32) {
        let _kernel = self.kernel.lock().unwrap();
        if count == 1 {
            self.sleepers.notify_one();
        } else {
            self.sleepers.notify_all();
        }
    }
}
