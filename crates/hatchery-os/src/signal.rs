//! Signals as a child starts with them, dying with one's parent, and signals that must not be lost.
#![expect(
    unsafe_code,
    reason = "signal dispositions are set by libc calls, and the handler runs in signal context"
)]

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use rustix::process::{Pid, Signal, getppid};

/// The fork server that this process was started by; 0 where it is tied to nobody.
static PARENT: AtomicI32 = AtomicI32::new(0);

/// The process that may inherit this one when the fork server dies.
static KEEPER: AtomicI32 = AtomicI32::new(0);

/// The signals that have come since they were asked for, one bit each.
static NOTED: AtomicU64 = AtomicU64::new(0);

/// The signals that are noted, one bit each.
static IS_NOTING: AtomicU64 = AtomicU64::new(0);

/// Why a child could not be tied to its parent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetParentError {
    /// The parent died before the tie was made.
    #[error("the parent process is gone")]
    Orphan,
    /// The kernel refused.
    #[error("the kernel refused to tie this process to its parent")]
    Os(#[source] io::Error),
}

/// Gives this process the signals of a program that was just started.
///
/// All signals are unblocked and have the disposition that Rust gives them: the default, but for
/// `SIGPIPE`, which is ignored so that writing to a peer that hung up is an error and not a
/// death, and for `SIGCONT`, which has the handler that [`follow_parent`] needs. Children inherit all
/// of this.
///
/// # Errors
///
/// Returns the error of `sigaction(2)` or `sigprocmask(2)`.
pub fn reset_signals() -> io::Result<()> {
    for signal in 1..=libc::SIGRTMAX() {
        reset(signal);
    }
    IS_NOTING.store(0, Ordering::Relaxed);
    NOTED.store(0, Ordering::Relaxed);
    // A fork server is tied to nobody, also where it was forked from a child that is.
    PARENT.store(0, Ordering::Relaxed);
    dispose(libc::SIGPIPE, libc::SIG_IGN)?;
    dispose(PARENT_SIGNAL, on_parent_death as *const () as usize)?;
    unblock_signals()
}

/// Ties the life of this process to `parent` and `keeper`, after [`reset_signals`].
///
/// When `parent` dies, the kernel sends this process `SIGCONT`, which wakes it also where it is stopped. If
/// `keeper` has inherited it (it is a child subreaper and still alive), this process goes on; if not, it
/// kills itself, whatever it is doing. From anybody else the signal means what it always does.
///
/// # Errors
///
/// Returns [`SetParentError::Orphan`] if `parent` is dead already, and [`SetParentError::Os`] for
/// an error of `prctl(2)`.
pub fn follow_parent(parent: Pid, keeper: Pid) -> Result<(), SetParentError> {
    PARENT.store(parent.as_raw_nonzero().get(), Ordering::Relaxed);
    KEEPER.store(keeper.as_raw_nonzero().get(), Ordering::Relaxed);
    // Not `prctl`, nor `sigprocmask` below: a child has to map each page of code that it runs, and
    // so the two share one.
    // SAFETY: this call of `prctl` takes a signal number and touches no memory.
    let outcome = unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, PARENT_SIGNAL) };
    if outcome != 0 {
        return Err(SetParentError::Os(io::Error::last_os_error()));
    }
    // The parent may have died before the kernel knew of the tie.
    if !matches!(getppid(), Some(now) if now == parent || now == keeper) {
        return Err(SetParentError::Orphan);
    }
    Ok(())
}

/// Has every `signal` noted from now on, instead of ending this process; false if it has a handler
/// of somebody else's.
///
/// Who installs a handler later must call the one that was there. Libraries that do so may lose a signal that
/// comes while they install theirs; here none is lost.
///
/// # Errors
///
/// Returns the error of `sigaction(2)`, for example for `SIGKILL`.
pub fn note_signal(signal: Signal) -> io::Result<bool> {
    let bit = bit(signal);
    if IS_NOTING.load(Ordering::Relaxed) & bit != 0 {
        return Ok(true);
    }
    let present = disposition(signal.as_raw())?;
    if present != libc::SIG_DFL && present != libc::SIG_IGN {
        return Ok(false);
    }
    dispose(signal.as_raw(), on_noted as *const () as usize)?;
    IS_NOTING.fetch_or(bit, Ordering::Relaxed);
    Ok(true)
}

/// Whether `signal` has come since this was asked last, if it is [noted](note_signal).
pub fn take_noted(signal: Signal) -> bool {
    let bit = bit(signal);
    NOTED.fetch_and(!bit, Ordering::Relaxed) & bit != 0
}

fn bit(signal: Signal) -> u64 {
    // Signals are numbered from 1 to 64.
    1 << (signal.as_raw() - 1)
}

extern "C" fn on_noted(signal: libc::c_int) {
    NOTED.fetch_or(1 << (signal - 1), Ordering::Relaxed);
}

/// The signal by which the kernel tells of the parent's death: none but `SIGKILL` wakes who is stopped.
const PARENT_SIGNAL: libc::c_int = libc::SIGCONT;

extern "C" fn on_parent_death(_signal: libc::c_int) {
    // SAFETY: `getppid` is async-signal-safe and has no precondition.
    let now = unsafe { libc::getppid() };
    let parent = PARENT.load(Ordering::Relaxed);
    if parent == 0 || [parent, KEEPER.load(Ordering::Relaxed)].contains(&now) {
        return;
    }
    // SAFETY: `_exit` is async-signal-safe and has no precondition.
    unsafe { libc::_exit(128 + libc::SIGKILL) }
}

/// Gives `signal` its default disposition, unless Rust's own stack guard handles it.
fn reset(signal: libc::c_int) {
    if signal == libc::SIGSEGV || signal == libc::SIGBUS {
        return;
    }
    // SIGKILL, SIGSTOP and the C library's own signals answer EINVAL: they have no other.
    let _refused = dispose(signal, libc::SIG_DFL);
}

/// The handler of `signal`, or what stands for one.
fn disposition(signal: libc::c_int) -> io::Result<libc::sighandler_t> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: no new action is given, and `action` is room for the present one.
    let outcome = unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was zeroed, which is a value, and the call filled it.
    let action = unsafe { action.assume_init() };
    Ok(action.sa_sigaction)
}

fn dispose(signal: libc::c_int, handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: `sigaction` is a C struct of integers and an optional pointer: zero is a value.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: `action` is a live struct, the old one is not asked for, and the handlers that this
    // module installs are async-signal-safe.
    let outcome = unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Unblocks all signals.
///
/// # Errors
///
/// Returns the error of `sigprocmask(2)`.
pub fn unblock_signals() -> io::Result<()> {
    // As many bits as the kernel has signals.
    let none = 0_u64;
    // SAFETY: `none` is a set of the size that is given, and the old one is not asked for.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const none,
            ptr::null_mut::<u64>(),
            size_of_val(&none),
        )
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::process::{getpid, kill_process};

    use super::*;

    #[test]
    fn a_signal_that_is_noted_is_told_once() {
        assert!(note_signal(Signal::USR2).unwrap());
        assert!(!take_noted(Signal::USR2));

        kill_process(getpid(), Signal::USR2).unwrap();

        while !take_noted(Signal::USR2) {
            std::thread::yield_now();
        }
        assert!(!take_noted(Signal::USR2));
        assert!(note_signal(Signal::USR2).unwrap(), "it still is");
    }

    #[test]
    fn a_signal_that_somebody_handles_is_left_alone() {
        dispose(libc::SIGWINCH, on_parent_death as *const () as usize).unwrap();

        assert!(!note_signal(Signal::WINCH).unwrap());
        assert!(note_signal(Signal::KILL).is_err());
    }
}
