//! What to say of a name that is not in the table.

use super::environment::{FILE_VARIABLE, PREFIX};
use super::error::ConfigError;
use super::key::{ConfigKey, KEYS, SECTIONS};
use super::origin::Origin;
use super::suggest::closest;

/// Finds the key of this path for a source that has no table of its own.
pub(super) fn find_key(path: &str, origin: &Origin) -> Result<&'static ConfigKey, ConfigError> {
    if let Some(key) = ConfigKey::named(path) {
        return Ok(key);
    }
    let origin = origin.clone();
    let Some((section, _)) = path.split_once('.') else {
        return Err(unknown_key("", path.to_owned(), origin));
    };
    if SECTIONS.contains(&section) {
        Err(unknown_key(section, path.to_owned(), origin))
    } else {
        Err(unknown_section(section, origin))
    }
}

pub(super) fn unknown_section(name: &str, origin: Origin) -> ConfigError {
    ConfigError::UnknownSection {
        origin,
        section: name.to_owned(),
        suggestion: closest(name, SECTIONS).map(str::to_owned),
        allowed: SECTIONS.join(", "),
    }
}

/// Describes a key that is not in the table; `section` is empty if it stands outside of all.
pub(super) fn unknown_key(section: &str, path: String, origin: Origin) -> ConfigError {
    let name = path.rsplit('.').next().unwrap_or_default();
    let suggestion = meant(section, name).map(|key| key.path().to_owned());
    let allowed: Vec<_> = if section.is_empty() {
        SECTIONS.map(|section| format!("[{section}]")).into()
    } else {
        ConfigKey::of_section(section)
            .map(|key| key.name().to_owned())
            .collect()
    };
    ConfigError::UnknownKey {
        origin,
        suggestion,
        allowed: allowed.join(", "),
        key: path,
    }
}

/// Describes a variable that begins like ours and is none.
pub(super) fn unknown_variable(variable: String) -> ConfigError {
    let rest = variable.strip_prefix(PREFIX).unwrap_or_default();
    let name = rest.to_ascii_lowercase();
    let section = SECTIONS.into_iter().find(|section| {
        let name = name.strip_prefix(section);
        name.is_some_and(|name| name.starts_with('_'))
    });
    let (suggestion, allowed) = match section {
        Some(section) => (
            meant(section, &name[section.len() + 1..]).map(ConfigKey::variable),
            ConfigKey::of_section(section)
                .map(ConfigKey::variable)
                .collect(),
        ),
        None => (meant_outside(rest, &name), families()),
    };
    ConfigError::UnknownVariable {
        suggestion,
        allowed: allowed.join(", "),
        origin: Origin::Environment(variable),
    }
}

/// Finds the variable that may be meant by one that belongs to no section.
fn meant_outside(rest: &str, name: &str) -> Option<String> {
    // A section alone stands for its first key, and a key alone for itself.
    let same = KEYS
        .iter()
        .find(|key| key.section() == name || key.name() == name);
    if let Some(key) = same {
        return Some(key.variable());
    }
    let mut variables: Vec<String> = KEYS.iter().map(ConfigKey::variable).collect();
    variables.push(FILE_VARIABLE.to_owned());
    let rests = variables.iter().filter_map(|it| it.strip_prefix(PREFIX));
    closest(rest, rests).map(|rest| format!("{PREFIX}{rest}"))
}

/// Lists which variables there are, for all of them would be too many.
fn families() -> Vec<String> {
    let sections = SECTIONS.map(|section| format!("{PREFIX}{}_…", section.to_ascii_uppercase()));
    let file = [FILE_VARIABLE.to_owned()];
    file.into_iter().chain(sections).collect()
}

/// Finds the key that `name` may stand for: one like it in the section, or the same elsewhere.
fn meant(section: &str, name: &str) -> Option<&'static ConfigKey> {
    let near = closest(name, ConfigKey::of_section(section).map(ConfigKey::name));
    match near {
        Some(near) => ConfigKey::of_section(section).find(|key| key.name() == near),
        None => KEYS.iter().find(|key| key.name() == name),
    }
}
