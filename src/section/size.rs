//! Sizes and durations as people write them: `"64MiB"`, `"5s"`. Numbers without a unit are refused, because they do
//! not say what they count.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes. `"512B"`, `"64KiB"`, `"64MiB"`, `"2GiB"`, `"1MB"` are read, `"512"` is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// A duration: `"250ms"`, `"5s"`, `"10m"`, `"2h"`, `"30d"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

const SIZES: [(&str, u64); 7] = [
    ("B", 1),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];
const SPANS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

fn parse(text: &str, units: &[(&str, u64)], example: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let help = || format!("`{text}` needs a whole number and a unit, as in \"{example}\"");
    let number: u64 = number.parse().map_err(|_| help())?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(help)?;
    number.checked_mul(*factor).ok_or_else(|| format!("`{text}` is too large"))
}

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, &SIZES, "64MiB").map(Self)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, &SPANS, "5s").map(|ms| Self(Duration::from_millis(ms)))
    }
}

/// Writes a number with the largest unit of which it is a whole multiple.
fn write(
    f: &mut fmt::Formatter<'_>,
    number: u64,
    units: impl DoubleEndedIterator<Item = (&'static str, u64)>,
) -> fmt::Result {
    match units.rev().find(|(_, factor)| number > 0 && number.is_multiple_of(*factor)) {
        Some((name, factor)) => write!(f, "{}{name}", number / factor),
        None => write!(f, "0s"),
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0B");
        }
        // The powers of two come last in the table, so they are tried first. A size is rarely a whole multiple of
        // both kinds.
        write(f, self.0, SIZES.into_iter())
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), SPANS.into_iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_needed_and_known() {
        assert_eq!(parse("64MiB", &SIZES, ""), Ok(64 << 20));
        assert_eq!(parse("1 MB", &SIZES, ""), Ok(1_000_000));
        assert_eq!(parse("250ms", &SPANS, ""), Ok(250));
        for bad in ["", "5", "MiB", "-1s", "1.5s", "5 parsecs", "99999999999999999999d", "999999999999999d"] {
            assert!(parse(bad, &SPANS, "5s").is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["1B", "64MiB", "1GiB", "1MB", "4KiB", "1000B"] {
            let size: Bytes = text.parse().unwrap();
            assert_eq!(size.to_string().parse(), Ok(size), "{text}");
        }
        assert_eq!(Bytes(64 << 20).to_string(), "64MiB");
        for text in ["250ms", "1s", "90s", "1h", "7d", "5m"] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.to_string(), text);
        }
        assert_eq!((Bytes(0).to_string(), Span(Duration::ZERO).to_string()), ("0B".into(), "0s".into()));
    }
}
