//! The front end's end of each worker: its channel, its ledger, and the means to kill it.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use hatchery_os::{Obstacle, RecvError};
use hatchery_process::{
    Child, DESCRIPTORS_MAX, Farewell as Parting, FromWorker, Handover, LedgerReader, Peer,
    ToWorker, decode, encode,
};
use rustix::event::{EventfdFlags, eventfd};
use tokio::io::unix::AsyncFd;

use super::overdue::Overdue;
use super::pulse::Pulse;
use super::roster::Seat;
use super::staff::Epoch;
use super::suspecting::Traces;
use crate::watch::watch;

/// What a worker has said, with the descriptor of what it has parked.
pub(crate) type Said = (FromWorker, Option<OwnedFd>);

/// Which worker: its seat, and how many workers were started before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorkerKey {
    pub(crate) seat: Seat,
    pub(crate) generation: u32,
}

/// What the front end remembers of a connection that is in a worker's hands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) id: u64,
    /// The serial number of the listener.
    pub(crate) listener: u16,
    pub(crate) peer: Peer,
}

/// One worker as the front end reaches it.
#[derive(Debug)]
pub(crate) struct CrewMember {
    pub(crate) key: WorkerKey,
    /// The settings that it was started by.
    pub(crate) epoch: Epoch,
    pub(crate) channel: AsyncFd<OwnedFd>,
    pub(crate) ledger: LedgerReader,
    /// What is remembered of the connections that it uses.
    pub(crate) traces: Traces,
    /// Rung when its loop is to answer.
    pub(crate) bell: OwnedFd,
    /// Whether its loop answers.
    pub(crate) pulse: Pulse,
    /// Which of its handlers take too long.
    pub(crate) overdue: Overdue,
    /// Placed with it and not sent yet.
    pub(crate) outbox: Vec<u32>,
    /// What was placed last in each slot.
    origins: Vec<Option<Origin>>,
    pub(crate) process: Process,
    /// Why it could not be set up, as the rest of a sentence about it.
    pub(crate) complaint: Option<String>,
    /// Whether the server killed it.
    pub(crate) is_killed: bool,
    /// Whether it was killed before anybody needed it.
    pub(crate) is_unneeded: bool,
    /// Whether somebody wished its end, through the control.
    pub(crate) is_wished_away: bool,
    /// When it must be ready, if it is not yet.
    pub(crate) ready_by: Option<Duration>,
    /// When it is killed if it has not ended, once it drains.
    pub(crate) ends_by: Option<Duration>,
    /// Its memory when it became ready, where that matters.
    pub(crate) bytes_at_start: Option<u64>,
    /// When it was weighed last, where that costs something.
    pub(crate) weighed: Duration,
    /// How many descriptors it had open when it became ready, where that matters.
    pub(crate) open_at_start: Option<u32>,
    /// When it retires, if it is to at some age.
    pub(crate) retire_by: Option<Duration>,
    /// Whether it has been told that nothing more comes.
    pub(crate) farewell: Farewell,
    /// Whether it has been told to break off what it has.
    pub(crate) is_broken_off: bool,
    /// When it was started.
    pub(crate) since: Duration,
    /// What its descriptor table had room for when it became ready.
    pub(crate) room: Option<u32>,
    /// After how many connections it retires; 0 means never.
    pub(crate) retire_after: u64,
}

/// How far the process of a worker is.
#[derive(Debug)]
pub(crate) enum Process {
    /// It was asked for.
    Asked,
    /// It was asked for, and must be killed as soon as it is there.
    Doomed,
    /// It runs.
    Running(Arc<Child>),
}

/// Whether a worker has been told that nothing more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    NotDue,
    /// It is to be told once it has been sent what it was given.
    Due,
    Said,
}

impl CrewMember {
    pub(crate) fn new(
        key: WorkerKey,
        epoch: Epoch,
        channel: OwnedFd,
        ledger: LedgerReader,
    ) -> io::Result<Self> {
        Ok(Self {
            key,
            epoch,
            channel: watch(channel)?,
            ledger,
            traces: Traces::default(),
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            pulse: Pulse::default(),
            overdue: Overdue::default(),
            outbox: Vec::new(),
            origins: Vec::new(),
            process: Process::Asked,
            complaint: None,
            is_killed: false,
            is_unneeded: false,
            is_wished_away: false,
            ready_by: None,
            ends_by: None,
            bytes_at_start: None,
            weighed: Duration::ZERO,
            open_at_start: None,
            retire_by: None,
            farewell: Farewell::NotDue,
            is_broken_off: false,
            since: Duration::ZERO,
            room: None,
            retire_after: 0,
        })
    }

    /// Remembers what was placed in a slot, and sends it with the next batch.
    pub(crate) fn placed(&mut self, slot: u32, origin: Origin) {
        self.outbox.push(slot);
        let slot = slot as usize;
        if self.origins.len() <= slot {
            self.origins.resize(slot + 1, None);
        }
        self.origins[slot] = Some(origin);
    }

    /// What was placed last in a slot.
    pub(crate) fn origin(&self, slot: u32) -> Option<Origin> {
        *self.origins.get(slot as usize)?
    }

    /// The process id, once there is one.
    pub(crate) fn pid(&self) -> Option<u32> {
        match &self.process {
            Process::Running(child) => Some(child.id()),
            Process::Asked | Process::Doomed => None,
        }
    }

    /// Kills the process, now or as soon as it is there.
    pub(crate) fn kill(&mut self) {
        self.is_killed = true;
        match &self.process {
            Process::Running(child) => {
                // One that has ended already needs no killing.
                let _ended = child.kill();
            }
            Process::Asked | Process::Doomed => self.process = Process::Doomed,
        }
    }

    /// Reads the worker's next message, with the descriptor of what it has parked; `None` if there
    /// is none yet.
    ///
    /// # Errors
    ///
    /// Returns an error if the worker has closed its channel or says what cannot be read.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<Option<Said>> {
        let mut descriptors = Vec::new();
        let channel = self.channel.get_ref();
        match hatchery_os::recv(channel, buffer, &mut descriptors) {
            Ok(received) => decode(&buffer[..received.len])
                .map(|message| Some((message, descriptors.pop())))
                .ok_or_else(|| io::ErrorKind::InvalidData.into()),
            Err(RecvError::Empty) => Ok(None),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Tells the worker to break off what it has, and to close cleanly.
    pub(crate) fn break_off(&mut self) {
        self.is_broken_off = true;
        self.bid(Parting::BreakOff);
    }

    fn bid(&self, farewell: Parting) {
        self.ledger.tell_farewell(farewell);
        self.ring();
    }

    fn ring(&self) {
        // A bell that cannot be rung any more has been rung more often than anybody counts.
        let _full = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    /// Asks the worker's loop whether it turns.
    pub(crate) fn ask(&mut self) {
        self.ledger.ask(self.pulse.ask());
        self.ring();
    }

    /// Tells the worker to accept for itself.
    pub(crate) fn tell_to_accept(&self) -> Result<(), Obstacle> {
        self.send(&ToWorker::Accept, &[])
    }

    /// Tells the worker that nothing more will come.
    pub(crate) fn tell_to_drain(&self) -> Result<(), Obstacle> {
        if !self.is_broken_off {
            self.bid(Parting::Finish);
        }
        self.send(&ToWorker::Drain, &[])
    }

    /// Sends connections with their descriptors; the caller keeps the descriptors.
    pub(crate) fn hand_over(
        &self,
        handovers: Vec<Handover>,
        sockets: &[BorrowedFd<'_>],
    ) -> Result<(), Obstacle> {
        debug_assert!(handovers.len() == sockets.len() && sockets.len() <= DESCRIPTORS_MAX);
        self.send(&ToWorker::Connections(handovers), sockets)
    }

    fn send(&self, message: &ToWorker, sockets: &[BorrowedFd<'_>]) -> Result<(), Obstacle> {
        let mut bytes = Vec::with_capacity(64);
        encode(message, &mut bytes);
        let sent = hatchery_os::send(self.channel.as_fd(), &[IoSlice::new(&bytes)], sockets);
        sent.map_err(|error| Obstacle::of(&error))
    }
}
