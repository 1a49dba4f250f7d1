//! What is known in a worker, wherever it is asked for.

use std::any::Any;
use std::sync::{OnceLock, PoisonError, RwLock};

use hatchery_process::TaskBell;

/// The worker that this process is, if it is one.
///
/// It is never dropped: a process that is forked from this one inherits it, and there what is in it
/// is not its own.
static CONTEXT: RwLock<Option<&'static Context>> = RwLock::new(None);

/// What tasks can ask for.
pub(crate) struct Context {
    pub(crate) bell: TaskBell,
    pub(crate) index: usize,
    pub(crate) state: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// The context of this process.
pub(crate) fn get() -> Option<&'static Context> {
    *CONTEXT.read().unwrap_or_else(PoisonError::into_inner)
}

/// Makes this process a worker.
pub(super) fn set(bell: TaskBell, index: usize) {
    let context: &'static Context = Box::leak(Box::new(Context {
        bell,
        index,
        state: OnceLock::new(),
    }));
    *CONTEXT.write().unwrap_or_else(PoisonError::into_inner) = Some(context);
}

/// Makes this process no worker: it was forked from one.
pub(crate) fn clear() {
    *CONTEXT.write().unwrap_or_else(PoisonError::into_inner) = None;
}
