//! What a worker does with a task of a certain function.

use std::cell::Cell;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use hatchery_process::{Entry, Parcel, ParcelError, ResultKind, Start, TaskPutError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Lost, Worker, encode};
use crate::process::PanicNote;

/// Runs a task with these arguments and puts its result.
pub(super) type Body = &'static dyn Fn(&mut Worker, &[u8], Vec<OwnedFd>) -> Result<(), Lost>;

thread_local! {
    /// What the entry that was run last has installed. It crosses from an [`Entry`], which returns
    /// no more than an exit code, to its caller in the same thread.
    static INSTALLED: Cell<Option<Body>> = const { Cell::new(None) };
}

/// Runs an entry that was made here, and returns what it installs.
pub(super) fn install(entry: Entry) -> Option<Body> {
    let _code = entry.run(Start::default());
    INSTALLED.take()
}

/// Makes an entry of a function that returns its result.
pub(crate) fn function_entry<F, A, R>(function: F) -> Entry
where
    F: Fn(A) -> R + Copy + Send + Sync + 'static,
    A: DeserializeOwned + 'static,
    R: Serialize + 'static,
{
    installer(move |worker, bytes, descriptors| {
        let called = called(|| Parcel::decode_parts::<A>(bytes, descriptors).map(function));
        worker.put_called(called)
    })
}

/// Makes an entry of an asynchronous function.
pub(crate) fn future_entry<F, A, Fut>(function: F) -> Entry
where
    F: Fn(A) -> Fut + Copy + Send + Sync + 'static,
    A: DeserializeOwned + 'static,
    Fut: Future<Output: Serialize + 'static> + 'static,
{
    installer(move |worker, bytes, descriptors| {
        let runtime = match worker.runtime() {
            Ok(runtime) => runtime,
            Err(error) => {
                let reason = format!("the worker has no runtime: {error}");
                return worker.put_reason(ResultKind::ArgumentsLost, &reason);
            }
        };
        let called = called(|| {
            // What is decoded may need the runtime.
            let _inside = runtime.enter();
            let arguments = Parcel::decode_parts::<A>(bytes, descriptors)?;
            Ok(runtime.block_on(async { function(arguments).await }))
        });
        worker.put_called(called)
    })
}

/// Makes an entry of a function whose result is put one item after the other.
pub(crate) fn stream_entry<F, A, I>(function: F) -> Entry
where
    F: Fn(A) -> I + Copy + Send + Sync + 'static,
    A: DeserializeOwned + 'static,
    I: IntoIterator<Item: Serialize> + 'static,
{
    installer(move |worker, bytes, descriptors| {
        let called = called(|| {
            let arguments = Parcel::decode_parts::<A>(bytes, descriptors)?;
            Ok::<_, ParcelError>(function(arguments).into_iter())
        });
        match called {
            Ok(Ok(items)) => worker.put_items(items),
            Ok(Err(error)) => worker.put_reason(ResultKind::ArgumentsLost, &error.to_string()),
            Err(note) => worker.put_panic(&note),
        }
    })
}

/// Makes an entry that makes a body known.
fn installer<B>(body: B) -> Entry
where
    B: Fn(&mut Worker, &[u8], Vec<OwnedFd>) -> Result<(), Lost> + Copy + Send + Sync + 'static,
{
    Entry::new(move |_: Start| {
        // It has no bytes, as the entry checks: nothing is leaked.
        let body: Body = Box::leak(Box::new(body));
        INSTALLED.set(Some(body));
        0
    })
}

/// Runs code of the program; its panic is what comes of it.
fn called<T>(code: impl FnOnce() -> T) -> Result<T, PanicNote> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|panic| PanicNote::new(&*panic))
}

impl Worker {
    fn put_called<R: Serialize>(
        &mut self,
        called: Result<Result<R, ParcelError>, PanicNote>,
    ) -> Result<(), Lost> {
        match called {
            Ok(Ok(result)) => self.put_result(ResultKind::Returned, result),
            Ok(Err(error)) => self.put_reason(ResultKind::ArgumentsLost, &error.to_string()),
            Err(note) => self.put_panic(&note),
        }
    }

    /// Encodes and puts what a function returned. Serialising and dropping it is its own code too.
    fn put_result<R: Serialize>(&mut self, kind: ResultKind, result: R) -> Result<(), Lost> {
        let output = &mut self.output;
        let encoded = called(move || encode(&result, output));
        match encoded {
            Ok(encoded) => self.put_output(kind, encoded),
            Err(note) => self.put_panic(&note),
        }
    }

    /// Puts items until there is none, nobody wants more, or one is lost.
    fn put_items<I>(&mut self, mut items: I) -> Result<(), Lost>
    where
        I: Iterator<Item: Serialize>,
    {
        let end = loop {
            let output = &mut self.output;
            let next = called(|| items.next().map(|item| encode(&item, output)));
            let descriptors = match next {
                Ok(Some(Ok(descriptors))) => descriptors,
                Ok(Some(Err(error))) => break End::Lost(error.to_string()),
                Ok(None) => break End::Over,
                Err(note) => break End::Panicked(note),
            };
            match self.receiver.put_item(&self.output, descriptors) {
                Ok(true) => {}
                Ok(false) => break End::Over,
                Err(TaskPutError::Unsendable(error)) => break End::Lost(error.to_string()),
                Err(error) => return Err(error.into()),
            }
        };
        // Dropping the iterator is the program's code too.
        let dropped = called(move || drop(items));
        match (end, dropped) {
            (End::Panicked(note), _) | (_, Err(note)) => self.put_panic(&note),
            (End::Lost(reason), _) => self.put_reason(ResultKind::ResultLost, &reason),
            (End::Over, Ok(())) => self.put_result(ResultKind::Returned, ()),
        }
    }
}

/// Why no more items are put.
enum End {
    Over,
    Lost(String),
    Panicked(PanicNote),
}
