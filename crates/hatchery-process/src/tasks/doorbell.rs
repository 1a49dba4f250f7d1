//! Where the main process of a pool sleeps until a worker has a result.
//!
//! There are two places. In the first is the *leader*: a thread that waits for a result of its own
//! and takes those of others along. In the second is the *pump*, the thread that does so for whoever
//! does not wait himself. A worker rings for the pump only where there is no leader.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use hatchery_os::{Layout, MapError, SharedMemory};

use super::berth::{Berth, Fenced};
use crate::sync::Patience;

/// The two places, on cache lines of their own.
const LEADER: usize = 0;
const PUMP: usize = 16;

const LAYOUT: Layout = Layout {
    words: PUMP + 16,
    wides: 0,
};

/// What the workers of one pool ring when there is a result.
#[derive(Clone, Debug)]
pub struct Doorbell {
    memory: Arc<SharedMemory>,
    patience: Arc<Patience>,
}

impl Doorbell {
    /// Makes one for a pool.
    ///
    /// # Errors
    ///
    /// Returns [`MapError::Os`] for any error of the kernel.
    pub fn new() -> Result<Self, MapError> {
        Ok(Self::of(SharedMemory::create(LAYOUT)?))
    }

    pub(super) fn map(memory: OwnedFd) -> Result<Self, MapError> {
        Ok(Self::of(SharedMemory::map(memory, LAYOUT)?))
    }

    fn of(memory: SharedMemory) -> Self {
        Self {
            memory: Arc::new(memory),
            patience: Arc::new(Patience::new()),
        }
    }

    /// Takes the leader's place, which the caller knows to be free.
    ///
    /// From now until it leaves, results are told to it alone. It looks for them before it waits.
    #[must_use]
    pub fn lead(&self) -> Leader<'_> {
        let berth = self.berth(LEADER);
        berth.look();
        Leader {
            doorbell: self,
            has_left: false,
        }
    }

    /// Sleeps as the pump until there is something new or the deadline has come.
    ///
    /// `has_news` tells all that could end the wait. Only one thread at a time is the pump.
    pub fn wait_as_pump(&self, deadline: Option<Instant>, mut has_news: impl FnMut() -> bool) {
        let berth = self.berth(PUMP);
        berth.lie_down();
        if !has_news() {
            berth.sleep(deadline);
        }
        berth.leave();
    }

    /// Lets a short time pass in which nobody rings for the pump.
    ///
    /// To be called by the pump, which looks for what is new afterwards: where results come in quick
    /// succession, taking many at once is cheaper than being woken for each.
    pub fn nap_as_pump(&self, time: Duration) {
        let berth = self.berth(PUMP);
        berth.look();
        berth.nap(Instant::now() + time);
        berth.leave();
    }

    /// Tells that there is something new: the leader, or where there is none, the pump.
    #[inline]
    pub fn ring(&self) {
        AtomicU32::fence();
        if !self.berth(LEADER).ring() {
            self.berth(PUMP).ring();
        }
    }

    /// Wakes both, also if a worker died while it was about to.
    ///
    /// To be called when a worker has died, after its results were looked for.
    pub fn ring_all(&self) {
        self.berth(LEADER).ring_again();
        self.berth(PUMP).ring_again();
    }

    /// Wakes the pump, whether there is a leader or not.
    pub fn ring_pump(&self) {
        self.berth(PUMP).ring_again();
    }

    fn berth(&self, place: usize) -> Berth<'_, AtomicU32> {
        Berth(&self.memory.words()[place])
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

/// A thread in the leader's place. Dropping it leaves the place and wakes the pump.
#[derive(Debug)]
pub struct Leader<'a> {
    doorbell: &'a Doorbell,
    has_left: bool,
}

impl Leader<'_> {
    /// Waits until there is something new or the deadline has come.
    ///
    /// It looks a little while before it sleeps, if that has paid lately. `has_news` tells all
    /// that could end the wait; it may also return without any.
    pub fn wait(&self, deadline: Option<Instant>, mut has_news: impl FnMut() -> bool) {
        if has_news() || self.doorbell.patience.look(&mut has_news) {
            return;
        }
        let berth = self.doorbell.berth(LEADER);
        let start = Instant::now();
        berth.lie_down();
        if !has_news() {
            berth.sleep(deadline);
        }
        berth.look();
        self.doorbell.patience.learn(start.elapsed());
    }

    /// Leaves the place, and wakes the pump if there is something new that it was told of.
    pub fn leave(mut self, has_news: impl FnOnce() -> bool) {
        self.doorbell.berth(LEADER).leave();
        // Should this panic, the pump is woken all the same.
        self.has_left = !has_news();
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        if !self.has_left {
            self.doorbell.berth(LEADER).leave();
            self.doorbell.ring_pump();
        }
    }
}
