//! The front end: one task that accepts connections and sees that each has a worker.
//!
//! Everything it waits for wakes the same task, and a wake is one [`FrontEnd::turn`]: take in
//! what has happened, accept what there is room for, hand over what was placed, and set the
//! timer. A turn drains every source, so that many events cost one wake-up.
//!
//! Plain code decides, without a descriptor and without a clock of its own:
//!
//! - [`roster`] who gets a connection, with its [`lease`]; [`queue`] who waits for a worker, and
//!   [`idle`] who waits for a client;
//! - [`staff`] when a worker is started or ends, [`restart`] and [`breaker`] how soon after a failure;
//! - [`pulse`] whose loop stands still, [`overdue`] which handler takes too long, [`poison`] what
//!   workers die of, [`complaints`] what is logged in full.
//!
//! What holds descriptors: [`listeners`] what is accepted from, [`kept`] and [`watching`] connections
//! that wait for their clients, [`crew`] the workers, each a [`member`], [`children`] their processes,
//! [`outside`] who is answered and told, [`served`] a listener beside those of the server. [`alarm`] has
//! the clock, and [`life`] says how far the server is.
//!
//! The other parts do what was decided, each one chapter of [`FrontEnd`]:
//!
//! - `accepting`, `parking`, `handing` and `suspecting`: the way of a connection;
//! - `staffing`, `retiring`, `rounds`, `deaths` and `last_starts`: the life of a worker;
//! - `commanding`, `reloading`, `upgrading`, `bequeathing` and `ending`: what is asked of the server;
//! - `notifying`: what systemd is told of it.

mod accepting;
mod alarm;
mod bequeathing;
mod breaker;
mod child;
mod children;
mod commanding;
mod complaints;
mod crew;
mod deaths;
mod descriptors;
mod ending;
mod handing;
mod idle;
mod kept;
mod last_starts;
mod lease;
mod life;
mod listener;
mod listeners;
mod member;
mod notifying;
mod oom;
mod outside;
mod overdue;
mod parking;
mod poison;
mod pulse;
mod queue;
mod reloading;
mod restart;
mod retiring;
mod roster;
#[cfg(test)]
mod roster_tests;
mod rounds;
mod served;
mod staff;
#[cfg(test)]
mod staff_tests;
mod staffing;
mod strangers;
#[cfg(test)]
mod supervision_tests;
mod suspecting;
mod upgrading;
mod watching;

pub(crate) use self::breaker::Intensity;
pub(crate) use self::child::started;
pub(crate) use self::listener::{AcceptOutcome, Listener, accept};
pub(crate) use self::retiring::resident_bytes;

use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};
use std::time::Duration;

use hatchery_process::Peer;

use self::accepting::Door;
use self::alarm::Alarm;
use self::children::Children;
use self::crew::Crew;
use self::descriptors::Room;
use self::kept::Kept;
use self::life::Life;
use self::listeners::Listeners;
use self::member::CrewMember;
use self::outside::Outside;
use self::poison::Poison;
use self::queue::WaitQueue;
use self::reloading::Reload;
pub(crate) use self::restart::{FAILED_STARTS_MAX, Restarts, Verdict};
use self::roster::{Roster, STALLED_AFTER};
pub(crate) use self::served::Served;
use self::staff::Staff;
use self::suspecting::Suspicion;
use self::upgrading::{Opened, Upgrade};
use crate::config::{Overload, Scheduling};
use crate::control::ServerEvent;
use crate::error::{Error, Result};
use crate::server::{Launch, Plan, Ready};
use crate::signals::Signals;

/// A connection that was accepted and that no worker has used.
#[derive(Debug)]
struct Accepted {
    socket: OwnedFd,
    id: u64,
    /// The serial number of the listener.
    listener: u16,
    peer: Peer,
    /// How many workers have died with it, and perhaps of it.
    deaths: u32,
    /// The hash of its first bytes, if they were looked at.
    first: Option<u64>,
    /// What the handler that parked it has left; `None` if none has.
    state: Option<Vec<u8>>,
    /// How many bytes had been read from it when it was parked, if the kernel counts them.
    consumed: u64,
}

/// The front end of one server.
struct FrontEnd {
    /// The configuration, checked.
    plan: Plan,
    /// How far the server is, and how it will have ended.
    life: Life,
    /// What it listens on.
    listeners: Listeners,
    /// Who has come in, and until when nobody else does.
    door: Door,
    /// Whether there is room for a descriptor that a worker sends.
    room: Room,
    /// Which worker gets a connection, and what each has.
    roster: Roster<Accepted>,
    /// Connections that wait for a worker.
    queue: WaitQueue<Accepted>,
    /// Connections that wait for their clients.
    kept: Kept,
    /// What workers may die of, and who is looked at for that.
    suspicion: Suspicion,
    /// The workers, and when the front end turns to them.
    crew: Crew,
    /// How many workers are wanted, and when one starts or ends.
    staff: Staff,
    /// The processes of workers, and the fork server.
    children: Children,
    /// The clock, and when the next turn is.
    alarm: Alarm,
    /// Whom the server answers and tells.
    outside: Outside,
    /// The reload that is underway.
    reload: Reload,
    /// The program that takes over, or that this one takes over from.
    upgrade: Upgrade,
}

/// Runs a server until it is told to stop and has drained, or cannot go on.
pub(crate) async fn run(mut launch: Launch) -> Result<()> {
    let mut signals = Signals::listen(launch.signals, launch.shutdown.take())
        .map_err(Error::os("signals cannot be listened to"))?;
    crate::log::install_default(&launch.plan.config.log);
    if launch.plan.server.scheduling == Scheduling::Batch {
        // Where that is not allowed, this thread is scheduled as any other.
        let _refused = hatchery_os::schedule_as_batch();
    }
    if launch.plan.workers.titles {
        // Without it nothing is missing but a title; why there is no fork server, who needs it finds out.
        let _untitled = hatchery_process::title_fork_server();
    }
    let hooks = std::mem::take(&mut launch.hooks).run(&launch.exchange.events)?;
    let mut front_end = FrontEnd::new(launch)?;
    if !front_end.upgrade.is_waiting() {
        front_end.keep_listeners();
    }
    front_end.outside.tell(ServerEvent::Starting {
        addresses: front_end.listeners.addresses(),
        workers: front_end.plan.count,
    });
    front_end.hire_all()?;
    let outcome = poll_fn(|context| front_end.turn(&mut signals, context)).await;
    front_end.outside.sum_up(Duration::MAX);
    // Hooks end with the events, which end with this.
    drop(front_end);
    hooks.finish().await;
    crate::log::tell_dropped();
    outcome
}

impl FrontEnd {
    fn new(launch: Launch) -> Result<Self> {
        let plan = launch.plan;
        let Opened {
            listeners,
            control,
            admin,
            upgrade,
            notifying,
        } = upgrading::open(&plan, launch.control)?;
        plan.check_listeners(&listeners)?;
        launch.exchange.board.open_server(plan.is_direct());
        let children = Children::new(launch.signals)?;
        let poison = Poison::new(plan.server.poison_after, plan.server.poison_time);
        let mut crew = Crew::new();
        crew.check_up(plan.checks_up(), Duration::ZERO);
        let mut staff = Staff::new(plan.count, plan.max_unavailable());
        staff.limit_deaths(plan.intensity());
        Ok(Self {
            life: Life::new(),
            listeners: Listeners::new(&plan, listeners)?,
            door: Door::default(),
            room: Room::new(),
            roster: Roster::new(plan.server.dispatch, plan.server.max_connections.get()),
            queue: WaitQueue::new(plan.queue_len(), plan.server.queue_timeout),
            kept: Kept::new().map_err(Error::os("connections cannot be watched"))?,
            suspicion: Suspicion::new(poison),
            crew,
            staff,
            children,
            alarm: Alarm::new(),
            outside: Outside::new(launch.exchange, launch.on_ready, control, admin, notifying),
            reload: Reload::default(),
            upgrade,
            plan,
        })
    }

    /// Does everything that there is to do now, and sees to being woken for what comes.
    fn turn(&mut self, signals: &mut Signals, context: &mut Context<'_>) -> Poll<Result<()>> {
        let now = self.alarm.now();
        while let Some(told) = signals.poll(context) {
            self.told(told, now);
        }
        self.take_orders(context, now);
        self.progress_reload(context);
        self.progress_upgrade(context, now);
        while let Poll::Ready(event) = self.children.poll_event(context) {
            self.child_event(event, now);
        }
        self.children.tend(context, now);
        self.read_messages(context, now);
        self.expire_timers(now);
        self.read_ledgers(now);
        self.look_round(now);
        self.take_held(context, now);
        let mut more = self.take_in(context, now);
        self.hand_over(now);
        self.work_on_staff(now);
        self.say_farewell(now);
        more |= self.ask_for_news(now);
        self.progress_drain(now);
        self.send_parked(now);
        if self.is_over() {
            return Poll::Ready(self.life.take_outcome());
        }
        more |= self.alarm.take_turn();
        if more || self.alarm.poll(self.next_deadline(), context).is_ready() {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Makes sure to be told of what nothing else would tell of; true if there is news already.
    fn ask_for_news(&mut self, now: Duration) -> bool {
        let waits_for_room =
            !self.queue.is_empty() || (self.listeners.accepts() && !self.roster.has_credit(now));
        // Where a handler owns the socket, its end is seen when the last copy closes.
        let holds_ends_back = self.plan.body.is_blocking && self.roster.has_leases();
        let must_know = waits_for_room || holds_ends_back || !self.life.is_serving();
        if !must_know && !self.roster.has_leases() {
            self.crew.stop_ticking();
            return false;
        }
        if must_know || self.crew.rests(now) {
            // A worker that does not take what it was sent is passed over after a while.
            let may_stall = waits_for_room && self.roster.has_in_flight();
            self.crew
                .want_news(may_stall.then_some(now + STALLED_AFTER));
            // What was written before the wish was seen will not be told.
            return self.read_ledgers(now);
        }
        self.crew.tick(now);
        false
    }

    /// Does what has become due.
    fn expire_timers(&mut self, now: Duration) {
        self.crew.expire(now);
        self.door.expire(now);
        self.room.expire(now);
        self.life.last_starts.expire(now);
        self.expire_workers(now);
        self.expire_ages(now);
        self.expire_waiting(now);
        self.expire_silent(now);
        self.outside.sum_up(now);
        self.feed_watchdog(now);
        if self.crew.is_check_up_due(now) {
            self.check_up_on_workers();
        }
    }

    /// When a turn is due even if nothing happens.
    fn next_deadline(&self) -> Option<Duration> {
        let vacancy = self.staff.due().filter(|_| self.life.is_serving());
        let waiting = match self.plan.server.overload {
            Overload::Wait => None,
            _ => self.queue.next_expiry(),
        };
        let single = [
            self.crew.due(),
            self.children.due(),
            self.door.due(),
            self.upgrade.retry(),
            self.room.retry(),
            self.outside.due(),
            self.kept.next_silence(&self.plan.server),
            self.life.due(),
            waiting,
            vacancy,
        ];
        single.into_iter().flatten().min()
    }

    /// Tells the program that all workers are ready.
    fn announce(&mut self) {
        let ready = Ready {
            addresses: self.listeners.addresses(),
            pid: std::process::id(),
            workers: self.crew.iter().filter_map(CrewMember::pid).collect(),
        };
        self.outside.announce(&ready);
        self.notify_ready(self.alarm.now());
        self.begin_awaited_reload();
    }
}
