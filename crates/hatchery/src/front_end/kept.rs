//! Connections that the front end keeps while their clients have nothing to say.
//!
//! The roster counts them among all others: whoever puts one in or takes one out tells it.

use std::io;
use std::time::Duration;

use super::Accepted;
use super::watching::Watch;
use crate::config::ServerConfig;

/// Those whose clients are silent, and those parked by handlers.
#[derive(Debug)]
pub(super) struct Kept {
    /// New connections whose clients have sent nothing, where that is waited for.
    pub(super) newcomers: Watch,
    /// Connections that handlers have parked.
    pub(super) parked: Watch,
    /// Whether they come before new ones in this turn.
    come_first: bool,
}

impl Kept {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            newcomers: Watch::new()?,
            parked: Watch::new()?,
            come_first: false,
        })
    }

    /// Whether they come before new connections in this turn, as in every other: neither new clients
    /// nor old ones take all the room.
    pub(super) fn come_first(&mut self) -> bool {
        self.come_first = !self.come_first;
        self.come_first
    }

    /// Takes one out whose client has been silent for too long, if there is one; it is to be closed.
    pub(super) fn take_silent(&mut self, limits: &ServerConfig, now: Duration) -> Option<Accepted> {
        if let Some(timeout) = limit(limits.first_byte_timeout)
            && let Some(accepted) = self.newcomers.take_silent(timeout, now)
        {
            tracing::debug!(connection = accepted.id, peer = %accepted.peer, "closed: it sent nothing");
            return Some(accepted);
        }
        let timeout = limit(limits.park_timeout)?;
        let accepted = self.parked.take_silent(timeout, now)?;
        tracing::debug!(connection = accepted.id, peer = %accepted.peer, "closed: parked for too long");
        Some(accepted)
    }

    /// When a client may have been silent for too long.
    pub(super) fn next_silence(&self, limits: &ServerConfig) -> Option<Duration> {
        let first_byte = limit(limits.first_byte_timeout);
        let first_byte = first_byte.and_then(|timeout| self.newcomers.next_expiry(timeout));
        let parked = limit(limits.park_timeout);
        let parked = parked.and_then(|timeout| self.parked.next_expiry(timeout));
        first_byte.into_iter().chain(parked).min()
    }

    /// Takes all out.
    pub(super) fn take_all(&mut self) -> Vec<Accepted> {
        let mut all = self.newcomers.take_all();
        all.extend(self.parked.take_all());
        all
    }
}

/// A limit, unless it is zero: then there is none.
fn limit(timeout: Duration) -> Option<Duration> {
    (!timeout.is_zero()).then_some(timeout)
}
