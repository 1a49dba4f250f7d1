//! Where a value came from.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
///
/// Displayed, it is what follows the `#` in a printed configuration: `default`,
/// `hatchery.toml:7`, `environment HATCHERY_WORKERS_COUNT`, `flag --workers` or `program`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A configuration file set it.
    File {
        /// The file, as the loader was told of it.
        path: PathBuf,
        /// The line of the value, from 1.
        line: usize,
    },
    /// The environment variable of this name set it.
    Environment(String),
    /// The command-line flag of this name set it.
    Flag(String),
    /// The program changed it after loading.
    Program,
}

/// One key with its value and where that came from.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Setting<'a> {
    /// The key with its section, such as `server.bind`.
    pub key: &'static str,
    /// The value as a `hatchery.toml` would have it.
    pub value: String,
    /// Where the value came from.
    pub origin: &'a Origin,
}

impl Origin {
    /// Names the place that a message is about.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Environment(name) | Self::Flag(name) => one_line(name).into_owned(),
            _ => self.to_string(),
        }
    }

    /// Says whether the place names the key too, so that a message need not.
    pub(super) fn implies_key(&self) -> bool {
        matches!(self, Self::Environment(_) | Self::Flag(_))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => {
                write!(f, "{}:{line}", one_line(&path.to_string_lossy()))
            }
            Self::Environment(name) => write!(f, "environment {}", one_line(name)),
            Self::Flag(name) => write!(f, "flag {}", one_line(name)),
            Self::Program => f.write_str("program"),
        }
    }
}

/// Escapes what would break a message or a comment into lines.
pub(super) fn one_line(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        text.escape_debug().to_string().into()
    } else {
        text.into()
    }
}
