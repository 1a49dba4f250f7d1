//! What a process does around the function that it was started for.

use std::any::Any;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use hatchery_process::{Outgoing, PacketSendError, Packets, Parcel, Start};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::current::{self, Identity};
use super::finish_children;
use super::panics::{PanicNote, note_panics};

/// The exit code of a process whose function returned.
pub(super) const RETURNED: u8 = 0;

/// The exit code of a process whose arguments or result did not get through.
const NOT_PASSED: u8 = 1;

/// The exit code of a process that cannot even read what it was started with.
const NOT_SET_UP: u8 = 71;

/// The exit code of a process whose function panicked, as Rust's own `main` has it.
pub(super) const PANICKED: u8 = 101;

/// What a process is started with. Its descriptors are the channel for its last words, its parent's
/// pidfd, and those of its arguments.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Opening<'a> {
    pub(super) name: &'a str,
    pub(super) is_daemon: bool,
    pub(super) parent_name: &'a str,
    pub(super) parent_pid: u32,
    #[serde(with = "serde_bytes")]
    pub(super) arguments: &'a [u8],
}

/// How many descriptors come before those of the arguments.
pub(super) const OPENING_DESCRIPTORS: usize = 2;

/// What becomes of a function, as its process tells its parent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Outcome<R> {
    Returned(R),
    Panicked { message: String, location: String },
    ArgumentsLost(String),
    ResultLost(String),
}

/// Runs `function` as the whole of a process, and returns the exit code.
pub(super) fn run<F, A, R>(function: F, start: Start) -> u8
where
    F: Fn(A) -> R,
    A: DeserializeOwned,
    R: Serialize,
{
    let Some((results, arguments)) = set_up(start) else {
        return NOT_SET_UP;
    };
    let called = catch_unwind(AssertUnwindSafe(|| arguments.decode::<A>().map(function)));
    let words = match called {
        Ok(Ok(result)) => returned(&result),
        Ok(Err(error)) => words(NOT_PASSED, &Outcome::ArgumentsLost(error.to_string())),
        Err(panic) => words(PANICKED, &panicked(&*panic)),
    };
    wind_up();
    say(&results, &words)
}

/// Does what a process has to do when it has nothing else to do any more.
pub(crate) fn wind_up() {
    // Nothing that was printed is to be lost if this is killed while it waits.
    let _closed = io::stdout().flush();
    finish_children();
    hatchery_process::end();
}

/// Makes this process the one that it was started as.
fn set_up(start: Start) -> Option<(Packets, Parcel)> {
    note_panics();
    let opening: Opening<'_> = postcard::from_bytes(&start.bytes).ok()?;
    let mut descriptors = start.descriptors.into_iter();
    let results = Packets::for_last_words(descriptors.next()?);
    let parent = descriptors.next()?;
    current::become_child(Identity::new(&opening, parent));
    let arguments = Parcel {
        bytes: opening.arguments.to_vec(),
        descriptors: descriptors.collect(),
    };
    Some((results, arguments))
}

/// What a process says last: its exit code, and with it what became of its function.
///
/// The code comes first, so that whoever waits for the process need not know what it returns.
struct LastWords {
    code: u8,
    message: Outgoing<'static>,
}

/// Puts into words what the function returned. A serialisation that panics is a panic too.
fn returned<R: Serialize>(result: &R) -> LastWords {
    let encoded = catch_unwind(AssertUnwindSafe(|| {
        let parcel = Parcel::encode(&(RETURNED, Outcome::Returned(result)));
        let parcel = parcel.map_err(|error| error.to_string())?;
        Outgoing::try_from(parcel).map_err(|error| error.to_string())
    }));
    match encoded {
        Ok(Ok(message)) => LastWords {
            code: RETURNED,
            message,
        },
        Ok(Err(reason)) => words(NOT_PASSED, &Outcome::ResultLost(reason)),
        Err(panic) => words(PANICKED, &panicked(&*panic)),
    }
}

fn words(code: u8, outcome: &Outcome<()>) -> LastWords {
    let parcel =
        Parcel::encode(&(code, outcome)).expect("it holds nothing that cannot be serialised");
    let message = Outgoing::try_from(parcel).expect("it is short and has no descriptors");
    LastWords { code, message }
}

/// Says the last words, and returns the exit code.
fn say(results: &Packets, words: &LastWords) -> u8 {
    match results.send(&words.message, None) {
        // If the parent has gone, or dropped the process, nobody wants to know.
        Ok(()) | Err(PacketSendError::Closed) => words.code,
        Err(error) if words.code == RETURNED => say(
            results,
            &self::words(NOT_PASSED, &Outcome::ResultLost(error.to_string())),
        ),
        Err(_) => words.code,
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Outcome<()> {
    let PanicNote { message, location } = PanicNote::new(panic);
    Outcome::Panicked { message, location }
}
