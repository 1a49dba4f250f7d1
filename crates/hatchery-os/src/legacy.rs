//! Starting the program that takes over from this one, and being that program.
//!
//! What is handed over travels through one message channel. Its number is in an environment
//! variable, which is taken out before `main` is reached, so that nobody else can have it: neither
//! what this program starts, nor a program in between.
#![expect(
    unsafe_code,
    reason = "a child is prepared between fork and exec, and a function runs before main"
)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::process::{getpid, getppid};

/// The environment variable that names the channel: its number, and who passes it.
const VARIABLE: &str = "HATCHERY_UPGRADE_FD";

/// The first descriptor that is not standard input, output or error.
const FIRST_FD: RawFd = 3;

/// The channel to the program that this one takes over from, until it is asked for.
static CHANNEL: Mutex<Option<OwnedFd>> = Mutex::new(None);

/// Starts a program that can [take](take_legacy_channel) `channel`, and inherits no other descriptor.
///
/// Only the direct child can have it. It is scheduled as any other program, also if this thread is
/// scheduled as batch work.
///
/// # Errors
///
/// Returns the errors of `fork(2)` and `execve(2)`.
pub fn spawn_heir(command: &mut Command, channel: BorrowedFd<'_>) -> io::Result<Child> {
    let number = channel.as_raw_fd();
    let own = getpid().as_raw_nonzero();
    command.env(VARIABLE, format!("{number}:{own}"));
    let prepare = move || {
        schedule_as_any_other();
        // SAFETY: the caller borrows the channel for longer than `spawn` takes, and the child has a
        // copy of the table of descriptors.
        let channel = unsafe { BorrowedFd::borrow_raw(number) };
        fcntl_setfd(channel, FdFlags::empty())?;
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes system calls alone: no lock, no allocation.
    unsafe { command.pre_exec(prepare) };
    command.spawn()
}

/// Takes the channel to the program that this one takes over from, if there is one.
pub fn take_legacy_channel() -> Option<OwnedFd> {
    CHANNEL
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()
}

/// Undoes what [`schedule_as_batch`](crate::schedule_as_batch) did to the thread that forked.
fn schedule_as_any_other() {
    // SAFETY: it asks about the calling thread, and touches no memory.
    let policy = unsafe { libc::sched_getscheduler(0) };
    if policy != libc::SCHED_BATCH {
        return;
    }
    let parameter = libc::sched_param { sched_priority: 0 };
    // SAFETY: `parameter` is a live struct, and 0 names the calling thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const parameter) };
}

/// The initialiser that the dynamic linker runs before `main`, once and in one thread.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    let Some(value) = std::env::var_os(VARIABLE) else {
        return;
    };
    // SAFETY: this process has one thread.
    unsafe { std::env::remove_var(VARIABLE) };
    // SAFETY: `getauxval` has no precondition.
    let is_privileged = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    if is_privileged {
        // The environment is that of a user with fewer rights than this program has.
        return;
    }
    let channel = value.to_str().and_then(adopt);
    *CHANNEL.lock().unwrap_or_else(PoisonError::into_inner) = channel;
}

/// Owns the channel that the variable names, if it is meant for this process.
fn adopt(value: &str) -> Option<OwnedFd> {
    let (number, passer) = value.split_once(':')?;
    let (number, passer) = (number.parse::<RawFd>().ok()?, passer.parse::<i32>().ok()?);
    if number < FIRST_FD || getppid()?.as_raw_nonzero().get() != passer {
        return None;
    }
    // SAFETY: the number is not negative, and the borrow ends before `main` begins: if it is not
    // open, each call that is made with it says so.
    let channel = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = fcntl_getfd(channel).ok()?;
    let is_channel = sockopt::socket_domain(channel) == Ok(AddressFamily::UNIX)
        && sockopt::socket_type(channel) == Ok(SocketType::SEQPACKET)
        && sockopt::socket_peercred(channel).is_ok_and(|peer| is(peer.pid, passer));
    if !is_channel {
        return None;
    }
    fcntl_setfd(channel, flags | FdFlags::CLOEXEC).ok()?;
    // SAFETY: it is open, the parent passed it to this process, and nothing else runs yet that
    // could own it.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

fn is(pid: rustix::process::Pid, number: i32) -> bool {
    pid.as_raw_nonzero().get() == number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_from_the_parent_is_not_adopted() {
        let (channel, _other) = crate::pair().unwrap();
        let number = channel.as_raw_fd();
        let own = getpid().as_raw_nonzero();

        assert!(adopt(&format!("{number}:{own}")).is_none(), "own pid");
        assert!(adopt("2:1").is_none(), "standard error");
        assert!(adopt("no number").is_none());
        // The parent's id does not help: its end of the channel is not the other one.
        let parent = getppid().unwrap().as_raw_nonzero();
        assert!(adopt(&format!("{number}:{parent}")).is_none());
        assert!(fcntl_getfd(&channel).is_ok(), "it stays open");
    }
}
