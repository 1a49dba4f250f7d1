//! Values that the fork server makes once and every later child shares, copy-on-write.

use std::any::{Any, TypeId, type_name};
use std::sync::{PoisonError, RwLock};

use hatchery_os::{Entry, Start};

use crate::child::StartError;
use crate::fork_server::run_in_fork_server;

/// A value that lives as long as the process, with its type.
type Preloaded = (TypeId, &'static (dyn Any + Send + Sync));

/// What was preloaded before this process was forked.
static PRELOADED: RwLock<Vec<Preloaded>> = RwLock::new(Vec::new());

/// Why a value was not preloaded.
#[derive(Debug, thiserror::Error)]
#[error("{type_name} could not be preloaded")]
pub struct PreloadError {
    type_name: &'static str,
    source: StartError,
}

/// Runs `make` in the fork server; processes started from now on share its result.
///
/// The value is made once, and again by each new fork server. A child reads it with
/// [`preloaded`]; a second value of the same type replaces the first for later children.
/// `make` must not leave a thread behind: a process with threads cannot fork.
///
/// # Errors
///
/// Returns [`PreloadError`] if there is no fork server, if `make` panics or leaves a thread, or
/// if the kernel refuses.
pub fn preload<T, F>(make: F) -> Result<(), PreloadError>
where
    T: Any + Send + Sync,
    F: Fn() -> T + Copy + Send + Sync + 'static,
{
    let entry = Entry::new(move |_: Start| {
        store(make());
        0
    });
    run_in_fork_server(entry).map_err(|source| PreloadError {
        type_name: type_name::<T>(),
        source,
    })
}

/// Returns the value of this type that was preloaded before this process was forked.
///
/// It is `None` in the main process, which was there before.
#[must_use]
pub fn preloaded<T: Any + Send + Sync>() -> Option<&'static T> {
    let values = PRELOADED.read().unwrap_or_else(PoisonError::into_inner);
    let (_, value) = values.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
    value.downcast_ref()
}

fn store<T: Any + Send + Sync>(value: T) {
    let id = TypeId::of::<T>();
    // Preloaded values are never dropped, so that children may hold on to them.
    let value: &'static T = Box::leak(Box::new(value));
    let mut values = PRELOADED.write().unwrap_or_else(PoisonError::into_inner);
    values.retain(|(held, _)| *held != id);
    values.push((id, value));
}
