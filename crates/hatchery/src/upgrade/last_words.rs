//! What a program that does not become ready says last.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ChildStderr;

/// How much of it is remembered.
const BYTES_MAX: usize = 2048;

/// The standard error of a program until it has taken up what it is given: from then on it has this
/// program's.
#[derive(Debug)]
pub(super) struct LastWords {
    pipe: Option<ChildStderr>,
    said: Vec<u8>,
}

impl LastWords {
    pub(super) fn new(pipe: Option<ChildStderr>) -> Self {
        Self {
            pipe,
            said: Vec::new(),
        }
    }

    /// Where more comes from, if more may come.
    pub(super) fn source(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Reads once what has been said, and passes it on.
    pub(super) fn listen(&mut self) {
        let Some(pipe) = &mut self.pipe else {
            return;
        };
        let mut chunk = [0; BYTES_MAX];
        match pipe.read(&mut chunk) {
            Ok(read @ 1..) => {
                crate::log::pass_on(&chunk[..read]);
                self.remember(&chunk[..read]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => self.pipe = None,
        }
    }

    /// Remembers what has been said some other way.
    pub(super) fn remember(&mut self, words: &[u8]) {
        self.said.extend_from_slice(words);
        let surplus = self.said.len().saturating_sub(BYTES_MAX);
        self.said.drain(..surplus);
    }

    /// The last lines of it, as one.
    pub(super) fn take(&mut self) -> String {
        let said = std::mem::take(&mut self.said);
        let said = String::from_utf8_lossy(&said);
        let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_remembered_as_one_line() {
        let mut words = LastWords::new(None);

        words.remember(&vec![b'x'; 2 * BYTES_MAX]);
        words.remember(b"\n\n  no disk\nno hope\n");

        let taken = words.take();
        assert!(taken.ends_with("; no disk; no hope"), "{taken}");
        assert!(taken.len() < BYTES_MAX);
    }
}
