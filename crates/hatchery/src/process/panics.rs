//! What is to be told of a panic in a process that runs functions of the program.

use std::any::Any;
use std::cell::Cell;
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};

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
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Self {
            message: text.unwrap_or("a value that is not text").to_owned(),
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
