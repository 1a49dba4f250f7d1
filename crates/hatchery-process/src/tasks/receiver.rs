//! A worker's side: tasks come in, results go out.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Instant;

use hatchery_os::{Entry, MapError, OrderQueue, Start};

use super::desk::Desk;
use super::doorbell::Doorbell;
use super::lane::{Consumer, Header, Producer};
use super::{HEAVY, IN_PACKET, LIGHT, ResultKind, Scribbled, TASK_LIGHT_BYTES_MAX};
use crate::clock::monotonic_nanos;
use crate::packets::{Outgoing, PacketSendError, Packets};
use crate::sync::{Patience, written};

/// A worker's side of the channel to its main process.
#[derive(Debug)]
pub struct TaskReceiver {
    desk: Desk,
    doorbell: Doorbell,
    packets: Packets,
    orders: OrderQueue,
    tasks: Consumer,
    results: Producer,
    patience: Patience,
    /// The task that runs, and how many items it has put.
    seq: u64,
    items: u32,
    started_at: u64,
    /// When the last task was over, unless this process has waited since.
    is_over_at: Option<u64>,
}

/// A task that has arrived, whose bytes are in the caller's buffer.
#[derive(Debug)]
pub struct ReceivedTask {
    /// Its number in this worker.
    pub seq: u64,
    /// The number of its function.
    pub function: u32,
    /// The descriptors in its arguments, or why the arguments did not get through.
    pub descriptors: Result<Vec<OwnedFd>, String>,
}

/// Why no task can come any more. The worker ends.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskReceiveError {
    /// What the process was started with is not a worker's side.
    #[error("the process was not started as a worker")]
    NotAWorker,
    /// The worker's side cannot be mapped.
    #[error("the worker's memory cannot be mapped")]
    Memory(#[from] MapError),
    /// The main process has written what it never writes, or this one has.
    #[error(transparent)]
    Scribbled(#[from] Scribbled),
    /// A function did not arrive before its task.
    #[error("the function of a task is missing")]
    NoFunction,
    /// The kernel refused.
    #[error("the kernel refused to receive a task")]
    Os(#[from] io::Error),
}

/// Why a result was not put. Nothing of it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskPutError {
    /// It can never be sent, for this reason.
    #[error("the result cannot be sent")]
    Unsendable(#[source] PacketSendError),
    /// The main process is gone, or has given this worker up.
    #[error("the main process is gone")]
    Gone,
    /// The main process has written what it never writes, or this one has.
    #[error(transparent)]
    Scribbled(#[from] Scribbled),
}

impl TaskReceiver {
    /// Takes a worker's side out of what the process was started with, and leaves it the rest.
    ///
    /// # Errors
    ///
    /// See [`TaskReceiveError`].
    pub fn adopt(start: &mut Start) -> Result<Self, TaskReceiveError> {
        let count = super::TaskEnd::DESCRIPTORS;
        if start.descriptors.len() < count {
            return Err(TaskReceiveError::NotAWorker);
        }
        let orders = start.orders.take().ok_or(TaskReceiveError::NotAWorker)?;
        let rest = start.descriptors.split_off(count);
        let own: [OwnedFd; super::TaskEnd::DESCRIPTORS] =
            std::mem::replace(&mut start.descriptors, rest)
                .try_into()
                .expect("so many were left");
        let [desk, doorbell, packets] = own;
        Ok(Self {
            desk: Desk::map(desk)?,
            doorbell: Doorbell::map(doorbell)?,
            packets: Packets::adopt(packets)?,
            orders,
            tasks: Consumer::default(),
            results: Producer::default(),
            patience: Patience::new(),
            seq: 0,
            items: 0,
            started_at: 0,
            is_over_at: None,
        })
    }

    /// Makes what tells a task whether it is to stop.
    #[must_use]
    pub fn bell(&self) -> TaskBell {
        TaskBell(self.desk.clone())
    }

    /// Waits for the next task, with its bytes as the whole of `buffer`; `None` once the main
    /// process has closed the channel.
    ///
    /// From now until its result is put the task counts as running.
    ///
    /// # Errors
    ///
    /// See [`TaskReceiveError`].
    pub fn next(&mut self, buffer: &mut Vec<u8>) -> Result<Option<ReceivedTask>, TaskReceiveError> {
        loop {
            if let Some(header) = self.tasks.take(self.desk.tasks(), buffer)? {
                if let Some(task) = self.begin(header, buffer)? {
                    return Ok(Some(task));
                }
                continue;
            }
            if self.desk.closed().load(Acquire) != 0 && !self.desk.tasks().is_waiting() {
                return Ok(None);
            }
            self.is_over_at = None;
            let desk = &self.desk;
            self.wait(|| desk.tasks().is_waiting() || desk.closed().load(Relaxed) != 0);
        }
    }

    /// Takes the next function that the main process has sent, with its number.
    ///
    /// A function is sent before the first of its tasks.
    ///
    /// # Errors
    ///
    /// Returns [`TaskReceiveError::NoFunction`] if there is none.
    pub fn function(&mut self) -> Result<(u32, Entry), TaskReceiveError> {
        let order = self
            .orders
            .recv()
            .map_err(|_| TaskReceiveError::NoFunction)?;
        let index = order.start.bytes.try_into();
        let index = index.map_err(|_| TaskReceiveError::NoFunction)?;
        Ok((u32::from_le_bytes(index), order.entry))
    }

    /// Puts the result of the task that runs, which is over with it.
    ///
    /// It waits while the main process has no room.
    ///
    /// # Errors
    ///
    /// See [`TaskPutError`]; the task still runs then.
    pub fn put(
        &mut self,
        kind: ResultKind,
        bytes: &[u8],
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), TaskPutError> {
        let over_at = monotonic_nanos();
        self.put_message(kind, over_at, bytes, descriptors)?;
        // Only now: a task that is done has its result in the main process's hands.
        self.desk.slot(self.seq).finish();
        self.is_over_at = Some(over_at);
        self.doorbell.ring();
        Ok(())
    }

    /// Puts one of several results of the task that runs; false if the task is to put no more.
    ///
    /// It waits until the main process allows for another.
    ///
    /// # Errors
    ///
    /// See [`TaskPutError`].
    pub fn put_item(
        &mut self,
        bytes: &[u8],
        descriptors: Vec<OwnedFd>,
    ) -> Result<bool, TaskPutError> {
        let (desk, items) = (&self.desk, self.items);
        let credit = desk.credit(self.seq);
        self.wait(|| desk.is_stopping() || credit.load(Acquire) > items);
        if desk.is_stopping() {
            return Ok(false);
        }
        self.put_message(ResultKind::Item, monotonic_nanos(), bytes, descriptors)?;
        self.items += 1;
        self.doorbell.ring();
        Ok(true)
    }

    /// Tells the main process that this worker is set up, or why it cannot be.
    ///
    /// # Errors
    ///
    /// See [`TaskPutError`].
    pub fn put_readiness(&mut self, outcome: Result<(), &str>) -> Result<(), TaskPutError> {
        let (kind, reason) = match outcome {
            Ok(()) => (ResultKind::Ready, ""),
            Err(reason) => (ResultKind::Failed, reason),
        };
        self.seq = 0;
        self.put_message(kind, self.started_at, reason.as_bytes(), Vec::new())?;
        self.doorbell.ring();
        Ok(())
    }

    /// Takes another task for the one that runs, as a worker out of its mind.
    #[cfg(test)]
    pub(super) fn pretend(&mut self, seq: u64) {
        self.seq = seq;
    }

    /// Begins with a task that was taken out of its lane, unless the main process took it back.
    fn begin(
        &mut self,
        header: Header,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<ReceivedTask>, TaskReceiveError> {
        let Header { kind, seq, extra } = header;
        let function = u32::try_from(extra).map_err(|_| Scribbled)?;
        self.started_at = self.is_over_at.take().unwrap_or_else(monotonic_nanos);
        self.desk.started_at().store(self.started_at, Relaxed);
        self.desk.running().store(seq, Relaxed);
        written();
        let is_mine = self.desk.slot(seq).start();
        let descriptors = match kind {
            LIGHT => Ok(Vec::new()),
            // Also the packet of a task that was taken back has to go.
            HEAVY => self.receive_packet(buffer)?,
            _ => return Err(Scribbled.into()),
        };
        if !is_mine {
            self.is_over_at = Some(self.started_at);
            return Ok(None);
        }
        (self.seq, self.items) = (seq, 0);
        Ok(Some(ReceivedTask {
            seq,
            function,
            descriptors,
        }))
    }

    fn receive_packet(
        &self,
        buffer: &mut Vec<u8>,
    ) -> Result<Result<Vec<OwnedFd>, String>, TaskReceiveError> {
        use crate::packets::PacketRecvError::{Closed, Empty, Malformed};
        match self.packets.try_recv() {
            Ok(parcel) => {
                *buffer = parcel.bytes;
                Ok(Ok(parcel.descriptors))
            }
            Err(Closed | Empty | Malformed(_)) => Err(Scribbled.into()),
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    fn put_message(
        &mut self,
        kind: ResultKind,
        at: u64,
        bytes: &[u8],
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), TaskPutError> {
        let mut header = Header {
            kind: kind as u8,
            seq: self.seq,
            extra: at.saturating_sub(self.started_at),
        };
        if bytes.len() <= TASK_LIGHT_BYTES_MAX && descriptors.is_empty() {
            self.wait_for_room(bytes.len())?;
            self.results.put(self.desk.results(), header, bytes);
            return Ok(());
        }
        let packet = Outgoing::new(bytes, descriptors).map_err(TaskPutError::Unsendable)?;
        self.wait_for_room(0)?;
        self.packets
            .send(&packet, None)
            .map_err(|error| match error {
                PacketSendError::Closed => TaskPutError::Gone,
                other => TaskPutError::Unsendable(other),
            })?;
        header.kind |= IN_PACKET;
        self.results.put(self.desk.results(), header, &[]);
        Ok(())
    }

    fn wait_for_room(&mut self, bytes: usize) -> Result<(), Scribbled> {
        while !self.results.has_room(self.desk.results(), bytes)? {
            // There is something to take, so the main process is about to.
            let head = self.desk.results().head.load(Relaxed);
            let desk = &self.desk;
            self.wait(|| desk.results().head.load(Relaxed) != head);
        }
        Ok(())
    }

    /// Waits until something is there; whoever brings it rings at this worker's berth.
    fn wait(&self, mut is_there: impl FnMut() -> bool) {
        if is_there() || self.patience.look(&mut is_there) {
            return;
        }
        let start = Instant::now();
        let berth = self.desk.berth();
        loop {
            berth.lie_down();
            if is_there() {
                break;
            }
            berth.sleep(None);
        }
        berth.leave();
        self.patience.learn(start.elapsed());
    }
}

/// Tells the task that runs in this worker whether it is to stop.
#[derive(Clone, Debug)]
pub struct TaskBell(Desk);

impl TaskBell {
    /// Whether the task that runs is asked to stop.
    #[inline]
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.0.is_stopping()
    }
}
