//! A worker process as the front end's runtime waits for it.

use std::process::ExitStatus;
use std::sync::Arc;

use hatchery_process::{Child, StartError, Starting, Usage, WaitError};
use tokio::sync::mpsc::UnboundedSender;

use super::descriptors::check_place;
use super::member::WorkerKey;
use crate::watch::{LOOK, readable};

/// How often to look for a place in the descriptor table before a process is given up: a second.
const LOOKS_MAX: u32 = 100;

/// What became of a worker process.
#[derive(Debug)]
pub(crate) enum ChildEvent {
    /// It runs.
    Started {
        worker: WorkerKey,
        child: Arc<Child>,
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
    let child = Arc::new(child);
    let _cancelled = events.send(ChildEvent::Started {
        worker,
        child: Arc::clone(&child),
    });
    let status = exited(&child).await;
    let usage = child.usage();
    let _cancelled = events.send(ChildEvent::Exited {
        worker,
        status,
        usage,
    });
}

/// Waits until a process runs, or is known not to.
pub(crate) async fn started(mut starting: Starting) -> Result<Child, StartError> {
    let mut looks = 0;
    loop {
        readable(starting.wait_source()).await;
        // With a full table the descriptor of the process would be lost, and the process with it.
        while looks < LOOKS_MAX && is_table_full(&starting) {
            looks += 1;
            tokio::time::sleep(LOOK).await;
        }
        if let Some(child) = starting.try_finish()? {
            return Ok(child);
        }
    }
}

fn is_table_full(starting: &Starting) -> bool {
    let any = starting.wait_source();
    any.is_some_and(|any| check_place(any).is_err())
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
