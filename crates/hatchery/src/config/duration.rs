//! Durations as text: `5s`, `500ms`, `1m30s`.

use std::time::Duration;

use super::error::ValueProblem;

/// The units and their microseconds, from the longest, which is also the order in a text.
const UNITS: [(&str, u64); 5] = [
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// Reads a duration such as `1m30s`: numbers with units, the longest unit first and none twice.
pub(super) fn parse(text: &str) -> Result<Duration, ValueProblem> {
    const MALFORMED: ValueProblem = ValueProblem::Malformed("a duration");
    if text.is_empty() {
        return Err(MALFORMED);
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ValueProblem::MissingUnit {
            write: format!("{text}s"),
        });
    }
    let mut units = UNITS.iter();
    let mut rest = text;
    let mut micros = 0_u64;
    while !rest.is_empty() {
        let (digits, tail) = split_where(rest, |char| !char.is_ascii_digit());
        let (name, tail) = split_where(tail, |char| char.is_ascii_digit());
        let unit = units.find(|(unit, _)| *unit == name);
        let Some(&(_, unit)) = unit.filter(|_| !digits.is_empty()) else {
            return Err(MALFORMED);
        };
        let number = digits.parse().map_err(|_| ValueProblem::OutOfRange)?;
        micros = unit
            .checked_mul(number)
            .and_then(|part| micros.checked_add(part))
            .ok_or(ValueProblem::OutOfRange)?;
        rest = tail;
    }
    Ok(Duration::from_micros(micros))
}

/// Writes a duration as [`parse`] reads it.
///
/// What is finer than a microsecond is rounded up, so that a short time does not become none.
pub(super) fn show(duration: Duration) -> String {
    let micros = duration.as_nanos().div_ceil(1000);
    let mut rest = u64::try_from(micros).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (name, unit) in UNITS {
        if rest >= unit {
            text += &format!("{}{name}", rest / unit);
            rest %= unit;
        }
    }
    text
}

/// Splits `text` before the first character of which `found` is true.
fn split_where(text: &str, found: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(found).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_unit_and_a_mixture_is_read() {
        for (text, micros) in [
            ("0s", 0),
            ("7us", 7),
            ("500ms", 500_000),
            ("5s", 5_000_000),
            ("1m", 60_000_000),
            ("2h", 7_200_000_000),
            ("1m30s", 90_000_000),
            ("90s", 90_000_000),
            ("1h1us", 3_600_000_001),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_micros(micros)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in [
            "",
            "s",
            "5 s",
            "5S",
            "-5s",
            "+5s",
            "5.5s",
            "30s1m",
            "1s1s",
            "5 parsecs",
            "5s5",
            "٣s",
        ] {
            let malformed = ValueProblem::Malformed("a duration");
            assert_eq!(parse(text), Err(malformed), "{text}");
        }
        for text in [
            "18446744073709551616us",
            "18446744073709551615h",
            "5124095577h",
        ] {
            assert_eq!(parse(text), Err(ValueProblem::OutOfRange), "{text}");
        }
    }

    #[test]
    fn a_number_without_unit_is_answered_with_one() {
        let write = "5s".to_owned();
        assert_eq!(parse("5"), Err(ValueProblem::MissingUnit { write }));
    }

    #[test]
    fn what_is_too_fine_or_too_long_is_shown_as_the_next_best() {
        assert_eq!(show(Duration::from_nanos(1)), "1us");
        let longest = Duration::from_micros(u64::MAX);
        assert_eq!(parse(&show(Duration::MAX)), Ok(longest));
    }

    proptest! {
        #[test]
        fn a_shown_duration_reads_the_same(micros: u64) {
            let duration = Duration::from_micros(micros);
            prop_assert_eq!(parse(&show(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in "\\PC*|[0-9hmsu]{0,30}") {
            let _ = parse(&text);
        }
    }
}
