//! What a process does around the function that it was started for.

use std::any::Any;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use hatchery_process::{Outgoing, Packets, Parcel, Start};
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

/// What a process is started with. Its descriptors are the end of the channel for its result, its
/// parent's pidfd, and those of its arguments.
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
    let code = match called {
        Ok(Ok(result)) => tell_result(&results, result),
        Ok(Err(error)) => {
            tell(&results, &Outcome::ArgumentsLost::<()>(error.to_string()));
            NOT_PASSED
        }
        Err(panic) => {
            tell(&results, &panicked::<()>(&*panic));
            PANICKED
        }
    };
    drop(results);
    wind_up();
    code
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
    let results = Packets::adopt(descriptors.next()?).ok()?;
    let parent = descriptors.next()?;
    current::become_child(Identity::new(&opening, parent));
    let arguments = Parcel {
        bytes: opening.arguments.to_vec(),
        descriptors: descriptors.collect(),
    };
    Some((results, arguments))
}

/// Tells the parent what the function returned. A serialisation that panics is a panic too.
fn tell_result<R: Serialize>(results: &Packets, result: R) -> u8 {
    let outcome = Outcome::Returned(result);
    let encoded = catch_unwind(AssertUnwindSafe(|| {
        let parcel = Parcel::encode(&outcome).map_err(|error| error.to_string())?;
        Outgoing::try_from(parcel).map_err(|error| error.to_string())
    }));
    let reason = match encoded {
        Ok(Ok(message)) => match results.send(&message, None) {
            Ok(()) => return RETURNED,
            // The parent has gone, or dropped the process: nobody wants to know.
            Err(hatchery_process::PacketSendError::Closed) => return RETURNED,
            Err(error) => error.to_string(),
        },
        Ok(Err(reason)) => reason,
        Err(panic) => {
            tell(results, &panicked::<()>(&*panic));
            return PANICKED;
        }
    };
    tell(results, &Outcome::ResultLost::<()>(reason));
    NOT_PASSED
}

fn tell(results: &Packets, outcome: &Outcome<()>) {
    let parcel = Parcel::encode(outcome).expect("it holds nothing that cannot be serialised");
    if let Ok(message) = Outgoing::try_from(parcel) {
        let _unheard = results.send(&message, None);
    }
}

fn panicked<R>(panic: &(dyn Any + Send)) -> Outcome<R> {
    let PanicNote { message, location } = PanicNote::new(panic);
    Outcome::Panicked { message, location }
}
