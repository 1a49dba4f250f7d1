//! Durations as one types them: `500ms`, `5s`, `1m`.

use std::num::ParseIntError;
use std::time::Duration;

/// Parses a whole number and its unit: `ms`, `s` or `m`.
///
/// # Errors
///
/// Returns [`ParseDurationError`] if the number or the unit is not one, or if the result is zero.
pub(crate) fn parse(text: &str) -> Result<Duration, ParseDurationError> {
    let unit_at = text
        .find(|character: char| !character.is_ascii_digit())
        .ok_or(ParseDurationError::Unit)?;
    let (number, unit) = text.split_at(unit_at);
    let number: u32 = number.parse()?;
    let duration = match unit {
        "ms" => Duration::from_millis(1) * number,
        "s" => Duration::from_secs(1) * number,
        "m" => Duration::from_secs(60) * number,
        _ => return Err(ParseDurationError::Unit),
    };
    if duration.is_zero() {
        return Err(ParseDurationError::Zero);
    }
    Ok(duration)
}

/// Why a text is not a duration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ParseDurationError {
    /// There is no whole number in front.
    #[error("not a whole number")]
    Number(#[from] ParseIntError),
    /// The unit is missing or unknown.
    #[error("the unit must be ms, s or m, as in 500ms")]
    Unit,
    /// Nothing can be measured in no time.
    #[error("must be more than zero")]
    Zero,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unit_is_understood() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(parse("1m"), Ok(Duration::from_secs(60)));
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        assert_eq!(parse("5"), Err(ParseDurationError::Unit));
        assert_eq!(parse("5h"), Err(ParseDurationError::Unit));
        assert_eq!(parse("1.5s"), Err(ParseDurationError::Unit));
        assert_eq!(parse("0s"), Err(ParseDurationError::Zero));
        assert!(matches!(parse("s"), Err(ParseDurationError::Number(_))));
        assert!(matches!(
            parse("99999999999s"),
            Err(ParseDurationError::Number(_))
        ));
    }
}
