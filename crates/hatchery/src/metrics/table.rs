//! The table of a process's own series: a name is registered once, and then a word is enough.
//!
//! ```text
//! words 0 to 2       how many slots, values and words of text are given out
//! word 8 …           slots: type, place of the value, place and length of the text
//! then               values: a counter and a gauge have one word, a histogram one a bucket and its sum
//! then               texts: name, labels and description, serialised
//! ```
//!
//! A slot is written by one store, when its text is there. Each place is given out by an addition,
//! so children of a process, which write to the same page, take other places.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use hatchery_os::copy_out;

use super::series::{BUCKETS, Reading, Series};

/// How many series a process may have.
pub(super) const SLOTS: usize = 512;

/// The words of values.
pub(super) const VALUES: usize = 4096;

/// The words of text.
pub(super) const TEXTS: usize = 6144;

pub(super) const FIRST_SLOT: usize = 8;
pub(super) const FIRST_VALUE: usize = FIRST_SLOT + SLOTS;
pub(super) const FIRST_TEXT: usize = FIRST_VALUE + VALUES;

/// The words of a table.
pub(super) const WORDS: usize = FIRST_TEXT + TEXTS;

/// The longest text that is registered or read, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 2048;

/// The type of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter = 1,
    Gauge = 2,
    Histogram = 3,
}

impl Kind {
    fn of(number: u64) -> Option<Self> {
        let all = [Self::Counter, Self::Gauge, Self::Histogram];
        all.into_iter().find(|&kind| kind as u64 == number)
    }

    /// The words of a value.
    pub(super) fn words(self) -> usize {
        match self {
            Self::Counter | Self::Gauge => 1,
            Self::Histogram => BUCKETS + 1,
        }
    }
}

/// What a slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) kind: Kind,
    pub(super) value: usize,
    pub(super) text: usize,
    pub(super) text_bytes: usize,
}

impl Slot {
    /// Reads a slot; `None` if it is empty or points where nothing can be.
    fn of(word: u64) -> Option<Self> {
        let part = |bits: u32| (word >> bits & 0xFFFF) as usize;
        let slot = Self {
            kind: Kind::of(word & 0xFF)?,
            value: part(8),
            text: part(24),
            text_bytes: part(40),
        };
        let is_possible = slot.value + slot.kind.words() <= VALUES
            && slot.text_bytes <= TEXT_BYTES_MAX
            && slot.text + slot.text_bytes.div_ceil(8) <= TEXTS;
        is_possible.then_some(slot)
    }
}

/// Reads all series that make sense.
pub(super) fn read(table: &[AtomicU64]) -> Vec<(Series, Reading)> {
    let slots = table[FIRST_SLOT..FIRST_VALUE].iter();
    let slots = slots.filter_map(|word| Slot::of(word.load(Acquire)));
    slots
        .filter_map(|slot| Some((text_of(table, slot)?, reading_of(table, slot))))
        .collect()
}

fn text_of(table: &[AtomicU64], slot: Slot) -> Option<Series> {
    let mut bytes = vec![0; slot.text_bytes];
    let words = &table[FIRST_TEXT + slot.text..];
    copy_out(&words[..slot.text_bytes.div_ceil(8)], &mut bytes);
    postcard::from_bytes(&bytes).ok()
}

fn reading_of(table: &[AtomicU64], slot: Slot) -> Reading {
    let words = &table[FIRST_VALUE + slot.value..][..slot.kind.words()];
    let word = |index: usize| words[index].load(Relaxed);
    match slot.kind {
        Kind::Counter => Reading::Counter(word(0)),
        Kind::Gauge => Reading::Gauge(f64::from_bits(word(0))),
        Kind::Histogram => Reading::Histogram(
            Box::new(std::array::from_fn(word)),
            f64::from_bits(word(BUCKETS)),
        ),
    }
}
