//! Telling systemd how the server is, if it wants to know.

use std::time::Duration;

use super::FrontEnd;
use super::life::Phase;
use super::roster::Stage;
use crate::systemd::{News, Notifier};

/// Who is told, and when next.
#[derive(Debug, Default)]
pub(super) struct Notifying {
    notifier: Option<Notifier>,
    /// When it must be said that the server is alive.
    pub(super) due: Option<Duration>,
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
        }
    }

    /// Tells nothing more: another program does.
    pub(super) fn hand_over(&mut self, pid: u32) {
        if let Some(notifier) = self.notifier.take() {
            notifier.tell(&[News::MainPid(pid)]);
        }
        self.due = None;
    }

    pub(super) fn tell(&self, news: &[News<'_>]) {
        if let Some(notifier) = &self.notifier {
            notifier.tell(news);
        }
    }
}

impl FrontEnd {
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
