//! Waiting for the first of several things.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use hatchery_process::{RingWatch, wait_for_any};

use super::{Process, ProcessHandle};
use crate::pipe::PipeEnd;
use crate::pipe::direction::CanReceive;
use crate::queue::{Carrier, JoinableQueue, Queue};

/// Something that [`wait`] can wait for.
pub trait Waitable {
    /// Tells whether it is ready now.
    ///
    /// # Errors
    ///
    /// Returns the error of the kernel.
    fn is_ready(&self) -> io::Result<bool>;

    /// Makes what tells that it may have become ready.
    ///
    /// [`wait`] asks [`Waitable::is_ready`] again after it has the source and whenever that is
    /// readable, and drops the source when it returns.
    ///
    /// # Errors
    ///
    /// Returns the error of the kernel.
    fn wake_source(&self) -> io::Result<Box<dyn WakeSource + '_>>;
}

/// A descriptor that becomes readable when something may have become ready.
///
/// It must not stay readable after [`rearm`](Self::rearm) while that is not ready.
pub trait WakeSource: AsFd {
    /// Prepares it for the next time; [`wait`] calls this before it asks what is ready.
    ///
    /// # Default
    ///
    /// Does nothing: most descriptors are readable for as long as something is ready.
    fn rearm(&mut self) {}
}

/// Waits until some of `items` are ready, and returns their places.
///
/// A process is ready when it has ended, the end of a pipe when receiving from it would not
/// block, and a queue when getting from it would not. Somebody else may be faster to get what is
/// in a queue. There may be none if the time is up; without a timeout, and with nothing to wait for,
/// it returns at once.
///
/// # Errors
///
/// Returns the error of the kernel.
///
/// # Examples
///
/// ```
/// let (sender, receiver) = hatchery::one_way_pipe::<u32>()?;
/// let silent = hatchery::Queue::<u32>::unbounded()?;
/// sender.send(&1)?;
/// assert_eq!(hatchery::wait(&[&silent, &receiver], None)?, [1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn wait(items: &[&dyn Waitable], timeout: Option<Duration>) -> io::Result<Vec<usize>> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let ready = ready_places(items)?;
    if !ready.is_empty() || items.is_empty() && deadline.is_none() {
        return Ok(ready);
    }
    let sources: io::Result<Vec<_>> = items.iter().map(|item| item.wake_source()).collect();
    let mut sources = sources?;
    loop {
        sources.iter_mut().for_each(|source| source.rearm());
        let ready = ready_places(items)?;
        let is_late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if !ready.is_empty() || is_late {
            return Ok(ready);
        }
        let descriptors: Vec<_> = sources.iter().map(|source| source.as_fd()).collect();
        wait_for_any(&descriptors, deadline)?;
    }
}

fn ready_places(items: &[&dyn Waitable]) -> io::Result<Vec<usize>> {
    let mut places = Vec::new();
    for (place, item) in items.iter().enumerate() {
        if item.is_ready()? {
            places.push(place);
        }
    }
    Ok(places)
}

impl WakeSource for BorrowedFd<'_> {}

impl WakeSource for RingWatch {
    fn rearm(&mut self) {
        Self::rearm(self);
    }
}

impl Waitable for ProcessHandle {
    fn is_ready(&self) -> io::Result<bool> {
        Ok(!self.is_alive())
    }

    fn wake_source(&self) -> io::Result<Box<dyn WakeSource + '_>> {
        Ok(Box::new(self.sentinel()))
    }
}

impl<R> Waitable for Process<R> {
    fn is_ready(&self) -> io::Result<bool> {
        self.handle().is_ready()
    }

    fn wake_source(&self) -> io::Result<Box<dyn WakeSource + '_>> {
        self.handle().wake_source()
    }
}

impl<T, D: CanReceive> Waitable for PipeEnd<T, D> {
    fn is_ready(&self) -> io::Result<bool> {
        self.poll(Duration::ZERO)
    }

    fn wake_source(&self) -> io::Result<Box<dyn WakeSource + '_>> {
        Ok(Box::new(self.as_fd()))
    }
}

impl<T> Waitable for Queue<T> {
    fn is_ready(&self) -> io::Result<bool> {
        self.carrier.is_ready()
    }

    fn wake_source(&self) -> io::Result<Box<dyn WakeSource + '_>> {
        Ok(match &self.carrier {
            Carrier::Ring(ring) => Box::new(ring.watch()?),
            Carrier::Pipe(queue) => Box::new(queue.as_fd()),
        })
    }
}

impl<T> Waitable for JoinableQueue<T> {
    fn is_ready(&self) -> io::Result<bool> {
        Ok(self.ring.is_ready())
    }

    fn wake_source(&self) -> io::Result<Box<dyn WakeSource + '_>> {
        Ok(Box::new(self.ring.watch()?))
    }
}
