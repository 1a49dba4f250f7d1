//! What a worker is started with, and setting it up.

use std::any::{Any, type_name};
use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use hatchery_process::{Entry, Parcel, Start, TaskReceiver};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::context;
use crate::process::{Identity, PanicNote, become_child, note_panics};

thread_local! {
    /// Why the initializer that was run last has failed. It crosses from an [`Entry`], which returns
    /// no more than an exit code, to its caller in the same thread.
    static REFUSAL: Cell<Option<String>> = const { Cell::new(None) };
}

/// The exit code by which an entry says that its function failed.
const REFUSED: u8 = 1;

/// What a worker is told when it starts.
///
/// Its descriptors are the pidfd of its parent and those of the initializer's arguments; the
/// initializer is the one function that is passed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WorkerOpening<'a> {
    pub(crate) name: &'a str,
    /// Its place in the pool, from 0.
    pub(crate) index: u32,
    pub(crate) parent_name: &'a str,
    pub(crate) parent_pid: u32,
    /// What the initializer is given; nothing, if there is none.
    #[serde(with = "serde_bytes")]
    pub(crate) arguments: &'a [u8],
}

impl WorkerOpening<'_> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("it holds nothing that cannot be serialised")
    }
}

/// Makes an entry of a pool's initializer, which keeps what that returns.
pub(crate) fn initializer_entry<F, A, S>(initializer: F) -> Entry
where
    F: Fn(A) -> S + Copy + Send + Sync + 'static,
    A: DeserializeOwned,
    S: Any + Send + Sync,
{
    Entry::new(move |start: Start| {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            Parcel::decode_parts::<A>(&start.bytes, start.descriptors).map(initializer)
        }));
        let reason = match outcome {
            Ok(Ok(state)) => return keep(state),
            Ok(Err(error)) => format!(
                "its arguments cannot be decoded as {}: {error}",
                type_name::<A>()
            ),
            Err(panic) => {
                let PanicNote { message, location } = PanicNote::new(&*panic);
                format!("it panicked at {location}: {message}")
            }
        };
        REFUSAL.set(Some(reason));
        REFUSED
    })
}

fn keep(state: impl Any + Send + Sync) -> u8 {
    let context = context::get().expect("a worker is known before it is initialised");
    let kept = context.state.set(Box::new(state));
    assert!(kept.is_ok(), "a worker is set up once");
    0
}

/// Makes this process the worker that it was started as, or says why it cannot be one.
pub(super) fn set_up(receiver: &TaskReceiver, start: Start) -> Result<(), String> {
    note_panics();
    let opening: WorkerOpening<'_> =
        postcard::from_bytes(&start.bytes).map_err(|error| error.to_string())?;
    let mut descriptors = start.descriptors.into_iter();
    let parent: OwnedFd = descriptors.next().ok_or("its parent is not named")?;
    let starter = (opening.parent_name, opening.parent_pid);
    become_child(Identity::of_worker(opening.name, starter, parent));
    context::set(receiver.bell(), opening.index as usize);
    let Some(initializer) = start.functions.first() else {
        return Ok(());
    };
    let code = initializer.run(Start {
        bytes: opening.arguments.to_vec(),
        descriptors: descriptors.collect(),
        ..Start::default()
    });
    if code == 0 {
        return Ok(());
    }
    let reason = REFUSAL.take();
    Err(reason.unwrap_or_else(|| "it gave no reason".to_owned()))
}
