//! What can end a server, or keep it from starting.

use std::error::Error as StdError;
use std::io;

use hatchery_process::{InitError, PreloadError, StartError};

use crate::config::{ByteSize, ConfigError, Origin, ValueError};

/// The result of running a server.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error that a handler returns; `?` makes one of every error type, and of text.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// What a handler returns. An error ends its connection, and is logged.
pub type HandlerResult = std::result::Result<(), HandlerError>;

/// Why a server did not start, or how it ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A setting given in code is wrong.
    #[error("ServerBuilder::{setting}: {error}")]
    Setting {
        /// The builder's method.
        setting: &'static str,
        /// What is wrong with its argument.
        error: ValueError,
    },
    /// Blocking workers were to accept for themselves.
    #[error(
        "server.dispatch: \"direct\" does not go with a blocking handler; allowed: \
         \"least-loaded\", \"round-robin\" or \"hash\", or serve and run"
    )]
    BlockingDirect,
    /// A value could not be preloaded.
    #[error(transparent)]
    Preload(#[from] PreloadError),
    /// The fork server was not started.
    #[error(transparent)]
    Init(#[from] InitError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A worker process could not be started.
    #[error("a worker could not be started")]
    Start(#[from] StartError),
    /// So many starts in a row failed before all workers of the server had been ready; this is
    /// what became of the last one.
    #[error("no worker became ready in {attempts} attempts; the last one {reason}")]
    WorkersFailed {
        /// How many were started in a row.
        attempts: u32,
        /// What became of the last one.
        reason: String,
    },
    /// A worker takes more memory from its start on than it may before it is replaced.
    #[error(
        "{origin}: workers.max_memory: {limit} is less than the {at_start} that a worker takes when \
         it starts; allowed: \"0\" (never), or more than that"
    )]
    MemoryTooSmall {
        /// Where the limit was set.
        origin: Origin,
        /// The limit.
        limit: ByteSize,
        /// What a worker took when it was ready.
        at_start: ByteSize,
    },
    /// Workers were still busy when the time to drain was over, and were killed.
    #[error("{killed} of the workers did not finish in time and had to be killed")]
    DrainTimeout {
        /// How many.
        killed: usize,
    },
    /// The server was told a second time to stop, and stopped at once.
    #[error("told twice to stop, the server killed its workers")]
    Killed,
    /// The value given as state cannot be serialised.
    #[error("the state cannot be serialised: {0}")]
    State(String),
    /// The kernel refused something else.
    #[error("{what}")]
    Os {
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Error {
    /// Whether the user can mend it in the configuration or the command line.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Config(_)
                | Self::Setting { .. }
                | Self::BlockingDirect
                | Self::MemoryTooSmall { .. }
        )
    }

    pub(crate) fn os(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Os { what, source }
    }
}

/// An error and its causes on one line.
pub(crate) fn with_causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        // A transparent error repeats its cause.
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{origin}: {key}: cannot listen on {address}{}", hint(.address, .source))]
#[non_exhaustive]
pub struct BindError {
    /// Where the address was set.
    pub origin: Origin,
    /// The key that it was set for, such as `server.bind`.
    pub key: &'static str,
    /// The address, as it was given.
    pub address: String,
    /// The kernel's answer.
    pub source: io::Error,
}

/// What would be allowed instead.
fn hint(address: &str, error: &io::Error) -> &'static str {
    let number = address.strip_prefix("fd:");
    let is_named = number.is_some_and(|it| !it.starts_with(|first: char| first.is_ascii_digit()));
    if number.is_some() && !is_named {
        return "; allowed: the number of a listening socket that the program was started with";
    }
    if address == "systemd" || is_named {
        return "; allowed: in a service that systemd starts for its sockets";
    }
    let is_file = address.starts_with("unix:") && !address.starts_with("unix:@");
    match (error.kind(), is_file) {
        (io::ErrorKind::AddrInUse, true) => "; allowed: a path that nobody else uses",
        (io::ErrorKind::AddrInUse, false) => "; allowed: an address that nobody else listens on",
        (io::ErrorKind::AddrNotAvailable, _) => "; allowed: an address of this machine",
        (io::ErrorKind::PermissionDenied, true) => {
            "; allowed: a path in a folder that this user may write to"
        }
        (io::ErrorKind::PermissionDenied, false) => "; allowed: a port from 1024 on",
        (io::ErrorKind::NotFound | io::ErrorKind::NotADirectory, true) => {
            "; allowed: a path in a folder that exists"
        }
        _ => "",
    }
}
