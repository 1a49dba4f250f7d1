//! Waiting for the first of several things.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use hatchery_process::wait_for_any;

use super::{Process, ProcessHandle};
use crate::pipe::PipeEnd;
use crate::pipe::direction::CanReceive;

/// Something that [`wait`] can wait for.
pub trait Waitable {
    /// Tells whether it is ready now.
    ///
    /// # Errors
    ///
    /// Returns the error of the kernel.
    fn is_ready(&self) -> io::Result<bool>;

    /// Lends a descriptor that becomes readable when it may have become ready.
    ///
    /// [`wait`] asks [`Waitable::is_ready`] again after it has the descriptor and whenever it is
    /// readable, and drops it when it returns. It must not stay readable when the answer was no.
    ///
    /// # Errors
    ///
    /// Returns the error of the kernel.
    fn wake_source(&self) -> io::Result<Box<dyn AsFd + '_>>;
}

/// Waits until some of `items` are ready, and returns their places.
///
/// A process is ready when it has ended, and the end of a pipe when receiving from it would not
/// block. There may be none if the time is up; without a timeout, and with nothing to wait for,
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
/// let (_other, silent) = hatchery::one_way_pipe::<u32>()?;
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
    let sources = sources?;
    let sources: Vec<_> = sources.iter().map(|source| source.as_fd()).collect();
    loop {
        let ready = ready_places(items)?;
        let is_late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if !ready.is_empty() || is_late {
            return Ok(ready);
        }
        wait_for_any(&sources, deadline)?;
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

impl Waitable for ProcessHandle {
    fn is_ready(&self) -> io::Result<bool> {
        Ok(!self.is_alive())
    }

    fn wake_source(&self) -> io::Result<Box<dyn AsFd + '_>> {
        Ok(Box::new(self.sentinel()))
    }
}

impl<R> Waitable for Process<R> {
    fn is_ready(&self) -> io::Result<bool> {
        self.handle().is_ready()
    }

    fn wake_source(&self) -> io::Result<Box<dyn AsFd + '_>> {
        self.handle().wake_source()
    }
}

impl<T, D: CanReceive> Waitable for PipeEnd<T, D> {
    fn is_ready(&self) -> io::Result<bool> {
        self.poll(Duration::ZERO)
    }

    fn wake_source(&self) -> io::Result<Box<dyn AsFd + '_>> {
        Ok(Box::new(self.as_fd()))
    }
}
