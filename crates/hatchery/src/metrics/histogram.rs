//! How long things take: counts in buckets, and their sum.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// The upper ends of the buckets, in microseconds; one more takes what is longer.
pub(super) const BOUNDS: [u64; 22] = [
    10,
    25,
    50,
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];

/// The buckets, with the one for what is longer.
const BUCKETS: usize = BOUNDS.len() + 1;

/// The words of a histogram: its buckets, then the sum in microseconds.
pub(super) const WORDS: usize = BUCKETS + 1;

/// How often something took how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Histogram {
    buckets: [u64; BUCKETS],
    sum_micros: u64,
}

/// Counts a time in the words of a histogram.
pub(super) fn observe(words: &[AtomicU64], time: Duration) {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let bucket = BOUNDS.partition_point(|&bound| bound < micros);
    words[bucket].fetch_add(1, Relaxed);
    words[BUCKETS].fetch_add(micros, Relaxed);
}

impl Histogram {
    /// Takes a histogram from its words.
    pub(super) fn of(words: &[u64]) -> Self {
        let mut buckets = [0; BUCKETS];
        buckets.copy_from_slice(&words[..BUCKETS]);
        Self {
            buckets,
            sum_micros: words[BUCKETS],
        }
    }

    /// Adds another; what has no room stays at the most there is.
    pub(super) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine = mine.saturating_add(theirs);
        }
        self.sum_micros = self.sum_micros.saturating_add(other.sum_micros);
    }

    /// How many times were counted.
    pub(crate) fn count(&self) -> u64 {
        let buckets = self.buckets.iter();
        buckets.fold(0, |sum, &count| sum.saturating_add(count))
    }

    /// The sum of all times, in seconds.
    pub(crate) fn sum_seconds(&self) -> f64 {
        self.sum_micros as f64 / 1e6
    }

    /// The count of each bucket, the shortest first.
    pub(crate) fn buckets(&self) -> &[u64] {
        &self.buckets
    }

    /// The upper ends of the buckets in seconds; the last bucket has none.
    pub(crate) fn bounds_seconds() -> impl Iterator<Item = f64> {
        BOUNDS.iter().map(|&micros| micros as f64 / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(times: &[u64]) -> Histogram {
        let words: Vec<AtomicU64> = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
        for &micros in times {
            observe(&words, Duration::from_micros(micros));
        }
        let words: Vec<u64> = words.iter().map(|word| word.load(Relaxed)).collect();
        Histogram::of(&words)
    }

    #[test]
    fn a_time_is_counted_in_the_first_bucket_that_is_long_enough() {
        let histogram = observed(&[10, 11, 300_000_000, 300_000_001]);

        assert_eq!(histogram.buckets()[0], 1);
        assert_eq!(histogram.buckets()[1], 1);
        assert_eq!(histogram.buckets()[21..], [1, 1]);
        assert_eq!(histogram.count(), 4);
    }

    #[test]
    fn a_sum_that_has_no_room_stays_at_the_most_there_is() {
        let mut words = [0; WORDS];
        words[0] = u64::MAX;
        let mut histogram = observed(&[1]);

        histogram.add(&Histogram::of(&words));

        assert_eq!(histogram.count(), u64::MAX);
    }
}
