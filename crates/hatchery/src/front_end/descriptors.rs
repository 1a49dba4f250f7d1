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
    /// How many descriptors this process may have, and the turn in which that was asked.
    limit: (u64, Duration),
    /// When to look again, if there was none.
    retry: Option<Duration>,
}

impl Room {
    pub(super) fn new() -> Self {
        Self {
            highest: 0,
            // No turn is as late.
            limit: (0, Duration::MAX),
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
    pub(super) fn check(&mut self, any: impl AsFd, now: Duration) -> io::Result<()> {
        let highest = u64::try_from(self.highest).unwrap_or(0);
        if highest < self.limit_in(now) / 2 {
            return Ok(());
        }
        check_place(any)
    }

    /// The limit, asked once in a turn: it may have been changed from outside, with `prlimit`.
    fn limit_in(&mut self, now: Duration) -> u64 {
        if self.limit.1 != now {
            let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
            self.limit = (limit, now);
        }
        self.limit.0
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
