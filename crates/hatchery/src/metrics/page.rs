//! The page of one process: what it counts, as words that the front end reads.
//!
//! The process writes and the front end reads, at any time and without a lock. The process is not
//! trusted: a number may be wrong, and nothing worse, since every word is a number and every
//! place that is read is one of the [layout](#layout). A count of ours that goes back is ignored.
//!
//! # Layout
//!
//! ```text
//! word 0 …       the counts of a worker, one word each
//! word 16 …      how long connections were in its hands
//! word 40 …      how long they were on their way to it
//! word 64 …      the program's own series: see `table`
//! ```

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;
use std::sync::PoisonError;
#[cfg(feature = "metrics")]
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hatchery_os::{Layout, MapError, SharedMemory};

use super::histogram::{self, Histogram};
use super::series::{Reading, Series};
use super::table;

/// The first word of the times that connections were in a worker's hands.
const HELD: usize = 16;

/// The first word of the times that connections were on their way.
const ON_THE_WAY: usize = HELD + histogram::WORDS;

/// The first word of the table of the program's own series.
const TABLE: usize = 64;

const _: () = assert!(ON_THE_WAY + histogram::WORDS <= TABLE);
const _: () = assert!(Tally::ALL.len() <= HELD);

/// What a worker counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tally {
    /// Connections that it took.
    Taken,
    /// Connections that it has no more.
    Finished,
    /// Handlers that returned an error.
    Failed,
    /// Handlers that panicked.
    Panicked,
    /// Bytes that its handlers read.
    BytesIn,
    /// Bytes that its handlers wrote.
    BytesOut,
    /// Series of the program for which its table had no room.
    Refused,
}

impl Tally {
    const ALL: [Self; 7] = [
        Self::Taken,
        Self::Finished,
        Self::Failed,
        Self::Panicked,
        Self::BytesIn,
        Self::BytesOut,
        Self::Refused,
    ];
}

/// A page, as the process sees it that writes it.
#[derive(Debug)]
pub(crate) struct Page(SharedMemory);

impl Page {
    /// Maps a page that a [`PageReader`] made.
    ///
    /// # Errors
    ///
    /// Returns [`MapError`] if the memory is not such a page.
    pub(crate) fn map(memory: OwnedFd) -> Result<Self, MapError> {
        SharedMemory::map(memory, layout()).map(Self)
    }

    /// Counts so many more.
    #[inline]
    pub(crate) fn count(&self, what: Tally, more: u64) {
        self.0.wides()[what as usize].fetch_add(more, Relaxed);
    }

    /// Counts how long a connection was in this worker's hands.
    pub(crate) fn held(&self, time: Duration) {
        histogram::observe(&self.0.wides()[HELD..ON_THE_WAY], time);
    }

    /// Counts how long a connection was on its way here.
    pub(crate) fn was_on_the_way(&self, time: Duration) {
        histogram::observe(&self.0.wides()[ON_THE_WAY..TABLE], time);
    }

    /// The words of the table of the program's own series.
    #[cfg(feature = "metrics")]
    pub(super) fn table(&self) -> &[AtomicU64] {
        &self.0.wides()[TABLE..]
    }
}

/// What a worker has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    tallies: [u64; Tally::ALL.len()],
    pub(crate) held: Histogram,
    pub(crate) on_the_way: Histogram,
}

impl Counts {
    pub(crate) fn of(&self, what: Tally) -> u64 {
        self.tallies[what as usize]
    }

    /// Adds what another has counted.
    pub(super) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.tallies.iter_mut().zip(other.tallies) {
            *mine = mine.saturating_add(theirs);
        }
        self.held.add(&other.held);
        self.on_the_way.add(&other.on_the_way);
    }
}

/// A page, as the front end sees it.
#[derive(Debug)]
pub(crate) struct PageReader {
    memory: SharedMemory,
    /// The words before the table, as they were when they were read last.
    seen: Mutex<[u64; TABLE]>,
}

impl PageReader {
    /// Makes a page on which nothing is counted.
    ///
    /// # Errors
    ///
    /// Returns the error of the kernel.
    pub(crate) fn create() -> io::Result<Self> {
        Ok(Self {
            memory: SharedMemory::create(layout()).map_err(io::Error::other)?,
            seen: Mutex::new([0; TABLE]),
        })
    }

    /// What was counted so far; never less than at the last time.
    pub(crate) fn counts(&self) -> Counts {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for (seen, word) in seen.iter_mut().zip(self.memory.wides()) {
            *seen = word.load(Relaxed).max(*seen);
        }
        let mut tallies = [0; Tally::ALL.len()];
        tallies.copy_from_slice(&seen[..Tally::ALL.len()]);
        Counts {
            tallies,
            held: Histogram::of(&seen[HELD..ON_THE_WAY]),
            on_the_way: Histogram::of(&seen[ON_THE_WAY..TABLE]),
        }
    }

    /// The program's own series, as far as they make sense.
    pub(crate) fn series(&self) -> Vec<(Series, Reading)> {
        table::read(&self.memory.wides()[TABLE..])
    }
}

impl AsFd for PageReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

fn layout() -> Layout {
    Layout {
        words: 0,
        wides: TABLE + table::WORDS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> (PageReader, Page) {
        let reader = PageReader::create().unwrap();
        let memory = reader.as_fd().try_clone_to_owned().unwrap();
        (reader, Page::map(memory).unwrap())
    }

    #[test]
    fn what_is_counted_is_read() {
        let (reader, page) = page();

        page.count(Tally::Taken, 3);
        page.count(Tally::BytesOut, 4096);
        page.held(Duration::from_millis(2));
        page.was_on_the_way(Duration::from_micros(20));

        let counts = reader.counts();
        assert_eq!(counts.of(Tally::Taken), 3);
        assert_eq!(counts.of(Tally::BytesOut), 4096);
        assert_eq!(counts.of(Tally::Failed), 0);
        assert_eq!(counts.held.count(), 1);
        assert_eq!(counts.on_the_way.count(), 1);
    }

    #[test]
    fn a_count_never_goes_back_whatever_is_written() {
        let (reader, page) = page();
        page.count(Tally::Taken, 100);
        assert_eq!(reader.counts().of(Tally::Taken), 100);

        page.0.wides()[Tally::Taken as usize].store(7, Relaxed);

        assert_eq!(reader.counts().of(Tally::Taken), 100);
    }

    #[test]
    fn whatever_is_written_is_read_without_harm() {
        let (reader, page) = page();
        let mut random = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..200 {
            for word in page.0.wides() {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                // Every other word is small, so that some places and lengths are possible.
                let shift = if random & 1 == 0 { 0 } else { 40 };
                word.store(random >> shift, Relaxed);
            }

            let counts = reader.counts();
            let series = reader.series();

            assert!(counts.held.count() > 0);
            assert!(series.len() <= table::SLOTS);
        }
    }
}
