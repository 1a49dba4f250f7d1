//! A configuration as the `hatchery.toml` that would make it, with a comment on every origin.

use std::fmt;

use super::Config;
use super::origin::Setting;
use super::workers::WorkerCount;

/// Past this column a comment follows its value at once, rather than all comments moving right.
const COMMENT_COLUMN_MAX: usize = 48;

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings: Vec<_> = self
            .settings()
            .map(|setting| {
                let (section, name) = setting.key.split_once('.').expect("a key has a section");
                (
                    section,
                    format!("{name} = {}", setting.value),
                    self.comment(&setting),
                )
            })
            .collect();
        let width = settings
            .iter()
            .map(|(_, line, _)| line.chars().count())
            .filter(|&width| width <= COMMENT_COLUMN_MAX)
            .max()
            .unwrap_or(0);
        let mut last_section = "";
        for (section, line, comment) in settings {
            if section != last_section {
                let gap = if last_section.is_empty() { "" } else { "\n" };
                writeln!(f, "{gap}[{section}]")?;
                last_section = section;
            }
            writeln!(f, "{line:width$}  # {comment}")?;
        }
        Ok(())
    }
}

impl Config {
    /// Says where a value came from, and what it comes to on this machine if it does not say so.
    fn comment(&self, setting: &Setting<'_>) -> String {
        let origin = setting.origin;
        match self.workers.count {
            WorkerCount::Auto | WorkerCount::Times(_) if setting.key == "workers.count" => {
                format!("{origin}; here {}", self.workers.count.resolve())
            }
            _ => origin.to_string(),
        }
    }
}

/// Writes `text` as a TOML string on one line.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            _ if char.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(char))),
            _ => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}
