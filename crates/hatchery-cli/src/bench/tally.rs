//! What the clients saw.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::failure::{Failure, Failures};

/// The shortest and the longest latency that is told apart, in nanoseconds.
const LATENCY_NANOS: (u64, u64) = (100, 3_600_000_000_000);
/// How many digits of a latency count.
const LATENCY_DIGITS: u8 = 3;

/// Latencies and failures.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    latencies: Histogram<u64>,
    failures: Failures,
    refusal: Option<String>,
    unsent: u64,
}

impl Tally {
    /// Returns a tally of nothing.
    pub(super) fn new() -> Self {
        let (low, high) = LATENCY_NANOS;
        Self {
            latencies: Histogram::new_with_bounds(low, high, LATENCY_DIGITS)
                .expect("the bounds are apart and the digits few"),
            failures: Failures::default(),
            refusal: None,
            unsent: 0,
        }
    }

    /// Counts a request that was answered in full.
    pub(super) fn answered(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(nanos);
    }

    /// Counts a request that failed.
    pub(super) fn failed(&mut self, failure: Failure) {
        self.failures.add(failure);
    }

    /// Counts a connection that could not be had, and remembers why the first could not.
    pub(super) fn refused(&mut self, error: &io::Error) {
        self.failures.add(Failure::Refused);
        self.refusal.get_or_insert_with(|| error.to_string());
    }

    /// Counts requests of an open loop that there was no time to send.
    pub(super) fn not_sent(&mut self, count: u64) {
        self.unsent += count;
    }

    /// Adds what another tally holds.
    pub(super) fn merge(&mut self, other: &Self) {
        self.latencies
            .add(&other.latencies)
            .expect("tallies have the same bounds");
        self.failures.merge(&other.failures);
        self.refusal = self.refusal.take().or_else(|| other.refusal.clone());
        self.unsent += other.unsent;
    }

    /// Returns how many requests were answered.
    pub(super) fn operations(&self) -> u64 {
        self.latencies.len()
    }

    /// Returns the latency that this part of the requests did not exceed.
    pub(super) fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.latencies.value_at_quantile(quantile))
    }

    /// Returns the failures.
    pub(super) fn failures(&self) -> &Failures {
        &self.failures
    }

    /// Returns how many requests there was no time to send.
    pub(super) fn unsent(&self) -> u64 {
        self.unsent
    }

    /// Returns why the first connection that could not be had could not.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }
}

/// One tally for many clients.
#[derive(Clone, Debug)]
pub(super) struct SharedTally(Arc<Mutex<Tally>>);

impl SharedTally {
    /// Returns a tally of nothing.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Tally::new())))
    }

    /// Opens the tally; nobody waits for long, as all clients are on one thread.
    pub(super) fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_answered() {
        let mut tally = Tally::new();
        for micros in 1..=1000 {
            tally.answered(Duration::from_micros(micros));
        }
        tally.failed(Failure::TimedOut);

        for (quantile, micros) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let seen = tally.quantile(quantile).as_secs_f64() * 1e6;
            assert!((seen / micros - 1.0).abs() < 0.001, "{seen} for {micros}");
        }
        assert_eq!(tally.operations(), 1000);
    }

    #[test]
    fn merging_adds_up_and_keeps_the_first_refusal() {
        let mut one = Tally::new();
        let mut two = one.clone();
        one.answered(Duration::from_millis(1));
        two.answered(Duration::from_millis(3));
        two.refused(&io::ErrorKind::ConnectionRefused.into());

        one.merge(&two);

        assert_eq!(one.operations(), 2);
        assert_eq!(one.failures().total(), 1);
        assert_eq!(one.refusal(), Some("connection refused"));
    }
}
