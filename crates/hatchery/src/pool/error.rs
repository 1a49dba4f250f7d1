//! Why a task has no result, or a pool does not do what it was asked.

use std::io;

use hatchery_process::StartError;

/// Why a task has no result.
///
/// What the task's own function returned, also an error, is its result and not one of these.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The worker ended while it ran the task. It is not known how far the task got.
    #[error("the worker that ran task {task} {}", how_it_ended(*signal, *exit))]
    WorkerLost {
        /// The signal that ended the worker.
        signal: Option<i32>,
        /// The worker's exit code.
        exit: Option<i32>,
        /// The task's number, as [`TaskHandle::id`](crate::TaskHandle::id) has it.
        task: u64,
    },
    /// The task's function panicked. The worker lives on.
    #[error("the task panicked at {location}: {message}")]
    TaskPanicked {
        /// What the panic said.
        message: String,
        /// The file, line and column, or words for that they are not known.
        location: String,
    },
    /// The task ran for longer than it may, and was stopped.
    #[error("the task took too long and was stopped")]
    TimedOut,
    /// The task was cancelled.
    #[error("the task was cancelled")]
    Cancelled,
    /// The task's arguments or its result did not get through.
    #[error("{what} of the task did not get through: {reason}")]
    Codec {
        /// Which of the two.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The pool was closed before the task was submitted, or ended before the task did.
    #[error("the pool is closed")]
    PoolClosed,
    /// The task has lost every worker that it was run in, and is not run again.
    #[error("the task was run {kills} times and ended its worker each time")]
    Quarantined {
        /// How many workers it has lost.
        kills: u32,
    },
    /// No worker could be started for a long time.
    #[error("the pool has no workers: {reason}")]
    NoWorkers {
        /// Why the last one was not started.
        reason: String,
    },
}

fn how_it_ended(signal: Option<i32>, exit: Option<i32>) -> String {
    match (signal, exit) {
        (Some(signal), _) => format!("was ended by signal {signal}"),
        (None, Some(code)) => format!("ended with exit code {code}"),
        (None, None) => "has ended".to_owned(),
    }
}

/// Why a pool was not built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolStartError {
    /// A setting of the builder is impossible.
    #[error("PoolBuilder::{setting}: {problem}")]
    Setting {
        /// The builder's method.
        setting: &'static str,
        /// What is wrong with its argument, and what is allowed.
        problem: String,
    },
    /// The initializer's arguments cannot be sent.
    #[error("the arguments of the initializer cannot be sent: {0}")]
    Arguments(String),
    /// A worker's initializer failed.
    #[error("the initializer of a worker failed: {0}")]
    Initializer(String),
    /// A worker ended before it was ready.
    #[error("a worker ended before it was ready: it {}", how_it_ended(*signal, *exit))]
    WorkerLost {
        /// The signal that ended the worker.
        signal: Option<i32>,
        /// The worker's exit code.
        exit: Option<i32>,
    },
    /// A worker was not started.
    #[error("a worker was not started")]
    Start(#[from] StartError),
    /// The kernel refused something else.
    #[error("the kernel refused what a pool needs")]
    Os(#[source] io::Error),
}

/// Why a task was not submitted at once. Its arguments come back.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrySubmitError<A> {
    /// As many tasks wait as may.
    #[error("as many tasks wait as may")]
    Full(A),
    /// The pool was closed.
    #[error("the pool is closed")]
    Closed(A),
}

impl<A> TrySubmitError<A> {
    /// Returns the arguments.
    pub fn into_arguments(self) -> A {
        match self {
            Self::Full(arguments) | Self::Closed(arguments) => arguments,
        }
    }
}

impl<A> std::fmt::Debug for TrySubmitError<A> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

/// A pool did not come to its end in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pool has not ended in time")]
pub struct PoolJoinTimeout;

/// A pool had to be terminated, for its tasks were not done in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pool was terminated with {unfinished} tasks unfinished")]
pub struct PoolShutdownError {
    /// How many tasks were not done.
    pub unfinished: usize,
}

/// A pool was to have an impossible number of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pool cannot have {workers} workers; allowed: 1 to 1024")]
pub struct ResizeError {
    /// How many it was to have.
    pub workers: usize,
}
