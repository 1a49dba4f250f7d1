//! Signals as a child starts with them, and dying with one's parent.
#![expect(
    unsafe_code,
    reason = "signal dispositions are set by libc calls, and the handler runs in signal context"
)]

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::process::{Pid, getppid};

/// The process that may inherit this one when the fork server dies.
static KEEPER: AtomicI32 = AtomicI32::new(0);

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
/// death. One real-time signal has the handler that [`follow_parent`] needs. Children inherit all
/// of this.
///
/// # Errors
///
/// Returns the error of `sigaction(2)` or `sigprocmask(2)`.
pub fn reset_signals() -> io::Result<()> {
    for signal in 1..=libc::SIGRTMAX() {
        reset(signal);
    }
    dispose(libc::SIGPIPE, libc::SIG_IGN)?;
    dispose(parent_signal(), on_parent_death as *const () as usize)?;
    unblock_all()
}

/// Ties the life of this process to `parent` and `keeper`, after [`reset_signals`].
///
/// When `parent` dies, the kernel sends this process a real-time signal. If `keeper` has
/// inherited it (it is a child subreaper and still alive), this process goes on; if not, it kills
/// itself, whatever it is doing.
///
/// # Errors
///
/// Returns [`SetParentError::Orphan`] if `parent` is dead already, and [`SetParentError::Os`] for
/// an error of `prctl(2)`.
pub fn follow_parent(parent: Pid, keeper: Pid) -> Result<(), SetParentError> {
    KEEPER.store(keeper.as_raw_nonzero().get(), Ordering::Relaxed);
    // SAFETY: this call of `prctl` takes a signal number and touches no memory.
    let outcome = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, parent_signal()) };
    if outcome != 0 {
        return Err(SetParentError::Os(io::Error::last_os_error()));
    }
    // The parent may have died before the kernel knew of the tie.
    if !matches!(getppid(), Some(now) if now == parent || now == keeper) {
        return Err(SetParentError::Orphan);
    }
    Ok(())
}

/// The signal by which the kernel tells of the parent's death: rarely used, and nobody's habit.
fn parent_signal() -> libc::c_int {
    libc::SIGRTMAX() - 1
}

extern "C" fn on_parent_death(_signal: libc::c_int) {
    let keeper = KEEPER.load(Ordering::Relaxed);
    // SAFETY: `getppid` is async-signal-safe and has no precondition.
    let parent = unsafe { libc::getppid() };
    if parent == keeper {
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

fn dispose(signal: libc::c_int, handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: `sigaction` is a C struct of integers and an optional pointer: zero is a value.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: `action` is a live struct, the old one is not asked for, and the only handler that
    // this module installs is async-signal-safe.
    let outcome = unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn unblock_all() -> io::Result<()> {
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `none` is room for a signal set, which this call fills.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: the set was filled above, and the old one is not asked for.
    let outcome = unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut()) };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
