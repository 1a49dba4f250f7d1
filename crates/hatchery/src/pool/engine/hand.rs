//! A worker of a pool, as its process and what it shares.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Instant;

use hatchery_process::{Child, TaskSender, WaitError};

/// A worker that was started.
#[derive(Debug)]
pub(super) struct Hand {
    pub(super) sender: TaskSender,
    pub(super) child: Arc<Child>,
    /// Whether it is to be woken, for it was sent something.
    pub(super) is_owed_wake: bool,
    /// Why its initializer failed.
    pub(super) failure: Option<String>,
    /// Whether somebody here has killed it.
    pub(super) was_killed: bool,
    /// When it is killed, if it was told to end and has not.
    pub(super) leaves_until: Option<Instant>,
}

impl Hand {
    pub(super) fn new(sender: TaskSender, child: Child) -> Self {
        Self {
            sender,
            child: Arc::new(child),
            is_owed_wake: false,
            failure: None,
            was_killed: false,
            leaves_until: None,
        }
    }

    /// Kills the worker; one that has ended is none the worse.
    pub(super) fn kill(&mut self) {
        self.was_killed = true;
        // What cannot be killed by a pidfd of ours has ended.
        let _ended: io::Result<()> = self.child.kill();
    }

    /// Tells the worker to end when it has done what it has, and kills it if it has not by then.
    pub(super) fn leave(&mut self, until: Instant) {
        self.leaves_until = Some(until);
        self.sender.close();
    }

    /// How the worker has ended; `None` while it runs.
    pub(super) fn ended(&self) -> Option<Option<ExitStatus>> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(Some(status)),
            Err(WaitError::StatusLost) => Some(None),
            // It runs, for all that is known, and must not be taken for dead.
            Err(_) => None,
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}
