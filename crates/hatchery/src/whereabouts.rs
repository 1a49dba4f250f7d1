//! Where a thread is, as the kernel tells.

use std::fmt;
use std::fs;

/// Where a thread is at one moment; what the kernel does not tell is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Whereabouts {
    /// `R`unning, `S`leeping, `D` for what cannot be interrupted, s`T`opped, and so on.
    state: Option<char>,
    /// The number of the system call that it is in.
    call: Option<u32>,
    /// The function of the kernel that it sleeps in.
    sleeps_in: Option<String>,
}

impl Whereabouts {
    /// Looks where the first thread of a process is.
    pub(crate) fn of(pid: u32) -> Self {
        Self::of_thread(pid, pid)
    }

    /// Looks where a thread is.
    pub(crate) fn of_thread(pid: u32, thread: u32) -> Self {
        let read = |name| fs::read_to_string(format!("/proc/{pid}/task/{thread}/{name}")).ok();
        Self {
            state: read("stat").and_then(|stat| state_in(&stat)),
            call: read("syscall").and_then(|call| number_in(&call)),
            sleeps_in: read("wchan").and_then(|function| function_in(&function)),
        }
    }
}

/// As the rest of a sentence about a worker.
impl fmt::Display for Whereabouts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.state {
            Some('R') => "runs",
            Some('S') => "sleeps",
            Some('D') => "sleeps and cannot be interrupted",
            Some('T' | 't') => "is stopped",
            Some(_) => "is ending",
            None => "is where nobody can see it",
        })?;
        if let Some(function) = &self.sleeps_in {
            write!(formatter, " in {function}")?;
        }
        if let Some(call) = self.call {
            write!(formatter, " (system call {call})")?;
        }
        Ok(())
    }
}

fn state_in(stat: &str) -> Option<char> {
    // The name may hold blanks and parentheses; what follows the last one does not.
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.chars().next()
}

/// The number that begins the line, or nothing for `running`, and for -1, outside of any.
fn number_in(line: &str) -> Option<u32> {
    line.split_whitespace().next()?.parse().ok()
}

fn function_in(text: &str) -> Option<String> {
    let text = text.trim();
    (!matches!(text, "" | "0")).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        assert_eq!(state_in("7 (a) b) c) S 1 7 7 0"), Some('S'));
        assert_eq!(number_in("230 0x1 0x0 0x7ffd 0x0"), Some(230));
        assert_eq!(number_in("running\n"), None);
        assert_eq!(number_in("-1 0x7ffd 0x55"), None);
        assert_eq!(function_in("0"), None);
        assert_eq!(
            function_in("hrtimer_nanosleep"),
            Some("hrtimer_nanosleep".to_owned())
        );
    }

    #[test]
    fn a_thread_that_looks_at_itself_runs_and_one_that_is_gone_is_nowhere() {
        let thread = rustix::thread::gettid()
            .as_raw_nonzero()
            .get()
            .unsigned_abs();

        let here = Whereabouts::of_thread(std::process::id(), thread);
        let nowhere = Whereabouts::of(u32::MAX);

        assert!(here.to_string().starts_with("runs"), "{here}");
        assert_eq!(nowhere, Whereabouts::default());
        assert_eq!(nowhere.to_string(), "is where nobody can see it");
    }
}
