//! A series of the program's own: its name, its labels, and what it reads.

use serde::{Deserialize, Serialize};

/// The upper ends of the buckets of the program's histograms; one more takes what is larger.
///
/// They do for seconds and for bytes.
pub(super) const BOUNDS: [f64; 28] = [
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1e3, 1e4, 1e5, 1e6, 1e7, 1e9,
];

/// The buckets, with the one for what is larger.
pub(super) const BUCKETS: usize = BOUNDS.len() + 1;

/// A series of the program's own, as it was registered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) labels: Vec<(String, String)>,
    /// What it is, if the program has described it.
    pub(crate) help: Option<String>,
}

/// What a series reads.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reading {
    Counter(u64),
    Gauge(f64),
    /// The count of each bucket, and the sum.
    Histogram(Box<[u64; BUCKETS]>, f64),
}

impl Reading {
    /// The type, as Prometheus calls it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Counter(_) => "counter",
            Self::Gauge(_) => "gauge",
            Self::Histogram(..) => "histogram",
        }
    }

    /// Adds what the same series reads elsewhere; false if that is of another type.
    pub(super) fn add(&mut self, other: &Self) -> bool {
        match (self, other) {
            (Self::Counter(mine), Self::Counter(theirs)) => *mine = mine.saturating_add(*theirs),
            (Self::Gauge(mine), Self::Gauge(theirs)) => *mine += theirs,
            (Self::Histogram(mine, sum), Self::Histogram(theirs, more)) => {
                for (mine, theirs) in mine.iter_mut().zip(theirs.iter()) {
                    *mine = mine.saturating_add(*theirs);
                }
                *sum += more;
            }
            _ => return false,
        }
        true
    }
}
