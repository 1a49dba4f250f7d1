//! The figures of one measurement.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::failure::Failures;
use super::tally::Tally;
use super::target::Measurement;

/// What one measurement comes down to.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Summary {
    pub(super) elapsed_s: f64,
    pub(super) operations: u64,
    pub(super) throughput_per_s: f64,
    pub(super) latency_us: Latency,
    pub(super) cpu_us_per_operation: Option<f64>,
    #[serde(serialize_with = "by_name")]
    pub(super) failures: Failures,
    pub(super) first_refusal: Option<String>,
    pub(super) unsent: u64,
    pub(super) idle_opened: usize,
    pub(super) idle_alive: usize,
    pub(super) interrupted: bool,
}

impl Summary {
    /// Returns the figures of `measurement`.
    pub(super) fn of(measurement: &Measurement) -> Self {
        let operations = measurement.operations;
        let elapsed_s = measurement.elapsed.as_secs_f64();
        Self {
            elapsed_s,
            operations,
            throughput_per_s: operations as f64 / elapsed_s,
            latency_us: Latency::of(&measurement.tally),
            cpu_us_per_operation: measurement
                .cpu
                .filter(|_| operations > 0)
                .map(|cpu| micros(cpu) / operations as f64),
            failures: *measurement.tally.failures(),
            first_refusal: measurement.tally.refusal().map(str::to_owned),
            unsent: measurement.tally.unsent(),
            idle_opened: measurement.idle_opened,
            idle_alive: measurement.idle_alive,
            interrupted: measurement.interrupted,
        }
    }

    /// Returns whether the server did what it must.
    pub(super) fn is_good(&self) -> bool {
        self.operations > 0 && !self.failures.break_promise()
    }
}

/// Percentiles of the latency, in microseconds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) p99_9: f64,
    pub(super) max: f64,
}

impl Latency {
    fn of(tally: &Tally) -> Self {
        let at = |quantile| micros(tally.quantile(quantile));
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: at(1.0),
        }
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e3
}

fn by_name<S: Serializer>(failures: &Failures, serializer: S) -> Result<S::Ok, S::Error> {
    failures
        .iter()
        .map(|(failure, count)| (failure.name().replace(' ', "_"), count))
        .collect::<BTreeMap<_, _>>()
        .serialize(serializer)
}
