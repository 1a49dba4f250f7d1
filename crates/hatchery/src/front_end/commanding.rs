//! Doing what is asked through the control, and telling of what happens.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;

use super::FrontEnd;
use super::life::Phase;
use super::listener::Listener;
use super::member::CrewMember;
use super::roster::{Seat, Stage};
use super::served::Served;
use crate::config::WorkerCount;
use crate::control::Phase as SaidPhase;
use crate::control::{
    Accepted, Answer, Control, ControlError, Order, Request, Retirement, ServerEvent, ServerStatus,
    Which, WorkerState, WorkerStatus, serve,
};
use crate::error::{Error, Result};
use crate::server::Plan;
use crate::signals::Told;

/// How many orders are taken in a turn, so that nobody keeps the server from its work.
const ORDERS_PER_TURN: usize = 16;

/// Where an answer goes, if anybody waits for it.
pub(super) type Asker = oneshot::Sender<Result<Answer, ControlError>>;

/// Opens the socket of `hatchery ctl`, if there is to be one.
pub(super) fn open_control(plan: &Plan, control: Control) -> Result<Served> {
    let Some(path) = &plan.config.control.socket else {
        return Ok(Served::default());
    };
    let listener = Listener::control(path, plan.origin("control.socket"))?;
    let mut socket = Served::new(listener);
    serve_control(&mut socket, control)?;
    Ok(socket)
}

/// Serves the socket of `hatchery ctl` from now on.
pub(super) fn serve_control(socket: &mut Served, control: Control) -> Result<()> {
    if let Some(listener) = socket.listener() {
        let listening = listener.try_clone();
        let listening = listening.map_err(Error::os("the control socket cannot be duplicated"))?;
        socket.begin(serve(listening, control));
    }
    Ok(())
}

impl FrontEnd {
    /// Does what a signal or the program says.
    pub(super) fn told(&mut self, told: Told, now: Duration) {
        match told {
            Told::Stop(urgency) => self.stop(urgency, now),
            Told::Reload => self.begin_reload(None),
            Told::Upgrade => self.begin_upgrade(None),
            Told::ScaleBy(more) => {
                if let Err(error) = self.scale_by(more) {
                    tracing::warn!(%error, "told to scale by a signal, the server does not");
                }
            }
        }
    }

    /// Takes what was asked, and answers it.
    pub(super) fn take_orders(&mut self, context: &mut Context<'_>, now: Duration) {
        for _ in 0..ORDERS_PER_TURN {
            let Poll::Ready(Some(order)) = self.outside.exchange.orders.poll_recv(context) else {
                return;
            };
            self.obey(order, now);
        }
        context.waker().wake_by_ref();
    }

    fn obey(&mut self, order: Order, now: Duration) {
        let Order { request, answer } = order;
        let done = match request {
            Request::Status => Ok(Answer::Status(self.status(now))),
            Request::Workers => Ok(Answer::Workers(self.worker_statuses(now))),
            Request::Config => Ok(Answer::Config(self.plan.config.to_string())),
            Request::Kill(which) => self.kill_one(which),
            _ if !self.life.is_serving() => Err(ControlError::Stopping),
            Request::Reload => {
                self.begin_reload(Some(answer));
                return;
            }
            Request::Upgrade => {
                self.begin_upgrade(Some(answer));
                return;
            }
            Request::Scale(workers) => self.scale(workers),
            Request::Recycle(Some(which)) => self.recycle_one(which),
            Request::Recycle(None) => Ok(self.recycle_all()),
            Request::Drain(which) => self.drain_one(which),
        };
        // Whoever asked may have gone.
        let _gone = answer.send(done);
    }

    fn scale_by(&mut self, more: i32) -> Result<Answer, ControlError> {
        if !self.life.is_serving() {
            return Err(ControlError::Stopping);
        }
        let wanted = u32::try_from(self.staff.wanted()).unwrap_or(u32::MAX);
        self.scale(wanted.saturating_add_signed(more))
    }

    fn scale(&mut self, workers: u32) -> Result<Answer, ControlError> {
        if workers == 0 || workers > WorkerCount::MAX.get() {
            return Err(ControlError::Count(workers));
        }
        if self.plan.is_direct() {
            return Err(ControlError::Direct);
        }
        if self.staff.is_renewing() {
            return Err(ControlError::Reloading);
        }
        let (from, to) = (self.staff.wanted(), workers as usize);
        self.staff.scale(to);
        tracing::info!(from, to, "another number of workers is wanted");
        self.outside.tell(ServerEvent::Scaled { from, to });
        self.notify_status();
        self.announce_if_complete();
        Ok(self.accept_order(Vec::new()))
    }

    fn recycle_one(&mut self, which: Which) -> Result<Answer, ControlError> {
        let seat = self.find(which)?;
        if !self.retire(seat, Retirement::Control) && !self.staff.is_retiring(seat) {
            return Err(ControlError::NotReady {
                worker: which.worker,
            });
        }
        Ok(self.accept_order(vec![which.worker]))
    }

    fn recycle_all(&mut self) -> Answer {
        let seats = self.crew.seats();
        let mut retired = Vec::new();
        for seat in seats {
            if self.retire(seat, Retirement::Control) {
                retired.push(number(seat));
            }
        }
        self.accept_order(retired)
    }

    fn drain_one(&mut self, which: Which) -> Result<Answer, ControlError> {
        let seat = self.find(which)?;
        if !self.staff.dismiss(seat) {
            return Err(ControlError::NotReady {
                worker: which.worker,
            });
        }
        Ok(self.accept_order(vec![which.worker]))
    }

    fn kill_one(&mut self, which: Which) -> Result<Answer, ControlError> {
        let seat = self.find(which)?;
        if let Some(member) = self.crew.get_mut(seat) {
            let complaint = &mut member.complaint;
            complaint.get_or_insert_with(|| "was killed through the control".to_owned());
            member.is_wished_away = true;
            member.kill();
        }
        Ok(self.accept_order(vec![which.worker]))
    }

    pub(super) fn accept_order(&self, workers: Vec<u32>) -> Answer {
        Answer::Accepted(Accepted {
            wanted: self.staff.wanted(),
            workers,
        })
    }

    fn find(&self, which: Which) -> Result<Seat, ControlError> {
        let worker = which.worker;
        let seat = Seat(worker as usize);
        let Some(member) = self.crew.get(seat) else {
            let there = self.crew.iter();
            let there = there.map(|member| member.key.seat.0.to_string());
            let allowed = there.collect::<Vec<_>>().join(", ");
            return Err(ControlError::UnknownWorker { worker, allowed });
        };
        let actual = member.key.generation;
        match which.generation {
            Some(given) if given != actual => Err(ControlError::OtherGeneration { worker, actual }),
            _ => Ok(seat),
        }
    }

    fn status(&self, now: Duration) -> ServerStatus {
        let count = |wanted: Stage| {
            let crew = self.crew.iter();
            let stages = crew.filter(|member| self.stage_of(member) == Some(wanted));
            stages.count()
        };
        ServerStatus {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            phase: match self.life.phase {
                Phase::Serving if self.is_reloading() => SaidPhase::Reloading,
                Phase::Serving if self.upgrade.is_underway() => SaidPhase::Upgrading,
                Phase::Serving => SaidPhase::Serving,
                Phase::Draining(_) => SaidPhase::Draining,
                Phase::Ending => SaidPhase::Ending,
            },
            uptime_ms: millis(now),
            reloads: self.reload.count,
            addresses: self.listeners.addresses(),
            admin: self
                .outside
                .admin
                .listener()
                .map(|it| it.address().to_owned()),
            wanted: self.staff.wanted(),
            ready: count(Stage::Ready),
            starting: count(Stage::Starting),
            draining: count(Stage::Draining),
            connections: u64::from(self.roster.connections()),
            silent: self.kept.newcomers.len(),
            parked: self.kept.parked.len(),
            waiting: self.queue.len(),
            breaker: self.breaker_state(),
            accepted: self.door.numbered(),
            started: self.crew.started(),
        }
    }

    fn worker_statuses(&self, now: Duration) -> Vec<WorkerStatus> {
        let crew = self.crew.iter();
        let statuses = crew.map(|member| {
            let seat = member.key.seat;
            WorkerStatus {
                worker: number(seat),
                generation: member.key.generation,
                pid: member.pid(),
                state: match self.stage_of(member) {
                    Some(Stage::Ready) if self.staff.is_retiring(seat) => WorkerState::Retiring,
                    Some(Stage::Ready) => WorkerState::Ready,
                    Some(Stage::Draining) => WorkerState::Draining,
                    Some(Stage::Starting) | None => WorkerState::Starting,
                },
                connections: self.roster.connections_of(seat),
                served: self.served(member),
                age_ms: millis(now.saturating_sub(member.since)),
                memory_bytes: None,
            }
        });
        statuses.collect()
    }

    /// How many connections a worker was given, or took itself.
    pub(super) fn served(&self, member: &CrewMember) -> u32 {
        if self.plan.is_direct() {
            return member.ledger.received();
        }
        self.roster.served(member.key.seat)
    }

    fn stage_of(&self, member: &CrewMember) -> Option<Stage> {
        self.roster.stage(member.key.seat)
    }

    /// Tells what has happened to a worker, from its number and its generation.
    pub(super) fn tell_of(&self, seat: Seat, event: impl FnOnce(u32, u32) -> ServerEvent) {
        if let Some(member) = self.crew.get(seat) {
            self.outside
                .tell(event(number(seat), member.key.generation));
        }
    }
}

/// The number of a worker, as it is said.
pub(super) fn number(seat: Seat) -> u32 {
    u32::try_from(seat.0).unwrap_or(u32::MAX)
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
