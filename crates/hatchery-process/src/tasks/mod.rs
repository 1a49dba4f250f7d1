//! Tasks on their way to a worker of a pool, and their results on the way back.
//!
//! The main process has a [`TaskSender`] for each worker, and the worker a [`TaskReceiver`]. They share
//! one memory: a *lane* of tasks, a lane of results, and a *tray* that says what became of each task. What
//! is long or has descriptors goes as a packet beside them. What the bytes mean is for others.
//!
//! What a worker has put when it is killed is there for the main process to take; what it has not begun
//! with it has never begun with. Between the two is the one task that ran. So, when a worker has died,
//! the main process takes all results first, and then asks for the [fate](TaskSender::fate) of what is left.
//!
//! A worker may write anything into the memory. The main process checks all that it reads there, keeps to
//! itself what it relies on, and never waits for a worker.

mod berth;
mod desk;
mod doorbell;
mod functions;
mod lane;
mod receiver;
mod sender;
#[cfg(test)]
mod tests;
mod tray;

pub use doorbell::{Doorbell, Leader};
pub use functions::{TaskFunction, TaskFunctions};
pub use receiver::{ReceivedTask, TaskBell, TaskPutError, TaskReceiveError, TaskReceiver};
pub use sender::{
    ResultWatch, RunningTask, TaskContent, TaskEnd, TaskFate, TaskResult, TaskSendError, TaskSender,
};

#[cfg(test)]
pub(crate) use berth::{Berth, Fenced};
#[cfg(test)]
pub(crate) use tray::{Slot, State, Wide};

/// How many tasks may be sent to a worker ahead of their results.
pub const TASKS_AHEAD_MAX: usize = 1024;

/// The most bytes that a task or a result may have to go without a packet.
pub const TASK_LIGHT_BYTES_MAX: usize = 64 * 1024;

/// The kinds of messages in a lane of tasks.
const LIGHT: u8 = 0;
const HEAVY: u8 = 1;

/// The bit of a result's kind that says that its bytes are in a packet.
const IN_PACKET: u8 = 1 << 7;

/// What a worker puts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum ResultKind {
    /// What the task's function returned; its end, if it put items.
    Returned = 0,
    /// That the function panicked, or the serialisation of what it returned.
    Panicked = 1,
    /// That the task's arguments did not get through, and why.
    ArgumentsLost = 2,
    /// That what the function returned cannot get through, and why.
    ResultLost = 3,
    /// One of several things that the task returns; more is to come.
    Item = 4,
    /// That the worker is set up; no task's.
    Ready = 5,
    /// That the worker cannot be set up, and why; no task's.
    Failed = 6,
}

impl ResultKind {
    const ALL: [Self; 7] = [
        Self::Returned,
        Self::Panicked,
        Self::ArgumentsLost,
        Self::ResultLost,
        Self::Item,
        Self::Ready,
        Self::Failed,
    ];

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }

    /// Whether it is about the worker, and not about a task.
    const fn is_of_worker(self) -> bool {
        matches!(self, Self::Ready | Self::Failed)
    }
}

/// A worker has written what no worker of this program writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a worker's memory was overwritten by something else")]
pub struct Scribbled;
