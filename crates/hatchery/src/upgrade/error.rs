//! Why another program did not take over.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Why another program did not take over; the server goes on as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// The first process of a container ends the container when it ends.
    #[error(
        "the server is the first process of its container, which ends with it; allowed: a new container"
    )]
    FirstProcess,
    /// It is not known from which file this program was started.
    #[error("the file of this program cannot be found")]
    NoProgram(#[source] io::Error),
    /// The new program cannot be executed.
    #[error("{} cannot be executed", .program.display())]
    Execute {
        /// Its file.
        program: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The new program ended before it was ready.
    #[error("the new program ended with {status}{}", saying(.last_words))]
    Exited {
        /// How it ended.
        status: ExitStatus,
        /// What it said last.
        last_words: String,
    },
    /// The new program was not ready in time, and was killed.
    #[error("the new program was not ready after {after:?}, and was killed{}", saying(.last_words))]
    NotReady {
        /// How long it had.
        after: Duration,
        /// What it said last.
        last_words: String,
    },
    /// The new program says what this one does not understand, and was killed.
    #[error("the new program was not understood, and was killed: {0}")]
    NotUnderstood(String),
    /// The server was told to stop before the new program was ready.
    #[error("the server was told to stop before the new program was ready")]
    Cancelled,
    /// The kernel refused something else.
    #[error("{what}")]
    Os {
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl UpgradeError {
    pub(super) fn os(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Os { what, source }
    }
}

/// The last words as the end of a sentence.
fn saying(last_words: &str) -> String {
    match last_words.trim_end() {
        "" => String::new(),
        words => format!(": {words}"),
    }
}
