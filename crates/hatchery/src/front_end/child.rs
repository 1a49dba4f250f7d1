//! A worker process as the front end's runtime waits for it.

use std::os::fd::OwnedFd;
use std::process::ExitStatus;

use hatchery_process::{Child, StartError, Starting, Usage, WaitError};
use tokio::sync::mpsc::UnboundedSender;

use super::member::WorkerKey;
use crate::watch::{LOOK, readable};

/// What became of a worker process.
#[derive(Debug)]
pub(crate) enum ChildEvent {
    /// It runs.
    Started {
        worker: WorkerKey,
        pid: u32,
        pidfd: OwnedFd,
    },
    /// It was not started.
    NotStarted {
        worker: WorkerKey,
        error: StartError,
    },
    /// It has ended.
    Exited {
        worker: WorkerKey,
        status: Result<ExitStatus, WaitError>,
        /// What it has used, if that is known.
        usage: Option<Usage>,
    },
}

/// Follows one process from its start to its end, and tells of both.
pub(crate) async fn follow(
    starting: Starting,
    worker: WorkerKey,
    events: UnboundedSender<ChildEvent>,
) {
    // The front end outlives its workers, unless it was cancelled and nobody listens.
    let child = match started(starting).await {
        Ok(child) => child,
        Err(error) => {
            let _cancelled = events.send(ChildEvent::NotStarted { worker, error });
            return;
        }
    };
    match child.pidfd().try_clone_to_owned() {
        Ok(pidfd) => {
            let pid = child.pid().as_raw_nonzero().get().unsigned_abs();
            let _cancelled = events.send(ChildEvent::Started { worker, pid, pidfd });
        }
        // Nobody could kill it later: better none.
        Err(no_descriptor) => {
            let _ended = child.kill();
            let _status = exited(&child).await;
            let error = StartError::Os(no_descriptor);
            let _cancelled = events.send(ChildEvent::NotStarted { worker, error });
            return;
        }
    }
    let status = exited(&child).await;
    let usage = child.usage();
    let _cancelled = events.send(ChildEvent::Exited {
        worker,
        status,
        usage,
    });
}

pub(crate) async fn started(mut starting: Starting) -> Result<Child, StartError> {
    loop {
        if let Some(child) = starting.try_finish()? {
            return Ok(child);
        }
        readable(starting.wait_source()).await;
    }
}

async fn exited(child: &Child) -> Result<ExitStatus, WaitError> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) => readable(Some(child.wait_source())).await,
            Err(error @ WaitError::StatusLost) => return Err(error),
            Err(error) => {
                // It runs, for all that is known, and it must not be taken for dead.
                tracing::warn!(%error, "a worker cannot be waited for");
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}
