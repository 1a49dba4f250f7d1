//! Sockets that a service manager has kept for this program and passes again.
//!
//! They are owned before `main` is reached, while nobody else can own their numbers. So they can be
//! closed for good, which a socket that is only named by a number cannot be.
#![expect(
    unsafe_code,
    reason = "a function runs before main and owns what the environment names"
)]

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

/// What the names of such sockets begin with.
pub const KEPT_PREFIX: &str = "hatchery/";

/// The first descriptor that a service manager passes.
const FIRST_FD: RawFd = 3;

/// What was passed, until it is asked for.
static KEPT: Mutex<Option<Passed>> = Mutex::new(None);

/// The sockets, and the process to which they were passed.
#[derive(Debug)]
struct Passed {
    owner: u32,
    sockets: Vec<(String, OwnedFd)>,
}

/// Takes the sockets that were passed under names that begin with [`KEPT_PREFIX`].
///
/// Only the process that was started with them gets them, and only once.
pub fn take_kept_sockets() -> Vec<(String, OwnedFd)> {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    // In a process that was forked since, these numbers are not those sockets.
    let own = std::process::id();
    let passed = kept.take_if(|passed| passed.owner == own);
    passed.map(|passed| passed.sockets).unwrap_or_default()
}

/// The initialiser that the dynamic linker runs before `main`, once and in one thread.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    let read = |name| std::env::var(name).ok();
    let number = |name| read(name)?.parse::<u32>().ok();
    let own = std::process::id();
    if number("LISTEN_PID") != Some(own) {
        return;
    }
    // SAFETY: `getauxval` has no precondition.
    let is_privileged = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    if is_privileged {
        // The environment is that of a user with fewer rights than this program has.
        return;
    }
    let count = number("LISTEN_FDS").and_then(|count| RawFd::try_from(count).ok());
    let names = read("LISTEN_FDNAMES").unwrap_or_default();
    let numbers = FIRST_FD..FIRST_FD.saturating_add(count.unwrap_or(0));
    let ours = numbers
        .zip(names.split(':'))
        .filter(|(_, name)| name.starts_with(KEPT_PREFIX));
    let sockets: Vec<_> = ours
        .filter_map(|(number, name)| Some((name.to_owned(), adopt(number)?)))
        .collect();
    if !sockets.is_empty() {
        let passed = Passed {
            owner: own,
            sockets,
        };
        *KEPT.lock().unwrap_or_else(PoisonError::into_inner) = Some(passed);
    }
}

/// Owns the socket with this number, if it is open.
fn adopt(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: the number is not negative, and the borrow ends before `main` begins: if it is not
    // open, each call that is made with it says so.
    let socket = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = fcntl_getfd(socket).ok()?;
    fcntl_setfd(socket, flags | FdFlags::CLOEXEC).ok()?;
    // SAFETY: it is open, it was passed to this process under a name of ours, and nothing else runs
    // yet that could own it.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}
