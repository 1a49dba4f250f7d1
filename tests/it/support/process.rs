//! Processes as `/proc` and a pidfd show them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions, pidfd_open,
    pidfd_send_signal, prlimit, waitid,
};

use super::Deadline;

/// A process of any parentage. Dropping it does nothing to the process.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    pidfd: OwnedFd,
}

/// What the tests use of `/proc/PID/stat`.
#[derive(Clone, Debug)]
pub(crate) struct Stat {
    pub(crate) name: String,
    /// `R`unning, `S`leeping, `Z`ombie and so on.
    pub(crate) state: char,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
    pub(crate) cpu_time: Duration,
}

/// Sets of signals, bit `n - 1` for signal `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signals {
    pub(crate) blocked: u64,
    pub(crate) ignored: u64,
    pub(crate) caught: u64,
}

impl Process {
    /// Finds the process `pid`; `None` if there is none, not even a zombie.
    pub(crate) fn find(pid: i32) -> Option<Self> {
        let pid = Pid::from_raw(pid)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        Some(Self { pid, pidfd })
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Sends a signal; a process that has ended is no error.
    pub(crate) fn signal(&self, signal: Signal) {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => panic!("{self:?} does not take {signal:?}: {error}"),
        }
    }

    /// Kills it and waits until it is dead.
    #[track_caller]
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
        assert!(self.ends_by(Deadline::usual()), "it has been killed");
    }

    /// Sends a signal that has a number and no name.
    pub(crate) fn signal_by_number(&self, number: u8) {
        let kill = format!("kill -{number} {}", self.pid());
        let sent = Command::new("sh").args(["-c", &kill]).status();
        assert!(sent.is_ok_and(|status| status.success()), "{kill}");
    }

    /// Waits for the end, and tells whether it came in time.
    pub(crate) fn ends_by(&self, deadline: Deadline) -> bool {
        loop {
            let mut ends = [PollFd::new(&self.pidfd, PollFlags::IN)];
            match poll(&mut ends, Some(&deadline.left())) {
                Ok(ready) => return ready > 0,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("{self:?} cannot be waited for: {error}"),
            }
        }
    }

    /// Tells whether it runs, which a zombie does not.
    pub(crate) fn is_alive(&self) -> bool {
        !self.ends_by(Deadline::after(Duration::ZERO))
    }

    /// Collects it if it has ended and became a child of this process.
    pub(crate) fn reap(&self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let _not_ours = waitid(WaitId::PidFd(self.pidfd.as_fd()), options);
    }

    /// Reads its line of `/proc`; `None` once it has been collected.
    pub(crate) fn stat(&self) -> Option<Stat> {
        Stat::read(self.pid())
    }

    /// Lists its children, zombies too.
    pub(crate) fn children(&self) -> Vec<Self> {
        find_all(|stat| stat.parent == self.pid())
    }

    /// Lists it and all its descendants.
    pub(crate) fn tree(&self) -> Vec<Self> {
        let mut tree: Vec<Self> = Self::find(self.pid()).into_iter().collect();
        let mut visited = 0;
        while visited < tree.len() {
            let children = tree[visited].children();
            tree.extend(children);
            visited += 1;
        }
        tree
    }

    /// Lists what is open, by descriptor.
    pub(crate) fn descriptors(&self) -> BTreeMap<RawFd, PathBuf> {
        let Ok(entries) = fs::read_dir(format!("/proc/{}/fd", self.pid())) else {
            return BTreeMap::new();
        };
        entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let number = path.file_name()?.to_str()?.parse().ok()?;
                // One that was closed meanwhile is not open.
                Some((number, fs::read_link(path).ok()?))
            })
            .collect()
    }

    /// Sets how many files it may have open, or as many as it may allow itself; if it is there.
    pub(crate) fn limit_files(&self, count: u64) {
        let limits = fs::read_to_string(format!("/proc/{}/limits", self.pid()));
        let limits = limits.unwrap_or_default();
        let line = limits.lines().find(|it| it.starts_with("Max open files"));
        let hard = line.and_then(|line| line.split_ascii_whitespace().nth(4)?.parse().ok());
        let limit = Rlimit {
            current: Some(count.min(hard.unwrap_or(count))),
            maximum: hard,
        };
        let _gone = prlimit(Some(self.pid), Resource::Nofile, limit);
    }

    /// Reads its signal sets.
    pub(crate) fn signals(&self) -> Signals {
        let set = |name| {
            let text = self.field("status", name);
            u64::from_str_radix(&text, 16).expect("the kernel writes a set in hexadecimal")
        };
        Signals {
            blocked: set("SigBlk:"),
            ignored: set("SigIgn:"),
            caught: set("SigCgt:"),
        }
    }

    /// Returns its share of the memory that it maps.
    pub(crate) fn pss_bytes(&self) -> u64 {
        let kib = self.field("smaps_rollup", "Pss:");
        let kib = kib.trim_end_matches(" kB").parse::<u64>();
        kib.expect("the kernel writes a number of kB") * 1024
    }

    /// Counts how often it has gone to sleep of its own accord.
    pub(crate) fn sleeps(&self) -> u64 {
        let count = self.field("status", "voluntary_ctxt_switches:");
        count.parse().expect("the kernel writes a number")
    }

    fn field(&self, file: &str, name: &str) -> String {
        let path = format!("/proc/{}/{file}", self.pid());
        let text = fs::read_to_string(&path).expect("the process is there and ours to read");
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        value
            .unwrap_or_else(|| panic!("{path} has no {name}"))
            .trim()
            .to_owned()
    }
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold blanks and parentheses; what follows the last one does not.
        let (head, tail) = text.rsplit_once(") ")?;
        let (_, name) = head.split_once('(')?;
        let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        let id = |index: usize| fields.get(index)?.parse::<i32>().ok();
        Some(Self {
            name: name.to_owned(),
            state: fields.first()?.chars().next()?,
            parent: id(1)?,
            group: id(2)?,
            session: id(3)?,
            cpu_time: ticks(number(11)? + number(12)?),
        })
    }
}

/// Lists the processes of a session, zombies too.
pub(crate) fn in_session(session: i32) -> Vec<Process> {
    find_all(|stat| stat.session == session)
}

fn find_all(wanted: impl Fn(&Stat) -> bool) -> Vec<Process> {
    let entries = fs::read_dir("/proc").and_then(Iterator::collect::<io::Result<Vec<_>>>);
    entries
        .expect("/proc can be listed")
        .iter()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&pid| Stat::read(pid).is_some_and(|stat| wanted(&stat)))
        // The pid may have passed on before the descriptor was made: look again.
        .filter_map(Process::find)
        .filter(|process| process.stat().is_some_and(|stat| wanted(&stat)))
        .collect()
}

fn ticks(count: u64) -> Duration {
    Duration::from_millis(count * 1000 / rustix::param::clock_ticks_per_second())
}
