//! How each type of value is read from what a source gives, and how it is shown in TOML.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::bind::{BindAddress, check_name};
use super::duration;
use super::error::{ValueError, ValueProblem};
use super::given::{Form, Given, Refusal};
use super::key::ValueKind;
use super::show::quoted;
use super::size::ByteSize;
use super::workers::WorkerCount;

/// A type of value that a key can have.
pub(super) trait Value: Sized {
    /// How the reference calls this type.
    const KIND: ValueKind;

    /// Reads what a source gives; `limits` are inclusive, and what they count is the kind's affair.
    fn read(given: &Given, limits: (u64, u64)) -> Result<Self, Refusal>;

    /// Writes the value as TOML.
    fn show(&self) -> String;

    /// Lists the values, if they can be listed.
    fn choices() -> Vec<&'static str> {
        Vec::new()
    }
}

impl Value for bool {
    const KIND: ValueKind = ValueKind::Boolean;

    fn read(given: &Given, _: (u64, u64)) -> Result<Self, Refusal> {
        given.boolean()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for u64 {
    const KIND: ValueKind = ValueKind::Integer;

    fn read(given: &Given, limits: (u64, u64)) -> Result<Self, Refusal> {
        given.integer(limits)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for u32 {
    const KIND: ValueKind = ValueKind::Integer;

    fn read(given: &Given, limits: (u64, u64)) -> Result<Self, Refusal> {
        let number = given.integer(limits)?;
        Self::try_from(number).map_err(|_| given.refuse(ValueProblem::OutOfRange))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for NonZeroU32 {
    const KIND: ValueKind = ValueKind::Integer;

    fn read(given: &Given, limits: (u64, u64)) -> Result<Self, Refusal> {
        let number = u32::read(given, limits)?;
        Self::new(number).ok_or_else(|| given.refuse(ValueProblem::OutOfRange))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    const KIND: ValueKind = ValueKind::Text;

    fn read(given: &Given, _: (u64, u64)) -> Result<Self, Refusal> {
        given.text().map(str::to_owned)
    }

    fn show(&self) -> String {
        quoted(self)
    }
}

impl Value for Option<PathBuf> {
    const KIND: ValueKind = ValueKind::Path;

    fn read(given: &Given, _: (u64, u64)) -> Result<Self, Refusal> {
        let text = given.text()?;
        if text.is_empty() {
            return Ok(None);
        }
        check_name(text).map_err(|problem| given.refuse(ValueProblem::Address(problem)))?;
        Ok(Some(PathBuf::from(text)))
    }

    fn show(&self) -> String {
        let path = self.as_deref().map(Path::to_string_lossy);
        quoted(&path.unwrap_or_default())
    }
}

impl Value for Duration {
    const KIND: ValueKind = ValueKind::Duration;

    fn read(given: &Given, (min, max): (u64, u64)) -> Result<Self, Refusal> {
        let text = match &given.form {
            Form::Integer(text) => text,
            _ => given.text()?,
        };
        let duration = duration::parse(text).map_err(|problem| given.refuse(problem))?;
        if (u128::from(min)..=u128::from(max)).contains(&duration.as_micros()) {
            Ok(duration)
        } else {
            Err(given.refuse(ValueProblem::OutOfRange))
        }
    }

    fn show(&self) -> String {
        quoted(&duration::show(*self))
    }
}

impl Value for ByteSize {
    const KIND: ValueKind = ValueKind::Size;

    fn read(given: &Given, (min, max): (u64, u64)) -> Result<Self, Refusal> {
        let text = given.text_or_integer()?;
        let size = Self::parse(text).map_err(|problem| given.refuse(problem))?;
        if (min..=max).contains(&size.bytes()) {
            Ok(size)
        } else {
            Err(given.refuse(ValueProblem::OutOfRange))
        }
    }

    fn show(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Value for WorkerCount {
    const KIND: ValueKind = ValueKind::WorkerCount;

    fn read(given: &Given, _: (u64, u64)) -> Result<Self, Refusal> {
        let text = given.text_or_integer()?;
        Self::parse(text).map_err(|problem| given.refuse(problem))
    }

    fn show(&self) -> String {
        match self {
            Self::Fixed(count) => count.to_string(),
            _ => quoted(&self.to_string()),
        }
    }
}

impl<T: Choice> Value for T {
    const KIND: ValueKind = ValueKind::Choice;

    fn read(given: &Given, _: (u64, u64)) -> Result<Self, Refusal> {
        choose(given.text()?).map_err(|problem| given.refuse(problem))
    }

    fn show(&self) -> String {
        quoted(self.name())
    }

    fn choices() -> Vec<&'static str> {
        T::ALL.iter().map(|choice| choice.name()).collect()
    }
}

impl Value for Vec<BindAddress> {
    const KIND: ValueKind = ValueKind::Addresses;

    fn read(given: &Given, _: (u64, u64)) -> Result<Self, Refusal> {
        let Form::List(members) = &given.form else {
            return Err(given.refuse_type("an array"));
        };
        if members.is_empty() {
            return Err(given.refuse(ValueProblem::Empty));
        }
        let mut addresses = Self::new();
        for member in members {
            let address = BindAddress::parse(member.text()?)
                .map_err(|problem| member.refuse(ValueProblem::Address(problem)))?;
            if addresses.iter().any(|other| address.is_same_socket(other)) {
                return Err(member.refuse(ValueProblem::Duplicate));
            }
            if addresses
                .iter()
                .any(|other| address.may_share_descriptor(other))
            {
                return Err(member.refuse(ValueProblem::Overlap));
            }
            addresses.push(address);
        }
        Ok(addresses)
    }

    fn show(&self) -> String {
        let members: Vec<_> = self
            .iter()
            .map(|address| quoted(&address.to_string()))
            .collect();
        format!("[{}]", members.join(", "))
    }
}

/// A type of which every value has a name.
pub(super) trait Choice: Copy + 'static {
    /// Every value.
    const ALL: &'static [Self];
    /// What such a value is, with its article.
    const WHAT: &'static str;
    /// The names, as a message lists them.
    const ALLOWED: &'static str;

    /// Returns the name of the value.
    fn name(self) -> &'static str;

    /// Finds the value of this name, for [`std::str::FromStr`].
    fn from_name(text: &str) -> Result<Self, ValueError> {
        choose(text).map_err(|problem| ValueError::of_text(text, problem, Self::ALLOWED))
    }
}

fn choose<T: Choice>(text: &str) -> Result<T, ValueProblem> {
    T::ALL
        .iter()
        .copied()
        .find(|choice| choice.name() == text)
        .ok_or(ValueProblem::Malformed(T::WHAT))
}
