//! Sensor Measurement Lists (RFC 8428) in JSON: each entry becomes a record with its base values resolved.

use super::members::{Members, is_number};
use super::time::{Unix, unix};
use super::{About, Content, DecodeError, Format, Kind, Part, Utf8, split};
use serde_json::value::RawValue;

/// The row of this format in the table of decoders.
pub const KIND: Kind = Kind::without_keys::<SenMl>(
    "senml",
    "Sensor Measurement Lists (RFC 8428) in JSON: a record for each entry, base values resolved, `t` is its time.",
);

/// The version of the format that is known (RFC 8428, section 4.4).
const VERSION: f64 = 10.0;
/// Times below this many seconds are relative to the moment of reading (RFC 8428, section 4.5.3).
const RELATIVE: f64 = 268_435_456.0;

/// The settings of the decoder `senml`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct SenMl;

/// The base values that hold for an entry.
#[derive(Debug, Default)]
struct Base {
    name: String,
    time: f64,
    unit: Option<String>,
    value: Option<f64>,
    sum: Option<f64>,
}

impl Format for SenMl {
    fn name(&self) -> &'static str {
        KIND.name
    }

    fn is_by_line(&self) -> bool {
        false
    }

    fn decode<'m>(&self, message: &'m [u8], about: &About<'_>) -> Result<Content<'m>, DecodeError> {
        let entries: Vec<&RawValue> = serde_json::from_str(Utf8::check(message)?)
            .map_err(|error| DecodeError::SenMl(format!("a list of entries is wanted: {error}")))?;
        let mut base = Base::default();
        let (mut readings, mut bytes): (Vec<Part>, _) = (Vec::new(), 0);
        for entry in entries {
            let entry = Members::parse(entry.get()).ok_or_else(|| wrong("an entry", "no object", entry.get()))?;
            readings.extend(base.resolve(&entry, about.arrival_us)?);
            bytes += readings.last().map_or(0, |(reading, _)| reading.len());
            split::bounded(readings.len(), bytes)?;
        }
        if readings.is_empty() {
            Err(DecodeError::Empty("an entry with a value"))
        } else {
            Ok(Content::Readings(readings.into_iter().map(Ok).collect()))
        }
    }
}

impl Base {
    /// An entry with the base values in it, and its time in microseconds since 1970. An entry that has only base
    /// values is no reading. A time relative to the sending counts from the arrival. While the clock cannot be
    /// trusted, it stays in the record as `t`.
    fn resolve(
        &mut self,
        entry: &Members<'_>,
        arrival_us: Option<i64>,
    ) -> Result<Option<(String, Option<i64>)>, DecodeError> {
        let (mut name, mut unit, mut time) = (None, None, None);
        let mut rest = Members::default();
        let mut is_reading = false;
        for (label, value) in &entry.0 {
            let label = label.as_ref();
            match label {
                "bn" => self.name = text(label, value)?,
                "bt" => self.time = number(label, value)?,
                "bu" => self.unit = Some(text(label, value)?),
                "bv" => self.value = Some(number(label, value)?),
                "bs" => self.sum = Some(number(label, value)?),
                "bver" if number(label, value)? > VERSION => return Err(wrong(label, "newer than 10", value)),
                "bver" => {}
                "n" => name = Some(text(label, value)?),
                "u" => unit = Some(text(label, value)?),
                "t" => time = Some(number(label, value)?),
                _ if label.ends_with('_') => return Err(wrong(label, "a label that must be understood", value)),
                _ => {
                    is_reading |= matches!(label, "v" | "vs" | "vb" | "vd" | "s");
                    rest.push_json(label.to_string(), value.to_string());
                }
            }
        }
        if !is_reading {
            return Ok(None);
        }
        for (label, value) in &mut rest.0 {
            let base = match label.as_ref() {
                "v" => self.value,
                "s" => self.sum,
                _ => None,
            };
            if let Some(base) = base {
                let sum = base + number(label, value)?;
                *value = if sum.is_finite() {
                    sum.to_string().into()
                } else {
                    return Err(wrong(label, "too large", value));
                };
            }
        }
        let name = self.name.clone() + name.as_deref().unwrap_or_default();
        if name.is_empty() {
            return Err(DecodeError::SenMl("an entry has no name: neither `n` nor `bn`".into()));
        }
        let time = self.time + time.unwrap_or(0.0);
        let of_seconds = |time: f64| {
            unix(&time.to_string(), Unix::Seconds).ok_or_else(|| DecodeError::SenMl(format!("{time} s is no time")))
        };
        let time_us = match arrival_us {
            _ if time >= RELATIVE => Some(of_seconds(time)?),
            Some(arrival_us) if time != 0.0 => Some(arrival_us.saturating_add(of_seconds(time)?)),
            _ => None,
        };
        let mut members = Members::default();
        members.push_text("n", &name);
        if let Some(unit) = unit.as_ref().or(self.unit.as_ref()) {
            members.push_text("u", unit);
        }
        members.0.extend(rest.0);
        if time != 0.0 && time_us.is_none() {
            members.push_json("t", time.to_string());
        }
        Ok(Some((members.to_json(), time_us)))
    }
}

fn wrong(label: &str, why: &str, value: &str) -> DecodeError {
    let value: String = value.chars().take(40).collect();
    DecodeError::SenMl(format!("`{label}` is {why}: {value}"))
}

fn text(label: &str, value: &str) -> Result<String, DecodeError> {
    serde_json::from_str(value).map_err(|_| wrong(label, "no text", value))
}

fn number(label: &str, value: &str) -> Result<f64, DecodeError> {
    let number = is_number(value).then(|| value.parse().ok()).flatten().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| wrong(label, "no number", value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(message: &str) -> Result<Vec<(String, Option<i64>)>, String> {
        match SenMl.decode(message.as_bytes(), &About::default()) {
            Ok(Content::Readings(readings)) => Ok(readings.into_iter().map(Result::unwrap).collect()),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    /// RFC 8428, section 5.1.3 and 5.1.2.
    #[test]
    fn base_values_are_resolved_as_in_the_rfc() {
        let message = r#"[{"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1},
            {"n":"current","t":-5,"v":1.2},{"n":"open","vb":true,"t":1},{"bn":"x","bv":10,"bt":0},{"v":0.5},{"vs":"ä"}]"#;
        let at = |seconds: i64| Some(1_276_020_076_001_000 + seconds * 1_000_000);
        let own = |json: &str, time| (json.to_string(), time);
        assert_eq!(
            readings(message).unwrap(),
            [
                own(r#"{"n":"urn:dev:ow:10e2073a0108006:voltage","u":"V","v":120.1}"#, at(0)),
                own(r#"{"n":"urn:dev:ow:10e2073a0108006:current","u":"A","v":1.2}"#, at(-5)),
                own(r#"{"n":"urn:dev:ow:10e2073a0108006:open","u":"A","vb":true}"#, at(1)),
                own(r#"{"n":"x","u":"A","v":10.5}"#, None),
                own(r#"{"n":"x","u":"A","vs":"ä"}"#, None),
            ]
        );
    }

    /// RFC 8428, section 4.5.3: times below 2^28 count from now.
    #[test]
    fn a_time_relative_to_the_sending_counts_from_the_arrival() {
        let message = br#"[{"n":"a","v":1,"t":-5},{"n":"a","v":2}]"#;
        let read = |arrival_us| match SenMl.decode(message, &About { arrival_us, ..About::default() }) {
            Ok(Content::Readings(readings)) => readings.into_iter().map(Result::unwrap).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        let own = |json: &str, time| (json.to_string(), time);
        let plain = own(r#"{"n":"a","v":2}"#, None);
        assert_eq!(read(Some(60_000_000)), [own(r#"{"n":"a","v":1}"#, Some(55_000_000)), plain.clone()]);
        assert_eq!(read(None), [own(r#"{"n":"a","v":1,"t":-5}"#, None), plain], "while no clock can be trusted");
    }

    #[test]
    fn what_is_no_senml_is_refused() {
        for (message, why) in [
            ("{}", "a list of entries"),
            ("[1]", "no object"),
            (r#"[{"v":1}]"#, "has no name"),
            (r#"[{"n":"a"}]"#, "an entry with a value"),
            (r#"[{"n":1,"v":1}]"#, "`n` is no text: 1"),
            (r#"[{"n":"a","v":1,"t":"x"}]"#, "`t` is no number"),
            (r#"[{"n":"a","bv":1,"v":"x"}]"#, "`v` is no number"),
            (r#"[{"n":"a","v":1,"t":1e300}]"#, "is no time"),
            (r#"[{"n":"a","v":1e308,"bv":1.7e308}]"#, "too large"),
            (r#"[{"n":"a","v":1,"bver":11}]"#, "newer than 10"),
            (r#"[{"n":"a","v":1,"new_":1}]"#, "must be understood"),
        ] {
            assert!(readings(message).unwrap_err().contains(why), "{message}: {:?}", readings(message));
        }
    }
}
