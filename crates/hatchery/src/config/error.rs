//! Why a configuration was refused, in one line that says where and what would be allowed.

use std::io;
use std::path::PathBuf;

use super::bind::BindAddressProblem;
use super::origin::{Origin, one_line};
use super::show::quoted;

/// Why a configuration was refused.
///
/// The message is one line that names the place, the key and what is allowed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A configuration file cannot be read; the source says why.
    #[error("{}: cannot read the configuration file{}", one_line(&path.to_string_lossy()), named_by(*variable))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The environment variable that names it, if one does.
        variable: Option<&'static str>,
        /// What the system said.
        source: io::Error,
    },
    /// A configuration file is not TOML.
    #[error("{}:{column}: {}", origin.place(), one_line(message))]
    Syntax {
        /// The file and the line.
        origin: Origin,
        /// The column, in characters from 1.
        column: usize,
        /// What the parser said.
        message: String,
    },
    /// There is no such section.
    #[error("{}: unknown section {}{} allowed here: {allowed}", origin.place(), bare(section), hint(suggestion))]
    UnknownSection {
        /// Where it stands.
        origin: Origin,
        /// The section as written.
        section: String,
        /// The section that may be meant.
        suggestion: Option<String>,
        /// All sections.
        allowed: String,
    },
    /// There is no such key.
    #[error("{}: unknown key {}{} allowed here: {allowed}", origin.place(), bare(key), hint(suggestion))]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// The key as written, with its section.
        key: String,
        /// The key that may be meant.
        suggestion: Option<String>,
        /// All keys of the section.
        allowed: String,
    },
    /// There is no such environment variable.
    #[error("{}: unknown variable{} allowed here: {allowed}", origin.place(), hint(suggestion))]
    UnknownVariable {
        /// The variable.
        origin: Origin,
        /// The variable that may be meant.
        suggestion: Option<String>,
        /// All variables of the section, or what variables begin with.
        allowed: String,
    },
    /// An environment variable does not hold text.
    #[error("{}: the value is not UTF-8; allowed: {allowed}", origin.place())]
    NotUtf8 {
        /// The variable.
        origin: Origin,
        /// The key that it sets.
        key: &'static str,
        /// What the key may be.
        allowed: &'static str,
    },
    /// A key cannot have this value.
    #[error("{}{error}", heading(origin, key))]
    Invalid {
        /// Where the value stands.
        origin: Origin,
        /// The key.
        key: &'static str,
        /// What is wrong with the value.
        error: Box<ValueError>,
    },
    /// Two keys have values that exclude each other.
    #[error("{key} ({origin}) conflicts with {other_key} ({other_origin}): {reason}")]
    Conflict {
        /// The one key.
        key: &'static str,
        /// Where its value came from.
        origin: Origin,
        /// The other key.
        other_key: &'static str,
        /// Where its value came from.
        other_origin: Origin,
        /// Why they exclude each other, and what would go.
        reason: &'static str,
    },
}

impl ConfigError {
    /// Says where the error is, except for a file that could not be read at all.
    pub fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Unreadable { .. } => None,
            Self::Syntax { origin, .. }
            | Self::UnknownSection { origin, .. }
            | Self::UnknownKey { origin, .. }
            | Self::UnknownVariable { origin, .. }
            | Self::NotUtf8 { origin, .. }
            | Self::Invalid { origin, .. }
            | Self::Conflict { origin, .. } => Some(origin),
        }
    }

    /// Names the key that the error is about, if it is about one key.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::UnknownKey { key, .. } => Some(key),
            Self::NotUtf8 { key, .. } | Self::Invalid { key, .. } | Self::Conflict { key, .. } => {
                Some(key)
            }
            _ => None,
        }
    }
}

/// Why a value was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{value} {problem}; allowed: {allowed}")]
#[non_exhaustive]
pub struct ValueError {
    /// The value; a string stands in quotes.
    pub value: String,
    /// What is wrong with it.
    pub problem: ValueProblem,
    /// What would be right.
    pub allowed: &'static str,
}

impl ValueError {
    pub(super) fn of_text(text: &str, problem: ValueProblem, allowed: &'static str) -> Self {
        Self {
            value: quoted(text),
            problem,
            allowed,
        }
    }
}

/// What is wrong with a value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueProblem {
    /// It is of another TOML type.
    #[error("is {found}, not {expected}")]
    Type {
        /// Its type, such as `a boolean`.
        found: &'static str,
        /// The type that is due, such as `an integer`.
        expected: &'static str,
    },
    /// It is not written as such a thing, say `a duration`, is written.
    #[error("is not {0}")]
    Malformed(&'static str),
    /// It is a number that is too small or too large.
    #[error("is out of range")]
    OutOfRange,
    /// It is a number where one with a unit is due.
    #[error("has no unit, write \"{write}\"")]
    MissingUnit {
        /// The number with a unit.
        write: String,
    },
    /// It is not an address to listen on.
    #[error("is not an address to listen on, {0}")]
    Address(BindAddressProblem),
    /// It is a list, and there is nothing in it.
    #[error("is an empty list")]
    Empty,
    /// It names what an earlier member of the list names.
    #[error("is in the list already")]
    Duplicate,
    /// It names a descriptor that `systemd`, in the same list, may name too.
    #[error("may be the same socket as another of the list")]
    Overlap,
}

fn named_by(variable: Option<&str>) -> String {
    variable.map_or_else(String::new, |name| format!(" that {name} names"))
}

fn hint(suggestion: &Option<String>) -> String {
    match suggestion {
        Some(name) => format!("; did you mean {name}?"),
        None => ";".to_owned(),
    }
}

fn heading(origin: &Origin, key: &str) -> String {
    if origin.implies_key() {
        format!("{}: ", origin.place())
    } else {
        format!("{}: {key}: ", origin.place())
    }
}

/// Shows a key or section that somebody made up, in quotes if it is not a plain name.
fn bare(name: &str) -> String {
    let is_plain = |char: char| char.is_alphanumeric() || "_-.".contains(char);
    if !name.is_empty() && name.chars().all(is_plain) {
        name.to_owned()
    } else {
        quoted(name)
    }
}
