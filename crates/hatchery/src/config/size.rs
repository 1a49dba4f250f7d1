//! Sizes in bytes as text: `512MiB`, `64KB`, `0`.

use std::fmt;
use std::str::FromStr;

use super::error::{ValueError, ValueProblem};
use super::given::integer;

/// A number of bytes, written as `512MiB`, `64KB` or `0`.
///
/// `KiB`, `MiB`, `GiB` and `TiB` are powers of 1024; `KB`, `MB`, `GB` and `TB` are powers of 1000;
/// a number alone counts bytes. Displayed, it has the largest unit of 1024 that divides it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ByteSize(u64);

const UNITS: [(&str, u64); 8] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
];

/// How many of the units above are powers of 1024.
const BINARY_UNITS: usize = 4;

impl ByteSize {
    pub(super) const ALLOWED: &str =
        r#"a number of bytes, or one with a unit (KiB, MiB, GiB, TiB, KB, MB, GB, TB)"#;

    /// Makes a size of this many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Returns the number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    pub(super) fn parse(text: &str) -> Result<Self, ValueProblem> {
        let (number, unit) = UNITS
            .iter()
            .find_map(|&(name, unit)| Some((text.strip_suffix(name)?, unit)))
            .unwrap_or((text, 1));
        let number = integer(number).ok_or(ValueProblem::Malformed("a size"))?;
        u64::try_from(number)
            .ok()
            .and_then(|number| number.checked_mul(unit))
            .map(Self)
            .ok_or(ValueProblem::OutOfRange)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS[..BINARY_UNITS]
            .iter()
            .find(|(_, unit)| self.0 != 0 && self.0.is_multiple_of(*unit));
        match unit {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for ByteSize {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Self::parse(text).map_err(|problem| ValueError::of_text(text, problem, Self::ALLOWED))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_unit_is_read() {
        for (text, bytes) in [
            ("0", 0),
            ("10_000", 10_000),
            ("64KiB", 65_536),
            ("512MiB", 536_870_912),
            ("1GiB", 1_073_741_824),
            ("1TiB", 1_099_511_627_776),
            ("64KB", 64_000),
            ("2MB", 2_000_000),
            ("3GB", 3_000_000_000),
            ("4TB", 4_000_000_000_000),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize::new(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in ["", "MiB", "512 MiB", "512mib", "512M", "1.5GiB", "many"] {
            let malformed = Err(ValueProblem::Malformed("a size"));
            assert_eq!(ByteSize::parse(text), malformed, "{text}");
        }
        for text in ["-1", "18446744073709551616", "16777216TiB"] {
            assert_eq!(
                ByteSize::parse(text),
                Err(ValueProblem::OutOfRange),
                "{text}"
            );
        }
    }

    #[test]
    fn the_error_says_what_is_allowed() {
        let error = "512M".parse::<ByteSize>().unwrap_err();
        assert_eq!(
            error.to_string(),
            r#""512M" is not a size; allowed: a number of bytes, or one with a unit (KiB, MiB, GiB, TiB, KB, MB, GB, TB)"#
        );
    }

    proptest! {
        #[test]
        fn a_shown_size_reads_the_same(bytes: u64, shift in 0..64) {
            let size = ByteSize::new(bytes >> shift << (shift / 2));
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }

        #[test]
        fn no_text_panics(text in "\\PC*|-?[0-9_]{0,30}[KMGT]?i?B?") {
            let _ = text.parse::<ByteSize>();
        }
    }
}
