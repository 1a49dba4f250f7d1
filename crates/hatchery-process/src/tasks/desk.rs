//! The memory that the main process and one worker share.
//!
//! ```text
//! word 0         where the worker sleeps
//! word 16        closed: no task will come
//! word 32, 48    tasks: head, tail
//! word 64, 80    results: head, tail
//! word 96 …      credit: how many items of its stream a task may have put
//! wide 0         when the running task began, in ns of the monotonic clock
//! wide 1         the number of the running task
//! wide 8         the number of the task that is to stop
//! wide 16 …      the tray
//! wide 1040 …    the words of the tasks, and then of the results
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Acquire};

use hatchery_os::{Layout, MapError, SharedMemory};

use super::TASKS_AHEAD_MAX;
use super::berth::Berth;
use super::lane::{LANE_WORDS, Lane};
use super::tray::Slot;

const BERTH: usize = 0;
const CLOSED: usize = 16;
const TASKS: usize = 32;
const RESULTS: usize = 64;
const CREDIT: usize = 96;

const STARTED_AT: usize = 0;
const RUNNING: usize = 1;
const STOPPING: usize = 8;
const TRAY: usize = 16;
const LANES: usize = TRAY + TASKS_AHEAD_MAX;

/// From a lane's head to its tail, which is on another cache line.
const LINE_WORDS: usize = 16;

const LAYOUT: Layout = Layout {
    words: CREDIT + TASKS_AHEAD_MAX,
    wides: LANES + 2 * LANE_WORDS,
};

/// The memory of one worker. All of these are one.
#[derive(Clone, Debug)]
pub(super) struct Desk(Arc<SharedMemory>);

impl Desk {
    pub(super) fn create() -> Result<Self, MapError> {
        Ok(Self(Arc::new(SharedMemory::create(LAYOUT)?)))
    }

    pub(super) fn map(memory: OwnedFd) -> Result<Self, MapError> {
        Ok(Self(Arc::new(SharedMemory::map(memory, LAYOUT)?)))
    }

    #[inline]
    pub(super) fn berth(&self) -> Berth<'_, AtomicU32> {
        Berth(self.word(BERTH))
    }

    #[inline]
    pub(super) fn tasks(&self) -> Lane<'_> {
        self.lane(TASKS, LANES)
    }

    #[inline]
    pub(super) fn results(&self) -> Lane<'_> {
        self.lane(RESULTS, LANES + LANE_WORDS)
    }

    #[inline]
    pub(super) fn slot(&self, seq: u64) -> Slot<'_, AtomicU64> {
        let word = self.wide(TRAY + place_of(seq));
        Slot { word, seq }
    }

    pub(super) fn credit(&self, seq: u64) -> &AtomicU32 {
        self.word(CREDIT + place_of(seq))
    }

    pub(super) fn closed(&self) -> &AtomicU32 {
        self.word(CLOSED)
    }

    #[inline]
    pub(super) fn started_at(&self) -> &AtomicU64 {
        self.wide(STARTED_AT)
    }

    #[inline]
    pub(super) fn running(&self) -> &AtomicU64 {
        self.wide(RUNNING)
    }

    #[inline]
    pub(super) fn stopping(&self) -> &AtomicU64 {
        self.wide(STOPPING)
    }

    /// Whether the task that runs is asked to stop.
    #[inline]
    pub(super) fn is_stopping(&self) -> bool {
        let running = self.running().load(Acquire);
        running != 0 && self.stopping().load(Acquire) == running
    }

    #[inline]
    fn word(&self, index: usize) -> &AtomicU32 {
        &self.0.words()[index]
    }

    #[inline]
    fn wide(&self, index: usize) -> &AtomicU64 {
        &self.0.wides()[index]
    }

    #[inline]
    fn lane(&self, word: usize, wide: usize) -> Lane<'_> {
        Lane {
            head: self.word(word),
            tail: self.word(word + LINE_WORDS),
            words: &self.0.wides()[wide..wide + LANE_WORDS],
        }
    }
}

impl AsFd for Desk {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The place of a task among those that are sent ahead.
#[inline]
pub(super) fn place_of(seq: u64) -> usize {
    (seq % TASKS_AHEAD_MAX as u64) as usize
}
