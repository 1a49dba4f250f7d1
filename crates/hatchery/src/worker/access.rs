//! The access log: one line for each connection that is over.
//!
//! A connection is over when neither the worker's own task nor the handler has it any more; whoever
//! lets go last writes the line. It is one event, so it is one write.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use hatchery_process::Peer;

use super::connection::ConnectionInfo;
use crate::log::ACCESS;
use crate::metrics::Tally;

/// What the access log says of one connection.
#[derive(Debug)]
pub(super) struct Access {
    worker: u32,
    info: ConnectionInfo,
    since: Instant,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// Whether all bytes pass by here; where a handler has the socket itself, they do not.
    knows_bytes: bool,
    outcome: OnceLock<&'static str>,
    /// Who is behind the proxy, if it has said so.
    client: OnceLock<Peer>,
}

impl Access {
    pub(super) fn new(worker: u32, info: ConnectionInfo, knows_bytes: bool) -> Self {
        Self {
            worker,
            info,
            since: Instant::now(),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            knows_bytes,
            outcome: OnceLock::new(),
            client: OnceLock::new(),
        }
    }

    /// Counts bytes that were read or written.
    pub(super) fn count(&self, what: Tally, bytes: usize) {
        let counter = if what == Tally::BytesIn {
            &self.bytes_in
        } else {
            &self.bytes_out
        };
        counter.fetch_add(bytes as u64, Relaxed);
    }

    /// Notes for whom a proxy passes it on.
    #[cfg(any(feature = "axum", feature = "hyper"))]
    pub(super) fn comes_from(&self, client: Peer) {
        let _known = self.client.set(client);
    }

    /// Notes how it ended; what was noted first stays.
    pub(super) fn ended(&self, how: &'static str) {
        // A connection that was parked is parked, whatever its handler returns.
        let _ended_before = self.outcome.set(how);
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        let bytes = |counter: &AtomicU64| self.knows_bytes.then(|| counter.load(Relaxed));
        tracing::info!(
            target: ACCESS,
            worker = self.worker,
            connection = self.info.id(),
            peer = %self.client.get().copied().unwrap_or(self.info.peer()),
            bytes_in = bytes(&self.bytes_in),
            bytes_out = bytes(&self.bytes_out),
            duration_ms = self.since.elapsed().as_micros() as f64 / 1e3,
            outcome = self.outcome.get().copied().unwrap_or("closed"),
            "connection"
        );
    }
}
