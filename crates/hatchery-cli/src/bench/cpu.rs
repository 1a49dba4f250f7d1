//! The CPU time of a process and all its descendants.
//!
//! A process that is dead and reaped has left its time with its parent, which counts it as its
//! children's; a zombie still has its own. So the sum over the tree counts everything once, as long
//! as a parent is read before its children: read the other way round, a child that is reaped in
//! between would be counted twice. A child that vanishes in between is in neither, so the tree is
//! read again.
//!
//! The kernel tells clock ticks, mostly of 10 ms, so a figure needs seconds of load.
//!
//! A process whose parent died is no longer below the root. It is followed if it was seen before.
//! The time of children that their parent ignores (`SIGCHLD` set to ignore) is lost with them.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;

/// How often the tree is read again because a process vanished.
const ATTEMPTS: usize = 10;

/// The processes of a server, by the pid of its main process.
#[derive(Debug)]
pub(super) struct ProcessTree {
    root: u32,
    seen: HashSet<Identity>,
}

impl ProcessTree {
    /// Returns the tree below the process `root`.
    pub(super) fn new(root: u32) -> Self {
        Self {
            root,
            seen: HashSet::new(),
        }
    }

    /// Returns the time that the tree has used, in user and kernel mode.
    ///
    /// # Errors
    ///
    /// Returns [`CpuError::Gone`] if the root is, [`CpuError::Restless`] if processes die faster
    /// than the tree can be read, and [`CpuError::Os`] if `/proc` cannot be read.
    pub(super) fn cpu_time(&mut self) -> Result<Duration, CpuError> {
        for _ in 0..ATTEMPTS {
            let tree = family(&read_all()?, self.root, &self.seen);
            if tree.is_empty() {
                return Err(CpuError::Gone(self.root));
            }
            let again: Option<Vec<Stat>> = tree.iter().map(|stat| reread(*stat)).collect();
            if let Some(stats) = again {
                self.seen.extend(stats.iter().map(|stat| stat.identity));
                return Ok(total(&stats));
            }
        }
        Err(CpuError::Restless)
    }
}

/// Why the CPU time of a tree is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CpuError {
    /// There is no process with this pid.
    #[error("there is no process {0}")]
    Gone(u32),
    /// Processes died during each attempt.
    #[error("processes die faster than they can be counted")]
    Restless,
    /// The kernel refused.
    #[error("cannot read /proc")]
    Os(#[from] io::Error),
}

/// Which process it is, even if another gets its pid later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Identity {
    pid: u32,
    started: u64,
}

/// What a line of `/proc/<pid>/stat` says that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    identity: Identity,
    parent: u32,
    /// Its own time and that of its reaped children, in clock ticks.
    ticks: u64,
}

impl Stat {
    /// Parses a line, in which the name of the process may hold spaces and parentheses.
    fn parse(line: &str) -> Option<Self> {
        let (pid, rest) = line.split_once(' ')?;
        let (_, rest) = rest.rsplit_once(')')?;
        // The numbers of proc_pid_stat(5) less 3: the state, field 3, is the first here.
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            identity: Identity {
                pid: pid.parse().ok()?,
                started: number(19)?,
            },
            parent: fields.get(1)?.parse().ok()?,
            ticks: number(11)? + number(12)? + number(13)? + number(14)?,
        })
    }
}

/// Returns the root, its descendants and those in `seen`, each after its parent.
fn family(stats: &[Stat], root: u32, seen: &HashSet<Identity>) -> Vec<Stat> {
    let Some(root) = stats.iter().find(|stat| stat.identity.pid == root) else {
        return Vec::new();
    };
    let is_seen = |pid| {
        stats
            .iter()
            .any(|stat| stat.identity.pid == pid && seen.contains(&stat.identity))
    };
    let is_orphan = |stat: &&Stat| {
        seen.contains(&stat.identity) && stat.identity != root.identity && !is_seen(stat.parent)
    };
    let mut tree = vec![*root];
    tree.extend(stats.iter().filter(is_orphan));
    let mut next = 0;
    while let Some(parent) = tree.get(next).map(|stat| stat.identity.pid) {
        for child in stats.iter().filter(|stat| stat.parent == parent) {
            if !tree.contains(child) {
                tree.push(*child);
            }
        }
        next += 1;
    }
    tree
}

fn total(stats: &[Stat]) -> Duration {
    let ticks: u64 = stats.iter().map(|stat| stat.ticks).sum();
    Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64)
}

fn read_all() -> io::Result<Vec<Stat>> {
    let mut stats = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        stats.extend(pid.and_then(read));
    }
    Ok(stats)
}

/// Returns what the process says now, or `None` if it is gone.
fn read(pid: u32) -> Option<Stat> {
    let line = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // A process may give itself a name that is not UTF-8.
    Stat::parse(&String::from_utf8_lossy(&line))
}

fn reread(before: Stat) -> Option<Stat> {
    read(before.identity.pid).filter(|stat| stat.identity == before.identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line as the kernel writes it; ticks are `utime stime cutime cstime`.
    fn line(pid: u32, name: &str, parent: u32, ticks: &str) -> String {
        format!(
            "{pid} ({name}) S {parent} {pid} {pid} 0 -1 4194560 90 0 0 0 {ticks} 20 0 1 0 \
             {} 2000 300 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0",
            pid * 10
        )
    }

    fn stats(lines: &[String]) -> Vec<Stat> {
        lines
            .iter()
            .map(|line| Stat::parse(line).unwrap())
            .collect()
    }

    fn pids(tree: &[Stat]) -> Vec<u32> {
        tree.iter().map(|stat| stat.identity.pid).collect()
    }

    #[test]
    fn a_name_with_spaces_and_parentheses_is_skipped() {
        let stat = Stat::parse(&line(7, "a) R 1 (b c)", 3, "1 20 300 4000")).unwrap();

        assert_eq!(
            stat,
            Stat {
                identity: Identity {
                    pid: 7,
                    started: 70
                },
                parent: 3,
                ticks: 4321,
            }
        );
    }

    #[test]
    fn a_line_that_is_cut_off_is_no_process() {
        assert_eq!(Stat::parse("7 (hatchery) S 3 7 7"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn the_tree_is_the_root_and_its_descendants_parents_first() {
        // Pids wrap around, so a child may have a lower one than its parent.
        let stats = stats(&[
            line(1, "init", 0, "9 9 9 9"),
            line(5, "worker", 40, "1 0 0 0"),
            line(30, "main", 1, "1 1 1 1"),
            line(31, "other", 1, "9 9 9 9"),
            line(40, "fork server", 30, "2 0 0 0"),
        ]);

        let tree = family(&stats, 30, &HashSet::new());

        assert_eq!(pids(&tree), [30, 40, 5]);
        assert_eq!(tree.iter().map(|stat| stat.ticks).sum::<u64>(), 7);
    }

    #[test]
    fn a_reaped_child_is_counted_once() {
        let before = stats(&[
            line(30, "main", 1, "10 0 0 0"),
            line(31, "worker", 30, "5 2 0 0"),
        ]);
        let after = stats(&[line(30, "main", 1, "10 0 5 2")]);

        assert_eq!(
            total(&family(&before, 30, &HashSet::new())),
            total(&family(&after, 30, &HashSet::new()))
        );
    }

    #[test]
    fn an_orphan_that_was_seen_is_counted_once_with_its_children() {
        let orphan = Identity {
            pid: 41,
            started: 410,
        };
        let seen = HashSet::from([
            orphan,
            Identity {
                pid: 30,
                started: 300,
            },
        ]);
        let stats = stats(&[
            line(30, "main", 1, "1 0 0 0"),
            line(41, "worker", 1, "1 0 0 0"),
            line(42, "helper", 41, "1 0 0 0"),
        ]);

        assert_eq!(pids(&family(&stats, 30, &seen)), [30, 41, 42]);
    }

    #[test]
    fn another_process_with_the_pid_of_a_seen_one_is_not_followed() {
        let earlier = Identity {
            pid: 41,
            started: 77,
        };
        let stats = stats(&[line(30, "main", 1, "1 0 0 0"), line(41, "sh", 1, "1 0 0 0")]);

        assert_eq!(pids(&family(&stats, 30, &HashSet::from([earlier]))), [30]);
    }

    #[test]
    fn a_tree_without_its_root_is_empty() {
        let stats = stats(&[line(41, "worker", 1, "1 0 0 0")]);
        assert!(family(&stats, 30, &HashSet::new()).is_empty());
    }
}
