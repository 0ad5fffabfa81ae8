//! Sizes and durations as a person writes them: `64KiB`, `10MB`, `500ms`, `2m`.
//!
//! A value is a whole number and one unit. What is printed can be read back: [`print_size`] and [`print_duration`] take
//! the largest unit that loses nothing.

use std::time::Duration;
use thiserror::Error;

/// What [`parse_size`] accepts, for error messages and help.
pub const SIZES: &str = "bytes, or a whole number with B, KiB, MiB, GiB, TiB (1024) or kB, MB, GB, TB (1000)";

/// What [`parse_duration`] accepts, for error messages and help.
pub const DURATIONS: &str = "a whole number with ms, s, m or h";

/// Why a text is not a size or a duration.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SizeError {
    /// There is no whole number in front.
    #[error("{given:?} does not start with a whole number, accepted: {accepted}")]
    Number {
        /// What was given.
        given: String,
        /// What would have been understood.
        accepted: &'static str,
    },
    /// The unit is missing where one is needed, or is not known.
    #[error("{given:?} has the unit {unit:?}, accepted: {accepted}")]
    Unit {
        /// What was given.
        given: String,
        /// The part behind the number.
        unit: String,
        /// What would have been understood.
        accepted: &'static str,
    },
    /// The value does not fit into 64 bits of bytes or of milliseconds.
    #[error("{given:?} is too large")]
    TooLarge {
        /// What was given.
        given: String,
    },
}

/// Reads a size in bytes.
///
/// ```
/// use versile_io::tool::size::parse_size;
/// assert_eq!(parse_size("64KiB"), Ok(65_536));
/// assert_eq!(parse_size("10MB"), Ok(10_000_000));
/// assert_eq!(parse_size("512"), Ok(512));
/// assert!(parse_size("64Kib/s").is_err());
/// ```
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    parse(text, SIZE_UNITS, SIZES)
}

/// Writes a size so that [`parse_size`] reads the same number of bytes.
pub fn print_size(bytes: u64) -> String {
    print(bytes, SIZE_UNITS)
}

/// Reads a duration. A bare number is refused, since it does not say whether seconds or milliseconds are meant.
///
/// ```
/// use std::time::Duration;
/// use versile_io::tool::size::parse_duration;
/// assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
/// assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
/// assert!(parse_duration("10").is_err());
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, SizeError> {
    parse(text, DURATION_UNITS, DURATIONS).map(Duration::from_millis)
}

/// Writes a duration so that [`parse_duration`] reads the same number of milliseconds; what is below one is cut off.
pub fn print_duration(duration: Duration) -> String {
    print(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), DURATION_UNITS)
}

/// A unit as it is written, and how much it is worth.
type Unit = (&'static str, u64);

/// The first unit of a value is the one it is printed in, so the largest stand first, and those of 1024 before those of
/// 1000.
const SIZE_UNITS: &[Unit] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("", 1),
    ("B", 1),
];

/// In milliseconds.
const DURATION_UNITS: &[Unit] = &[("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

fn parse(text: &str, units: &[Unit], accepted: &'static str) -> Result<u64, SizeError> {
    let given = || text.to_owned();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    if number.is_empty() {
        return Err(SizeError::Number { given: given(), accepted });
    }
    let Some((_, worth)) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) else {
        return Err(SizeError::Unit { given: given(), unit: unit.to_owned(), accepted });
    };
    // Only the size of the number can be wrong with it: it is digits.
    let number: u64 = number.parse().map_err(|_| SizeError::TooLarge { given: given() })?;
    number.checked_mul(*worth).ok_or_else(|| SizeError::TooLarge { given: given() })
}

fn print(value: u64, units: &[Unit]) -> String {
    // Nothing is a whole number of every unit; it is written in the smallest.
    let fits = |worth: u64| if value == 0 { worth == 1 } else { value.is_multiple_of(worth) };
    let (name, worth) = units.iter().find(|(_, worth)| fits(*worth)).copied().unwrap_or(("", 1));
    format!("{}{name}", value / worth)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("0", 0),
            ("1", 1),
            ("7B", 7),
            ("1kB", 1_000),
            ("1KB", 1_000),
            ("64KiB", 65_536),
            ("64kib", 65_536),
            ("1MiB", 1 << 20),
            ("10MB", 10_000_000),
            ("2GiB", 2 << 30),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_named() {
        for (text, message) in [
            ("", r#""" does not start with a whole number, accepted: bytes, or"#),
            ("-1", r#""-1" does not start with a whole number"#),
            ("+1", r#""+1" does not start with a whole number"#),
            ("1.5MiB", r#""1.5MiB" has the unit ".5MiB", accepted: bytes, or"#),
            ("1 MiB", r#""1 MiB" has the unit " MiB""#),
            ("5 apples", r#""5 apples" has the unit " apples""#),
            ("18446744073709551616", r#""18446744073709551616" is too large"#),
            ("99999999TiB", r#""99999999TiB" is too large"#),
        ] {
            let error = parse_size(text).expect_err(text).to_string();
            assert!(error.starts_with(message), "{text}: {error}");
        }
    }

    #[test]
    fn durations_are_read() {
        for (text, millis) in [("0s", 0), ("500ms", 500), ("10s", 10_000), ("2m", 120_000), ("1h", 3_600_000)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "10", "s", "1.5s", "10 s", "3d", "99999999999999999999s"] {
            parse_duration(text).expect_err(text);
        }
    }

    #[test]
    fn the_largest_exact_unit_is_printed() {
        for (bytes, text) in
            [(0, "0"), (1, "1"), (1_024, "1KiB"), (1_025, "1025"), (1_000_000, "1MB"), (5 << 20, "5MiB")]
        {
            assert_eq!(print_size(bytes), text);
        }
        for (millis, text) in [(0, "0ms"), (1, "1ms"), (1_500, "1500ms"), (90_000, "90s"), (3_600_000, "1h")] {
            assert_eq!(print_duration(Duration::from_millis(millis)), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(value: u64) {
            prop_assert_eq!(parse_size(&print_size(value)), Ok(value));
            let duration = Duration::from_millis(value);
            prop_assert_eq!(parse_duration(&print_duration(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = parse_size(&text);
            let _ = parse_duration(&text);
        }
    }
}
