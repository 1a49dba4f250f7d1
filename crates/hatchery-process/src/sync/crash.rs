//! The order of writes into shared memory, and ending a process right after any of them.
//!
//! A process that is killed has done all writes before one point of its program and none after it,
//! if the compiler left them in their order. With the feature `crash-points` a test says
//! after which write the process is to die; without it, that is not compiled into a program.

use std::sync::atomic::{Ordering, compiler_fence};

/// Notes that a word in shared memory was written, before whatever is written next.
#[inline(always)]
pub(crate) fn written() {
    // The words are atomic, but most are written in no particular order.
    compiler_fence(Ordering::SeqCst);
    #[cfg(feature = "crash-points")]
    armed::count();
}

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

    pub(super) fn count() {
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
