//! What the environment sets: `HATCHERY_SERVER_BIND`, `HATCHERY_WORKERS_COUNT` and so on.

use std::ffi::{OsStr, OsString};

use super::error::ConfigError;
use super::file::Assignment;
use super::given::{Form, Given};
use super::key::{ConfigKey, KEYS, ValueKind};
use super::origin::Origin;
use super::unknown::unknown_variable;

/// The variable that names the configuration file.
pub(super) const FILE_VARIABLE: &str = "HATCHERY_CONFIG";

/// What the names of all our variables begin with.
pub(super) const PREFIX: &str = "HATCHERY_";

/// Variables that set no key: the file, and by what a fork server knows that it is one.
const OTHERS: [&str; 2] = [FILE_VARIABLE, "HATCHERY_FORK_SERVER"];

/// What the names of variables begin with by which tests are set.
const TEST_PREFIX: &str = "HATCHERY_TEST_";

/// Reads our variables; those that do not begin with [`PREFIX`] are somebody else's.
pub(super) fn read(variables: &[(OsString, OsString)]) -> Result<Vec<Assignment>, ConfigError> {
    variables
        .iter()
        .filter_map(|(name, value)| {
            let name = name.to_string_lossy();
            let is_key = name.starts_with(PREFIX)
                && !name.starts_with(TEST_PREFIX)
                && !OTHERS.contains(&&*name);
            is_key.then(|| read_variable(&name, value))
        })
        .collect()
}

/// Finds the file that the environment names; an empty name is none.
pub(super) fn file(variables: &[(OsString, OsString)]) -> Option<&OsStr> {
    variables
        .iter()
        .rev()
        .find(|(name, _)| name == FILE_VARIABLE)
        .map(|(_, value)| value.as_os_str())
        .filter(|value| !value.is_empty())
}

fn read_variable(name: &str, value: &OsStr) -> Result<Assignment, ConfigError> {
    let key = KEYS
        .iter()
        .find(|key| key.variable() == name)
        .ok_or_else(|| unknown_variable(name.to_owned()))?;
    let origin = Origin::Environment(name.to_owned());
    match value.to_str() {
        Some(value) => Ok((key, given(key, origin, value))),
        None => Err(ConfigError::NotUtf8 {
            origin,
            key: key.path(),
            allowed: key.allowed(),
        }),
    }
}

fn given(key: &ConfigKey, origin: Origin, value: &str) -> Given {
    if key.kind() != ValueKind::Addresses {
        return Given::untyped(origin, value);
    }
    let members = value
        .split(',')
        .map(|member| Given::untyped(origin.clone(), member.trim()))
        .collect();
    let form = Form::List(members);
    Given { origin, form }
}
