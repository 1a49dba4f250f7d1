//! A value as a source gives it, before the key it is for has looked at it.

use toml::de::DeValue;

use super::error::ValueProblem;
use super::origin::Origin;
use super::show::quoted;

/// A value as a source gives it.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) origin: Origin,
    pub(super) form: Form,
}

/// What a source can give.
#[derive(Clone, Debug)]
pub(super) enum Form {
    /// A TOML integer, as written.
    Integer(String),
    /// A TOML boolean.
    Boolean(bool),
    /// A TOML string.
    Text(String),
    /// What a variable or a flag holds, which may be meant as any type.
    Untyped(String),
    /// Several values, each with its own origin.
    List(Vec<Given>),
    /// A TOML value of a type that no key has.
    Other {
        shown: String,
        type_name: &'static str,
    },
}

/// A value that was refused, and where it stands.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) origin: Origin,
    pub(super) value: String,
    pub(super) problem: ValueProblem,
}

impl Given {
    pub(super) fn untyped(origin: Origin, text: impl Into<String>) -> Self {
        Self {
            origin,
            form: Form::Untyped(text.into()),
        }
    }

    pub(super) fn refuse(&self, problem: ValueProblem) -> Refusal {
        Refusal {
            origin: self.origin.clone(),
            value: self.shown(),
            problem,
        }
    }

    pub(super) fn refuse_type(&self, expected: &'static str) -> Refusal {
        let found = match &self.form {
            Form::Boolean(_) => "a boolean",
            Form::Integer(_) => "an integer",
            Form::Text(_) | Form::Untyped(_) => "a string",
            Form::List(_) => "an array",
            Form::Other { type_name, .. } => type_name,
        };
        self.refuse(ValueProblem::Type { found, expected })
    }

    /// Says where each member stands, of a list.
    pub(super) fn member_origins(&self) -> Vec<Origin> {
        match &self.form {
            Form::List(members) => members.iter().map(|it| it.origin.clone()).collect(),
            _ => Vec::new(),
        }
    }

    /// Returns the text, if it is one.
    pub(super) fn text(&self) -> Result<&str, Refusal> {
        match &self.form {
            Form::Text(text) | Form::Untyped(text) => Ok(text),
            _ => Err(self.refuse_type("a string")),
        }
    }

    /// Returns the text, or the integer as text, if it is one of them.
    pub(super) fn text_or_integer(&self) -> Result<&str, Refusal> {
        match &self.form {
            Form::Integer(text) | Form::Text(text) | Form::Untyped(text) => Ok(text),
            _ => Err(self.refuse_type("a string or an integer")),
        }
    }

    /// Returns the integer, if it is one and within the limits.
    pub(super) fn integer(&self, (min, max): (u64, u64)) -> Result<u64, Refusal> {
        let number = match &self.form {
            Form::Integer(text) => integer(text),
            Form::Untyped(text) => Some(
                integer(text).ok_or_else(|| self.refuse(ValueProblem::Malformed("an integer")))?,
            ),
            _ => None,
        };
        let number = number.ok_or_else(|| self.refuse_type("an integer"))?;
        u64::try_from(number)
            .ok()
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| self.refuse(ValueProblem::OutOfRange))
    }

    /// Returns the boolean, if it is one.
    pub(super) fn boolean(&self) -> Result<bool, Refusal> {
        match &self.form {
            Form::Boolean(truth) => Ok(*truth),
            Form::Untyped(text) => text
                .parse()
                .map_err(|_| self.refuse(ValueProblem::Malformed("a boolean"))),
            _ => Err(self.refuse_type("a boolean")),
        }
    }

    fn shown(&self) -> String {
        match &self.form {
            Form::Boolean(truth) => truth.to_string(),
            Form::Integer(text) => text.clone(),
            Form::Untyped(text) if integer(text).is_some() => text.clone(),
            Form::Text(text) | Form::Untyped(text) => quoted(text),
            Form::List(members) if members.is_empty() => "[]".to_owned(),
            Form::List(_) => "[...]".to_owned(),
            Form::Other { shown, .. } => shown.clone(),
        }
    }
}

/// Reads an integer as TOML writes it, say `10_000`; one that is too large is the largest.
pub(super) fn integer(text: &str) -> Option<i128> {
    // TOML would allow white space and a comment around it.
    if !text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"+-_".contains(&byte))
    {
        return None;
    }
    let value = DeValue::parse(text).ok()?;
    let integer = value.get_ref().as_integer()?;
    let digits = integer.as_str();
    let outermost = if digits.starts_with('-') {
        i128::MIN
    } else {
        i128::MAX
    };
    Some(i128::from_str_radix(digits, integer.radix()).unwrap_or(outermost))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_is_what_toml_calls_one() {
        for (text, number) in [
            ("0", 0),
            ("+7", 7),
            ("-7", -7),
            ("10_000", 10_000),
            ("0x1F", 31),
        ] {
            assert_eq!(integer(text), Some(number), "{text}");
        }
        for text in [
            "", " 1", "1 ", "1#", "1\n", "01", "1__0", "1.0", "true", "1e3", "\"1\"", "_1",
        ] {
            assert_eq!(integer(text), None, "{text}");
        }
    }

    #[test]
    fn an_integer_beyond_all_types_is_the_largest() {
        let digits = "9".repeat(60);
        assert_eq!(integer(&digits), Some(i128::MAX));
        assert_eq!(integer(&format!("-{digits}")), Some(i128::MIN));
    }
}
