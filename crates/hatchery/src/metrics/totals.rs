//! The sums over all processes, with those that are gone.

use std::collections::BTreeMap;

use super::page::{Counts, PageReader};
use super::series::{Reading, Series};

/// How many series of the program's own are kept in all.
const SERIES_MAX: usize = 4096;

/// Name and labels of a series.
pub(super) type SeriesKey = (String, Vec<(String, String)>);

/// What all processes have counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) counts: Counts,
    /// The program's own series, by name and labels, with their descriptions.
    pub(super) series: BTreeMap<SeriesKey, (Option<String>, Reading)>,
    /// How often a series had no room here, or was of another type elsewhere.
    pub(super) left_out: u64,
}

impl Totals {
    /// Adds what a process has counted that goes on.
    pub(super) fn add(&mut self, page: &PageReader) {
        self.counts.add(&page.counts());
        for (series, reading) in page.series() {
            self.add_series(series, &reading);
        }
    }

    /// Adds what a process has counted that is gone: what it had at its end is nobody's now.
    pub(super) fn absorb(&mut self, page: &PageReader) {
        self.counts.add(&page.counts());
        for (series, reading) in page.series() {
            if !matches!(reading, Reading::Gauge(_)) {
                self.add_series(series, &reading);
            }
        }
    }

    fn add_series(&mut self, series: Series, reading: &Reading) {
        let key = (series.name, series.labels);
        if let Some((help, sum)) = self.series.get_mut(&key) {
            *help = help.take().or(series.help);
            if !sum.add(reading) {
                self.left_out += 1;
            }
            return;
        }
        if self.series.len() >= SERIES_MAX {
            self.left_out += 1;
            return;
        }
        self.series.insert(key, (series.help, reading.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str) -> Series {
        Series {
            name: name.to_owned(),
            labels: Vec::new(),
            help: None,
        }
    }

    #[test]
    fn a_series_is_summed_over_all_processes() {
        let mut totals = Totals::default();

        totals.add_series(series("eggs"), &Reading::Counter(3));
        totals.add_series(series("eggs"), &Reading::Counter(4));
        totals.add_series(series("eggs"), &Reading::Gauge(1.0));

        let key = ("eggs".to_owned(), Vec::new());
        assert_eq!(totals.series[&key].1, Reading::Counter(7));
        assert_eq!(totals.left_out, 1);
    }

    #[test]
    fn no_process_can_make_the_totals_grow_without_end() {
        let mut totals = Totals::default();

        for number in 0..SERIES_MAX + 5 {
            totals.add_series(series(&format!("s{number}")), &Reading::Counter(1));
        }

        assert_eq!((totals.series.len(), totals.left_out), (SERIES_MAX, 5));
    }
}
