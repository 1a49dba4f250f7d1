//! Which children of this process somebody waits for.
//!
//! What lost its parent becomes the main process's child too, and nobody waits for that.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::Pid;

/// How often each is held.
static OWN: Mutex<BTreeMap<i32, usize>> = Mutex::new(BTreeMap::new());

/// Says, while it lives, that somebody waits for the end of a process.
#[derive(Debug)]
pub struct OwnChild(i32);

impl OwnChild {
    /// Says so of this process, which has not been waited for yet.
    #[must_use]
    pub fn new(pid: Pid) -> Self {
        let pid = pid.as_raw_nonzero().get();
        *lock().entry(pid).or_default() += 1;
        Self(pid)
    }
}

impl Drop for OwnChild {
    fn drop(&mut self) {
        let mut own = lock();
        let held = own.get_mut(&self.0);
        if let Some(held) = held.filter(|held| **held > 1) {
            *held -= 1;
        } else {
            own.remove(&self.0);
        }
    }
}

/// Whether an [`OwnChild`] names this process.
pub(crate) fn is_held(pid: Pid) -> bool {
    lock().contains_key(&pid.as_raw_nonzero().get())
}

fn lock() -> MutexGuard<'static, BTreeMap<i32, usize>> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_held_until_the_last_who_waits_for_it_has_gone() {
        let pid = Pid::from_raw(i32::MAX).unwrap();
        let (one, two) = (OwnChild::new(pid), OwnChild::new(pid));

        drop(one);
        assert!(is_held(pid));
        drop(two);

        assert!(!is_held(pid));
    }
}
