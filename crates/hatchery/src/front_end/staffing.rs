//! Starting workers, and replacing those that ended.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use hatchery_process::{LedgerReader, Program, begin};

use super::child::ChildEvent;
use super::commanding::number;
use super::deaths::{Estate, Gone};
use super::life::Phase;
use super::member::{CrewMember, Process, WorkerKey};
use super::restart::FAILED_STARTS_MAX;
use super::roster::{Seat, Stage};
use super::staff::{End, Epoch, Failure, Step};
use super::watching::has_spoken;
use super::{Accepted, FrontEnd};
use crate::config::{LogFormat, Scheduling};
use crate::control::{ControlError, ServerEvent};
use crate::error::{Error, Result, with_causes};
use crate::worker::WorkerStart;

impl FrontEnd {
    /// Starts all workers of a fresh server.
    pub(super) fn hire_all(&mut self) -> Result<()> {
        for post in 0..self.plan.count {
            self.hire(post, self.staff.epoch())?;
        }
        Ok(())
    }

    /// Does what the staff needs.
    pub(super) fn work_on_staff(&mut self, now: Duration) {
        while self.life.is_serving()
            && let Some(step) = self.staff.next(now)
        {
            match step {
                Step::Start { post, epoch } => self.fill(post, epoch, now),
                Step::Drain(seat) => self.drain(seat),
                Step::Kill(seat) => self.kill_unneeded(seat),
                Step::Renewed(_) => self.complete_reload(now),
                Step::Tell(news) => self.tell_of_breaker(news),
            }
        }
    }

    /// Kills a worker that was starting, and is of no use any more.
    pub(super) fn kill_unneeded(&mut self, seat: Seat) {
        if let Some(member) = self.crew.get_mut(seat) {
            member.is_unneeded = true;
        }
        self.kill(seat);
    }

    /// Starts a worker for a post; if that cannot be, it is tried again later.
    fn fill(&mut self, post: usize, epoch: Epoch, now: Duration) {
        let Err(error) = self.hire(post, epoch) else {
            return;
        };
        let cause = match &error {
            Error::Start(cause) => with_causes(cause),
            other => with_causes(other),
        };
        tracing::error!(error = cause, "a worker could not be started");
        let failure = self.staff.not_started(post, epoch, now);
        self.take_failure(failure, now, || format!("could not be started: {cause}"));
    }

    /// Starts a worker; it is heard of again when it runs, and when it is ready.
    pub(super) fn hire(&mut self, post: usize, epoch: Epoch) -> Result<()> {
        let capacity = self.plan_of(epoch).per_worker();
        let seat = self.roster.add(capacity);
        let hired = self.ask_for_worker(seat, (post, epoch));
        match hired {
            Ok(member) => {
                self.crew.add(member);
                self.staff.started(seat, post, epoch);
                Ok(())
            }
            Err(error) => {
                self.roster.lost(seat);
                self.outside
                    .exchange
                    .board
                    .close(self.crew.started().wrapping_sub(1));
                Err(error)
            }
        }
    }

    fn ask_for_worker(&mut self, seat: Seat, place: (usize, Epoch)) -> Result<CrewMember> {
        let os = Error::os("a worker's channel cannot be made");
        let (ours, theirs) = hatchery_os::pair().map_err(os)?;
        let plan = self.plan_of(place.1).clone();
        let slots = plan.per_worker();
        let ledger = LedgerReader::create(slots).map_err(|error| {
            Error::os("a worker's ledger cannot be made")(io::Error::other(error))
        })?;
        let key = self.crew.enlist(seat);
        let page = self
            .outside
            .exchange
            .board
            .open(key.generation)
            .map_err(Error::os("a worker's page of figures cannot be made"))?;
        let start = WorkerStart {
            seat: u32::try_from(seat.0).unwrap_or(u32::MAX),
            generation: key.generation,
            slots,
            is_direct: plan.is_direct(),
            is_gated: plan.is_direct() && self.upgrade.is_waiting(),
            direct_share: plan.direct_share(),
            is_batch: plan.server.scheduling == Scheduling::Batch,
            has_title: plan.workers.titles,
            logs_json: plan.config.log.format == LogFormat::Json,
            logs_access: plan.config.log.access,
            has_start_hook: plan.body.start_hook.is_some(),
            has_soft_hook: plan.body.soft_hook.is_some(),
            deadlines: (plan.workers.soft_deadline, plan.workers.hard_deadline),
            state: plan.body.state_bytes(),
        };
        let mut member = CrewMember::new(key, place.1, ours, ledger)
            .map_err(Error::os("a worker's channel cannot be watched"))?;
        let mut descriptors: Vec<BorrowedFd<'_>> = vec![
            theirs.as_fd(),
            member.ledger.as_fd(),
            member.bell.as_fd(),
            page.as_fd(),
        ];
        if plan.is_direct() {
            descriptors.extend(self.listeners.of_post(place.0));
            descriptors.extend(self.upgrade.gate());
        }
        let bytes = start.encode();
        let starting = begin(Program {
            bytes: &bytes,
            descriptors: &descriptors,
            functions: &plan.body.functions(),
            ..Program::new(&format!("hatchery-{}", seat.0), plan.body.entry)
        })?;
        drop(descriptors);
        self.children.follow(starting, key);
        let now = self.alarm.now();
        member.since = now;
        member.ready_by = Some(now.saturating_add(plan.workers.start_timeout));
        member.retire_by = self.retirement_age(key.generation, now);
        member.retire_after = self.retirement(key.generation);
        Ok(member)
    }

    /// Takes in what became of a worker's process.
    pub(super) fn child_event(&mut self, event: ChildEvent, now: Duration) {
        match event {
            ChildEvent::Started { worker, child } => {
                let Some(member) = self.crew.find(worker) else {
                    return;
                };
                let is_doomed = matches!(member.process, Process::Doomed);
                member.process = Process::Running(child);
                if is_doomed {
                    member.kill();
                }
                let (pid, is_ready) = (member.pid(), member.room.is_some());
                self.outside.tell(ServerEvent::WorkerStarted {
                    worker: number(worker.seat),
                    generation: worker.generation,
                    pid: pid.unwrap_or_default(),
                });
                // It may have said that it is ready before this was heard.
                if is_ready {
                    self.takes_up_work(worker.seat, now);
                }
                self.announce_if_complete();
            }
            ChildEvent::NotStarted { worker, error } => {
                self.gone(worker, &Gone::NotStarted(error), now)
            }
            ChildEvent::Exited {
                worker,
                status,
                usage,
            } => self.gone(worker, &Gone::Exited(status, usage), now),
        }
    }

    /// Takes a worker that is gone off the books, and sees that what it leaves is cared for.
    fn gone(&mut self, worker: WorkerKey, how: &Gone, now: Duration) {
        if self.crew.find(worker).is_none() {
            return;
        }
        // What is read now it may have done long ago.
        let heard = self.roster.heard(worker.seat);
        // Its last words are still in the channel and the ledger.
        self.hear_out(worker.seat, now);
        let Some(mut member) = self.crew.remove(worker.seat) else {
            return;
        };
        let stage = self.roster.stage(worker.seat);
        let served = self.served(&member);
        let estate = self.roster.lost(worker.seat);
        let (unused, in_hand) = estate.map_or_else(Default::default, |e| (e.unused, e.in_hand));
        let leased = unused.len();
        let (touched, untouched): (Vec<_>, Vec<_>) = unused
            .into_iter()
            .partition(|(accepted, was_taken)| *was_taken && was_read(accepted));
        let in_hand = in_hand + u32::try_from(touched.len()).unwrap_or(u32::MAX);
        let is_done = stage == Some(Stage::Draining) && how.is_success();
        let was_unneeded =
            member.is_unneeded || (stage == Some(Stage::Starting) && !self.life.is_serving());
        let was_idle = self.life.phase == Phase::Ending && in_hand == 0;
        let is_meant = is_done || was_unneeded || was_idle;
        let traces = std::mem::take(&mut member.traces);
        let is_own_doing = how.is_own_doing() && !is_done;
        if is_own_doing {
            // Whoever has ended well by now is acquitted first.
            self.read_ledgers(now);
            self.accuse_all(traces, worker.generation, now);
        }
        let passed_on = self.pass_on(untouched, (worker.generation, is_own_doing), now);
        let estate = Estate {
            leased,
            in_hand,
            passed_on,
            served,
            heard,
        };
        self.report_death(&member, how, is_meant, estate);
        let is_useless = how.is_by_itself() && served == 0;
        let end = match is_useless {
            _ if member.is_wished_away => End::Wished,
            true => End::Useless,
            false => End::Usual,
        };
        let failure = self.staff.gone(worker.seat, end, now);
        let reason = || member.complaint.unwrap_or_else(|| how.to_string());
        if self.life.is_serving() {
            self.take_failure(failure, now, reason);
        } else if how.has_failed() && served == 0 && !is_done {
            self.last_start_failed(&reason(), now);
        }
    }

    /// Lets connections that a dead worker had not used wait for another, the oldest first, and
    /// counts them.
    fn pass_on(
        &mut self,
        mut unused: Vec<(Accepted, bool)>,
        (generation, is_own_doing): (u32, bool),
        now: Duration,
    ) -> usize {
        let mut passed_on = 0;
        unused.sort_by_key(|(accepted, _)| accepted.id);
        for (mut accepted, was_taken) in unused.into_iter().rev() {
            // What never reached the worker cannot have ended it, nor can what has said nothing
            // make somebody kill it: it takes a handler that breaks by itself, or something sent.
            let may_be_cause = was_taken && (is_own_doing || has_spoken(&accepted));
            accepted.deaths += u32::from(may_be_cause);
            let is_crash = was_taken && is_own_doing;
            let is_refused = is_crash && self.accuse_unused(&mut accepted, generation, now);
            let deaths_max = self.plan.server.poison_after;
            if is_refused || (deaths_max > 0 && accepted.deaths >= deaths_max) {
                let deaths = accepted.deaths;
                tracing::error!(connection = accepted.id, peer = %accepted.peer,
                    "closed: {deaths} workers died with it, and it may be why");
                continue;
            }
            self.queue.put_back(accepted, now);
            passed_on += 1;
        }
        passed_on
    }

    /// Acts on what has failed for good, if anything has.
    fn take_failure(
        &mut self,
        failure: Option<Failure>,
        now: Duration,
        reason: impl FnOnce() -> String,
    ) {
        match failure {
            Some(Failure::Server) => self.give_up(reason()),
            Some(Failure::Renewal) => {
                let error = Error::WorkersFailed {
                    attempts: FAILED_STARTS_MAX,
                    reason: reason(),
                };
                self.fail_reload(ControlError::Workers(Box::new(error)), now);
            }
            None => {}
        }
    }

    /// Ends a server that cannot be started, with what became of the last worker.
    fn give_up(&mut self, reason: String) {
        self.life.fail(Error::WorkersFailed {
            attempts: FAILED_STARTS_MAX,
            reason,
        });
        self.kill_all();
    }

    /// Kills workers that take too long to become ready, or to end after they have retired.
    pub(super) fn expire_workers(&mut self, now: Duration) {
        let is_serving = self.life.is_serving();
        let kill_after = self.kill_after();
        for member in self.crew.iter_mut() {
            if member.ends_by.is_some_and(|by| by <= now) {
                member.ends_by = None;
                // A server that ends has a deadline of its own.
                if is_serving && !member.is_broken_off && kill_after.is_some() {
                    member.break_off();
                    member.ends_by = kill_after.map(|after| now.saturating_add(after));
                } else if is_serving {
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

    /// Notes that a worker has said that it is ready.
    ///
    /// It can be used once its process is known as well: should that turn out not to be so, for want
    /// of a descriptor, it is given up, and nothing may go with it.
    pub(super) fn became_ready(&mut self, seat: Seat, room: u32, now: Duration) {
        self.life.last_starts.ready();
        let Some(member) = self.crew.get_mut(seat) else {
            return;
        };
        member.ready_by = None;
        member.room = Some(room);
        if member.pid().is_some() {
            self.takes_up_work(seat, now);
        }
    }

    /// Lets a worker be used that is ready, and whose process is known.
    fn takes_up_work(&mut self, seat: Seat, now: Duration) {
        self.staff.ready(seat);
        let serving = self.staff.epoch();
        let Some(member) = self.crew.get(seat) else {
            return;
        };
        let is_serving = member.epoch == serving;
        self.tell_of(seat, |worker, generation| ServerEvent::WorkerReady {
            worker,
            generation,
        });
        if !is_serving {
            // It gets nothing until all those that it belongs to are ready.
            self.check_newcomer(seat, now);
            return;
        }
        self.give_work_to(seat, now);
        // One that becomes ready while the server drains may still be needed by those who wait;
        // if it is not, it drains later in this turn.
        if self.life.is_serving() {
            self.announce_if_complete();
        }
    }

    /// Lets a worker that is ready and known have connections from now on.
    pub(super) fn give_work_to(&mut self, seat: Seat, now: Duration) {
        let is_direct = self.plan.is_direct();
        let member = self.crew.get(seat).filter(|it| it.pid().is_some());
        let Some((member, room)) = member.and_then(|it| Some((it, it.room?))) else {
            return;
        };
        if is_direct && member.tell_to_accept().is_err() {
            // It is gone, or the kernel is short of memory: it has nobody, and another comes.
            return self.kill(seat);
        }
        self.roster.ready(seat, room, now);
        self.weigh(seat);
    }

    /// Announces the server once every worker is ready and known by its process id.
    pub(super) fn announce_if_complete(&mut self) {
        let is_known = self.crew.iter().all(|member| member.pid().is_some());
        if self.outside.is_announced()
            || !is_known
            || self.staff.ready_posts() < self.staff.wanted()
        {
            return;
        }
        if let Err(error) = self.check_memory() {
            self.life.fail(error);
            self.kill_all();
            return;
        }
        if self.has_server() {
            self.staff.complete();
            self.announce();
        }
    }
}

/// Whether a worker that died had read from a connection, and had no time to say so.
///
/// A Unix socket cannot be asked; there a worker says so before it reads.
fn was_read(accepted: &Accepted) -> bool {
    hatchery_os::bytes_consumed(&accepted.socket).is_ok_and(|bytes| bytes > accepted.consumed)
}
