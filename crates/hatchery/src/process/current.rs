//! What a process knows of itself and of the one that started it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process;
use std::sync::{PoisonError, RwLock};
use std::time::Instant;

use hatchery_process::wait_for_any;

use super::body::Opening;
use super::registry;
use crate::pool::worker::context;

/// The name of a process that no other one of the program started.
const MAIN: &str = "main";

/// What this process was told when it was started; `None` in the main process.
///
/// It is never dropped: a process that is forked from this one inherits it, and there the
/// descriptor in it is not its own.
static IDENTITY: RwLock<Option<&'static Identity>> = RwLock::new(None);

/// What a process is told of itself and its parent.
#[derive(Debug)]
pub(crate) struct Identity {
    name: String,
    is_daemon: bool,
    parent: Parent,
}

#[derive(Debug)]
struct Parent {
    name: String,
    pid: u32,
    pidfd: OwnedFd,
}

impl Identity {
    /// Describes a worker of a pool, which the pool ends.
    pub(crate) fn of_worker(name: &str, parent: (&str, u32), pidfd: OwnedFd) -> Self {
        Self {
            name: name.to_owned(),
            is_daemon: true,
            parent: Parent {
                name: parent.0.to_owned(),
                pid: parent.1,
                pidfd,
            },
        }
    }

    pub(super) fn new(opening: &Opening<'_>, pidfd: OwnedFd) -> Self {
        Self {
            name: opening.name.to_owned(),
            is_daemon: opening.is_daemon,
            parent: Parent {
                name: opening.parent_name.to_owned(),
                pid: opening.parent_pid,
                pidfd,
            },
        }
    }
}

/// Makes this process the child that it was started as.
pub(crate) fn become_child(identity: Identity) {
    registry::start_anew();
    context::clear();
    let identity: &'static Identity = Box::leak(Box::new(identity));
    *IDENTITY.write().unwrap_or_else(PoisonError::into_inner) = Some(identity);
}

fn identity() -> Option<&'static Identity> {
    *IDENTITY.read().unwrap_or_else(PoisonError::into_inner)
}

/// This process, as it was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentProcess {
    name: String,
    is_daemon: bool,
}

/// Describes this process.
#[must_use]
pub fn current_process() -> CurrentProcess {
    let is_daemon = hatchery_process::is_child();
    match identity() {
        Some(identity) => CurrentProcess {
            name: identity.name.clone(),
            is_daemon: identity.is_daemon,
        },
        // A server's worker: the server ends it and does not wait for it.
        None if is_daemon => CurrentProcess {
            name: rustix::thread::name().map_or_else(
                |_| "worker".to_owned(),
                |name| name.to_string_lossy().into_owned(),
            ),
            is_daemon,
        },
        None => CurrentProcess {
            name: MAIN.to_owned(),
            is_daemon,
        },
    }
}

impl CurrentProcess {
    /// The name that it was given, which is `main` in the main process.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        process::id()
    }

    /// Whether its parent ends without waiting for it.
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.is_daemon
    }
}

/// The process that started this one, which is not the fork server.
#[derive(Clone, Copy, Debug)]
pub struct ParentProcess(&'static Parent);

/// Names the process that started this one; `None` in the main process.
#[must_use]
pub fn parent_process() -> Option<ParentProcess> {
    identity().map(|identity| ParentProcess(&identity.parent))
}

impl ParentProcess {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        &self.0.name
    }

    /// Its process id, as long as it lives.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.pid
    }

    /// Whether it is running.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let ended = wait_for_any(&[self.sentinel()], Some(Instant::now()));
        // What cannot be asked for is taken for alive: this process goes with it anyway.
        ended.map_or(true, |ended| ended.is_empty())
    }

    /// The descriptor that becomes readable when it has ended.
    #[must_use]
    pub fn sentinel(&self) -> BorrowedFd<'static> {
        self.0.pidfd.as_fd()
    }
}
