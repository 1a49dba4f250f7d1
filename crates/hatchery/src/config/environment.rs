//! What the environment sets: `HATCHERY_SERVER_BIND`, `HATCHERY_WORKERS_COUNT` and so on.

use std::ffi::{OsStr, OsString};

use super::error::ConfigError;
use super::file::Assignment;
use super::given::{Form, Given};
use super::key::{ConfigKey, KEYS, SECTIONS, ValueKind};
use super::origin::Origin;
use super::unknown::unknown_variable;

/// The variable that names the configuration file.
pub(super) const FILE_VARIABLE: &str = "HATCHERY_CONFIG";

/// Reads the variables of the sections; all others are somebody else's.
pub(super) fn read(variables: &[(OsString, OsString)]) -> Result<Vec<Assignment>, ConfigError> {
    variables
        .iter()
        .filter_map(|(name, value)| {
            let name = name.to_string_lossy();
            let section = section_of(&name)?;
            Some(read_variable(section, &name, value))
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

fn section_of(variable: &str) -> Option<&'static str> {
    let rest = variable.strip_prefix("HATCHERY_")?;
    SECTIONS.into_iter().find(|section| {
        rest.strip_prefix(&section.to_ascii_uppercase())
            .is_some_and(|rest| rest.starts_with('_'))
    })
}

fn read_variable(section: &str, name: &str, value: &OsStr) -> Result<Assignment, ConfigError> {
    let key = KEYS
        .iter()
        .find(|key| key.variable() == name)
        .ok_or_else(|| unknown_variable(section, name.to_owned()))?;
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
