//! The front end's end of each worker: its channel, its ledger, and the means to kill it.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use hatchery_os::RecvError;
use hatchery_process::{DESCRIPTORS_MAX, FromWorker, Handover, LedgerReader, ToWorker};
use hatchery_process::{Farewell as Parting, decode, encode};
use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{Signal, pidfd_send_signal};
use tokio::io::unix::AsyncFd;

use super::overdue::Overdue;
use super::pulse::Pulse;
use super::roster::Seat;
use super::staff::Epoch;
use crate::watch::watch;

/// Room for the longest message from a worker.
const MESSAGE_BYTES_MAX: usize = 4096;

/// Which worker: its seat, and how many workers were started before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorkerKey {
    pub(crate) seat: Seat,
    pub(crate) generation: u32,
}

/// One worker as the front end reaches it.
#[derive(Debug)]
pub(crate) struct CrewMember {
    pub(crate) key: WorkerKey,
    /// The settings that it was started by.
    pub(crate) epoch: Epoch,
    pub(crate) channel: AsyncFd<OwnedFd>,
    pub(crate) ledger: LedgerReader,
    /// Rung when its loop is to answer.
    pub(crate) bell: OwnedFd,
    /// Whether its loop answers.
    pub(crate) pulse: Pulse,
    /// Which of its handlers take too long.
    pub(crate) overdue: Overdue,
    /// Placed with it and not sent yet.
    pub(crate) outbox: Vec<u32>,
    pub(crate) process: Process,
    /// Why it could not be set up, as the rest of a sentence about it.
    pub(crate) complaint: Option<String>,
    /// When it must be ready, if it is not yet.
    pub(crate) ready_by: Option<Duration>,
    /// When it is killed if it has not ended, once it drains.
    pub(crate) ends_by: Option<Duration>,
    /// Its resident memory when it became ready, where that matters.
    pub(crate) bytes_at_start: Option<u64>,
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
    Running { pid: u32, pidfd: OwnedFd },
}

/// Whether a worker has been told that nothing more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    NotDue,
    /// It is to be told once it has been sent what it was given.
    Due,
    Said,
}

/// Why what was meant for a worker was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendRefusal {
    /// It has to take something first, or this user has too many descriptors on their way.
    Later,
    /// It is gone.
    Gone,
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
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            pulse: Pulse::default(),
            overdue: Overdue::default(),
            outbox: Vec::new(),
            process: Process::Asked,
            complaint: None,
            ready_by: None,
            ends_by: None,
            bytes_at_start: None,
            open_at_start: None,
            retire_by: None,
            farewell: Farewell::NotDue,
            is_broken_off: false,
            since: Duration::ZERO,
            room: None,
            retire_after: 0,
        })
    }

    /// The process id, once there is one.
    pub(crate) fn pid(&self) -> Option<u32> {
        match self.process {
            Process::Running { pid, .. } => Some(pid),
            Process::Asked | Process::Doomed => None,
        }
    }

    /// Kills the process, now or as soon as it is there.
    pub(crate) fn kill(&mut self) {
        match &self.process {
            Process::Running { pidfd, .. } => {
                // One that has ended already needs no killing.
                let _ended = pidfd_send_signal(pidfd, Signal::KILL);
            }
            Process::Asked | Process::Doomed => self.process = Process::Doomed,
        }
    }

    /// Reads the worker's next message; `None` if there is none yet.
    ///
    /// # Errors
    ///
    /// Returns an error if the worker has closed its channel or says what cannot be read.
    pub(crate) fn read(&self) -> io::Result<Option<FromWorker>> {
        let mut buffer = [0; MESSAGE_BYTES_MAX];
        match hatchery_os::recv(self.channel.get_ref(), &mut buffer, &mut Vec::new()) {
            Ok(received) => decode(&buffer[..received.len])
                .map(Some)
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

    /// Tells the worker that nothing more will come.
    pub(crate) fn tell_to_drain(&self) -> Result<(), SendRefusal> {
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
    ) -> Result<(), SendRefusal> {
        debug_assert!(handovers.len() == sockets.len() && sockets.len() <= DESCRIPTORS_MAX);
        self.send(&ToWorker::Connections(handovers), sockets)
    }

    fn send(&self, message: &ToWorker, sockets: &[BorrowedFd<'_>]) -> Result<(), SendRefusal> {
        let mut bytes = Vec::with_capacity(64);
        encode(message, &mut bytes);
        let sent = hatchery_os::send(self.channel.as_fd(), &[IoSlice::new(&bytes)], sockets);
        sent.map_err(|error| {
            let too_many = Some(rustix::io::Errno::TOOMANYREFS.raw_os_error());
            if error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == too_many {
                SendRefusal::Later
            } else {
                SendRefusal::Gone
            }
        })
    }
}
