//! The access log: one line for each connection that is over.
//!
//! A connection is over when neither the worker's own task nor the handler has it any more; whoever
//! lets go last writes the line. It is one event, so it is one write.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use hatchery_process::Peer;
use rustix::time::{ClockId, clock_gettime};

use super::connection::ConnectionInfo;
use crate::log::ACCESS;
use crate::metrics::Tally;

/// What the access log says of one connection.
#[derive(Debug)]
pub(super) struct Access {
    worker: u32,
    info: ConnectionInfo,
    since: Instant,
    /// Nanoseconds of CPU time that its handler was seen to take.
    cpu: AtomicU64,
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
            cpu: AtomicU64::new(0),
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

    /// Measures the CPU time of this thread as the handler's, until that is dropped.
    pub(super) fn measure(&self) -> Measuring<'_> {
        Measuring {
            access: self,
            since: thread_nanos(),
        }
    }

    /// Notes how it ended; what was noted first stays.
    pub(super) fn ended(&self, how: &'static str) {
        // A connection that was parked is parked, whatever its handler returns.
        let _ended_before = self.outcome.set(how);
    }
}

/// The CPU time of a handler, while that runs.
#[derive(Debug)]
pub(super) struct Measuring<'a> {
    access: &'a Access,
    since: u64,
}

impl Drop for Measuring<'_> {
    fn drop(&mut self) {
        let time = thread_nanos().saturating_sub(self.since);
        self.access.cpu.fetch_add(time, Relaxed);
    }
}

tokio::task_local! {
    /// What is said of the connection whose handler has its turn.
    static MEASURED: Arc<Access>;
}

/// Runs a handler, and measures each turn of it where there is an access log.
///
/// What the handler has others do, in tasks and threads of their own, is not measured.
pub(super) async fn measured<F: Future>(access: Option<Arc<Access>>, handler: F) -> F::Output {
    let mut handler = pin!(handler);
    let turns = poll_fn(|task| {
        let _measuring = access.as_deref().map(Access::measure);
        handler.as_mut().poll(task)
    });
    match &access {
        Some(access) => MEASURED.scope(Arc::clone(access), turns).await,
        None => turns.await,
    }
}

/// Returns what is said of the connection whose handler has its turn, if it is measured.
#[cfg(feature = "hyper")]
pub(super) fn measured_now() -> Option<Arc<Access>> {
    MEASURED.try_with(Arc::clone).ok()
}

fn thread_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // Neither part is negative: the clock begins with the thread.
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

impl Drop for Access {
    fn drop(&mut self) {
        let cpu = self.cpu.load(Relaxed);
        let bytes = |counter: &AtomicU64| self.knows_bytes.then(|| counter.load(Relaxed));
        tracing::info!(
            target: ACCESS,
            worker = self.worker,
            connection = self.info.id(),
            peer = %self.client.get().copied().unwrap_or(self.info.peer()),
            bytes_in = bytes(&self.bytes_in),
            bytes_out = bytes(&self.bytes_out),
            cpu_ms = (cpu > 0).then_some((cpu / 1_000) as f64 / 1e3),
            duration_ms = self.since.elapsed().as_micros() as f64 / 1e3,
            outcome = self.outcome.get().copied().unwrap_or("closed"),
            "connection"
        );
    }
}
