//! What a task of a pool can find out about itself and its worker.
//!
//! All of these may be called from any thread of a worker, and in any other process too, where they
//! say that it is none.
//!
//! ```no_run
//! use hatchery::task;
//!
//! fn search(until: u64) -> Option<u64> {
//!     (0..until).take_while(|_| !task::cancelled()).find(|n| n * n == 144)
//! }
//! ```

use std::any::{Any, type_name};

use crate::pool::worker::context;

/// Whether the task that runs in this process is asked to stop.
///
/// It is when its handle was cancelled or its time is up, or when nobody wants more items of the
/// stream that it returns. A task that does not stop by itself is ended with its worker, a while later.
/// This reads one word, so it may be asked often.
#[must_use]
pub fn cancelled() -> bool {
    context::get().is_some_and(|context| context.bell.is_stopping())
}

/// Returns what the pool's initializer has returned in this worker.
///
/// It is kept for as long as the worker lives, and shared by its tasks: what they change in it is in
/// a `Mutex` or the like.
///
/// # Panics
///
/// Panics if this is no worker of a pool, or the pool has no initializer that returns an `S`.
#[must_use]
pub fn state<S: Any + Send + Sync>() -> &'static S {
    try_state().unwrap_or_else(|| {
        panic!(
            "this process has no state of the type {}: \
             give the pool an initializer that returns one",
            type_name::<S>()
        )
    })
}

/// As [`state`], and `None` where that panics.
#[must_use]
pub fn try_state<S: Any + Send + Sync>() -> Option<&'static S> {
    context::get()?.state.get()?.downcast_ref()
}

/// The place of this worker in its pool, from 0; `None` if this is no worker of a pool.
///
/// A worker that is replaced leaves its place to its successor.
#[must_use]
pub fn worker_index() -> Option<usize> {
    context::get().map(|context| context.index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_of_a_worker_nothing_is_cancelled_and_there_is_no_state() {
        assert!(!cancelled());
        assert_eq!(try_state::<String>(), None);
        assert_eq!(worker_index(), None);
    }

    #[test]
    #[should_panic(expected = "no state of the type alloc::string::String: give the pool")]
    fn asking_for_a_state_that_is_not_there_names_its_type() {
        let _state = state::<String>();
    }
}
