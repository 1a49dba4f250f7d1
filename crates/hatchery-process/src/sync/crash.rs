//! Ending a process right after any of its writes into shared memory.
//!
//! With the feature `crash-points` a test says after which write the process is to die; without
//! it, nothing here is compiled into a program.

/// Notes that a word in shared memory was written.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub(crate) fn written() {}

#[cfg(feature = "crash-points")]
pub(crate) use armed::written;

#[cfg(feature = "crash-points")]
pub use armed::{crash_after, stay_alive};

#[cfg(feature = "crash-points")]
mod armed {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use rustix::process::{Signal, getpid, kill_process};

    /// How many writes are left until the end; 0 for no end.
    static LEFT: AtomicU32 = AtomicU32::new(0);

    /// Has this process kill itself right after that many more writes into shared memory.
    pub fn crash_after(writes: u32) {
        LEFT.store(writes, Relaxed);
    }

    /// Takes [`crash_after`] back; true if there were writes left.
    pub fn stay_alive() -> bool {
        LEFT.swap(0, Relaxed) != 0
    }

    pub(crate) fn written() {
        let left = LEFT.load(Relaxed);
        if left == 0 {
            return;
        }
        LEFT.store(left - 1, Relaxed);
        if left == 1 {
            let _killed = kill_process(getpid(), Signal::KILL);
            unreachable!("nobody survives SIGKILL");
        }
    }
}
