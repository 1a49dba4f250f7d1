//! A descriptor that tells when there may be something to get from a queue.
//!
//! Memory cannot be polled, so a watch waits for the queue as a task would, and its waker writes to
//! an eventfd.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use rustix::event::{EventfdFlags, eventfd};

use super::parts::Sleepers;
use super::{JoinableRing, Ring};
use crate::sync::{Attempt, Look, Wake, wait_async};

/// Waits for a queue once, without getting anything.
type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Watches a queue for one who polls descriptors.
///
/// The descriptor becomes readable when the queue may have become ready. [`rearm`](Self::rearm)
/// before each look at the queue.
pub struct RingWatch {
    bell: Arc<Bell>,
    waker: Waker,
    begin: Box<dyn Fn() -> Wait + Send>,
    wait: Option<Wait>,
}

/// What the waker rings.
struct Bell(OwnedFd);

impl RingWatch {
    fn new(begin: impl Fn() -> Wait + Send + 'static) -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let bell = Arc::new(Bell(eventfd(0, flags)?));
        Ok(Self {
            waker: Waker::from(Arc::clone(&bell)),
            bell,
            begin: Box::new(begin),
            wait: None,
        })
    }

    /// Has the descriptor become readable when the queue is ready next.
    pub fn rearm(&mut self) {
        self.bell.silence();
        let wait = self.wait.get_or_insert_with(|| (self.begin)());
        let mut task = Context::from_waker(&self.waker);
        if wait.as_mut().poll(&mut task).is_ready() {
            self.wait = None;
            // Another may be faster to get what there is. Then this is to be called again.
            self.bell.ring();
        }
    }
}

impl Bell {
    fn ring(&self) {
        // If it is too full for one more it rings already.
        let _full = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    fn silence(&self) {
        let _empty = rustix::io::read(&self.0, &mut [0; size_of::<u64>()]);
    }
}

impl std::task::Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

impl AsFd for RingWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.0.as_fd()
    }
}

impl fmt::Debug for RingWatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fd = &self.bell.0;
        formatter
            .debug_struct("RingWatch")
            .field("fd", fd)
            .finish_non_exhaustive()
    }
}

impl Ring {
    /// Whether [`try_get`](Self::try_get) would not find the queue empty, at this moment.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.is_empty() || self.is_closed()
    }

    /// Makes a descriptor that tells when the queue may have become ready.
    ///
    /// # Errors
    ///
    /// Returns the error of `eventfd(2)`.
    pub fn watch(&self) -> io::Result<RingWatch> {
        let ring = self.clone();
        RingWatch::new(move || {
            let (ring, place) = (ring.clone(), ring.monitor.place(Sleepers::Getters.bell()));
            Box::pin(wait_async(place, Wake::One, move |look| {
                ring.parts()
                    .getting(|getting| getting.or_sleep_beside(look, || ring.is_ready()))
            }))
        })
    }
}

impl JoinableRing {
    /// Whether [`try_get`](Self::try_get) would not find the queue empty, at this moment.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ring.parts().getting(|getting| {
            if getting.parts.count() == 0 {
                getting.bury_dead();
            }
            self.is_ready_within()
        })
    }

    /// Makes a descriptor that tells when the queue may have become ready.
    ///
    /// # Errors
    ///
    /// Returns the error of `eventfd(2)`.
    pub fn watch(&self) -> io::Result<RingWatch> {
        let queue = self.clone();
        RingWatch::new(move || {
            let (queue, place) = (
                queue.clone(),
                queue.ring.monitor.place(Sleepers::Getters.bell()),
            );
            Box::pin(wait_async(place, Wake::One, move |look| {
                queue.watch_attempt(look)
            }))
        })
    }

    fn watch_attempt(&self, look: Look) -> Attempt<()> {
        self.ring.parts().getting(|getting| {
            if look.is_due() && getting.parts.count() == 0 {
                getting.bury_dead();
            }
            getting.or_sleep_beside(look, || self.is_ready_within())
        })
    }

    /// Whether there is something to get, or never will be, for one who has the lock.
    fn is_ready_within(&self) -> bool {
        self.ring.parts().count() > 0 || self.is_closed() && self.ring.parts().unfinished() == 0
    }
}
