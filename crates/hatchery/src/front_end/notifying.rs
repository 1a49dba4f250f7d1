//! Telling systemd how the server is, if it wants to know.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::FrontEnd;
use super::life::Phase;
use super::listener::Listener;
use super::roster::Stage;
use crate::systemd::{KeptListeners, News, Notifier, kept_name};

/// Who is told, and when next.
#[derive(Debug, Default)]
pub(super) struct Notifying {
    notifier: Option<Notifier>,
    /// When it must be said that the server is alive.
    pub(super) due: Option<Duration>,
    /// The names of the listeners that it keeps for the next start.
    kept: Vec<String>,
}

impl Notifying {
    pub(super) fn begin() -> Self {
        let notifier = Notifier::from_environment().unwrap_or_else(|error| {
            tracing::warn!(%error, "NOTIFY_SOCKET cannot be used");
            None
        });
        Self {
            notifier,
            due: None,
            kept: Vec::new(),
        }
    }

    /// Goes on with what systemd has kept: those that nobody took are closed, there as well.
    pub(super) fn resume(&mut self, kept: KeptListeners, taken: &[(String, BorrowedFd<'_>)]) {
        self.kept = kept.close();
        self.forget_all_but(taken);
    }

    /// Has systemd keep these listeners for the next start, and no others.
    pub(super) fn keep(&mut self, wanted: &[(String, BorrowedFd<'_>)]) {
        self.forget_all_but(wanted);
        let Some(notifier) = &self.notifier else {
            return;
        };
        for (name, socket) in wanted {
            if self.kept.contains(name) {
                continue;
            }
            match notifier.keep(name, *socket) {
                Ok(()) => self.kept.push(name.clone()),
                Err(error) => tracing::warn!(name, %error, "systemd cannot keep a listener"),
            }
        }
    }

    fn forget_all_but(&mut self, wanted: &[(String, BorrowedFd<'_>)]) {
        let Some(notifier) = &self.notifier else {
            return;
        };
        self.kept.retain(|name| {
            if wanted.iter().any(|(wanted, _)| wanted == name) {
                return true;
            }
            let told = notifier.forget(name);
            if let Err(error) = &told {
                tracing::warn!(name, %error, "systemd could not be told to keep a listener no longer");
            }
            told.is_err()
        });
    }

    /// Tells nothing more: another program does.
    pub(super) fn fall_silent(&mut self) {
        self.notifier = None;
        self.due = None;
    }

    pub(super) fn tell(&self, news: &[News<'_>]) {
        if let Some(notifier) = &self.notifier {
            notifier.tell(news);
        }
    }
}

/// Those of these listeners that systemd can keep, by their names there.
pub(super) fn keepable<'a>(
    listeners: impl Iterator<Item = &'a Listener>,
) -> Vec<(String, BorrowedFd<'a>)> {
    let named = listeners.filter_map(|listener| {
        let name = kept_name(listener.configured()?, listener.address())?;
        Some((name, listener.as_fd()))
    });
    named.collect()
}

impl FrontEnd {
    /// Has systemd keep the listeners for the next start, if it is to.
    pub(super) fn keep_listeners(&mut self) {
        let wanted = if self.plan.keeps_listeners() {
            keepable(self.listeners.firsts())
        } else {
            Vec::new()
        };
        self.outside.notifying.keep(&wanted);
    }

    /// As [`keep_listeners`](Self::keep_listeners), of what an old program may have had kept.
    pub(super) fn keep_claimed(&mut self) {
        if !self.plan.keeps_listeners() {
            let claimed = keepable(self.listeners.firsts()).into_iter();
            self.outside.notifying.kept = claimed.map(|(name, _)| name).collect();
        }
        self.keep_listeners();
    }

    /// Has systemd keep no listener that a new program does not take over.
    pub(super) fn keep_given(&mut self, groups: &[usize]) {
        let listeners = self.listeners.firsts().enumerate();
        let given = listeners.filter(|(number, _)| groups.contains(number));
        let given = keepable(given.map(|(_, listener)| listener));
        self.outside.notifying.forget_all_but(&given);
    }

    /// Tells that the server can be used, for the first time or again.
    pub(super) fn notify_ready(&mut self, now: Duration) {
        let watchdog = self
            .outside
            .notifying
            .notifier
            .as_ref()
            .map(Notifier::watchdog);
        if self.outside.notifying.due.is_none() && watchdog.flatten().is_some() {
            self.outside.notifying.due = Some(now);
        }
        self.outside
            .notifying
            .tell(&[News::Ready, News::Status(&self.status_line())]);
    }

    /// Tells how the server is, in words.
    pub(super) fn notify_status(&self) {
        self.outside
            .notifying
            .tell(&[News::Status(&self.status_line())]);
    }

    fn status_line(&self) -> String {
        let workers = self.staff.wanted();
        let addresses = self.listeners.addresses().join(" ");
        match self.life.phase {
            Phase::Serving if self.upgrade.is_underway() => {
                format!("serving {addresses} with {workers} workers; a new program is started")
            }
            Phase::Serving => format!("serving {addresses} with {workers} workers"),
            Phase::Draining(_) => "stopping: workers finish what they have".to_owned(),
            Phase::Ending => "stopping: workers are killed".to_owned(),
        }
    }

    /// Says that the server is alive, if it is: this loop runs, and a worker is ready.
    pub(super) fn feed_watchdog(&mut self, now: Duration) {
        let Some(notifier) = &self.outside.notifying.notifier else {
            return;
        };
        let (Some(due), Some(interval)) = (self.outside.notifying.due, notifier.watchdog()) else {
            return;
        };
        if due > now {
            return;
        }
        let mut seats = self.crew.seats();
        // While it drains there may be none, and systemd has its own limit for that.
        let is_alive = !self.life.is_serving()
            || seats.any(|seat| self.roster.stage(seat) == Some(Stage::Ready));
        if is_alive {
            notifier.tell(&[News::Watchdog]);
        }
        self.outside.notifying.due = Some(now.saturating_add(interval / 2));
    }
}
