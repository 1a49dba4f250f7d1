//! The main process's side of one worker.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering::Acquire, Ordering::Release};
use std::time::Duration;

use hatchery_os::{MapError, OrderQueue, Orders, order_channel};

use super::berth::Fenced;
use super::desk::{Desk, place_of};
use super::doorbell::Doorbell;
use super::functions::TaskFunction;
use super::lane::{Consumer, Header, Producer};
use super::tray::State;
use super::{HEAVY, IN_PACKET, LIGHT, ResultKind, Scribbled, TASKS_AHEAD_MAX};
use crate::child::{StartError, Starting};
use crate::clock::monotonic_nanos;
use crate::fork_server::{Program, begin_with_orders};
use crate::packets::{Outgoing, PacketRecvError, PacketSendError, Packets};
use crate::sync::written;

/// The arguments of a task, ready to be sent.
#[derive(Clone, Copy, Debug)]
pub enum TaskContent<'a> {
    /// Up to [`TASK_LIGHT_BYTES_MAX`](super::TASK_LIGHT_BYTES_MAX) bytes.
    Light(&'a [u8]),
    /// More bytes, or descriptors besides.
    Heavy(&'a Outgoing<'a>),
}

/// Why a task was not sent. The worker has nothing of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskSendError {
    /// There is no room until the worker has done more; the scheduler keeps the task.
    #[error("the worker has no room for another task now")]
    Full,
    /// The worker is gone.
    #[error("the worker is gone")]
    Gone,
    /// The worker has to be replaced.
    #[error(transparent)]
    Scribbled(#[from] Scribbled),
    /// The kernel refused.
    #[error("the kernel refused to send a task")]
    Os(#[source] io::Error),
}

/// Something that a worker put, whose bytes are in the caller's buffer.
#[derive(Debug)]
pub struct TaskResult {
    /// The number of the task; 0 if it is about the worker.
    pub seq: u64,
    /// What it is.
    pub kind: ResultKind,
    /// How long the task has run until then, as the worker says.
    pub run_time: Duration,
    /// The descriptors in it.
    pub descriptors: Vec<OwnedFd>,
}

/// The task that a worker is at work on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningTask {
    /// Its number.
    pub seq: u64,
    /// How long it has run.
    pub run_time: Duration,
}

/// How far a worker got with a task whose result was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskFate {
    /// The worker never began with it.
    NotStarted,
    /// The worker began with it, and may have done anything of it.
    Started,
}

/// The main process's side of one worker.
///
/// Dropping it closes the channel; what is still in it goes with it, descriptors included.
#[derive(Debug)]
pub struct TaskSender {
    desk: Desk,
    packets: Packets,
    orders: Orders,
    tasks: Producer,
    results: Consumer,
    next_seq: u64,
    /// The task in each place that the worker owes a result; 0 for none.
    open: Box<[u64; TASKS_AHEAD_MAX]>,
    /// Whether the worker knows a function, by its number.
    known: Vec<bool>,
}

/// A worker's side before the worker is there.
#[derive(Debug)]
pub struct TaskEnd {
    desk: Desk,
    doorbell: Doorbell,
    packets: Packets,
    orders: OrderQueue,
}

impl TaskEnd {
    /// How many descriptors it adds to those of the worker's program.
    pub const DESCRIPTORS: usize = 3;

    /// Asks for the worker's process, whose function begins with
    /// [`TaskReceiver::adopt`](super::TaskReceiver::adopt).
    ///
    /// # Errors
    ///
    /// As [`begin`](crate::begin). After [`StartError::ForkServerLost`], also of
    /// [`Starting::try_finish`], this may be called again.
    pub fn begin(&self, program: Program<'_>) -> Result<Starting, StartError> {
        let mut descriptors = vec![
            self.desk.as_fd(),
            self.doorbell.as_fd(),
            self.packets.as_fd(),
        ];
        descriptors.extend_from_slice(program.descriptors);
        let program = Program {
            descriptors: &descriptors,
            ..program
        };
        begin_with_orders(program, &self.orders)
    }

    /// What a process would be started with, for one that is a thread.
    #[cfg(test)]
    pub(super) fn into_start(self) -> hatchery_os::Start {
        let descriptors = [
            self.desk.as_fd(),
            self.doorbell.as_fd(),
            self.packets.as_fd(),
        ];
        let descriptors = descriptors.map(|descriptor| {
            let duplicate = descriptor.try_clone_to_owned();
            duplicate.expect("a test has descriptors left")
        });
        hatchery_os::Start {
            descriptors: descriptors.into(),
            orders: Some(self.orders),
            ..Default::default()
        }
    }
}

impl TaskSender {
    /// Makes the two sides of a worker that rings `doorbell`.
    ///
    /// # Errors
    ///
    /// Returns [`MapError::Os`] for any error of the kernel.
    pub fn new(doorbell: &Doorbell) -> Result<(Self, TaskEnd), MapError> {
        let desk = Desk::create()?;
        let (packets, theirs) = Packets::pair()?;
        let (orders, queue) = order_channel()?;
        let end = TaskEnd {
            desk: desk.clone(),
            doorbell: doorbell.clone(),
            packets: theirs,
            orders: queue,
        };
        let sender = Self {
            desk,
            packets,
            orders,
            tasks: Producer::default(),
            results: Consumer::default(),
            next_seq: 1,
            open: Box::new([0; TASKS_AHEAD_MAX]),
            known: Vec::new(),
        };
        Ok((sender, end))
    }

    /// Sends a task and returns its number in this worker: one more than that of the task before.
    ///
    /// Nobody is woken; after the last of several, [`wake`](Self::wake) does that.
    ///
    /// # Errors
    ///
    /// See [`TaskSendError`].
    pub fn send(
        &mut self,
        function: TaskFunction,
        content: TaskContent<'_>,
    ) -> Result<u64, TaskSendError> {
        let seq = self.next_seq;
        if self.open[place_of(seq)] != 0 {
            return Err(TaskSendError::Full);
        }
        let (kind, bytes): (u8, &[u8]) = match content {
            TaskContent::Light(bytes) => (LIGHT, bytes),
            TaskContent::Heavy(_) => (HEAVY, &[]),
        };
        // Before anything else, so that a packet is never sent whose message does not follow.
        if !self.tasks.has_room(self.desk.tasks(), bytes.len())? {
            return Err(TaskSendError::Full);
        }
        self.make_known(function)?;
        if let TaskContent::Heavy(packet) = content {
            self.packets.try_send(packet)?;
        }
        self.desk.credit(seq).store(0, Release);
        written();
        self.desk.slot(seq).send();
        let header = Header {
            kind,
            seq,
            extra: function.index.into(),
        };
        self.tasks.put(self.desk.tasks(), header, bytes);
        self.open[place_of(seq)] = seq;
        self.next_seq += 1;
        Ok(seq)
    }

    /// Wakes the worker if it sleeps: there are tasks, or there is room for results.
    #[inline]
    pub fn wake(&self) {
        AtomicU32::fence();
        self.desk.berth().ring();
    }

    /// Takes a task back that the worker has not begun with; false if it has, or has done it.
    pub fn revoke(&mut self, seq: u64) -> bool {
        if !self.is_open(seq) || !self.desk.slot(seq).revoke() {
            return false;
        }
        self.open[place_of(seq)] = 0;
        true
    }

    /// Takes the next thing that the worker has put; its bytes are the whole of `buffer`.
    ///
    /// After some were taken, [`wake`](Self::wake) tells the worker that there is room.
    ///
    /// # Errors
    ///
    /// Returns [`Scribbled`] for what no worker puts: it has to be replaced.
    pub fn result(&mut self, buffer: &mut Vec<u8>) -> Result<Option<TaskResult>, Scribbled> {
        let Some(header) = self.results.take(self.desk.results(), buffer)? else {
            return Ok(None);
        };
        let Header { kind, seq, extra } = header;
        let byte = kind & !IN_PACKET;
        let kind = ResultKind::from_byte(byte).ok_or(Scribbled)?;
        if kind.is_of_worker() != (seq == 0) || seq != 0 && !self.is_open(seq) {
            return Err(Scribbled);
        }
        if kind != ResultKind::Item && seq != 0 {
            self.open[place_of(seq)] = 0;
        }
        let mut result = TaskResult {
            seq,
            kind,
            run_time: Duration::from_nanos(extra),
            descriptors: Vec::new(),
        };
        if header.kind & IN_PACKET != 0 {
            self.unpack(&mut result, buffer)?;
        }
        Ok(Some(result))
    }

    /// Whether there is something for [`result`](Self::result), at this moment.
    #[inline]
    #[must_use]
    pub fn has_results(&self) -> bool {
        self.desk.results().is_waiting()
    }

    /// Makes what tells others whether there is something for [`result`](Self::result).
    #[must_use]
    pub fn watch(&self) -> ResultWatch {
        ResultWatch(self.desk.clone())
    }

    /// Whether the worker owes the result of a task.
    #[inline]
    #[must_use]
    pub fn is_open(&self, seq: u64) -> bool {
        seq != 0 && self.open[place_of(seq)] == seq
    }

    /// Whether the worker has begun with a task whose result it owes, and has not put that.
    #[must_use]
    pub fn is_running(&self, seq: u64) -> bool {
        self.is_open(seq) && self.desk.slot(seq).state() == Some(State::Running)
    }

    /// Tells which task the worker is at work on, and since when.
    #[must_use]
    pub fn running(&self) -> Option<RunningTask> {
        let seq = self.desk.running().load(Acquire);
        if !self.is_running(seq) {
            return None;
        }
        let started_at = self.desk.started_at().load(Acquire);
        // If it still runs, that was its own time.
        self.is_running(seq).then(|| RunningTask {
            seq,
            run_time: Duration::from_nanos(monotonic_nanos().saturating_sub(started_at)),
        })
    }

    /// Asks a task to stop, which it may look for.
    pub fn ask_to_stop(&self, seq: u64) {
        self.desk.stopping().store(seq, Release);
        written();
        self.wake();
    }

    /// Lets a task put so many items of its stream in all, and none more until the next call.
    ///
    /// A task that is sent may put none.
    pub fn grant(&self, seq: u64, items: u32) {
        self.desk.credit(seq).store(items, Release);
        written();
        self.wake();
    }

    /// Says how far a worker got with a task whose result it owes.
    ///
    /// While the worker lives, it may begin with the task at any moment.
    #[must_use]
    pub fn fate(&self, seq: u64) -> TaskFate {
        match self.desk.slot(seq).state() {
            Some(State::Sent) => TaskFate::NotStarted,
            // What nobody can have written is not evidence that nothing was done.
            _ => TaskFate::Started,
        }
    }

    /// Has the worker end once it has done all that was sent.
    pub fn close(&self) {
        self.desk.closed().store(1, Release);
        written();
        self.wake();
    }

    /// Sends the function itself, unless the worker has it.
    fn make_known(&mut self, function: TaskFunction) -> Result<(), TaskSendError> {
        let index = function.index as usize;
        if self.known.get(index) == Some(&true) {
            return Ok(());
        }
        let sent = self
            .orders
            .try_send(&[function.entry], &function.index.to_le_bytes());
        match sent {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(TaskSendError::Full);
            }
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Err(TaskSendError::Gone);
            }
            Err(error) => return Err(TaskSendError::Os(error)),
        }
        if self.known.len() <= index {
            self.known.resize(index + 1, false);
        }
        self.known[index] = true;
        Ok(())
    }

    /// Receives the packet that a result is in.
    fn unpack(&self, result: &mut TaskResult, buffer: &mut Vec<u8>) -> Result<(), Scribbled> {
        match self.packets.try_recv() {
            Ok(parcel) => {
                *buffer = parcel.bytes;
                result.descriptors = parcel.descriptors;
                Ok(())
            }
            Err(
                PacketRecvError::Closed | PacketRecvError::Empty | PacketRecvError::Malformed(_),
            ) => Err(Scribbled),
            // This process has no room for it, which is not the worker's fault.
            Err(error) => {
                buffer.clear();
                buffer.extend_from_slice(error.to_string().as_bytes());
                result.kind = ResultKind::ResultLost;
                Ok(())
            }
        }
    }
}

/// Tells whether a worker has put something, without its [`TaskSender`].
#[derive(Clone, Debug)]
pub struct ResultWatch(pub(super) Desk);

impl ResultWatch {
    /// Whether there is something that was not taken, at this moment.
    #[inline]
    #[must_use]
    pub fn has_results(&self) -> bool {
        self.0.results().is_waiting()
    }
}

impl From<PacketSendError> for TaskSendError {
    fn from(error: PacketSendError) -> Self {
        match error {
            PacketSendError::Full | PacketSendError::Busy(_) => Self::Full,
            PacketSendError::Closed => Self::Gone,
            PacketSendError::Os(error) => Self::Os(error),
            other => Self::Os(io::Error::other(other)),
        }
    }
}
