//! Registering a series in the table of a process, which it writes to from then on.

use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release};

use hatchery_os::copy_in;

use super::series::Series;
use super::table::{
    FIRST_SLOT, FIRST_TEXT, FIRST_VALUE, Kind, SLOTS, Slot, TEXT_BYTES_MAX, TEXTS, VALUES,
};

/// Registers a series, and returns where its value is; `None` if there is no room.
pub(super) fn register(table: &[AtomicU64], kind: Kind, series: &Series) -> Option<Range<usize>> {
    let bytes = postcard::to_stdvec(series).ok()?;
    if bytes.len() > TEXT_BYTES_MAX {
        return None;
    }
    let slot_number = take(&table[0], 1, SLOTS)?;
    let slot = Slot {
        kind,
        value: take(&table[1], kind.words(), VALUES)?,
        text: take(&table[2], bytes.len().div_ceil(8), TEXTS)?,
        text_bytes: bytes.len(),
    };
    let text = FIRST_TEXT + slot.text;
    copy_in(&table[text..text + bytes.len().div_ceil(8)], &bytes);
    table[FIRST_SLOT + slot_number].store(slot.word(), Release);
    let value = FIRST_VALUE + slot.value;
    Some(value..value + kind.words())
}

/// Gives out `count` of `max` places; `None` if there are not so many left.
fn take(given: &AtomicU64, count: usize, max: usize) -> Option<usize> {
    let first = given.fetch_update(AcqRel, Relaxed, |given| {
        let end = given.checked_add(count as u64)?;
        (end <= max as u64).then_some(end)
    });
    first.ok().and_then(|first| usize::try_from(first).ok())
}

impl Slot {
    /// The slot as it is written.
    fn word(self) -> u64 {
        let place = |number: usize, bits: u32| (number as u64) << bits;
        self.kind as u64 | place(self.value, 8) | place(self.text, 24) | place(self.text_bytes, 40)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::series::Reading;
    use crate::metrics::table::{WORDS, read};

    fn table() -> Vec<AtomicU64> {
        (0..WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    fn series(name: &str) -> Series {
        Series {
            name: name.to_owned(),
            labels: vec![("shard".to_owned(), "7".to_owned())],
            help: None,
        }
    }

    #[test]
    fn a_series_is_read_with_its_labels_and_its_value() {
        let table = table();

        let value = register(&table, Kind::Counter, &series("eggs")).unwrap();
        table[value.start].store(12, Relaxed);

        assert_eq!(read(&table), [(series("eggs"), Reading::Counter(12))]);
    }

    #[test]
    fn a_table_that_is_full_refuses_and_keeps_what_it_has() {
        let table = table();
        let registered = (0..2 * SLOTS)
            .filter_map(|number| register(&table, Kind::Gauge, &series(&format!("g{number}"))))
            .count();

        assert_eq!(registered, SLOTS);
        assert_eq!(read(&table).len(), SLOTS);
    }

    #[test]
    fn a_text_that_is_too_long_is_refused() {
        let table = table();

        let refused = register(&table, Kind::Counter, &series(&"x".repeat(3000)));

        assert_eq!(refused, None);
        assert_eq!(read(&table), []);
    }

    #[test]
    fn a_slot_that_points_beyond_the_table_is_passed_over() {
        let table = table();
        let slot = Slot {
            kind: Kind::Histogram,
            value: VALUES - 3,
            text: 0,
            text_bytes: 8,
        };
        table[FIRST_SLOT].store(slot.word(), Relaxed);

        assert_eq!(read(&table), []);
    }
}
