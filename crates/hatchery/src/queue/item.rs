//! An item that somebody has to be done with.

use std::collections::VecDeque;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hatchery_process::{JoinableRing, RingLease};

/// An item of a [`JoinableQueue`](super::JoinableQueue), on lease to this process.
///
/// Dropping it without [`done`](Self::done) gives it back, and somebody gets it again.
pub struct Item<T> {
    value: T,
    lease: Lease,
}

/// The items that this process kept when it took them out of their guards, the oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept(Arc<Mutex<VecDeque<RingLease>>>);

/// The lease of one item; dropping it gives the item back.
pub(super) struct Lease {
    pub(super) ring: JoinableRing,
    pub(super) lease: RingLease,
    pub(super) kept: Kept,
    pub(super) is_settled: bool,
}

impl<T> Item<T> {
    pub(super) fn new(value: T, lease: Lease) -> Self {
        Self { value, lease }
    }

    /// Says that this item is done with, and returns its value.
    pub fn done(self) -> T {
        let Self { value, lease } = self;
        lease.finish();
        value
    }

    /// Says that this item is done with, and returns its value: another name for
    /// [`done`](Self::done).
    pub fn task_done(self) -> T {
        self.done()
    }

    /// Returns the value, and keeps the item on lease until
    /// [`JoinableQueue::task_done`](super::JoinableQueue::task_done) is called for it, or this
    /// process ends.
    pub fn keep(self) -> T {
        let Self { value, mut lease } = self;
        lease.is_settled = true;
        lease.kept.lock().push_back(lease.lease);
        value
    }

    /// How often this item was given out, this time included.
    #[must_use]
    pub fn deliveries(&self) -> u32 {
        self.lease.lease.deliveries
    }
}

impl<T> Deref for Item<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Item<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Item<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Item")
            .field("value", &self.value)
            .field("deliveries", &self.deliveries())
            .finish_non_exhaustive()
    }
}

impl Kept {
    pub(super) fn lock(&self) -> MutexGuard<'_, VecDeque<RingLease>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    pub(super) fn finish(mut self) {
        self.is_settled = true;
        // It is this process's for as long as this value lives.
        let _held = self.ring.finish(self.lease);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.is_settled {
            let _held = self.ring.give_up(self.lease);
        }
    }
}
