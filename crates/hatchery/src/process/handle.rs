//! A process without the type of its result.

use std::os::fd::BorrowedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, io};

use hatchery_process::{
    Child, PacketRecvError, Packets, Parcel, ParcelError, WaitError, wait_for_any,
};
use serde::de::DeserializeOwned;

use super::body::{Outcome, PANICKED, RETURNED};
use super::error::JoinError;
use crate::watch::readable;

/// A process that was started, without the type of what it returns.
///
/// It may be cloned, and used by any number of threads at once. Dropping it does nothing to the
/// process.
#[derive(Clone)]
pub struct ProcessHandle(Arc<Inner>);

struct Inner {
    child: Child,
    name: String,
    is_daemon: bool,
    outcome: Mutex<Arrival>,
}

/// What the process told of its function.
enum Arrival {
    /// It is still to be read, once the process has ended.
    Awaited(Packets),
    /// This is it.
    Here(Parcel),
    /// There was nothing.
    Nothing,
    /// There was no room for the descriptors that came with it.
    Lost,
}

impl ProcessHandle {
    pub(super) fn new(child: Child, name: String, is_daemon: bool, results: Packets) -> Self {
        Self(Arc::new(Inner {
            child,
            name,
            is_daemon,
            outcome: Mutex::new(Arrival::Awaited(results)),
        }))
    }

    /// The name that the process was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The process id. It may pass to another process once this one has ended.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.child.pid().as_raw_nonzero().get().unsigned_abs()
    }

    /// The process id under another name.
    #[must_use]
    pub fn ident(&self) -> u32 {
        self.pid()
    }

    /// Whether this program ends without waiting for the process.
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.0.is_daemon
    }

    /// Whether the process is running.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let ended = wait_for_any(&[self.sentinel()], Some(Instant::now()));
        // A process that cannot be asked about is not known to have ended.
        ended.map_or(true, |ended| ended.is_empty())
    }

    /// The descriptor that becomes readable when the process has ended.
    #[must_use]
    pub fn sentinel(&self) -> BorrowedFd<'_> {
        self.0.child.pidfd()
    }

    /// Returns how the process ended, or `None` while it runs.
    ///
    /// # Errors
    ///
    /// Returns [`WaitError::StatusLost`] if the process and its fork server were killed at once,
    /// and [`WaitError::Os`] for any error of the kernel.
    pub fn exit_status(&self) -> Result<Option<ExitStatus>, WaitError> {
        if self.is_alive() {
            return Ok(None);
        }
        // The fork server reports it any moment.
        self.0.child.wait().map(Some)
    }

    /// Returns the exit code, or the negative number of the signal that ended the process.
    ///
    /// It is `None` while the process runs, and if [`ProcessHandle::exit_status`] is an error.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        let status = self.exit_status().ok()??;
        status
            .code()
            .or_else(|| status.signal().map(|signal| -signal))
    }

    /// Waits until the process has ended.
    ///
    /// # Errors
    ///
    /// As [`ProcessHandle::exit_status`].
    pub fn wait(&self) -> Result<ExitStatus, WaitError> {
        self.0.child.wait()
    }

    /// Waits until the process has ended, for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Returns [`WaitError::Timeout`] if it runs on; otherwise as [`ProcessHandle::exit_status`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<ExitStatus, WaitError> {
        self.0.child.wait_timeout(timeout)
    }

    /// Waits until the process has ended.
    ///
    /// # Errors
    ///
    /// As [`ProcessHandle::exit_status`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, waiting again gives the same.
    pub async fn wait_async(&self) -> Result<ExitStatus, WaitError> {
        loop {
            if let Some(status) = self.0.child.try_wait()? {
                return Ok(status);
            }
            readable(Some(self.0.child.wait_source())).await;
        }
    }

    /// Asks the process to end, with `SIGTERM`. One that has ended is no error.
    ///
    /// # Errors
    ///
    /// Returns the error of `pidfd_send_signal(2)`.
    pub fn terminate(&self) -> io::Result<()> {
        self.0.child.terminate()
    }

    /// Ends the process, with `SIGKILL`. One that has ended is no error.
    ///
    /// # Errors
    ///
    /// As [`ProcessHandle::terminate`].
    pub fn kill(&self) -> io::Result<()> {
        self.0.child.kill()
    }

    /// Interrupts the process, with `SIGINT`. One that has ended is no error.
    ///
    /// # Errors
    ///
    /// As [`ProcessHandle::terminate`].
    pub fn interrupt(&self) -> io::Result<()> {
        self.0.child.interrupt()
    }

    /// Whether the process has ended, as far as can be told without waiting.
    pub(super) fn has_ended(&self) -> bool {
        !matches!(
            self.0.child.try_wait(),
            Ok(None) | Err(WaitError::Os(_) | WaitError::Timeout)
        )
    }

    /// Whether nobody but the one who asks holds this process.
    pub(super) fn is_only_one(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Says what became of the function of a process that ended with `status`.
    pub(super) fn result<R: DeserializeOwned>(&self, status: ExitStatus) -> Result<R, JoinError> {
        let Some(code) = status.code() else {
            return Err(JoinError::Killed {
                signal: status.signal().unwrap_or_default(),
                core_dumped: status.core_dumped(),
            });
        };
        match self.outcome()? {
            Some(Outcome::Returned(result)) if code == i32::from(RETURNED) => Ok(result),
            Some(Outcome::Panicked { message, location }) if code == i32::from(PANICKED) => {
                Err(JoinError::Panicked { message, location })
            }
            Some(Outcome::ArgumentsLost(reason)) => Err(JoinError::Codec {
                what: "the arguments",
                reason,
            }),
            Some(Outcome::ResultLost(reason)) => Err(result_lost(reason)),
            _ => Err(JoinError::Exited { code }),
        }
    }

    fn outcome<R: DeserializeOwned>(&self) -> Result<Option<Outcome<R>>, JoinError> {
        let arrival = self.0.outcome.lock();
        // Each change to it is one assignment, so a panic elsewhere leaves it whole.
        let mut arrival = arrival.unwrap_or_else(PoisonError::into_inner);
        if let Arrival::Awaited(results) = &*arrival {
            // The process sent it before it ended.
            *arrival = match results.try_recv() {
                Ok(parcel) => Arrival::Here(parcel),
                Err(PacketRecvError::Os(error)) => return Err(JoinError::Os(error)),
                Err(PacketRecvError::DescriptorsLost) => Arrival::Lost,
                Err(_) => Arrival::Nothing,
            };
        }
        match &*arrival {
            Arrival::Here(parcel) => match parcel.decode_kept() {
                Ok(outcome) => Ok(Some(outcome)),
                Err(ParcelError::Os(error)) => Err(JoinError::Os(error)),
                Err(error) => Err(result_lost(error.to_string())),
            },
            Arrival::Lost => Err(result_lost("too many files are open".to_owned())),
            Arrival::Nothing | Arrival::Awaited(_) => Ok(None),
        }
    }
}

fn result_lost(reason: String) -> JoinError {
    JoinError::Codec {
        what: "the result",
        reason,
    }
}

impl fmt::Debug for ProcessHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Process")
            .field("name", &self.0.name)
            .field("pid", &self.pid())
            .field("is_daemon", &self.0.is_daemon)
            .finish_non_exhaustive()
    }
}
