//! Starting workers, and replacing those that ended.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use hatchery_process::{LedgerReader, Program, StartError, WaitError, begin};
use rustix::process::Signal;

use super::child::{ChildEvent, follow};
use super::crew::{CrewMember, Process, WorkerKey};
use super::restart::{FAILED_STARTS_MAX, Verdict};
use super::roster::{Seat, Stage};
use super::{Accepted, FrontEnd, Phase};
use crate::config::Scheduling;
use crate::error::{Error, Result, with_causes};
use crate::worker::WorkerStart;

/// How many workers a connection may have ended before it is not given to another.
const DEATHS_MAX: u8 = 3;

impl FrontEnd {
    /// Starts all workers of a fresh server.
    pub(super) fn hire_all(&mut self) -> Result<()> {
        for group in 0..self.plan.count {
            self.hire(group)?;
        }
        Ok(())
    }

    /// Starts a worker; it is heard of again when it runs, and when it is ready.
    pub(super) fn hire(&mut self, group: usize) -> Result<()> {
        let seat = self.roster.add();
        let hired = self.ask_for_worker(seat, group);
        match hired {
            Ok(member) => {
                if self.crew.len() <= seat.0 {
                    self.crew.resize_with(seat.0 + 1, || None);
                }
                self.crew[seat.0] = Some(member);
                Ok(())
            }
            Err(error) => {
                self.roster.lost(seat);
                Err(error)
            }
        }
    }

    fn ask_for_worker(&mut self, seat: Seat, group: usize) -> Result<CrewMember> {
        let os = Error::os("a worker's channel cannot be made");
        let (ours, theirs) = hatchery_os::pair().map_err(os)?;
        let slots = self.plan.per_worker();
        let ledger = LedgerReader::create(slots).map_err(|error| {
            Error::os("a worker's ledger cannot be made")(io::Error::other(error))
        })?;
        let key = WorkerKey {
            seat,
            generation: self.generation,
        };
        self.generation += 1;
        let start = WorkerStart {
            seat: u32::try_from(seat.0).unwrap_or(u32::MAX),
            generation: key.generation,
            slots,
            is_direct: self.plan.is_direct(),
            direct_share: self.plan.direct_share(),
            is_batch: self.plan.server.scheduling == Scheduling::Batch,
            has_start_hook: self.plan.body.start_hook.is_some(),
            state: self.plan.body.state_bytes(),
        };
        let mut descriptors: Vec<BorrowedFd<'_>> = vec![theirs.as_fd(), ledger.as_fd()];
        if self.plan.is_direct() {
            let own = self
                .listeners
                .iter()
                .map(|all| all[group % all.len()].as_fd());
            descriptors.extend(own);
        }
        let bytes = start.encode();
        let starting = begin(Program {
            bytes: &bytes,
            descriptors: &descriptors,
            functions: &self.plan.body.functions(),
            ..Program::new(&format!("hatchery-{}", seat.0), self.plan.body.entry)
        })?;
        drop(descriptors);
        tokio::spawn(follow(starting, key, self.events_sender.clone()));
        let now = self.born.elapsed();
        let mut member = CrewMember::new(key, group, ours, ledger)
            .map_err(Error::os("a worker's channel cannot be watched"))?;
        member.ready_by = Some(now.saturating_add(self.plan.workers.start_timeout));
        member.retire_after = self.retirement(key.generation);
        Ok(member)
    }

    /// Takes in what became of a worker's process.
    pub(super) fn child_event(&mut self, event: ChildEvent, now: Duration) {
        match event {
            ChildEvent::Started { worker, pid, pidfd } => {
                let Some(member) = self.crew_of(worker) else {
                    return;
                };
                let is_doomed = matches!(member.process, Process::Doomed);
                member.process = Process::Running { pid, pidfd };
                if is_doomed {
                    member.kill();
                }
                // It may have said that it is ready before this was heard.
                self.weigh(worker.seat);
                self.announce_if_complete();
            }
            ChildEvent::NotStarted { worker, error } => {
                self.gone(worker, &Gone::NotStarted(error), now)
            }
            ChildEvent::Exited { worker, status } => self.gone(worker, &Gone::Exited(status), now),
        }
    }

    /// Takes a worker that is gone off the books, and sees that what it leaves is cared for.
    fn gone(&mut self, worker: WorkerKey, how: &Gone, now: Duration) {
        if self.crew_of(worker).is_none() {
            return;
        }
        // Its last words are still in the channel and the ledger.
        self.hear_out(worker.seat, now);
        let Some(member) = self.crew[worker.seat.0].take() else {
            return;
        };
        let stage = self.roster.stage(worker.seat);
        let served = self.roster.served(worker.seat);
        let estate = self.roster.lost(worker.seat);
        let (unused, in_hand) = estate.map_or_else(Default::default, |e| (e.unused, e.in_hand));
        let (touched, untouched): (Vec<_>, Vec<_>) = unused
            .into_iter()
            .partition(|(accepted, was_taken)| *was_taken && was_read(accepted));
        let in_hand = in_hand + u32::try_from(touched.len()).unwrap_or(u32::MAX);
        let is_done = stage == Some(Stage::Draining) && how.is_success();
        let was_unneeded = stage == Some(Stage::Starting) && self.phase != Phase::Serving;
        let was_idle = self.phase == Phase::Ending && in_hand == 0;
        let is_meant = is_done || was_unneeded || was_idle;
        report(&member, how, is_meant, in_hand, untouched.len());
        self.pass_on(untouched, how, now);
        if self.phase != Phase::Serving {
            return;
        }
        self.replace(&member, stage, (how, served), now);
    }

    /// Lets connections that a dead worker had not used wait for another, the oldest first.
    fn pass_on(&mut self, mut unused: Vec<(Accepted, bool)>, how: &Gone, now: Duration) {
        unused.sort_by_key(|(accepted, _)| accepted.id);
        for (mut accepted, was_taken) in unused.into_iter().rev() {
            // What never reached the worker cannot have ended it, nor can what has said nothing
            // make somebody kill it: it takes a handler that breaks by itself, or something sent.
            let may_be_cause = was_taken && (how.is_own_doing() || has_spoken(&accepted));
            accepted.deaths += u8::from(may_be_cause);
            if accepted.deaths >= DEATHS_MAX {
                tracing::error!(connection = accepted.id, peer = %accepted.peer,
                    "closed: {DEATHS_MAX} workers died with it, and it may be why");
                continue;
            }
            self.queue.put_back(accepted, now);
        }
    }

    /// Decides whether and when a successor starts.
    fn replace(
        &mut self,
        gone: &CrewMember,
        stage: Option<Stage>,
        (how, served): (&Gone, u32),
        now: Duration,
    ) {
        let is_covered = gone.is_retiring && self.staff() >= self.plan.count;
        if is_covered {
            return;
        }
        let verdict = if stage == Some(Stage::Starting) {
            self.restarts.failed()
        } else {
            self.restarts.ended(how.is_by_itself() && served == 0)
        };
        match verdict {
            Verdict::RestartAfter(wait) => {
                self.vacancies.push((gone.group, now + wait));
                self.fill_vacancies(now);
            }
            Verdict::GiveUp => {
                self.give_up(gone.complaint.clone().unwrap_or_else(|| how.to_string()));
            }
        }
    }

    /// Ends a server that cannot be started, with what became of the last worker.
    fn give_up(&mut self, reason: String) {
        self.outcome = Err(Error::WorkersFailed {
            attempts: FAILED_STARTS_MAX,
            reason,
        });
        self.kill_all();
    }

    /// Starts the workers whose time has come.
    pub(super) fn fill_vacancies(&mut self, now: Duration) {
        if self.phase != Phase::Serving {
            self.vacancies.clear();
            return;
        }
        while let Some(due) = self.vacancies.iter().position(|&(_, at)| at <= now) {
            let (group, _) = self.vacancies.swap_remove(due);
            if let Err(error) = self.hire(group) {
                let cause = match &error {
                    Error::Start(cause) => with_causes(cause),
                    other => with_causes(other),
                };
                tracing::error!(error = cause, "a worker could not be started");
                match self.restarts.failed() {
                    Verdict::RestartAfter(wait) => self.vacancies.push((group, now + wait)),
                    Verdict::GiveUp => self.give_up(format!("could not be started: {cause}")),
                }
            }
        }
    }

    /// Kills workers that take too long to become ready, or to end after they have retired.
    pub(super) fn expire_workers(&mut self, now: Duration) {
        let is_serving = self.phase == Phase::Serving;
        for member in self.crew.iter_mut().flatten() {
            if member.ends_by.is_some_and(|by| by <= now) {
                member.ends_by = None;
                // A server that ends has a deadline of its own.
                if is_serving {
                    let complaint = &mut member.complaint;
                    complaint.get_or_insert_with(|| "did not finish in time".to_owned());
                    member.kill();
                }
            }
            if member.ready_by.is_some_and(|by| by <= now) {
                member.ready_by = None;
                member
                    .complaint
                    .get_or_insert_with(|| "was not ready in time".to_owned());
                member.kill();
            }
        }
    }

    /// Notes that a worker can be used.
    pub(super) fn became_ready(&mut self, seat: Seat, room: u32, now: Duration) {
        self.roster.ready(seat, room, now);
        self.restarts.ready();
        if let Some(member) = self.member(seat) {
            member.ready_by = None;
        }
        self.weigh(seat);
        // One that becomes ready while the server drains may still be needed by those who wait;
        // if it is not, it drains later in this turn.
        if self.phase == Phase::Serving {
            self.announce_if_complete();
        }
    }

    /// Announces the server once every worker is ready and known by its process id.
    fn announce_if_complete(&mut self) {
        let is_known = self
            .crew
            .iter()
            .flatten()
            .all(|member| member.pid().is_some());
        if self.announced || !is_known || self.ready_count() < self.plan.count {
            return;
        }
        if let Err(error) = self.check_memory() {
            self.outcome = Err(error);
            self.kill_all();
            return;
        }
        self.restarts.complete();
        self.announce();
    }

    fn crew_of(&mut self, worker: WorkerKey) -> Option<&mut CrewMember> {
        let member = self.member(worker.seat)?;
        (member.key == worker).then_some(member)
    }

    /// How many workers there are or will be, without those that retire.
    fn staff(&self) -> usize {
        let staying = self
            .crew
            .iter()
            .flatten()
            .filter(|member| !member.is_retiring);
        staying.count() + self.vacancies.len()
    }

    pub(super) fn ready_count(&self) -> usize {
        let seats = (0..self.crew.len()).map(Seat);
        seats
            .filter(|&seat| self.roster.stage(seat) == Some(Stage::Ready))
            .count()
    }
}

/// Whether a worker that died had read from a connection, and had no time to say so.
///
/// A Unix socket cannot be asked; there a worker says so before it reads.
fn was_read(accepted: &Accepted) -> bool {
    hatchery_os::bytes_consumed(&accepted.socket).is_ok_and(|bytes| bytes > 0)
}

/// Whether something is there to be read from a connection.
fn has_spoken(accepted: &Accepted) -> bool {
    rustix::io::ioctl_fionread(&accepted.socket).is_ok_and(|bytes| bytes > 0)
}

/// How a worker came to be gone.
#[derive(Debug)]
enum Gone {
    NotStarted(StartError),
    Exited(std::result::Result<ExitStatus, WaitError>),
}

impl Gone {
    fn is_success(&self) -> bool {
        matches!(self, Self::Exited(Ok(status)) if status.success())
    }

    /// Whether the worker chose to end, rather than being killed.
    fn is_by_itself(&self) -> bool {
        matches!(self, Self::Exited(Ok(status)) if status.code().is_some())
    }

    /// Whether the worker ended or crashed, rather than being told or made to end by others.
    fn is_own_doing(&self) -> bool {
        let Self::Exited(Ok(status)) = self else {
            return false;
        };
        let from_outside = [Signal::KILL, Signal::TERM].map(Signal::as_raw);
        status
            .signal()
            .is_none_or(|signal| !from_outside.contains(&signal))
    }
}

impl std::fmt::Display for Gone {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotStarted(error) => write!(formatter, "was not started: {}", with_causes(error)),
            Self::Exited(Ok(status)) => write!(formatter, "ended with {status}"),
            Self::Exited(Err(error)) => write!(formatter, "ended: {error}"),
        }
    }
}

/// Logs the end of a worker: quietly if it was meant to end.
fn report(member: &CrewMember, how: &Gone, is_meant: bool, in_hand: u32, passed_on: usize) {
    let (worker, pid) = (member.key.seat.0, member.pid());
    if is_meant {
        tracing::info!(worker, pid, "a worker {how}");
        return;
    }
    let complaint = member.complaint.as_deref();
    tracing::warn!(worker, pid, complaint, in_hand, passed_on, "a worker {how}");
}
