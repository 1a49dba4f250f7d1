//! Who a process is, so that others can tell whether it still lives.
//!
//! A process id alone passes on to another process one day. Together with the time at which its
//! process started it never does, and both fit into one word.

use std::fs;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use rustix::io::Errno;
use rustix::process::{Pid, getpid, test_kill_process};

/// The bits of a process id: the kernel's own limit is 2²².
const PID_BITS: u32 = 22;

/// This process, once it has asked; 0 before.
static OWN: AtomicU64 = AtomicU64::new(0);

/// How often this process has turned out to be a new one.
static EPOCH: AtomicU32 = AtomicU32::new(0);

/// A process, by its id and the time of its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity(u64);

impl Identity {
    /// Names this process.
    pub(crate) fn own() -> Self {
        let known = OWN.load(Relaxed);
        if known != 0 {
            return Self(known);
        }
        let pid = getpid();
        // Where there is no /proc, the id alone has to do.
        let start = Stat::read(pid).map_or(0, |stat| stat.start);
        let own = Self::new(pid, start);
        OWN.store(own.0, Relaxed);
        own
    }

    fn new(pid: Pid, start: u64) -> Self {
        let pid = u64::from(pid.as_raw_nonzero().get().unsigned_abs());
        Self(start << PID_BITS | pid)
    }

    /// Reads what [`word`](Self::word) wrote; `None` for what nobody can have written.
    pub(crate) fn from_word(word: u64) -> Option<Self> {
        let identity = Self(word);
        identity.pid().map(|_| identity)
    }

    /// The number that stands for it in shared memory; never 0.
    pub(crate) fn word(self) -> u64 {
        self.0
    }

    fn pid(self) -> Option<Pid> {
        let pid = self.0 & ((1 << PID_BITS) - 1);
        Pid::from_raw(i32::try_from(pid).ok()?)
    }

    fn start(self) -> u64 {
        self.0 >> PID_BITS
    }

    /// Whether the process still runs. A zombie does not.
    ///
    /// In doubt, where the process cannot be looked at, it does.
    pub(crate) fn is_alive(self) -> bool {
        if self == Self::own() {
            return true;
        }
        let Some(pid) = self.pid() else {
            return false;
        };
        match Stat::read(pid) {
            Some(stat) => stat.is_alive && (self.start() == 0 || self.start() == stat.start),
            // It is gone, or hidden, or this process has no descriptor left.
            None => test_kill_process(pid) != Err(Errno::SRCH),
        }
    }
}

/// Forgets who this process was: it was just forked.
pub(crate) fn reset() {
    OWN.store(0, Relaxed);
    EPOCH.fetch_add(1, Relaxed);
}

/// A number that is another one in a process that was just forked.
///
/// What a process remembers of itself is void once this has changed.
#[inline]
pub(crate) fn epoch() -> u32 {
    EPOCH.load(Relaxed)
}

/// What is of use of `/proc/PID/stat`.
struct Stat {
    is_alive: bool,
    /// When it started, in ticks since the machine did.
    start: u64,
}

impl Stat {
    fn read(pid: Pid) -> Option<Self> {
        let text = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        Self::parse(&text)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        // The name may hold blanks and parentheses; what follows the last one does not.
        let end = text.iter().rposition(|&byte| byte == b')')?;
        let rest = str::from_utf8(&text[end + 1..]).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        // The state is field 3, the start is field 22.
        let start = fields.nth(18)?.parse().ok()?;
        Some(Self {
            is_alive: !matches!(state, "Z" | "X"),
            start,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_alive_until_it_ends_and_a_zombie_is_not() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_child(&child);
        let identity = Identity::new(pid, Stat::read(pid).unwrap().start);
        assert!(identity.is_alive());

        drop(child.stdin.take());
        // It has ended, and nobody has collected it.
        let end = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(rustix::process::WaitId::Pid(pid), end).unwrap();

        assert!(!identity.is_alive());
        child.wait().unwrap();
        assert!(!identity.is_alive());
    }

    #[test]
    fn another_process_with_the_same_id_is_not_taken_for_it() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_child(&child);
        let start = Stat::read(pid).unwrap().start;

        let earlier = Identity::new(pid, start - 1);

        assert!(!earlier.is_alive());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn this_process_is_alive_and_is_found_again_by_its_word() {
        let own = Identity::own();

        assert!(own.is_alive());
        assert_eq!(Identity::from_word(own.word()), Some(own));
        assert_eq!(Identity::from_word(0), None);
    }

    #[test]
    fn a_name_with_parentheses_does_not_hide_what_follows() {
        let stat = b"7 (a ) Z (b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";

        let stat = Stat::parse(stat).unwrap();

        assert!(stat.is_alive);
        assert_eq!(stat.start, 4711);
    }
}
