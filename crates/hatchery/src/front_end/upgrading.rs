//! Letting a new program take over, and taking over from an old one.
//!
//! As the old one: the new program starts while this one serves, and once it is ready this one
//! drains. As the new one: nothing is accepted, and no file is owned, until the old one says that the
//! server is this one's. If the old one dies, it is this one's as well.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use tokio::io::unix::AsyncFd;

use super::FrontEnd;
use super::bequeathing::{Successor, Testator};
use super::commanding::{Asker, open_control, serve_control};
use super::listener::{BindOptions, Listener};
use super::notifying::{Notifying, keepable};
use super::served::Served;
use crate::admin::{open_admin, serve_admin};
use crate::config::{BindAddress, Origin};
use crate::control::{Answer, Control, ControlError, ServerEvent, Upgraded};
use crate::error::{BindError, Error, Result, with_causes};
use crate::server::Plan;
use crate::systemd::{KeptListeners, News};
use crate::upgrade::{
    Attempt, Group, Heir, Item, Legacy, Message, UpgradeError, has_taken_over, receive, send,
};
use crate::watch::watch;

/// How far this program is with another: one that is to take over, or one from which it does.
#[derive(Debug, Default)]
pub(super) struct Upgrade {
    attempt: Option<Attempt>,
    /// Who is to be told how it ends; nobody, if a signal began it.
    asker: Option<Asker>,
    predecessor: Option<Predecessor>,
    /// Who gets the connections that wait for their clients, once the server is another program's.
    pub(super) successor: Option<Successor>,
    /// From whom they come, once the server is this program's.
    pub(super) testator: Option<Testator>,
}

/// The old program, until the server is this one's.
#[derive(Debug)]
struct Predecessor {
    channel: AsyncFd<OwnedFd>,
    /// The groups of its listeners that were taken over, and their places here.
    places: Vec<(usize, u16)>,
    /// What serves its control socket, if that was taken over.
    control: Option<Control>,
    /// The same of the admin listener.
    admin: Option<Control>,
    /// Workers that accept for themselves begin when the first of these is closed; they have the other.
    gate: (OwnedFd, OwnedFd),
    /// Whether it was told that this program is ready.
    is_told: bool,
    is_gone: bool,
}

impl Upgrade {
    /// Whether a new program is on its way.
    pub(super) fn is_underway(&self) -> bool {
        self.attempt.is_some()
    }

    /// Whether the server is still the old program's.
    pub(super) fn is_waiting(&self) -> bool {
        self.predecessor.is_some()
    }

    /// Whether nothing is left that another program is to have.
    pub(super) fn is_delivered(&self) -> bool {
        let has_all = |successor: &Successor| successor.has_all() && self.testator.is_none();
        self.successor.as_ref().is_none_or(has_all)
    }

    /// When to send again what there was no room for.
    pub(super) fn retry(&self) -> Option<Duration> {
        self.successor.as_ref().and_then(Successor::retry)
    }

    /// What workers wait for that accept for themselves.
    pub(super) fn gate(&self) -> Option<BorrowedFd<'_>> {
        self.predecessor.as_ref().map(|it| it.gate.1.as_fd())
    }
}

/// What a server begins with.
pub(super) struct Opened {
    pub(super) listeners: Vec<Vec<Listener>>,
    pub(super) control: Served,
    pub(super) admin: Served,
    pub(super) upgrade: Upgrade,
    pub(super) notifying: Notifying,
}

/// Takes over what an old program listens on, and binds the rest.
pub(super) fn open(plan: &Plan, control: Control) -> Result<Opened> {
    let options = BindOptions {
        backlog: plan.server.backlog.get(),
        sharers: if plan.is_direct() { plan.count } else { 1 },
    };
    let mut notifying = Notifying::begin();
    let Some(mut legacy) = Legacy::take() else {
        return Ok(Opened {
            listeners: resume_or_bind(plan, options, &mut notifying)?,
            notifying,
            admin: open_admin(plan, control.clone())?,
            control: open_control(plan, control)?,
            upgrade: Upgrade::default(),
        });
    };
    let (mut listeners, mut places) = (Vec::new(), Vec::new());
    for (address, origin) in plan.server.bind.iter().zip(&plan.bind_origins) {
        let inherited = legacy.take_groups(address);
        if inherited.is_empty() {
            let (one, origin) = ([address.clone()], [origin.clone()]);
            listeners.extend(Listener::bind_all(&one, &origin, options)?);
        }
        for group in inherited {
            let place = u16::try_from(listeners.len()).unwrap_or(u16::MAX);
            places.push((group.number, place));
            listeners.push(take_over(group, (address, origin), options)?);
        }
    }
    let (admin, unserved_admin) = take_over_admin(plan, &mut legacy, &control)?;
    let path = plan.config.control.socket.as_deref();
    let inherited = path.and_then(|path| Some((path, legacy.take_control(path)?)));
    let (socket, unserved) = match inherited {
        Some((path, socket)) => {
            let listener = Listener::take_over_control(socket, path);
            (Served::new(listener), Some(control))
        }
        None => (open_control(plan, control)?, None),
    };
    let os = || Error::os("the program that is taken over from cannot be heard");
    let predecessor = Predecessor {
        channel: watch(legacy.into_channel()).map_err(os())?,
        places,
        control: unserved,
        admin: unserved_admin,
        gate: hatchery_os::pair().map_err(os())?,
        is_told: false,
        is_gone: false,
    };
    Ok(Opened {
        listeners,
        notifying,
        control: socket,
        admin,
        upgrade: Upgrade {
            predecessor: Some(predecessor),
            ..Upgrade::default()
        },
    })
}

/// Takes what systemd has kept of an earlier run, and binds the rest.
fn resume_or_bind(
    plan: &Plan,
    options: BindOptions,
    notifying: &mut Notifying,
) -> Result<Vec<Vec<Listener>>> {
    let mut kept = KeptListeners::take();
    let mut groups = Vec::new();
    let addresses = || plan.server.bind.iter().zip(&plan.bind_origins);
    for (address, origin) in addresses() {
        // Where each worker has a port of its own, one that was kept is not enough.
        let is_shared = plan.is_direct() && matches!(address, BindAddress::Tcp(_));
        let socket = (!is_shared).then(|| kept.take_for(address)).flatten();
        let resumed = socket.map(|socket| Listener::resume(socket, address, origin, options));
        groups.push(resumed.transpose()?.map(|listener| vec![listener]));
    }
    let taken = groups.iter().flatten().flatten();
    notifying.resume(kept, &keepable(taken));
    let mut all = Vec::new();
    for (group, (address, origin)) in groups.into_iter().zip(addresses()) {
        match group {
            Some(group) => all.push(group),
            None => {
                let (one, origin) = ([address.clone()], [origin.clone()]);
                all.extend(Listener::bind_all(&one, &origin, options)?);
            }
        }
    }
    Ok(all)
}

/// Takes over the admin listener, or opens one; with what is to serve it later, if it was taken over.
fn take_over_admin(
    plan: &Plan,
    legacy: &mut Legacy,
    control: &Control,
) -> Result<(Served, Option<Control>)> {
    let address = plan.config.admin.bind.as_ref();
    let inherited = address.and_then(|address| Some((address, legacy.take_admin(address)?)));
    let Some((address, mut group)) = inherited else {
        return Ok((open_admin(plan, control.clone())?, None));
    };
    let socket = group.sockets.remove(0);
    let origin = plan.origin("admin.bind");
    let listener = Listener::take_over(socket, (address, &group.address), &origin)?;
    Ok((Served::new(listener), Some(control.clone())))
}

/// Takes over the sockets of one address.
fn take_over(
    group: Group,
    (address, origin): (&BindAddress, &Origin),
    options: BindOptions,
) -> Result<Vec<Listener>> {
    let count = group.sockets.len();
    if count != 1 && count != options.sharers {
        // One that nobody accepts from would keep for ever what the kernel queues there.
        return Err(Error::Bind(BindError {
            origin: origin.clone(),
            key: "server.bind",
            address: address.to_string(),
            source: io::Error::other(format!(
                "the old program has {count} sockets there, one for each worker; allowed: the \
                 same server.dispatch and workers.count"
            )),
        }));
    }
    let shown = group.address.as_str();
    let sockets = group.sockets.into_iter();
    let listeners = sockets.map(|socket| Listener::take_over(socket, (address, shown), origin));
    Ok(listeners.collect::<std::result::Result<_, _>>()?)
}

impl FrontEnd {
    /// Begins to let a new program take over, if nothing speaks against it.
    pub(super) fn begin_upgrade(&mut self, asker: Option<Asker>) {
        let begun = self.check_upgrade().and_then(|()| {
            let items = self.bequeath();
            let os = "what a new program is to have cannot be duplicated";
            let items = items.map_err(|source| UpgradeError::Os { what: os, source })?;
            Ok(Attempt::begin(items, self.plan.server.upgrade_timeout)?)
        });
        match begun {
            Ok(attempt) => {
                tracing::info!("upgrading: a new program is started");
                self.upgrade.attempt = Some(attempt);
                self.upgrade.asker = asker;
                self.outside.tell(ServerEvent::Upgrading);
                self.notify_status();
                // What becomes of it is asked from the next turn on.
                self.alarm.turn_again();
            }
            Err(error) => self.not_upgraded(error, asker),
        }
    }

    fn check_upgrade(&self) -> std::result::Result<(), ControlError> {
        if !self.life.is_serving() {
            Err(ControlError::Stopping)
        } else if self.upgrade.is_underway() {
            Err(ControlError::Upgrading)
        } else if !self.outside.is_announced() {
            Err(ControlError::Starting)
        } else if self.is_reloading() {
            Err(ControlError::Reloading)
        } else if std::process::id() == 1 {
            Err(UpgradeError::FirstProcess.into())
        } else {
            Ok(())
        }
    }

    /// Duplicates all that a new program is to have.
    fn bequeath(&mut self) -> io::Result<Vec<(Item, OwnedFd)>> {
        let mut items = vec![(Item::Stderr, rustix::stdio::stderr().try_clone_to_owned()?)];
        for (group, listeners) in self.listeners.groups().iter().enumerate() {
            for listener in listeners {
                let configured = listener.configured();
                let item = Item::Listener {
                    group,
                    configured: configured.map(ToString::to_string).unwrap_or_default(),
                    address: listener.address().to_owned(),
                };
                items.push((item, listener.try_clone()?));
            }
        }
        let path = self.plan.config.control.socket.clone();
        if let (Some(path), Some(listener)) = (path, self.outside.control.listener()) {
            items.push((Item::Control { path }, listener.try_clone()?));
        }
        if let Some(listener) = self.outside.admin.listener() {
            let configured = listener.configured().map(ToString::to_string);
            let item = Item::Admin {
                configured: configured.unwrap_or_default(),
                address: listener.address().to_owned(),
            };
            items.push((item, listener.try_clone()?));
        }
        Ok(items)
    }

    /// Goes on with an upgrade, as the old program or as the new one.
    pub(super) fn progress_upgrade(&mut self, context: &mut Context<'_>, now: Duration) {
        if let Some(attempt) = &mut self.upgrade.attempt
            && let Poll::Ready(outcome) = attempt.poll(context)
        {
            self.upgrade.attempt = None;
            let asker = self.upgrade.asker.take();
            match outcome {
                Ok(heir) => self.hand_server_over(heir, asker, now),
                Err(error) => self.not_upgraded(error.into(), asker),
            }
            self.begin_awaited_reload();
        }
        self.hear_predecessor(context);
        self.take_bequeathed(context, now);
    }

    fn not_upgraded(&mut self, error: ControlError, asker: Option<Asker>) {
        let reason = with_causes(&error);
        tracing::error!(error = reason, "not upgraded: the server goes on as it was");
        if matches!(error, ControlError::Upgrade(_)) {
            self.outside.tell(ServerEvent::UpgradeFailed { reason });
            self.notify_status();
        }
        if let Some(asker) = asker {
            // Whoever asked may have gone.
            let _gone = asker.send(Err(error));
        }
    }

    /// Hands the server over to a new program that is ready, and drains.
    fn hand_server_over(&mut self, heir: Heir, asker: Option<Asker>, now: Duration) {
        let (pid, takes_parked) = (heir.pid(), heir.parked);
        let (has_control, has_admin) = (heir.control, heir.admin);
        let groups = heir.groups.clone();
        // systemd hears of what is kept from the main process alone: first this one, then the new one.
        let number = pid.as_raw_nonzero().get().unsigned_abs();
        self.keep_given(&groups);
        self.outside.notifying.tell(&[News::MainPid(number)]);
        let channel = match heir.hand_over() {
            Ok(channel) => channel,
            Err(source) => {
                let own = News::MainPid(std::process::id());
                self.outside.notifying.tell(&[own]);
                self.keep_listeners();
                let what = "the new program ended before it was handed the server";
                self.not_upgraded(UpgradeError::Os { what, source }.into(), asker);
                return;
            }
        };
        self.upgrade.successor = takes_parked.then(|| Successor::new(channel).ok()).flatten();
        self.outside.notifying.fall_silent();
        self.listeners.give_away(&groups);
        if has_control {
            // Whoever connects from now on is heard by the new program.
            self.outside.control.leave();
        }
        if has_admin {
            self.outside.admin.leave();
        }
        if self.forget_awaited_reload() {
            // It may have read the configuration too early. It lives, or is a zombie of this process.
            let _ended = kill_process(pid, Signal::HUP);
        }
        let pid = number;
        tracing::info!(pid, "upgraded: a new program has taken over");
        self.outside.tell(ServerEvent::Upgraded { pid });
        if let Some(asker) = asker {
            // Whoever asked may have gone.
            let _gone = asker.send(Ok(Answer::Upgraded(Upgraded { pid })));
        }
        self.begin_drain(now);
    }

    /// Gives up on a new program that is not ready: this one was told to end.
    pub(super) fn cancel_upgrade(&mut self) {
        if self.upgrade.attempt.take().is_some() {
            let asker = self.upgrade.asker.take();
            self.not_upgraded(UpgradeError::Cancelled.into(), asker);
        }
    }

    /// Whether the server may be announced: not before it is this program's.
    pub(super) fn has_server(&mut self) -> bool {
        let Some(predecessor) = &mut self.upgrade.predecessor else {
            return true;
        };
        if !predecessor.is_told && !predecessor.is_gone {
            predecessor.is_told = true;
            let ready = Message::Ready {
                groups: predecessor.places.iter().map(|(group, _)| *group).collect(),
                control: predecessor.control.is_some(),
                admin: predecessor.admin.is_some(),
                parked: !self.plan.is_direct(),
            };
            let told = send(predecessor.channel.get_ref(), &ready, &[]);
            predecessor.is_gone = told.is_err();
        }
        if predecessor.is_gone {
            self.take_server();
            return true;
        }
        false
    }

    /// Takes in what the old program says.
    fn hear_predecessor(&mut self, context: &mut Context<'_>) {
        let Some(predecessor) = &mut self.upgrade.predecessor else {
            return;
        };
        let mut is_ours = false;
        while !predecessor.is_gone
            && let Poll::Ready(Ok(mut guard)) = predecessor.channel.poll_read_ready(context)
        {
            match receive(guard.get_inner()) {
                Ok(Some((Message::Yours, _))) => {
                    // What comes after that are connections.
                    is_ours = true;
                    break;
                }
                Ok(Some(_)) => {}
                Ok(None) => guard.clear_ready(),
                // It is dead: one that gave up would have killed this one.
                Err(_) => predecessor.is_gone = true,
            }
        }
        if is_ours || (predecessor.is_told && predecessor.is_gone) {
            self.take_server();
            self.announce_if_complete();
        }
    }

    /// Makes the server this program's.
    fn take_server(&mut self) {
        // Dropping the old program's gate lets workers that accept for themselves begin.
        let Some(predecessor) = self.upgrade.predecessor.take() else {
            return;
        };
        has_taken_over();
        self.listeners.claim(self.plan.server.backlog.get());
        self.keep_claimed();
        if let Some(control) = predecessor.control {
            self.outside.control.claim_file();
            if let Err(error) = serve_control(&mut self.outside.control, control) {
                let error = with_causes(&error);
                tracing::error!(error, "the control socket cannot be served");
            }
        }
        if let Some(control) = predecessor.admin {
            self.outside.admin.claim_file();
            if let Err(error) = serve_admin(&mut self.outside.admin, control) {
                let error = with_causes(&error);
                tracing::error!(error, "the admin listener cannot be served");
            }
        }
        if !predecessor.is_gone {
            self.upgrade.testator = Some(Testator {
                channel: predecessor.channel,
                places: predecessor.places,
            });
        }
        // What the kernel has queued is accepted in the next turn.
        self.alarm.turn_again();
    }
}
