//! What a configuration file sets, and on which line.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue, Error};

use super::error::{ConfigError, ValueError};
use super::given::{Form, Given};
use super::key::{ConfigKey, SECTIONS};
use super::origin::Origin;
use super::unknown::{unknown_key, unknown_section};

/// What the parser says of a key that is set twice.
const DUPLICATE: &str = "duplicate key";

/// A key that a source sets, and to what.
pub(super) type Assignment = (&'static ConfigKey, Given);

type Entry<'a, 'i> = (&'a Spanned<DeString<'i>>, &'a Spanned<DeValue<'i>>);

/// Reads the text of the file at `path`, from top to bottom until a name is unknown.
pub(super) fn read(path: &Path, text: &str) -> Result<Vec<Assignment>, ConfigError> {
    let lines = Lines::new(path, text);
    let table = DeTable::parse(text).map_err(|error| lines.syntax_error(&error))?;
    let mut assignments = Vec::new();
    for (section, value) in in_order(table.get_ref()) {
        let (name, table) = find_section(section, value, &lines)?;
        for (key, value) in in_order(table) {
            let path = format!("{name}.{}", key.get_ref());
            let key = ConfigKey::named(&path)
                .ok_or_else(|| unknown_key(name, path, lines.origin(key.span().start)))?;
            let given = given(value, &|offset| lines.origin(offset));
            assignments.push((key, given));
        }
    }
    Ok(assignments)
}

/// Reads one TOML value, of which every part has the same origin.
pub(super) fn value(text: &str, origin: &Origin) -> Result<Given, ConfigError> {
    let value = DeValue::parse(text).map_err(|error| ConfigError::Syntax {
        origin: origin.clone(),
        column: 1,
        message: error.message().to_owned(),
    })?;
    Ok(given(&value, &|_| origin.clone()))
}

/// Turns offsets into places.
struct Lines<'a> {
    path: &'a Path,
    text: &'a str,
    /// The offset of every line feed.
    ends: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(path: &'a Path, text: &'a str) -> Self {
        let ends = text.match_indices('\n').map(|(offset, _)| offset).collect();
        Self { path, text, ends }
    }

    fn origin(&self, offset: usize) -> Origin {
        Origin::File {
            path: self.path.to_owned(),
            line: self.lines_before(offset) + 1,
        }
    }

    fn lines_before(&self, offset: usize) -> usize {
        self.ends.partition_point(|&end| end < offset)
    }

    fn syntax_error(&self, error: &Error) -> ConfigError {
        let offset = error.span().map_or(self.text.len(), |span| span.start);
        let start = match self.lines_before(offset) {
            0 => 0,
            line => self.ends[line - 1] + 1,
        };
        let before = self.text.get(start..offset).unwrap_or_default();
        ConfigError::Syntax {
            origin: self.origin(offset),
            column: before.chars().count() + 1,
            message: self.message_of(error),
        }
    }

    /// What the parser says, with the key of which it says only where it is.
    fn message_of(&self, error: &Error) -> String {
        let message = error.message();
        let key = error.span().and_then(|span| self.text.get(span));
        match key {
            Some(key) if message == DUPLICATE => format!("{message} {key}"),
            _ => message.to_owned(),
        }
    }
}

/// Lists the entries of a table from top to bottom; the table itself is in the order of its keys.
fn in_order<'a, 'i>(table: &'a DeTable<'i>) -> Vec<Entry<'a, 'i>> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn find_section<'a, 'i>(
    written: &Spanned<DeString<'i>>,
    value: &'a Spanned<DeValue<'i>>,
    lines: &Lines<'_>,
) -> Result<(&'static str, &'a DeTable<'i>), ConfigError> {
    let name = written.get_ref().as_ref();
    let origin = lines.origin(written.span().start);
    let known = SECTIONS.into_iter().find(|known| *known == name);
    match (known, value.get_ref()) {
        (Some(section), DeValue::Table(table)) => Ok((section, table)),
        (Some(section), _) => Err(not_a_section(section, &given(value, &|_| origin.clone()))),
        (None, DeValue::Table(_)) => Err(unknown_section(name, origin)),
        (None, _) => Err(unknown_key("", name.to_owned(), origin)),
    }
}

fn not_a_section(section: &'static str, given: &Given) -> ConfigError {
    let refusal = given.refuse_type("a table");
    ConfigError::Invalid {
        origin: refusal.origin,
        key: section,
        error: Box::new(ValueError {
            value: refusal.value,
            problem: refusal.problem,
            allowed: "a table of keys",
        }),
    }
}

/// Takes a TOML value out of its document.
fn given(value: &Spanned<DeValue<'_>>, origin: &dyn Fn(usize) -> Origin) -> Given {
    let other = |shown: String, type_name| Form::Other { shown, type_name };
    let form = match value.get_ref() {
        DeValue::Integer(integer) => Form::Integer(integer.to_string()),
        DeValue::String(text) => Form::Text(text.to_string()),
        DeValue::Array(members) => {
            Form::List(members.iter().map(|member| given(member, origin)).collect())
        }
        DeValue::Float(float) => other(float.to_string(), "a float"),
        DeValue::Boolean(truth) => Form::Boolean(*truth),
        DeValue::Datetime(datetime) => other(datetime.to_string(), "a date or time"),
        DeValue::Table(_) => other("{...}".to_owned(), "a table"),
    };
    Given {
        origin: origin(value.span().start),
        form,
    }
}
