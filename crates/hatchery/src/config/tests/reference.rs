//! What is generated from the table of keys: the guide's chapter, and the schema.

use std::fmt::Write;
use std::fs;

use serde_json::Value;

use super::load_text;
use crate::config::key::SECTIONS;
use crate::config::{Config, ConfigKey, ValueKind};

/// Where the chapter is.
const CHAPTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/configuration.md");

/// Before this line the chapter is written by hand, after it by [`reference`].
const MARK: &str =
    "<!-- What follows is written by REWRITE_GUIDE=1 cargo test -p hatchery --lib reference -->\n";

#[test]
fn the_chapter_on_configuration_says_what_the_table_of_keys_says() {
    let chapter = fs::read_to_string(CHAPTER).unwrap();
    let (by_hand, _) = chapter.split_once(MARK).expect("the chapter has the mark");
    let expected = format!("{by_hand}{MARK}{}", reference());
    if std::env::var_os("REWRITE_GUIDE").is_some() {
        fs::write(CHAPTER, &expected).unwrap();
        return;
    }

    assert!(
        chapter == expected,
        "{CHAPTER} is stale: run REWRITE_GUIDE=1 cargo test -p hatchery --lib reference"
    );
}

#[test]
fn the_schema_has_every_key_and_nothing_else() {
    let schema: Value = serde_json::from_str(&Config::schema()).unwrap();

    let mut found = Vec::new();
    for (section, keys) in schema["properties"].as_object().unwrap() {
        assert_eq!(keys["additionalProperties"], false, "{section}");
        let keys = keys["properties"].as_object().unwrap();
        found.extend(keys.keys().map(|key| format!("{section}.{key}")));
    }
    let mut known: Vec<&str> = Config::keys().iter().map(ConfigKey::path).collect();
    found.sort();
    known.sort_unstable();
    assert_eq!(found, known);
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn the_limits_of_integers_in_the_schema_are_those_of_loading() {
    let schema: Value = serde_json::from_str(&Config::schema()).unwrap();
    let keys = Config::keys().iter();
    for key in keys.filter(|key| key.kind() == ValueKind::Integer) {
        let about = &schema["properties"][key.section()]["properties"][key.name()];
        let load = |number: i128| load_text(&format!("{} = {number}", key.path())).is_ok();
        let limit = |name: &str| i128::from(about[name].as_u64().unwrap());

        assert!(load(limit("minimum")), "{}", key.path());
        assert!(load(limit("maximum")), "{}", key.path());
        assert!(!load(limit("minimum") - 1), "{}", key.path());
        assert!(!load(limit("maximum") + 1), "{}", key.path());
    }
}

/// Writes the reference: a section with a table for each section of the file.
fn reference() -> String {
    let mut text = String::new();
    for section in SECTIONS {
        write!(text, "\n# `[{section}]`\n").unwrap();
        for key in ConfigKey::of_section(section) {
            write!(
                text,
                "\n## `{}`\n\n{}\n\n- Allowed: {}.\n- Default: `{}`.\n- Variable: `{}`.\n",
                key.name(),
                sentence(key.summary()),
                sentence(key.allowed()),
                key.default_value(),
                key.variable()
            )
            .unwrap();
        }
    }
    text
}

/// Keeps rustdoc from reading more into the words than they say.
fn sentence(words: &str) -> String {
    words.replace('<', "\\<").replace('[', "\\[")
}
