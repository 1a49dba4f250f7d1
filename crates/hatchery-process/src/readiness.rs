//! Waiting until a descriptor is ready, up to a deadline.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Waits until one of `sources` is readable or closed, and returns the places of those that are.
///
/// At the deadline there may be none. Without one it waits for ever, unless there is nothing to
/// wait for.
///
/// # Errors
///
/// Returns the error of `poll(2)`.
pub fn wait_for_any(
    sources: &[BorrowedFd<'_>],
    deadline: Option<Instant>,
) -> io::Result<Vec<usize>> {
    let mut polled: Vec<_> = sources
        .iter()
        .map(|&source| PollFd::from_borrowed_fd(source, PollFlags::IN))
        .collect();
    if polled.is_empty() && deadline.is_none() {
        return Ok(Vec::new());
    }
    poll_until(&mut polled, deadline)?;
    let ready = polled.iter().enumerate();
    let ready = ready.filter(|(_, source)| !source.revents().is_empty());
    Ok(ready.map(|(place, _)| place).collect())
}

/// Waits until `source` has one of `events` or is closed, and says whether it has.
pub(crate) fn wait_until(
    source: BorrowedFd<'_>,
    events: PollFlags,
    deadline: Option<Instant>,
) -> io::Result<bool> {
    poll_until(&mut [PollFd::from_borrowed_fd(source, events)], deadline)
}

/// Lets `time` pass, where nothing tells of what is waited for.
pub(crate) fn pause(time: Duration) {
    let _over = poll_until(&mut [], Some(Instant::now() + time));
}

/// A time as the kernel takes it; one that is longer than it can be is as long as it can be.
pub(crate) fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}

fn poll_until(sources: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<bool> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.map(timespec);
        match poll(sources, timeout.as_ref()) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
