//! The `[log]` section: what the server writes to standard error, unless the program says otherwise.

use std::fmt;
use std::str::FromStr;

use super::error::ValueError;
use super::value::Choice;

/// What a server writes to standard error, where the program has set no subscriber of `tracing`.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct LogConfig {
    /// How a line reads.
    pub format: LogFormat,
    /// Whether a line is written for each connection that is over.
    ///
    /// It says the worker, the peer, the bytes and the CPU time where they are known, the duration and
    /// the outcome. The CPU time is that of the handler's own turns: what it leaves to other tasks and
    /// threads is not in it. Under `HttpServer` it is that of TLS, of the protocol and of the service;
    /// where another body of [`run`](crate::ServerBuilder::run) serves, there is none, for its tasks are its own.
    ///
    /// They are events of the target `hatchery::access` at the level info; a program that has set
    /// a subscriber gets them too, if this is on.
    pub access: bool,
}

/// How a line of the log reads.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum LogFormat {
    /// For people: time, level, what happened, then its particulars.
    #[default]
    Human,
    /// An object of JSON.
    Json,
}

impl Choice for LogFormat {
    const ALL: &'static [Self] = &[Self::Human, Self::Json];
    const WHAT: &'static str = "a format of the log";
    const ALLOWED: &'static str = r#""human" or "json""#;

    fn name(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Json => "json",
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for LogFormat {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Self::from_name(text)
    }
}
