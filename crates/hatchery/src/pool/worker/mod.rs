//! A worker process of a pool: its loop.
//!
//! It runs one task at a time. What a task's function does, panics included, stays within it: the
//! worker puts a result of one kind or another, and takes the next. Whatever ends the process is for
//! the main process to see.

mod body;
pub(crate) mod context;
mod opening;

pub(crate) use body::{function_entry, future_entry, stream_entry};
pub(crate) use opening::{WorkerOpening, initializer_entry};

use std::io;
use std::os::fd::OwnedFd;

use hatchery_process::{
    Entry, Parcel, ParcelError, ResultKind, Start, TaskPutError, TaskReceiveError, TaskReceiver,
};
use serde::Serialize;
use tokio::runtime::Runtime;

use self::body::Body;
use crate::process::{PanicNote, wind_up};

/// The exit code of a worker whose pool has closed.
const DONE: u8 = 0;

/// The exit code of a worker that could not be set up, and has said why.
const NOT_READY: u8 = 1;

/// The exit code of a worker that cannot go on.
const FAILED: u8 = 71;

/// The function that a worker runs.
pub(crate) fn worker_entry() -> Entry {
    Entry::new(run)
}

fn run(mut start: Start) -> u8 {
    let Ok(receiver) = TaskReceiver::adopt(&mut start) else {
        return FAILED;
    };
    let mut worker = Worker {
        receiver,
        functions: Vec::new(),
        runtime: None,
        output: Vec::new(),
    };
    let code = match opening::set_up(&worker.receiver, start) {
        Ok(()) => worker.work(),
        Err(reason) => {
            // Also who cannot be told it sees that this process ends.
            let _unheard = worker.receiver.put_readiness(Err(&reason));
            NOT_READY
        }
    };
    drop(worker);
    wind_up();
    code
}

/// A worker at work.
struct Worker {
    receiver: TaskReceiver,
    /// The functions that have come, by their numbers.
    functions: Vec<Option<Body>>,
    /// What asynchronous functions run on, once there was one.
    runtime: Option<Runtime>,
    /// Room for a result, kept for the next.
    output: Vec<u8>,
}

impl Worker {
    fn work(&mut self) -> u8 {
        if self.receiver.put_readiness(Ok(())).is_err() {
            return FAILED;
        }
        match self.run_tasks() {
            Ok(()) => DONE,
            Err(_gone) => FAILED,
        }
    }

    /// Runs one task after the other until the pool closes.
    fn run_tasks(&mut self) -> Result<(), Lost> {
        let mut bytes = Vec::new();
        while let Some(task) = self.receiver.next(&mut bytes)? {
            let descriptors = match task.descriptors {
                Ok(descriptors) => descriptors,
                Err(reason) => {
                    self.put_reason(ResultKind::ArgumentsLost, &reason)?;
                    continue;
                }
            };
            let body = self.function(task.function)?;
            body(self, &bytes, descriptors)?;
            bytes.shrink_to(KEPT_BYTES);
        }
        Ok(())
    }

    /// Returns the function of this number, which has come with its first task if not before.
    fn function(&mut self, index: u32) -> Result<Body, Lost> {
        let index = index as usize;
        loop {
            if let Some(Some(body)) = self.functions.get(index) {
                return Ok(*body);
            }
            let (number, entry) = self.receiver.function()?;
            let number = number as usize;
            if self.functions.len() <= number {
                self.functions.resize(number + 1, None);
            }
            self.functions[number] = body::install(entry);
        }
    }

    fn runtime(&mut self) -> io::Result<&Runtime> {
        match self.runtime {
            Some(ref runtime) => Ok(runtime),
            None => {
                let mut builder = tokio::runtime::Builder::new_current_thread();
                Ok(self.runtime.insert(builder.enable_all().build()?))
            }
        }
    }

    /// Puts what was encoded into `output`, or why it was not.
    fn put_output(
        &mut self,
        kind: ResultKind,
        encoded: Result<Vec<OwnedFd>, ParcelError>,
    ) -> Result<(), Lost> {
        let put = match encoded {
            Ok(descriptors) => self.receiver.put(kind, &self.output, descriptors),
            Err(error) => return self.put_reason(ResultKind::ResultLost, &error.to_string()),
        };
        self.output.shrink_to(KEPT_BYTES);
        match put {
            Err(TaskPutError::Unsendable(reason)) => {
                self.put_reason(ResultKind::ResultLost, &reason.to_string())
            }
            outcome => Ok(outcome?),
        }
    }

    /// Puts why there is no result.
    fn put_reason(&mut self, kind: ResultKind, reason: &str) -> Result<(), Lost> {
        Ok(self.receiver.put(kind, reason.as_bytes(), Vec::new())?)
    }

    fn put_panic(&mut self, note: &PanicNote) -> Result<(), Lost> {
        let bytes = postcard::to_stdvec(note).expect("it is text");
        Ok(self
            .receiver
            .put(ResultKind::Panicked, &bytes, Vec::new())?)
    }
}

/// The memory that is kept from one task to the next.
const KEPT_BYTES: usize = 1 << 20;

/// Encodes a result over what `output` held.
fn encode<T: Serialize>(value: &T, output: &mut Vec<u8>) -> Result<Vec<OwnedFd>, ParcelError> {
    Parcel::encode_into(value, output)
}

/// There is no main process to work for any more, or none that can be understood.
#[derive(Debug)]
struct Lost;

impl From<TaskReceiveError> for Lost {
    fn from(_: TaskReceiveError) -> Self {
        Self
    }
}

impl From<TaskPutError> for Lost {
    fn from(_: TaskPutError) -> Self {
        Self
    }
}
