//! What is to be told of a panic in a process that runs functions of the program.

use std::any::Any;
use std::cell::Cell;
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};

use hatchery_process::panic_text;
use serde::{Deserialize, Serialize};

thread_local! {
    /// Where this thread panicked last.
    static LOCATION: Cell<Option<String>> = const { Cell::new(None) };
}

/// Whether the place of a panic is being noted, also by the process that this one was forked from.
static NOTES_PANICS: AtomicBool = AtomicBool::new(false);

/// A panic, as it is told to another process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PanicNote {
    pub(crate) message: String,
    pub(crate) location: String,
}

impl PanicNote {
    /// Describes what this thread panicked with last.
    pub(crate) fn new(panic: &(dyn Any + Send)) -> Self {
        Self {
            message: panic_text(panic).to_owned(),
            location: LOCATION
                .take()
                .unwrap_or_else(|| "an unknown place".to_owned()),
        }
    }
}

/// Has every panic note its place, besides what was done about it before.
pub(crate) fn note_panics() {
    if NOTES_PANICS.swap(true, Ordering::Relaxed) {
        return;
    }
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        LOCATION.set(panic.location().map(ToString::to_string));
        previous(panic);
    }));
}
