//! How a process is started.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process;

use hatchery_process::{
    Child, Entry, InitError, Parcel, ParcelError, Program, Start, StartError, StartMethod,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::body::{self, OPENING_DESCRIPTORS, Opening};
use super::current::current_process;
use super::error::SpawnError;
use super::{Process, ProcessHandle, registry};
use crate::front_end::started;

/// A process that is still to be started.
///
/// Starting it leaves the arguments here, so that it can be started again; descriptors in
/// them are closed in this process when this is dropped.
#[derive(Debug)]
pub struct ProcessBuilder<A, R> {
    entry: Entry,
    arguments: A,
    name: Option<String>,
    is_daemon: bool,
    method: StartMethod,
    result: PhantomData<fn() -> R>,
}

impl<A, R> ProcessBuilder<A, R>
where
    A: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    pub(super) fn new<F>(function: F, arguments: A) -> Self
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
    {
        Self {
            entry: Entry::new(move |start: Start| body::run(function, start)),
            arguments,
            name: None,
            is_daemon: false,
            method: StartMethod::default(),
            result: PhantomData,
        }
    }

    /// Names the process; `ps` shows the first 15 bytes.
    ///
    /// # Default
    ///
    /// `process-1` and so on, and in a child the child's own name and `:1`.
    pub fn name(&mut self, name: impl Into<String>) -> &mut Self {
        self.name = Some(name.into());
        self
    }

    /// Sets whether the program ends without waiting for the process, and ends it then.
    ///
    /// A daemon may start processes of its own; they go with it.
    ///
    /// # Default
    ///
    /// It is no daemon, and the normal end of the program waits for it.
    pub fn daemon(&mut self, is_daemon: bool) -> &mut Self {
        self.is_daemon = is_daemon;
        self
    }

    /// Chooses whether the process is a fork of the fork server, or executes the program anew.
    ///
    /// A fork is faster, and sees what was [preloaded](crate::preload) and all else that is in the fork
    /// server's memory. Executed anew it has a memory of its own: statics are as in a fresh program,
    /// nothing is preloaded, and its environment is that of the fork server. `main` runs in neither.
    ///
    /// # Default
    ///
    /// [`StartMethod::Fork`].
    pub fn start_method(&mut self, method: StartMethod) -> &mut Self {
        self.method = method;
        self
    }

    /// Starts the process, and returns as soon as it is there.
    ///
    /// # Errors
    ///
    /// Returns [`SpawnError::Arguments`] if the arguments cannot be serialised or hold more than
    /// 28 descriptors, [`SpawnError::Start`] if the fork server does not start it, and
    /// [`SpawnError::Os`] for any other error of the kernel.
    pub fn start(&self) -> Result<Process<R>, SpawnError> {
        let launch = self.launch()?;
        let child = launch.with_program(self.entry, hatchery_process::start)?;
        Ok(launch.into_process(child))
    }

    /// As [`ProcessBuilder::start`], for asynchronous code.
    ///
    /// # Errors
    ///
    /// As [`ProcessBuilder::start`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, the process may have been started; it then
    /// runs like a daemon whose [`Process`] was dropped.
    pub async fn start_async(&self) -> Result<Process<R>, SpawnError> {
        let launch = self.launch()?;
        let begin = || launch.with_program(self.entry, hatchery_process::begin);
        let child = match started(begin()?).await {
            Err(StartError::ForkServerLost) => started(begin()?).await,
            outcome => outcome,
        };
        Ok(launch.into_process(child?))
    }

    /// Gets all ready that the process is started with.
    fn launch(&self) -> Result<Launch, SpawnError> {
        fork_server_outside_of_runtime()?;
        let arguments = Parcel::encode(&self.arguments).map_err(SpawnError::Arguments)?;
        let max = Parcel::DESCRIPTORS_MAX - OPENING_DESCRIPTORS;
        if arguments.descriptors.len() > max {
            let count = arguments.descriptors.len();
            let error = ParcelError::TooManyDescriptors { count, max };
            return Err(SpawnError::Arguments(error));
        }
        let name = self.name.clone().unwrap_or_else(registry::next_name);
        let parent = current_process();
        let opening = Opening {
            name: &name,
            is_daemon: self.is_daemon,
            parent_name: parent.name(),
            parent_pid: process::id(),
            arguments: &arguments.bytes,
        };
        let bytes = postcard::to_stdvec(&opening).expect("it holds nothing that fails");
        Ok(Launch {
            name,
            is_daemon: self.is_daemon,
            method: self.method,
            bytes,
            passed: arguments.descriptors,
        })
    }
}

/// What a process is started with.
struct Launch {
    name: String,
    is_daemon: bool,
    method: StartMethod,
    bytes: Vec<u8>,
    passed: Vec<OwnedFd>,
}

impl Launch {
    fn with_program<T>(
        &self,
        entry: Entry,
        start: impl FnOnce(Program<'_>) -> Result<T, StartError>,
    ) -> Result<T, StartError> {
        let descriptors: Vec<BorrowedFd<'_>> = self.passed.iter().map(AsFd::as_fd).collect();
        start(Program {
            name: &self.name,
            entry,
            method: self.method,
            bytes: &self.bytes,
            descriptors: &descriptors,
            functions: &[],
            speaks: true,
        })
    }

    fn into_process<R>(self, child: Child) -> Process<R> {
        let handle = ProcessHandle::new(child, self.name, self.is_daemon);
        Process::new(handle)
    }
}

/// Starts a child's own fork server by re-execution if it is to come to be inside of tokio.
///
/// Forked there, it and all its children would take themselves for being inside, too.
fn fork_server_outside_of_runtime() -> Result<(), SpawnError> {
    let is_inside = tokio::runtime::Handle::try_current().is_ok();
    if !is_inside || !hatchery_process::is_child() || hatchery_process::is_running() {
        return Ok(());
    }
    let started = hatchery_process::init_with(StartMethod::Spawn);
    started.map_err(|error| SpawnError::Os(io::Error::other(error)))
}

/// Starts a child's own fork server, by forking if the child has one thread and is outside of tokio.
pub(crate) fn prepare_fork_server() -> io::Result<()> {
    if !hatchery_process::is_child() || hatchery_process::is_running() {
        return Ok(());
    }
    let is_inside = tokio::runtime::Handle::try_current().is_ok();
    let forked = (!is_inside).then(|| hatchery_process::init_with(StartMethod::Fork));
    let started = match forked {
        Some(Err(InitError::Threads(_))) | None => hatchery_process::init_with(StartMethod::Spawn),
        Some(outcome) => outcome,
    };
    started.map_err(io::Error::other)
}
