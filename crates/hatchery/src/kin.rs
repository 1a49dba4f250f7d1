//! The children of a process, as `/proc` shows them.

use std::fs;

use rustix::process::Pid;

/// A child, which may have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kin {
    pub(crate) pid: Pid,
    /// The name of its program or thread, of which the kernel keeps 15 bytes.
    pub(crate) name: String,
    /// Whether it has ended and was not waited for.
    pub(crate) is_zombie: bool,
    /// Its process group.
    pub(crate) group: i32,
    /// Its session.
    pub(crate) session: i32,
}

/// Lists the children of a process.
pub(crate) fn children_of(parent: Pid) -> Vec<Kin> {
    let found = listed_by_kernel(parent).unwrap_or_else(all_processes);
    let read = found.into_iter().filter_map(|pid| {
        let (kin, its_parent) = read(pid)?;
        (its_parent == parent.as_raw_nonzero().get()).then_some(kin)
    });
    read.collect()
}

/// Reads one process; `None` if there is none.
pub(crate) fn read_kin(pid: Pid) -> Option<Kin> {
    read(pid.as_raw_nonzero().get()).map(|(kin, _)| kin)
}

/// Reads the lists that the kernel keeps for each thread, where it was built with them.
fn listed_by_kernel(parent: Pid) -> Option<Vec<i32>> {
    let folder = format!("/proc/{}/task", parent.as_raw_nonzero());
    let mut found = Vec::new();
    for thread in fs::read_dir(folder).ok()? {
        // A thread that has ended meanwhile has none.
        let Ok(thread) = thread else { continue };
        let list = fs::read_to_string(thread.path().join("children")).ok()?;
        found.extend(
            list.split_whitespace()
                .filter_map(|pid| pid.parse::<i32>().ok()),
        );
    }
    Some(found)
}

fn all_processes() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| name.parse().ok()).collect()
}

fn read(pid: i32) -> Option<(Kin, i32)> {
    parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads a line of `/proc/PID/stat`: the process, and its parent.
fn parse(pid: i32, line: &str) -> Option<(Kin, i32)> {
    // The name may hold blanks and parentheses; what follows the last one does not.
    let (head, tail) = line.rsplit_once(") ")?;
    let (_, name) = head.split_once('(')?;
    let mut fields = tail.split_ascii_whitespace();
    let state = fields.next()?;
    let mut number = || fields.next()?.parse::<i32>().ok();
    let (parent, group, session) = (number()?, number()?, number()?);
    let kin = Kin {
        pid: Pid::from_raw(pid)?,
        name: name.to_owned(),
        is_zombie: state == "Z",
        group,
        session,
    };
    Some((kin, parent))
}

#[cfg(test)]
mod tests {
    use rustix::process::getpid;

    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let (kin, parent) = parse(7, "7 (a) b (c) Z 1 5 6 0 -1 4194304 2").unwrap();

        assert_eq!((kin.name.as_str(), parent), ("a) b (c", 1));
        assert_eq!((kin.is_zombie, kin.group, kin.session), (true, 5, 6));
        assert!(parse(7, "7 (a").is_none());
    }

    #[test]
    fn a_child_is_listed_until_it_was_waited_for() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        let is_listed = || children_of(getpid()).iter().any(|kin| kin.pid == pid);
        assert!(is_listed());
        assert!(all_processes().contains(&pid.as_raw_nonzero().get()));

        child.kill().unwrap();
        child.wait().unwrap();

        assert!(!is_listed());
    }
}
