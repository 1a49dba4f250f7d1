//! A process with the type of its result.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::builder::ProcessBuilder;
use super::error::{CloseError, JoinError, SpawnError};
use super::{IntoArguments, ProcessHandle, registry};

/// A process that runs a function of this program, and returns an `R`.
///
/// All that does not need the type of the result is in [`ProcessHandle`], which this derefs to.
/// Any number of threads may use it at once.
///
/// Dropping it leaves the process running. If it is no daemon, the program still waits for it at
/// its normal end, which is when the function under `#[hatchery::main]` has returned, or in a child
/// its own function has returned or panicked. If this process ends in any other way, by a signal, by
/// `exit` or by a panic of the main function, all that it has started is killed, daemon or not.
pub struct Process<R> {
    handle: ProcessHandle,
    result: PhantomData<fn() -> R>,
}

impl<R: Serialize + DeserializeOwned> Process<R> {
    /// Prepares a process that runs `function` with `arguments`.
    ///
    /// The function is an `fn` item or a closure that captures nothing, which the compiler checks.
    /// Several arguments are a tuple. What it returns is serialised; [`ChildResult`](crate::ChildResult)
    /// lets it use `?` on any error.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use hatchery::Process;
    ///
    /// fn talk(name: String) -> usize {
    ///     println!("my name is {name}");
    ///     name.len()
    /// }
    ///
    /// #[hatchery::main]
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let process = Process::builder(talk, "alex").name("talk").start()?;
    ///     assert_eq!(process.join()?, 4);
    ///     Ok(())
    /// }
    /// ```
    pub fn builder<F, A>(function: F, arguments: impl IntoArguments<A>) -> ProcessBuilder<A, R>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned,
    {
        ProcessBuilder::new(function, arguments.into_arguments())
    }

    /// Starts a process that runs `function` with `arguments`.
    ///
    /// # Errors
    ///
    /// As [`ProcessBuilder::start`].
    pub fn spawn<F, A>(function: F, arguments: impl IntoArguments<A>) -> Result<Self, SpawnError>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned,
    {
        Self::builder(function, arguments).start()
    }
}

impl<R: DeserializeOwned> Process<R> {
    /// Waits until the process has ended, and returns what its function returned.
    ///
    /// This may be asked more than once: the result is kept, and decoded anew each time.
    ///
    /// # Errors
    ///
    /// See [`JoinError`]; it is never [`JoinError::Timeout`].
    pub fn join(&self) -> Result<R, JoinError> {
        let status = self.handle.wait()?;
        self.handle.result(status)
    }

    /// As [`Process::join`], waiting for at most `timeout`.
    ///
    /// # Errors
    ///
    /// See [`JoinError`].
    pub fn join_timeout(&self, timeout: Duration) -> Result<R, JoinError> {
        let status = self.handle.wait_timeout(timeout)?;
        self.handle.result(status)
    }

    /// As [`Process::join`].
    ///
    /// # Errors
    ///
    /// See [`JoinError`]; it is never [`JoinError::Timeout`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, joining again gives the same.
    pub async fn join_async(&self) -> Result<R, JoinError> {
        let status = self.handle.wait_async().await?;
        self.handle.result(status)
    }
}

impl<R> Process<R> {
    pub(super) fn new(handle: ProcessHandle) -> Self {
        registry::add(handle.clone());
        Self {
            handle,
            result: PhantomData,
        }
    }

    /// Gives up what is held for a process that has ended.
    ///
    /// Dropping the process does the same. This is for who wants to be told if it still runs.
    ///
    /// # Errors
    ///
    /// Returns [`CloseError`], with the process, if it is running.
    pub fn close(self) -> Result<(), CloseError<R>> {
        if self.is_alive() {
            return Err(CloseError { process: self });
        }
        // The fork server may be about to say how it ended; then it is forgotten here.
        let _unknown = self.exit_status();
        Ok(())
    }

    /// Returns this process without the type of its result.
    #[must_use]
    pub fn handle(&self) -> &ProcessHandle {
        &self.handle
    }
}

impl<R> Deref for Process<R> {
    type Target = ProcessHandle;

    fn deref(&self) -> &ProcessHandle {
        &self.handle
    }
}

impl<R> Drop for Process<R> {
    fn drop(&mut self) {
        registry::forget_if_ended(&self.handle);
    }
}

impl<R> fmt::Debug for Process<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt(formatter)
    }
}
