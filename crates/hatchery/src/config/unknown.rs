//! What to say of a name that is not in the table.

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

/// Describes a variable that begins like those of `section` and then with `_`, and is none.
pub(super) fn unknown_variable(section: &str, variable: String) -> ConfigError {
    let prefix = "HATCHERY__".len() + section.len();
    let name = variable.get(prefix..).unwrap_or_default();
    let suggestion = meant(section, &name.to_ascii_lowercase());
    let allowed: Vec<_> = ConfigKey::of_section(section)
        .map(ConfigKey::variable)
        .collect();
    ConfigError::UnknownVariable {
        suggestion: suggestion.map(ConfigKey::variable),
        allowed: allowed.join(", "),
        origin: Origin::Environment(variable),
    }
}

/// Finds the key that `name` may stand for: one like it in the section, or the same elsewhere.
fn meant(section: &str, name: &str) -> Option<&'static ConfigKey> {
    let near = closest(name, ConfigKey::of_section(section).map(ConfigKey::name));
    match near {
        Some(near) => ConfigKey::of_section(section).find(|key| key.name() == near),
        None => KEYS.iter().find(|key| key.name() == name),
    }
}
