//! Sizes and durations as people write them: `"64MiB"`, `"5s"`. Bare numbers are refused: they do
//! not say what they count.

use serde::de::{Deserialize, Deserializer, Error};
use std::str::FromStr;
use std::time::Duration;

/// Bytes: `"512"` is refused, `"512B"`, `"64KiB"`, `"64MiB"`, `"2GiB"`, `"1MB"` are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

/// A time span: `"250ms"`, `"5s"`, `"10m"`, `"2h"`, `"30d"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text, &SIZES, "64MiB").map(Self).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, &SPANS, "5s").map(|ms| Self(Duration::from_millis(ms)))
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
}
