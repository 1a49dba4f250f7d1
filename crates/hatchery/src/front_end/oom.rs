//! Whether the kernel kills for want of memory, by what the server's cgroup counts.
//!
//! The kernel tells nobody why it sent a signal. It counts the killings of a cgroup, so that a rise
//! goes with a worker that was killed by nobody known. Only cgroups of version 2 are looked at.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// How many killings of the server's cgroup are accounted for.
#[derive(Debug)]
pub(super) struct OomWatch {
    /// Where the kernel counts, if it does.
    events: Option<PathBuf>,
    accounted: u64,
}

impl OomWatch {
    /// Watches the cgroup of this process, if it has one that counts.
    pub(super) fn of_this_process() -> Self {
        let cgroup = read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mounts = read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Self::at(folder(&cgroup, &mounts).map(|folder| folder.join("memory.events")))
    }

    fn at(events: Option<PathBuf>) -> Self {
        let accounted = events.as_deref().and_then(killings).unwrap_or(0);
        Self { events, accounted }
    }

    /// Whether there is a killing that no worker accounts for; this one does from now on.
    pub(super) fn take(&mut self) -> bool {
        let Some(counted) = self.events.as_deref().and_then(killings) else {
            return false;
        };
        let is_new = counted > self.accounted;
        // A cgroup that was made anew counts from zero.
        self.accounted = counted.min(self.accounted + u64::from(is_new));
        is_new
    }
}

fn killings(events: &Path) -> Option<u64> {
    let events = read_to_string(events).ok()?;
    let mut counts = events.lines().filter_map(|line| line.split_once(' '));
    let (_, count) = counts.find(|(name, _)| *name == "oom_kill")?;
    count.trim().parse().ok()
}

/// The folder of a process's cgroup of version 2, from its files `cgroup` and `mountinfo`.
fn folder(cgroup: &str, mounts: &str) -> Option<PathBuf> {
    let own = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    mounts.lines().find_map(|mount| {
        let (place, kind) = mount.split_once(" - ")?;
        if kind.split(' ').next() != Some("cgroup2") {
            return None;
        }
        let mut fields = place.split(' ').skip(3);
        let (root, at) = (fields.next()?, fields.next()?);
        // What is mounted may be a part of the tree, in a container mostly its own.
        let below = Path::new(own).strip_prefix(root).unwrap_or(Path::new(""));
        Some(Path::new(at).join(below))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const MOUNTS: &str = "\
22 1 0:21 / /proc rw,relatime shared:5 - proc proc rw
30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
";

    #[test]
    fn the_folder_of_a_cgroup_is_found_where_it_is_mounted() {
        let service = folder("0::/system.slice/echo.service\n", MOUNTS);
        let expected = "/sys/fs/cgroup/system.slice/echo.service";
        assert_eq!(service, Some(expected.into()));

        let part = MOUNTS.replace("0:26 / ", "0:26 /docker/ab ");
        let container = folder("0::/docker/ab/web\n", &part);
        assert_eq!(container, Some("/sys/fs/cgroup/web".into()));
        let elsewhere = folder("0::/../other\n", &part);
        assert_eq!(elsewhere, Some("/sys/fs/cgroup".into()));
    }

    #[test]
    fn without_a_cgroup_of_version_2_there_is_no_folder_and_nobody_is_accused() {
        assert_eq!(folder("4:memory:/a\n", MOUNTS), None);
        assert_eq!(
            folder("0::/a\n", "22 1 0:21 / /proc rw - proc proc rw\n"),
            None
        );
        assert_eq!(folder("0::/a\n", "nonsense\n - cgroup2"), None);

        assert!(!OomWatch::at(None).take());
        assert!(!OomWatch::at(Some("/nowhere/memory.events".into())).take());
    }

    #[test]
    fn each_killing_since_the_start_goes_with_one_worker() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("memory.events");
        let count = |killings: u64| {
            fs::write(
                &path,
                format!("oom 9\noom_kill {killings}\noom_group_kill 1\n"),
            )
            .unwrap();
        };
        count(4);
        let mut watch = OomWatch::at(Some(path.clone()));

        assert!(!watch.take());
        count(6);
        assert_eq!(
            [watch.take(), watch.take(), watch.take()],
            [true, true, false]
        );
        count(0);
        assert!(!watch.take());
        count(1);
        assert!(watch.take());
        fs::write(&path, "oom_kill many\n").unwrap();
        assert!(!watch.take());
    }
}
