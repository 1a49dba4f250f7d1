//! Forking a process that has one thread, and leaving a forked one.
#![expect(unsafe_code, reason = "fork(2) and _exit(2) have no safe form")]

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process, pidfd_open, waitpid,
};

/// Which side of a [`fork`] this is.
#[derive(Debug)]
pub enum Fork {
    /// The process that forked, with a descriptor that names its child.
    Parent(OwnedFd, Pid),
    /// The new process.
    Child,
}

/// Why a process was not forked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForkError {
    /// The process has this many threads, and only one would survive in the child.
    #[error("the process has {0} threads and may only fork while it has one")]
    Threads(usize),
    /// The kernel refused.
    #[error("the kernel refused to fork")]
    Os(#[source] io::Error),
}

/// Forks this process, which must have one thread.
///
/// The child is a copy: it holds a duplicate of every descriptor.
///
/// # Errors
///
/// Returns [`ForkError::Threads`] if the process has more than one thread, and [`ForkError::Os`]
/// for any error of `fork(2)`, `pidfd_open(2)` or the count of threads.
pub fn fork() -> Result<Fork, ForkError> {
    let threads = thread_count().map_err(ForkError::Os)?;
    if threads != 1 {
        return Err(ForkError::Threads(threads));
    }
    let place = reserve_descriptor().map_err(ForkError::Os)?;
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that forks"
    )]
    // SAFETY: `fork` is unsound only while another thread may hold a lock, which the child would
    // inherit locked for ever. The count above is one, and only this thread could start another.
    let raw = unsafe { libc::fork() };
    if raw < 0 {
        return Err(ForkError::Os(io::Error::last_os_error()));
    }
    drop(place);
    let Some(pid) = Pid::from_raw(raw) else {
        return Ok(Fork::Child);
    };
    // The child has not been waited for, so its id cannot have passed to another process.
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(Fork::Parent(pidfd, pid)),
        Err(error) => {
            // Nobody would know of the child, so there is none.
            let _ended = kill_process(pid, Signal::KILL);
            let _collected = waitpid(Some(pid), WaitOptions::empty());
            Err(ForkError::Os(error.into()))
        }
    }
}

/// Holds a place in the descriptor table for the name of a child.
///
/// With a full table there is no child at all, rather than one that runs for a moment and may have
/// told somebody that it does.
fn reserve_descriptor() -> io::Result<OwnedFd> {
    Ok(pidfd_open(getpid(), PidfdFlags::empty())?)
}

/// Counts the threads of this process.
///
/// # Errors
///
/// Returns the error of `stat(2)`, for example where `/proc` is not mounted.
pub fn thread_count() -> io::Result<usize> {
    // The directory has an entry a thread, and two links of its own.
    let tasks = rustix::fs::stat("/proc/self/task")?;
    Ok(usize::try_from(tasks.st_nlink).map_or(usize::MAX, |links| links.saturating_sub(2)))
}

/// Ends this process now, running no destructor and no exit handler.
///
/// This is how a forked process ends: the exit handlers it inherited belong to its parent.
pub fn exit_now(code: u8) -> ! {
    // SAFETY: `_exit` has no precondition.
    unsafe { libc::_exit(i32::from(code)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_two_threads_is_refused_by_number() {
        // The test harness has a thread besides this one.
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || stopped.recv());

        let outcome = fork();

        assert!(matches!(outcome, Err(ForkError::Threads(count)) if count >= 2));
        drop(stop);
        assert!(other.join().is_ok());
    }
}
