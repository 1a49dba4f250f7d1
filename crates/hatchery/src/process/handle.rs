//! A process without the type of its result.

use std::os::fd::BorrowedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, io};

use hatchery_process::{Child, Parcel, ParcelError, WaitError, wait_for_any};
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
    words: Mutex<Words>,
    /// How it ended, once somebody was told.
    ended: OnceLock<ExitStatus>,
}

/// What the process said last.
enum Words {
    /// Nothing has come, so far.
    None,
    /// This is it.
    Here(Parcel),
    /// There was no room for the descriptors that came with it.
    Lost,
}

impl ProcessHandle {
    pub(super) fn new(child: Child, name: String, is_daemon: bool) -> Self {
        Self(Arc::new(Inner {
            child,
            name,
            is_daemon,
            words: Mutex::new(Words::None),
            ended: OnceLock::new(),
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
        self.0.child.id()
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
        self.wait().map(Some)
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
        self.wait_until(None)
    }

    /// Waits until the process has ended, for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Returns [`WaitError::Timeout`] if it runs on; otherwise as [`ProcessHandle::exit_status`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<ExitStatus, WaitError> {
        // A time too long to be reckoned with is for ever.
        self.wait_until(Instant::now().checked_add(timeout))
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
        while self.is_alive() {
            readable(Some(self.sentinel())).await;
        }
        loop {
            if let Some(status) = self.told()? {
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
        !self.is_alive()
            && !matches!(
                self.told(),
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

    fn wait_until(&self, deadline: Option<Instant>) -> Result<ExitStatus, WaitError> {
        let sentinel = [self.sentinel()];
        while wait_for_any(&sentinel, deadline)
            .map_err(WaitError::Os)?
            .is_empty()
        {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(WaitError::Timeout);
            }
        }
        if let Some(status) = self.told()? {
            return Ok(status);
        }
        let status = match deadline {
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                self.0.child.wait_timeout(left)?
            }
            None => self.0.child.wait()?,
        };
        Ok(*self.0.ended.get_or_init(|| status))
    }

    /// How a process ended that has, as far as anybody has told.
    ///
    /// It says so itself, as the last thing that it does. Only if it did not get that far the
    /// fork server has to be waited for.
    fn told(&self) -> Result<Option<ExitStatus>, WaitError> {
        if let Some(status) = self.0.ended.get() {
            return Ok(Some(*status));
        }
        let reported = self.0.child.try_wait();
        let status = match (reported, self.said()) {
            (Ok(Some(status)), _) => status,
            (Ok(None) | Err(WaitError::StatusLost), Some(code)) => {
                ExitStatus::from_raw(i32::from(code) << 8)
            }
            (untold, _) => return untold,
        };
        Ok(Some(*self.0.ended.get_or_init(|| status)))
    }

    /// The exit code that the process said last, once all that it sent has been received.
    fn said(&self) -> Option<u8> {
        let mut words = self.words();
        if matches!(*words, Words::None) {
            *words = match self.0.child.take_words() {
                Ok(None) => Words::None,
                Ok(Some(parcel)) => Words::Here(parcel),
                Err(_) => Words::Lost,
            };
        }
        match &*words {
            Words::Here(parcel) => parcel.bytes.first().copied(),
            Words::None | Words::Lost => None,
        }
    }

    fn outcome<R: DeserializeOwned>(&self) -> Result<Option<Outcome<R>>, JoinError> {
        let _code = self.said();
        match &*self.words() {
            Words::Here(parcel) => match parcel.decode_kept::<(u8, Outcome<R>)>() {
                Ok((_code, outcome)) => Ok(Some(outcome)),
                Err(ParcelError::Os(error)) => Err(JoinError::Os(error)),
                Err(error) => Err(result_lost(error.to_string())),
            },
            Words::Lost => Err(result_lost("too many files are open".to_owned())),
            Words::None => Ok(None),
        }
    }

    fn words(&self) -> MutexGuard<'_, Words> {
        // Each change to it is one assignment, so a panic elsewhere leaves it whole.
        self.0.words.lock().unwrap_or_else(PoisonError::into_inner)
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
