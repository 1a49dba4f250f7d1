//! Reloading: the configuration first, then all workers by it, and only then the old ones go.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::FrontEnd;
use super::commanding::Asker;
use super::listener::{BindOptions, Listener};
use super::listeners::{Address, Leaving};
use super::retiring::{bytes_at_start, check_at_start};
use super::roster::Seat;
use super::staff::Epoch;
use crate::config::{Config, ConfigError};
use crate::control::{Answer, ControlError, ServerEvent};
use crate::error::{Error, with_causes};
use crate::server::Plan;
use crate::systemd::News;
use crate::watch::watch;

/// How far a reload is.
#[derive(Default)]
pub(super) struct Reload {
    stage: Stage,
    /// Who is to be told how it ends; nobody, if a signal began it.
    asker: Option<Asker>,
    /// Whether a signal has asked for another since it began.
    again: bool,
    /// How often the server was reloaded.
    pub(super) count: u32,
}

#[derive(Default)]
enum Stage {
    /// There is none.
    #[default]
    None,
    /// The configuration is being read, in another thread: a disk may be slow.
    Reading(JoinHandle<Result<Config, ConfigError>>),
    /// The workers by the new plan are starting.
    Renewing(Box<Renewal>),
}

/// What will be in force once the new workers are ready.
struct Renewal {
    epoch: Epoch,
    plan: Plan,
    /// The addresses in their new order.
    addresses: Vec<Address>,
}

impl FrontEnd {
    /// Begins to reload, if no other reload is underway.
    pub(super) fn begin_reload(&mut self, asker: Option<Asker>) {
        if !self.life.is_serving() {
            return;
        }
        if self.is_reloading() || self.upgrade.is_underway() || !self.outside.is_announced() {
            match asker {
                Some(asker) => {
                    let busy = if !self.outside.is_announced() {
                        ControlError::Starting
                    } else if self.is_reloading() {
                        ControlError::Reloading
                    } else {
                        ControlError::Upgrading
                    };
                    // Whoever asked may have gone.
                    let _gone = asker.send(Err(busy));
                }
                None => self.reload.again = true,
            }
            return;
        }
        tracing::info!("reloading: the configuration is read again");
        self.outside.tell(ServerEvent::Reloading);
        self.outside.notifying.tell(&[News::reloading_now()]);
        let config = self.plan.config.clone();
        self.reload.asker = asker;
        self.reload.stage = Stage::Reading(tokio::task::spawn_blocking(move || config.reload()));
        // Whether it has been read is asked from the next turn on.
        self.alarm.turn_again();
    }

    /// Whether a reload is underway.
    pub(super) fn is_reloading(&self) -> bool {
        !matches!(self.reload.stage, Stage::None)
    }

    /// Goes on with a reload whose configuration has been read.
    pub(super) fn progress_reload(&mut self, context: &mut Context<'_>) {
        let Stage::Reading(reading) = &mut self.reload.stage else {
            return;
        };
        let Poll::Ready(read) = Pin::new(reading).poll(context) else {
            return;
        };
        self.reload.stage = Stage::None;
        let prepared = read
            .unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
            .map_err(ControlError::from)
            .and_then(|config| self.prepare(&config));
        match prepared {
            Ok((plan, addresses)) => {
                let epoch = self.staff.renew(plan.count);
                let renewal = Renewal {
                    epoch,
                    plan,
                    addresses,
                };
                self.reload.stage = Stage::Renewing(Box::new(renewal));
            }
            Err(error) => self.reload_failed(error),
        }
    }

    /// Checks a new configuration, and binds its new addresses.
    fn prepare(&self, config: &Config) -> Result<(Plan, Vec<Address>), ControlError> {
        let wrong = |error| ControlError::Workers(Box::new(error));
        let plan = Plan::new(config, self.plan.body.clone()).map_err(wrong)?;
        let needs_restart = |key| ControlError::NeedsRestart {
            key,
            origin: plan.origin(key),
        };
        if plan.is_direct() != self.plan.is_direct() {
            return Err(needs_restart("server.dispatch"));
        }
        if plan.config.control != self.plan.config.control {
            return Err(needs_restart("control.socket"));
        }
        if plan.config.admin != self.plan.config.admin {
            return Err(needs_restart("admin.bind"));
        }
        if plan.workers.titles != self.plan.workers.titles {
            return Err(needs_restart("workers.titles"));
        }
        if plan.is_direct() && plan.server.bind != self.plan.server.bind {
            return Err(needs_restart("server.bind"));
        }
        if plan.is_direct() && plan.count != self.plan.count {
            return Err(needs_restart("workers.count"));
        }
        let addresses = if plan.is_direct() {
            Vec::new()
        } else {
            self.bind_new(&plan)?
        };
        Ok((plan, addresses))
    }

    fn bind_new(&self, plan: &Plan) -> Result<Vec<Address>, ControlError> {
        let options = BindOptions {
            backlog: plan.server.backlog.get(),
            sharers: 1,
        };
        let mut addresses = Vec::new();
        for (address, origin) in plan.server.bind.iter().zip(&plan.bind_origins) {
            let groups = self.listeners.groups().iter().enumerate();
            let kept: Vec<Address> = groups
                .filter(|(_, group)| group[0].is_for(address))
                .map(|(index, _)| Address::Kept(index, address.clone()))
                .collect();
            if !kept.is_empty() {
                addresses.extend(kept);
                continue;
            }
            let (one, origin) = ([address.clone()], [origin.clone()]);
            let groups = Listener::bind_all(&one, &origin, options)?;
            plan.check_listeners(&groups)
                .map_err(|error| ControlError::Workers(Box::new(error)))?;
            for group in groups {
                let watched = group[0].try_clone().and_then(watch);
                let watched = watched
                    .map_err(Error::os("listeners cannot be watched"))
                    .map_err(|error| ControlError::Workers(Box::new(error)))?;
                addresses.push(Address::New(group, watched));
            }
        }
        Ok(addresses)
    }

    /// The plan by which a worker of this epoch is started.
    pub(super) fn plan_of(&self, epoch: Epoch) -> &Plan {
        match &self.reload.stage {
            Stage::Renewing(renewal) if renewal.epoch == epoch => &renewal.plan,
            _ => &self.plan,
        }
    }

    /// Fails the reload if a worker of it takes more memory than it may, once that is known.
    pub(super) fn check_newcomer(&mut self, seat: Seat, now: Duration) {
        let Stage::Renewing(renewal) = &self.reload.stage else {
            return;
        };
        let plan = &renewal.plan;
        let workers = &plan.workers;
        let member = self.crew.get_mut(seat);
        let member = member.filter(|it| it.epoch == renewal.epoch && it.room.is_some());
        let Some(member) = member.filter(|_| workers.max_memory.bytes() > 0) else {
            return;
        };
        member.bytes_at_start = member
            .pid()
            .and_then(|pid| bytes_at_start(pid, workers.memory_measure, workers.max_memory));
        let checked = member
            .bytes_at_start
            .map(|bytes| check_at_start(plan, bytes));
        if let Some(Err(error)) = checked {
            self.fail_reload(ControlError::Workers(Box::new(error)), now);
        }
    }

    /// Lets the new plan take over, whose workers are all ready.
    pub(super) fn complete_reload(&mut self, now: Duration) {
        let Stage::Renewing(renewal) = std::mem::take(&mut self.reload.stage) else {
            return;
        };
        let Renewal {
            epoch,
            plan,
            addresses,
        } = *renewal;
        if !plan.is_direct() {
            let backlog = plan.server.backlog.get();
            let gone = self.listeners.rearrange(addresses, backlog);
            self.accept_from_the_leaving(gone, now);
            // New listeners are watched from the next turn on.
            self.alarm.turn_again();
        }
        let connections_max = plan.server.max_connections.get();
        self.roster.change(plan.server.dispatch, connections_max);
        self.queue
            .change(plan.queue_len(), plan.server.queue_timeout);
        self.staff.replace_at_once(plan.max_unavailable());
        self.staff.limit_deaths(plan.intensity());
        let server = &plan.server;
        self.suspicion
            .poison
            .change(server.poison_after, server.poison_time);
        self.crew.check_up(plan.checks_up(), now);
        self.plan = plan;
        self.keep_listeners();
        self.reload.count += 1;
        for seat in self.crew.seats() {
            if self.crew.get(seat).is_some_and(|it| it.epoch == epoch) {
                self.give_work_to(seat, now);
            }
        }
        tracing::info!(workers = self.staff.wanted(), "reloaded");
        self.outside.tell(ServerEvent::Reloaded);
        let answer = self.accept_order(Vec::new());
        self.end_reload(Ok(answer));
    }

    /// Gives a reload up, if there is one: the server goes on as it was.
    pub(super) fn fail_reload(&mut self, error: ControlError, now: Duration) {
        match std::mem::take(&mut self.reload.stage) {
            Stage::None => return,
            // What is read is not wanted any more.
            Stage::Reading(reading) => reading.abort(),
            Stage::Renewing(renewal) => {
                let gone = self.listeners.give_back(renewal.addresses);
                self.accept_from_the_leaving(gone, now);
            }
        }
        self.staff.cancel_renewal();
        self.reload_failed(error);
    }

    /// Serves those who have come by addresses that go.
    fn accept_from_the_leaving(&mut self, leaving: Vec<Leaving>, now: Duration) {
        for listener in leaving {
            self.accept_the_last_of(listener.socket.get_ref(), listener.serial, now);
            listener.stop();
        }
    }

    fn reload_failed(&mut self, error: ControlError) {
        let reason = with_causes(&error);
        tracing::error!(error = reason, "not reloaded: the server goes on as it was");
        self.outside.tell(ServerEvent::ReloadFailed { reason });
        self.end_reload(Err(error));
    }

    fn end_reload(&mut self, outcome: Result<Answer, ControlError>) {
        // Whether it was reloaded or goes on as it was: it serves.
        self.notify_ready(self.alarm.now());
        if let Some(asker) = self.reload.asker.take() {
            // Whoever asked may have gone.
            let _gone = asker.send(outcome);
        }
        self.begin_awaited_reload();
    }

    /// Whether a signal asked for a reload when there could be none; there will be none.
    pub(super) fn forget_awaited_reload(&mut self) -> bool {
        std::mem::take(&mut self.reload.again)
    }

    /// Begins the reload that a signal asked for when there could be none.
    pub(super) fn begin_awaited_reload(&mut self) {
        if std::mem::take(&mut self.reload.again) {
            self.begin_reload(None);
        }
    }
}
