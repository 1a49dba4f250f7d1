//! The sockets that systemd has passed to this process, by `LISTEN_FDS` and its like.

use std::env;
use std::io;
use std::iter;
use std::ops::Range;
use std::os::fd::RawFd;

use hatchery_os::KEPT_PREFIX;

/// The first descriptor that systemd passes.
const FIRST: RawFd = 3;

/// What the variables say.
#[derive(Debug)]
struct Variables {
    pid: Option<String>,
    count: Option<String>,
    names: Option<String>,
}

/// The descriptors that systemd passed, if they are meant for this process.
///
/// Those that it has kept for an earlier run are not among them.
///
/// # Errors
///
/// Returns an error that says what is missing if there are none.
pub(crate) fn passed_descriptors() -> io::Result<Vec<RawFd>> {
    Variables::read().not_kept(std::process::id())
}

/// The descriptors that systemd passed under this name: `FileDescriptorName=` of the socket unit.
///
/// # Errors
///
/// As [`passed_descriptors`], and if none has the name.
pub(crate) fn passed_as(name: &str) -> io::Result<Vec<RawFd>> {
    Variables::read().named(name, std::process::id())
}

impl Variables {
    fn read() -> Self {
        let read = |name| env::var(name).ok();
        Self {
            pid: read("LISTEN_PID"),
            count: read("LISTEN_FDS"),
            names: read("LISTEN_FDNAMES"),
        }
    }

    fn descriptors(&self, own: u32) -> io::Result<Range<RawFd>> {
        let pid = self.pid.as_ref().and_then(|pid| pid.parse::<u32>().ok());
        if pid != Some(own) {
            return Err(missing(
                "LISTEN_PID does not name this process: it was not started by socket activation",
            ));
        }
        let count = self
            .count
            .as_ref()
            .and_then(|count| count.parse::<RawFd>().ok());
        match count {
            Some(count) if count > 0 => Ok(FIRST..FIRST.saturating_add(count)),
            _ => Err(missing(
                "LISTEN_FDS does not say how many sockets were passed",
            )),
        }
    }

    fn not_kept(&self, own: u32) -> io::Result<Vec<RawFd>> {
        let descriptors = self.descriptors(own)?;
        let names = self.names.as_deref().unwrap_or_default();
        // There may be fewer names than descriptors.
        let names = names.split(':').chain(iter::repeat(""));
        let passed = descriptors.zip(names);
        let passed = passed.filter(|(_, name)| !name.starts_with(KEPT_PREFIX));
        let found: Vec<RawFd> = passed.map(|(number, _)| number).collect();
        if found.is_empty() {
            return Err(missing(
                "systemd has passed no socket but those that it kept for this program",
            ));
        }
        Ok(found)
    }

    fn named(&self, name: &str, own: u32) -> io::Result<Vec<RawFd>> {
        let descriptors = self.descriptors(own)?;
        let names = self.names.as_deref().unwrap_or_default();
        let named = descriptors.zip(names.split(':'));
        let named = named.filter(|(_, given)| *given == name);
        let found: Vec<RawFd> = named.map(|(number, _)| number).collect();
        if found.is_empty() {
            return Err(missing(&format!(
                "no socket was passed under this name; LISTEN_FDNAMES is {names:?}"
            )));
        }
        Ok(found)
    }
}

fn missing(words: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pid: &str, count: &str, names: &str) -> Variables {
        Variables {
            pid: Some(pid.to_owned()),
            count: Some(count.to_owned()),
            names: Some(names.to_owned()),
        }
    }

    #[test]
    fn sockets_are_found_by_name() {
        let passed = variables("7", "3", "http:admin:http");

        assert_eq!(passed.not_kept(7).unwrap(), [3, 4, 5]);
        assert_eq!(passed.named("http", 7).unwrap(), [3, 5]);
        assert_eq!(passed.named("admin", 7).unwrap(), [4]);
        let error = passed.named("web", 7).unwrap_err().to_string();
        assert!(error.contains("http:admin:http"), "{error}");
    }

    #[test]
    fn what_was_kept_is_not_what_is_passed() {
        let passed = |count, names| variables("7", count, names).not_kept(7);

        assert_eq!(passed("3", "http:hatchery/a").unwrap(), [3, 5]);
        let error = passed("1", "hatchery/a").unwrap_err().to_string();
        assert!(error.contains("kept"), "{error}");
    }

    #[test]
    fn what_is_meant_for_another_process_is_left_alone() {
        let passed = variables("7", "3", "http");

        let error = passed.named("http", 8).unwrap_err().to_string();
        assert!(error.contains("LISTEN_PID"), "{error}");
        assert!(variables("7", "0", "").descriptors(7).is_err());
        assert!(variables("7", "many", "").descriptors(7).is_err());
    }
}
