//! Why a process was not started, or has no result.

use std::io;

use hatchery_process::{ParcelError, StartError, WaitError};

use super::Process;

/// Why a process was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The arguments cannot be serialised, or hold too many descriptors.
    #[error("the arguments of the process cannot be sent")]
    Arguments(#[source] ParcelError),
    /// The fork server did not start it.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The kernel refused something else.
    #[error("the kernel refused to start a process")]
    Os(#[source] io::Error),
}

/// Why a process has no result to give.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The process runs on; the time to wait is over.
    #[error("the process has not ended in time")]
    Timeout,
    /// The function panicked. The process's exit code is 101.
    #[error("the process panicked at {location}: {message}")]
    Panicked {
        /// What the panic said.
        message: String,
        /// The file, line and column, or words for that they are not known.
        location: String,
    },
    /// The process ended before the function returned.
    #[error("the process ended with exit code {code}")]
    Exited {
        /// The exit code.
        code: i32,
    },
    /// A signal ended the process.
    #[error("signal {signal} ended the process")]
    Killed {
        /// The signal's number.
        signal: i32,
        /// Whether there is a core dump.
        core_dumped: bool,
    },
    /// Arguments or result did not get through. The process's exit code is 1 then, unless it was
    /// this process that could not read the result.
    #[error("{what} of the process did not get through: {reason}")]
    Codec {
        /// Which of the two.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The process has ended, and how went with the fork server that was killed.
    #[error("the process has ended, and its exit status died with the fork server")]
    StatusLost,
    /// The kernel refused.
    #[error("the kernel refused to wait for the process")]
    Os(#[source] io::Error),
}

impl From<WaitError> for JoinError {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::Timeout => Self::Timeout,
            WaitError::StatusLost => Self::StatusLost,
            WaitError::Os(error) => Self::Os(error),
            other => Self::Os(io::Error::other(other)),
        }
    }
}

/// A process was to be closed and still runs.
#[derive(Debug, thiserror::Error)]
#[error("the process is still running: end it or join it first")]
pub struct CloseError<R> {
    /// The process.
    pub process: Process<R>,
}
