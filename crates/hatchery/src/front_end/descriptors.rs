//! Whether this process has room for a descriptor that a worker sends.
//!
//! What arrives without room is lost, and nobody has another copy of a parked connection. So once
//! the table may be nearly full, it is asked before a message is read; one that has no room waits
//! in its channel, and its sender with it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, getrlimit};

use crate::watch::LOOK;

/// How full the table may be.
#[derive(Debug)]
pub(super) struct Room {
    /// The highest number that a connection ever had: the kernel gives the lowest that is free.
    highest: RawFd,
    /// When to look again, if there was none.
    retry: Option<Duration>,
}

impl Room {
    pub(super) fn new() -> Self {
        Self {
            highest: 0,
            retry: None,
        }
    }

    /// Notes the number of a descriptor that has come.
    pub(super) fn note(&mut self, descriptor: &impl AsRawFd) {
        self.highest = self.highest.max(descriptor.as_raw_fd());
    }

    /// Sees to another look a little later: nobody tells of room.
    pub(super) fn try_again(&mut self, now: Duration) {
        self.retry = Some(now + LOOK);
    }

    /// When to look again.
    pub(super) fn retry(&self) -> Option<Duration> {
        self.retry
    }

    pub(super) fn expire(&mut self, now: Duration) {
        if self.retry.is_some_and(|at| at <= now) {
            self.retry = None;
        }
    }

    /// Checks that there is room for one more, if that is in doubt; `any` is any descriptor.
    ///
    /// # Errors
    ///
    /// Returns the error of `fcntl(2)`: `EMFILE` if there is none.
    pub(super) fn check(&self, any: impl AsFd) -> io::Result<()> {
        let highest = u64::try_from(self.highest).unwrap_or(0);
        // It may have been changed from outside, with `prlimit`.
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        if highest < limit / 2 {
            return Ok(());
        }
        check_place(any)
    }
}

/// Checks that the table has a place for one more; `any` is any descriptor.
///
/// # Errors
///
/// Returns the error of `fcntl(2)`: `EMFILE` if there is none.
pub(super) fn check_place(any: impl AsFd) -> io::Result<()> {
    Ok(fcntl_dupfd_cloexec(any, 0).map(drop)?)
}
