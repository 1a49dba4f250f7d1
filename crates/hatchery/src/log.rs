//! Where warnings go if the program has not said, without ever waiting for whoever reads them.
//!
//! Standard error is often a pipe, and its reader may be slow or hang. A server that waited for it
//! would stop with it, so a line for which there is no room is dropped, counted, and told of later.

use std::borrow::Cow;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, IoSlice, ReadWriteFlags, pwritev2};
use rustix::net::{SendFlags, send};
use rustix::stdio::stderr;
use tracing::subscriber::set_global_default;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::config::{LogConfig, LogFormat};

/// The most bytes that a pipe takes whole or not at all; a longer line is cut.
const PIPE_BUF: usize = 4096;

/// What ends a line that was cut.
const CUT: &[u8] = b" [cut]\n";

/// How long the last words of a program may wait for room.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// At the place in the file where the last write ended, rather than at one of our choice.
const AT_END: u64 = u64::MAX;

/// The target of the events of the access log.
pub(crate) const ACCESS: &str = "hatchery::access";

/// The lines for which there was no room, and of which nobody knows yet.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Writes warnings and errors to standard error, unless the program has set a subscriber.
///
/// A framework that stays silent when a worker dies helps nobody; a program that wants something
/// else sets its own subscriber before it runs a server, and in
/// [`worker_start`](crate::ServerBuilder::worker_start).
pub(crate) fn install_default(log: &LogConfig) {
    if tracing::dispatcher::has_been_set() {
        return;
    }
    let access = if log.access {
        LevelFilter::INFO
    } else {
        LevelFilter::WARN
    };
    let wanted = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target(ACCESS, access);
    let lines = tracing_subscriber::fmt::layer()
        // Another crate may have turned colours on for all.
        .with_ansi(false)
        .with_writer(|| Lines)
        .with_target(false);
    let registry = tracing_subscriber::registry();
    // Somebody may have been faster; then there is one, which is all that is wanted.
    let _set_before = match log.format {
        LogFormat::Human => set_global_default(registry.with(lines.with_filter(wanted))),
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_span_list(false);
            set_global_default(registry.with(lines.with_filter(wanted)))
        }
    };
}

/// Says how many lines were dropped, if some were and there is room again.
pub(crate) fn tell_dropped() {
    let dropped = DROPPED.swap(0, Ordering::Relaxed);
    if dropped > 0 && !write_now(notice(dropped).as_bytes()) {
        DROPPED.fetch_add(dropped, Ordering::Relaxed);
    }
}

fn notice(dropped: u64) -> String {
    format!("{dropped} log lines were dropped: standard error was full\n")
}

/// Writes what another program has said, if there is room.
pub(crate) fn pass_on(text: &[u8]) {
    if !write_now(text) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes the last words of a program; they may wait for room, but not for ever.
pub(crate) fn say_last(text: &str) {
    let deadline = Instant::now() + LAST_WORDS;
    for part in text.as_bytes().chunks(PIPE_BUF) {
        while !write_now(part) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !has_room(stderr(), left) {
                return;
            }
        }
    }
}

/// Takes one line at a time, as a subscriber writes them.
struct Lines;

impl io::Write for Lines {
    /// Never fails: the subscriber would complain to standard error, and wait for it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let dropped = DROPPED.swap(0, Ordering::Relaxed);
        let is_written = match dropped {
            0 => write_now(line),
            // Together: there may be room for one more write and no other.
            _ => write_now(&[notice(dropped).as_bytes(), line].concat()),
        };
        if !is_written {
            DROPPED.fetch_add(dropped + 1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a line to standard error if there is room for it now.
fn write_now(line: &[u8]) -> bool {
    let stderr = stderr();
    let kind = fstat(stderr).map(|file| FileType::from_raw_mode(file.st_mode));
    match kind {
        // A file is always ready.
        Ok(FileType::RegularFile) => write_whole(stderr, line),
        Ok(FileType::Socket) => {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            has_room(stderr, Duration::ZERO) && send(stderr, &shortened(line), flags).is_ok()
        }
        Ok(_) => has_room(stderr, Duration::ZERO) && write_without_waiting(stderr, line),
        Err(_) => false,
    }
}

fn write_whole(stderr: BorrowedFd<'_>, mut line: &[u8]) -> bool {
    while !line.is_empty() {
        match rustix::io::write(stderr, line) {
            Ok(written) => line = &line[written..],
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}

/// Writes to what has room, even if another process of the server takes the room meanwhile.
fn write_without_waiting(stderr: BorrowedFd<'_>, line: &[u8]) -> bool {
    let line = shortened(line);
    let parts = [IoSlice::new(&line)];
    match pwritev2(stderr, &parts, AT_END, ReadWriteFlags::NOWAIT) {
        // Terminals cannot be asked that, nor the pipes of Linux before 6.4: there is room.
        Err(Errno::OPNOTSUPP) => rustix::io::write(stderr, &line).is_ok(),
        outcome => outcome.is_ok(),
    }
}

/// Waits until a pipe has room for [`PIPE_BUF`] bytes.
fn has_room(stderr: BorrowedFd<'_>, patience: Duration) -> bool {
    let mut room = [PollFd::from_borrowed_fd(stderr, PollFlags::OUT)];
    let patience = Timespec::try_from(patience).ok();
    matches!(poll(&mut room, patience.as_ref()), Ok(1..))
}

/// The line, or as much of it as fits into [`PIPE_BUF`].
fn shortened(line: &[u8]) -> Cow<'_, [u8]> {
    if line.len() <= PIPE_BUF {
        return line.into();
    }
    [&line[..PIPE_BUF - CUT.len()], CUT].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_a_pipe_would_not_take_whole_is_cut_and_says_so() {
        let longest = vec![b'a'; PIPE_BUF];
        let longer = vec![b'a'; PIPE_BUF + 1];

        assert_eq!(shortened(&longest), longest);
        assert_eq!(shortened(&longer).len(), PIPE_BUF);
        assert!(shortened(&longer).ends_with(b"a [cut]\n"));
    }
}
