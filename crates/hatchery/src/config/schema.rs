//! The JSON schema of `hatchery.toml`, for editors: made of the table of all keys.

use serde_json::{Map, Value, json};

use super::Config;
use super::key::{ConfigKey, SECTIONS, ValueKind};
use super::workers::WorkerCount;

/// What a duration looks like: numbers with units, the longest unit first.
const DURATION: &str = "^(?=.)([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?([0-9]+us)?$";

/// What a size looks like as a string.
const SIZE: &str = "^[0-9][0-9_]*(TiB|GiB|MiB|KiB|TB|GB|MB|KB)?$";

/// What a number of workers looks like as a string.
const WORKER_COUNT: &str = "^(auto|[0-9][0-9_]*x?)$";

impl Config {
    /// Returns the JSON schema of `hatchery.toml`, as text.
    ///
    /// An editor that knows TOML and JSON Schema completes keys by it, and marks mistakes. What a
    /// schema cannot say, such as which values exclude each other, loading checks.
    #[must_use]
    pub fn schema() -> String {
        let sections = SECTIONS.iter().map(|&section| {
            let keys = ConfigKey::of_section(section);
            let keys = keys.map(|key| (key.name().to_owned(), about(key)));
            (section.to_owned(), object(keys))
        });
        let mut schema = object(sections);
        schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
        schema["title"] = json!("hatchery.toml");
        format!("{schema:#}\n")
    }
}

/// Describes an object of these members and no others.
fn object(members: impl Iterator<Item = (String, Value)>) -> Value {
    let members: Map<String, Value> = members.collect();
    json!({ "type": "object", "properties": members, "additionalProperties": false })
}

/// Describes the value of a key.
fn about(key: &ConfigKey) -> Value {
    let mut schema = shape(key);
    let words = format!("{} Allowed: {}.", key.summary(), key.allowed());
    schema["description"] = json!(words);
    schema["default"] = default_of(key);
    schema
}

fn shape(key: &ConfigKey) -> Value {
    let (least, most) = key.limits().unwrap_or(0..=u64::MAX).into_inner();
    match key.kind() {
        ValueKind::Boolean => json!({ "type": "boolean" }),
        ValueKind::Integer => json!({ "type": "integer", "minimum": least, "maximum": most }),
        ValueKind::Text | ValueKind::Path | ValueKind::LocalAddress => json!({ "type": "string" }),
        ValueKind::Duration => json!({ "type": "string", "pattern": DURATION }),
        ValueKind::Choice => json!({ "enum": key.choices() }),
        ValueKind::Size => json!({ "anyOf": [
            { "type": "string", "pattern": SIZE },
            { "type": "integer", "minimum": least },
        ] }),
        ValueKind::WorkerCount => json!({ "anyOf": [
            { "type": "string", "pattern": WORKER_COUNT },
            { "type": "integer", "minimum": 1, "maximum": WorkerCount::MAX.get() },
        ] }),
        ValueKind::Addresses => {
            json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 })
        }
    }
}

fn default_of(key: &ConfigKey) -> Value {
    let line = format!("default = {}", key.default_value());
    let mut table: toml::Table = line.parse().expect("a default is shown as TOML");
    let default = table.remove("default").expect("the line sets it");
    serde_json::to_value(default).expect("what a default is made of JSON has, too")
}
