//! Forking a process that has one thread, and leaving a forked one.
#![expect(unsafe_code, reason = "fork(2) and _exit(2) have no safe form")]

use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};

use rustix::process::Pid;

/// Which side of a [`fork`] this is.
#[derive(Debug)]
pub enum Fork {
    /// The process that forked, with the id of its child.
    Parent(Pid),
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
/// for any error of `fork(2)` or the count of threads.
pub fn fork() -> Result<Fork, ForkError> {
    if !has_certainly_one_thread() {
        let threads = thread_count().map_err(ForkError::Os)?;
        if threads != 1 {
            return Err(ForkError::Threads(threads));
        }
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that forks"
    )]
    // SAFETY: `fork` is unsound only while another thread may hold a lock, which the child would
    // inherit locked for ever. The process has one thread, and only this one could start another.
    let raw = unsafe { libc::fork() };
    if raw < 0 {
        return Err(ForkError::Os(io::Error::last_os_error()));
    }
    Ok(Pid::from_raw(raw).map_or(Fork::Child, Fork::Parent))
}

/// Asks the kernel in the cheapest way. False also where it does not say.
fn has_certainly_one_thread() -> bool {
    // SAFETY: with this flag alone the call changes nothing. It succeeds where there is nothing to
    // be unshared, for there is one thread, and fails otherwise.
    unsafe { libc::unshare(libc::CLONE_SIGHAND) == 0 }
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

/// Closes a descriptor, as dropping it does, without the C library.
///
/// A process that was just forked has to map each page of code that it runs.
pub fn close(descriptor: OwnedFd) {
    // SAFETY: it was owned, and is nobody's now.
    unsafe { rustix::io::close(descriptor.into_raw_fd()) };
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
