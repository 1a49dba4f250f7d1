//! Whom the server answers and tells: controls, systemd, the program, and whoever reads the log.
//!
//! What it says of itself is put together by `commanding` and `notifying`; here is who hears it.

use std::time::Duration;

use super::complaints::{Complaint, Complaints};
use super::notifying::Notifying;
use super::served::Served;
use crate::control::{Exchange, ServerEvent};
use crate::server::{OnReady, Ready};

/// Everybody outside of the front end and its workers.
pub(super) struct Outside {
    /// What controls ask, and what they are told.
    pub(super) exchange: Exchange,
    /// What systemd is told.
    pub(super) notifying: Notifying,
    /// The socket of `hatchery ctl`.
    pub(super) control: Served,
    /// The admin listener.
    pub(super) admin: Served,
    complaints: Complaints,
    /// What the program wants to be called when all workers are ready, until it was.
    on_ready: Option<OnReady>,
    is_announced: bool,
}

impl Outside {
    pub(super) fn new(
        exchange: Exchange,
        on_ready: Option<OnReady>,
        control: Served,
        admin: Served,
        notifying: Notifying,
    ) -> Self {
        Self {
            exchange,
            notifying,
            control,
            admin,
            complaints: Complaints::default(),
            on_ready,
            is_announced: false,
        }
    }

    /// Tells whoever listens what has happened.
    pub(super) fn tell(&self, event: ServerEvent) {
        self.exchange.board.note(&event);
        // Mostly nobody does.
        let _nobody = self.exchange.events.send(event);
    }

    /// Whether the program was told that all workers are ready.
    pub(super) fn is_announced(&self) -> bool {
        self.is_announced
    }

    /// Tells the program and others that all workers are ready.
    pub(super) fn announce(&mut self, ready: &Ready) {
        self.is_announced = true;
        tracing::info!(addresses = ?ready.addresses, workers = ready.workers.len(), "ready");
        let addresses = ready.addresses.clone();
        self.tell(ServerEvent::Ready { addresses });
        if let Some(on_ready) = self.on_ready.take() {
            on_ready(ready);
        }
    }

    /// Notes what happened to so many connections; true if it is to be logged in full.
    pub(super) fn complain(&mut self, why: Complaint, connections: usize, now: Duration) -> bool {
        let in_full = self.complaints.note(why, connections, now);
        if in_full {
            self.tell_of_overload(why, connections as u64);
        }
        in_full
    }

    /// Logs how often what was not logged in full has happened.
    pub(super) fn sum_up(&mut self, now: Duration) {
        for (complaint, connections) in self.complaints.take_due(now) {
            tracing::warn!(connections, "{}, again", complaint.words());
            self.tell_of_overload(complaint, connections);
        }
    }

    /// When something is to be said even if nothing happens.
    pub(super) fn due(&self) -> Option<Duration> {
        let complaints = self.complaints.due();
        complaints.into_iter().chain(self.notifying.due).min()
    }

    /// Tells of connections that nobody had room for.
    fn tell_of_overload(&self, complaint: Complaint, connections: u64) {
        if complaint != Complaint::Poisoned {
            let why = complaint.words();
            self.tell(ServerEvent::Overloaded { why, connections });
        }
    }
}
