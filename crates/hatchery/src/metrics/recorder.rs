//! The facade `metrics`, of which every process of a server writes to its page.

use std::collections::HashMap;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

use super::page::{Page, PageReader, Tally};
use super::registering::register;
use super::series::{BOUNDS, BUCKETS, Series};
use super::table::Kind;

/// The page of the process that runs servers.
static OWN: OnceLock<Option<Arc<PageReader>>> = OnceLock::new();

/// The page of the process that runs servers, to which its own counts go from now on.
///
/// Where there is no memory for one, they go nowhere.
pub(super) fn own_page() -> Option<Arc<PageReader>> {
    OWN.get_or_init(|| {
        let reader = PageReader::create().ok()?;
        let memory = reader.as_fd().try_clone_to_owned().ok()?;
        install(Box::leak(Box::new(Page::map(memory).ok()?)));
        Some(Arc::new(reader))
    })
    .clone()
}

/// Makes what the program counts through `metrics` go to this page.
///
/// A recorder that the program has installed itself stays.
pub(crate) fn install(page: &'static Page) {
    let recorder = PageRecorder {
        page,
        known: Mutex::default(),
    };
    let _set_before = metrics::set_global_recorder(recorder);
}

/// Registers series on a page.
struct PageRecorder {
    page: &'static Page,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    counters: HashMap<Key, Counter>,
    gauges: HashMap<Key, Gauge>,
    histograms: HashMap<Key, Histogram>,
    descriptions: HashMap<KeyName, String>,
}

impl PageRecorder {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn describe(&self, name: KeyName, description: &SharedString) {
        let description = description.as_ref().to_owned();
        self.lock().descriptions.insert(name, description);
    }

    /// Finds a place for a series, and counts it if there is none.
    fn register(&self, known: &Known, kind: Kind, key: &Key) -> Option<Arc<Place>> {
        let labels = key.labels();
        let labels = labels.map(|label| (label.key().to_owned(), label.value().to_owned()));
        let series = Series {
            name: key.name().to_owned(),
            labels: labels.collect(),
            help: known.descriptions.get(key.name()).cloned(),
        };
        let place = register(self.page.table(), kind, &series);
        if place.is_none() {
            self.page.count(Tally::Refused, 1);
        }
        let page = self.page;
        place.map(|words| Arc::new(Place { page, words }))
    }
}

impl Recorder for PageRecorder {
    fn describe_counter(&self, key: KeyName, _: Option<Unit>, description: SharedString) {
        self.describe(key, &description);
    }

    fn describe_gauge(&self, key: KeyName, _: Option<Unit>, description: SharedString) {
        self.describe(key, &description);
    }

    fn describe_histogram(&self, key: KeyName, _: Option<Unit>, description: SharedString) {
        self.describe(key, &description);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let mut known = self.lock();
        if let Some(counter) = known.counters.get(key) {
            return counter.clone();
        }
        let place = self.register(&known, Kind::Counter, key);
        let counter = place.map_or_else(Counter::noop, Counter::from_arc);
        known.counters.insert(key.clone(), counter.clone());
        counter
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let mut known = self.lock();
        if let Some(gauge) = known.gauges.get(key) {
            return gauge.clone();
        }
        let place = self.register(&known, Kind::Gauge, key);
        let gauge = place.map_or_else(Gauge::noop, Gauge::from_arc);
        known.gauges.insert(key.clone(), gauge.clone());
        gauge
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let mut known = self.lock();
        if let Some(histogram) = known.histograms.get(key) {
            return histogram.clone();
        }
        let place = self.register(&known, Kind::Histogram, key);
        let histogram = place.map_or_else(Histogram::noop, Histogram::from_arc);
        known.histograms.insert(key.clone(), histogram.clone());
        histogram
    }
}

/// Where the value of a series is.
struct Place {
    page: &'static Page,
    words: Range<usize>,
}

impl Place {
    fn words(&self) -> &[AtomicU64] {
        &self.page.table()[self.words.clone()]
    }

    /// Changes a number that is a fraction.
    fn change(&self, index: usize, change: impl Fn(f64) -> f64) {
        let word = &self.words()[index];
        let changed = |bits| Some(change(f64::from_bits(bits)).to_bits());
        // It is always changed to something.
        let _before = word.fetch_update(Relaxed, Relaxed, changed);
    }
}

impl CounterFn for Place {
    fn increment(&self, value: u64) {
        self.words()[0].fetch_add(value, Relaxed);
    }

    fn absolute(&self, value: u64) {
        self.words()[0].fetch_max(value, Relaxed);
    }
}

impl GaugeFn for Place {
    fn increment(&self, value: f64) {
        self.change(0, |before| before + value);
    }

    fn decrement(&self, value: f64) {
        self.change(0, |before| before - value);
    }

    fn set(&self, value: f64) {
        self.words()[0].store(value.to_bits(), Relaxed);
    }
}

impl HistogramFn for Place {
    fn record(&self, value: f64) {
        let bucket = BOUNDS.partition_point(|&bound| bound < value);
        self.words()[bucket].fetch_add(1, Relaxed);
        self.change(BUCKETS, |sum| sum + value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::series::Reading;
    use crate::metrics::table::SLOTS;

    fn recorder() -> (PageReader, PageRecorder) {
        let reader = PageReader::create().unwrap();
        let memory = reader.as_fd().try_clone_to_owned().unwrap();
        let page = Box::leak(Box::new(Page::map(memory).unwrap()));
        let known = Mutex::default();
        (reader, PageRecorder { page, known })
    }

    #[test]
    fn what_the_program_counts_is_on_the_page() {
        let (reader, recorder) = recorder();

        metrics::with_local_recorder(&recorder, || {
            metrics::describe_counter!("eggs", "Eggs that were laid.");
            for _ in 0..3 {
                metrics::counter!("eggs", "nest" => "a").increment(2);
            }
            metrics::gauge!("warmth").set(37.5);
            metrics::gauge!("warmth").decrement(0.5);
            metrics::histogram!("brooding").record(0.2);
        });

        let series = reader.series();
        let read: Vec<(&str, &Reading)> = series
            .iter()
            .map(|(series, reading)| (series.name.as_str(), reading))
            .collect();
        assert_eq!(read[0], ("eggs", &Reading::Counter(6)));
        assert_eq!(series[0].0.help.as_deref(), Some("Eggs that were laid."));
        assert_eq!(read[1], ("warmth", &Reading::Gauge(37.0)));
        let Reading::Histogram(buckets, sum) = read[2].1 else {
            panic!("{read:?}");
        };
        assert_eq!((buckets.iter().sum::<u64>(), *sum), (1, 0.2));
    }

    #[test]
    fn a_series_without_room_is_counted_and_harms_nobody() {
        let (reader, recorder) = recorder();

        metrics::with_local_recorder(&recorder, || {
            for number in 0..SLOTS + 3 {
                metrics::counter!("eggs", "number" => number.to_string()).increment(1);
            }
        });

        assert_eq!(reader.series().len(), SLOTS);
        assert_eq!(reader.counts().of(Tally::Refused), 3);
    }
}
