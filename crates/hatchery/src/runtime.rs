//! What `#[hatchery::main]` does: the fork server, the descriptor limit, the runtime, the exit
//! code.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt::Display;
use std::future::Future;
use std::process::ExitCode;

use hatchery_process::{InitError, StartMethod};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::{Error, HandlerError, with_causes};
use crate::process::finish_children;

/// The exit code for a failure.
const FAILED: u8 = 1;

/// The exit code for a wrong command line or configuration.
const USAGE: u8 = 2;

/// What the main function of a program may return.
///
/// An error is written to standard error as one line with its causes. The exit code is 2 for an
/// [`Error`] that [`Error::is_usage`], and 1 for any other.
pub trait Outcome {
    /// Reports the outcome, and returns the exit code.
    fn report(self) -> ExitCode;
}

impl Outcome for () {
    fn report(self) -> ExitCode {
        ExitCode::SUCCESS
    }
}

impl Outcome for ExitCode {
    fn report(self) -> ExitCode {
        self
    }
}

impl<T: Outcome, E: Display + 'static> Outcome for Result<T, E> {
    fn report(self) -> ExitCode {
        match self {
            Ok(outcome) => outcome.report(),
            Err(error) => {
                let known = as_error(&error);
                let text = known.map_or_else(|| error.to_string(), with_causes);
                crate::log::say_last(&format!("error: {text}\n"));
                crate::upgrade::tell_failure(&text);
                let ours = known.and_then(|error| error.downcast_ref::<Error>());
                let is_usage = ours.is_some_and(Error::is_usage);
                ExitCode::from(if is_usage { USAGE } else { FAILED })
            }
        }
    }
}

/// What a main function returned, as the error that it is or that it boxes.
fn as_error<E: 'static>(error: &E) -> Option<&(dyn StdError + 'static)> {
    let any: &dyn Any = error;
    if let Some(ours) = any.downcast_ref::<Error>() {
        return Some(ours);
    }
    if let Some(boxed) = any.downcast_ref::<HandlerError>() {
        return Some(&**boxed);
    }
    any.downcast_ref::<Box<dyn StdError>>()
        .map(|boxed| &**boxed)
}

/// Runs `main` as `#[hatchery::main]` does, and returns the exit code.
///
/// This is for programs that decide at run time whether they are a server: call it before the
/// process has a second thread. With one thread, the runtime is the one in which a wake-up costs
/// least. Processes that are no daemons are waited for at the end.
pub fn run_main<F, Fut>(threads: usize, main: F) -> ExitCode
where
    F: FnOnce() -> Fut,
    Fut: Future<Output: Outcome>,
{
    if let Err(error) = init() {
        return Err::<(), Error>(error.into()).report();
    }
    let mut builder = if threads > 1 {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(threads);
        builder
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let code = match builder.enable_all().build() {
        Ok(runtime) => runtime.block_on(main()).report(),
        Err(error) => Err::<(), Error>(Error::os("the runtime cannot be built")(error)).report(),
    };
    finish_children();
    hatchery_process::end();
    code
}

/// Runs a blocking `main` as `#[hatchery::main]` does, and returns the exit code.
///
/// Processes that are no daemons are waited for at the end.
pub fn run_blocking_main<O: Outcome>(main: impl FnOnce() -> O) -> ExitCode {
    if let Err(error) = init() {
        return Err::<(), Error>(error.into()).report();
    }
    let code = main().report();
    finish_children();
    hatchery_process::end();
    code
}

/// Prepares this process to start others: raises its limit of descriptors to what is allowed, and
/// forks the fork server.
///
/// `#[hatchery::main]` calls it first. A second call does nothing.
///
/// # Errors
///
/// Returns [`InitError::Threads`] if this process has a second thread already, and
/// [`InitError::Os`] for any error of the kernel.
pub fn init() -> Result<(), InitError> {
    init_with(StartMethod::Fork)
}

/// As [`init`], with a fork server that comes to be by the given method.
///
/// [`StartMethod::Spawn`] is for programs that have threads, and for tests.
///
/// # Errors
///
/// As [`init`]; [`StartMethod::Spawn`] never returns [`InitError::Threads`].
pub fn init_with(method: StartMethod) -> Result<(), InitError> {
    crate::upgrade::remember_program();
    crate::upgrade::adopt().map_err(|error| InitError::Os(std::io::Error::other(error)))?;
    raise_descriptor_limit();
    hatchery_process::init_with(method)
}

/// Raises the soft limit of descriptors to the hard one: a server lives on descriptors.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Where that is not allowed, the server does with what it has.
    let _refused = setrlimit(Resource::Nofile, raised);
}
