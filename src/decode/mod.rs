//! Decodes messages into records: checks, extracts and converts them.
//!
//! Invariants: a message that needs no conversion stays verbatim; a message gives a record, or an error with the
//! reason; no input panics; the work is linear in the length of the message.

pub mod csv;
pub mod influx;
pub mod key_value;
pub mod members;
pub mod nmea;
mod plain;
mod rule;
mod strict;
pub mod time;

pub use csv::Csv;
pub use influx::Influx;
pub use key_value::KeyValue;
pub use nmea::Nmea;
pub use plain::{Binary, Json, Ndjson, Text};
pub use rule::{Decoder, TYPES, Time, TimeFormat, Type, Unix, member};

use crate::flow::record::PayloadKind;
use crate::section::{Same, Section};
use bytes::Bytes;
use members::{Members, find, is_number, quoted, text};
use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

/// The reason why a message is not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The message is empty.
    #[error("empty; there must be {0}")]
    Empty(&'static str),
    /// The message is not JSON.
    #[error("not JSON: {0}")]
    Json(String),
    /// The message is JSON, but not an object.
    #[error("no JSON object, which the rules for its members need")]
    NoObject,
    /// The message is not UTF-8, from this byte on.
    #[error("not UTF-8: the byte at {0} is not allowed there")]
    Utf8(usize),
    /// The message is not delimited values that fit the header.
    #[error("not CSV: {0}")]
    Csv(String),
    /// The message is not an NMEA 0183 sentence.
    #[error("not NMEA 0183: {0}")]
    Nmea(String),
    /// The message does not consist of names and values.
    #[error("not name and value: {0}")]
    KeyValue(String),
    /// The message is not a point of Influx line protocol.
    #[error("not Influx line protocol: {0}")]
    Influx(String),
    /// The device's time is missing, or cannot be read.
    #[error("no time: {0}")]
    Time(String),
    /// The value of a member cannot have the wanted type.
    #[error("`{member}` = {value} is no {wanted}")]
    Type {
        /// The name of the member.
        member: String,
        /// The value of the member, cut to 100 characters.
        value: String,
        /// The type that the value should have.
        wanted: &'static str,
    },
}

impl DecodeError {
    /// The error when the line that names the columns is wrong.
    fn of_header(self) -> Self {
        Self::Csv(format!("the line that names the columns is {self}"))
    }
}

/// The decoded form of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The kind of the payload: JSON, text or bytes.
    pub kind: PayloadKind,
    /// The payload that the message was converted to; `None` when the message stays as it is.
    pub payload: Option<Bytes>,
    /// The device's time, in microseconds since 1970-01-01 UTC.
    pub device_time_us: Option<i64>,
    /// The names and values that were extracted from the message.
    pub attributes: Vec<(Box<str>, Box<str>)>,
}

/// Checks for UTF-8, with our error.
pub(crate) struct Utf8;

impl Utf8 {
    pub(crate) fn check(bytes: &[u8]) -> Result<&str, DecodeError> {
        std::str::from_utf8(bytes).map_err(|error| DecodeError::Utf8(error.valid_up_to()))
    }
}

/// The content of a message, as its format reads it.
#[derive(Debug)]
pub enum Content<'m> {
    /// The message stays as it is, and has no members.
    Verbatim(PayloadKind),
    /// The message is JSON. It stays as it is, unless rules select or convert its members.
    Json(&'m str),
    /// The message became members. It may have brought its time, in microseconds since 1970-01-01 UTC.
    Members(Members<'static>, Option<i64>),
}

/// A format of messages.
pub trait Format: Same + Debug + Send + Sync {
    /// The format's name in a configuration.
    fn name(&self) -> &'static str;

    /// Whether decoded messages have members that can be named.
    fn has_members(&self) -> bool {
        true
    }

    /// Whether a message has a record on each of its lines.
    fn is_by_line(&self) -> bool {
        true
    }

    /// Whether a line is not a message: blank, or a comment where there are comments. The line has no white space
    /// around it.
    fn skips(&self, line: &[u8]) -> bool {
        line.is_empty()
    }

    /// The character between values, for formats in which the first line of a file or message names the columns.
    fn header(&self) -> Option<u8> {
        None
    }

    /// Reads one message. `header` is the line that names the columns (csv), or the unit of times (Influx).
    ///
    /// # Errors
    /// The message does not have this format.
    fn decode<'m>(&self, message: &'m [u8], header: Option<&[u8]>) -> Result<Content<'m>, DecodeError>;
}

/// A kind of decoder.
pub struct Kind {
    /// The name in the configuration: `decoder = "NAME"`.
    pub name: &'static str,
    /// A sentence for the reference.
    pub doc: &'static str,
    /// The keys that only this decoder has.
    pub keys: &'static [&'static str],
    /// Reads the settings.
    pub read: fn(&mut Section<'_>) -> Arc<dyn Format>,
    /// Returns the format with its default settings.
    pub usual: fn() -> Arc<dyn Format>,
}

impl Kind {
    /// A kind that has no settings.
    const fn without_keys<F: Format + Default + 'static>(name: &'static str, doc: &'static str) -> Self {
        let usual = || Arc::new(F::default()) as Arc<dyn Format>;
        Self { name, doc, keys: &[], read: |_| Arc::new(F::default()), usual }
    }
}

/// Every kind of decoder there is.
pub const KINDS: &[Kind] =
    &[plain::JSON, plain::NDJSON, csv::KIND, nmea::KIND, key_value::KIND, influx::KIND, plain::TEXT, plain::BYTES];

impl Decoder {
    /// Whether a line is no message.
    #[must_use]
    pub fn skips(&self, line: &[u8]) -> bool {
        self.format.skips(line.trim_ascii())
    }

    /// Reads one message. `header` is the line that names the columns (csv), or the unit of times (Influx).
    ///
    /// # Errors
    /// The decoder cannot read the message, or the message breaks one of its rules.
    pub fn decode(&self, message: &[u8], header: Option<&[u8]>) -> Result<Decoded, DecodeError> {
        match self.format.decode(message, header)? {
            Content::Verbatim(kind) => Ok(Decoded::verbatim(kind)),
            Content::Json(text) => self.extract(Cow::Borrowed(text), None),
            Content::Members(mut members, time) => {
                if self.keep_raw {
                    members.push_text("raw", &String::from_utf8_lossy(message));
                }
                self.extract(Cow::Owned(members.to_json()), time)
            }
        }
    }

    /// Applies the rules for members to a JSON text.
    fn extract(&self, json: Cow<'_, str>, time: Option<i64>) -> Result<Decoded, DecodeError> {
        let device_time_us = match &self.time {
            Some(rule) => Some(time::read(rule, &json)?),
            None => time,
        };
        let value = |(name, member): &(String, String)| {
            Some((name.as_str().into(), text(find(&json, member)?).into_owned().into_boxed_str()))
        };
        let attributes = self.attributes.iter().filter_map(value).collect();
        let payload = if self.fields.is_empty() && self.types.is_empty() {
            match json {
                Cow::Borrowed(_) => None,
                Cow::Owned(made) => Some(made),
            }
        } else {
            Some(self.select(&json)?.to_json())
        };
        Ok(Decoded { kind: PayloadKind::Json, payload: payload.map(Bytes::from), device_time_us, attributes })
    }

    fn select<'a>(&self, json: &'a str) -> Result<Members<'a>, DecodeError> {
        let mut members = Members::parse(json).ok_or(DecodeError::NoObject)?;
        if !self.fields.is_empty() {
            let found = |name: &String| Some((Cow::Owned(name.clone()), Cow::Borrowed(find(json, name)?)));
            members = Members(self.fields.iter().filter_map(found).collect());
        }
        for (name, value) in &mut members.0 {
            if let Some((_, wanted)) = self.types.iter().find(|(member, _)| member == name) {
                *value = converted(name, value, *wanted)?.into();
            }
        }
        Ok(members)
    }
}

impl Decoded {
    fn verbatim(kind: PayloadKind) -> Self {
        Self { kind, payload: None, device_time_us: None, attributes: Vec::new() }
    }
}

/// A JSON value as another type; null stays null.
fn converted(name: &str, json: &str, wanted: Type) -> Result<String, DecodeError> {
    if json == "null" {
        return Ok(json.into());
    }
    let plain_text = text(json);
    let word = plain_text.trim();
    let (made, what) = match wanted {
        Type::String => (Some(if json.starts_with('"') { json.to_string() } else { quoted(json) }), "text"),
        Type::Bool => (
            match word {
                "true" | "1" => Some("true".to_string()),
                "false" | "0" => Some("false".to_string()),
                _ => None,
            },
            "truth value (true, false, 1, 0)",
        ),
        Type::Float => (number(word), "number"),
        Type::Int => (number(word).filter(|text| !text.contains(['.', 'e', 'E'])), "whole number"),
    };
    let error = || DecodeError::Type { member: name.into(), value: json.chars().take(100).collect(), wanted: what };
    made.ok_or_else(error)
}

/// A number as JSON writes it: also from `+1`, `007`, `.5`.
fn number(word: &str) -> Option<String> {
    if is_number(word) {
        return Some(word.into());
    }
    let (sign, digits) = match word.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", word.strip_prefix('+').unwrap_or(word)),
    };
    let digits = digits.trim_start_matches('0');
    let zero = if digits.is_empty() || digits.starts_with(['.', 'e', 'E']) { "0" } else { "" };
    let made = format!("{sign}{zero}{digits}");
    (word.ends_with(|c: char| c.is_ascii_digit()) && members::plain(&made) == made).then_some(made)
}

/// The lines of a block, without `\n` and `\r\n`.
pub fn lines(block: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    let whole = block.strip_suffix(b"\n").unwrap_or(block);
    whole.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    fn decoder(format: impl Format) -> Decoder {
        Decoder::new(format)
    }

    fn payload(decoder: &Decoder, message: &str, header: Option<&str>) -> String {
        let record = decoder.decode(message.as_bytes(), header.map(str::as_bytes)).unwrap();
        String::from_utf8(record.payload.unwrap().to_vec()).unwrap()
    }

    #[test]
    fn json_is_any_one_value_and_nothing_else_and_stays_verbatim() {
        let json = decoder(Json);
        for good in ["1", " {\"a\":[1,2]}\n", "\"x\"", "null", "-1.5e-3"] {
            assert_eq!(json.decode(good.as_bytes(), None), Ok(Decoded::verbatim(PayloadKind::Json)), "{good}");
        }
        for bad in ["{", "1 2", "{\"a\":}", "NaN", "01", "'a'"] {
            assert!(matches!(json.decode(bad.as_bytes(), None), Err(DecodeError::Json(_))), "{bad}");
        }
        assert!(matches!(json.decode(b"  ", None), Err(DecodeError::Empty(_))));
        assert_eq!(json.decode(b"\"\xff\"", None), Err(DecodeError::Utf8(1)));
        let deep = "[".repeat(100_000);
        assert!(json.decode(deep.as_bytes(), None).is_err(), "deep nesting is refused, not a stack overflow");
    }

    #[test]
    fn text_is_utf8_and_may_be_empty_and_bytes_are_anything() {
        let text = decoder(Text);
        assert!(text.decode(b"", None).is_ok() && text.decode("21 °C".as_bytes(), None).is_ok());
        assert_eq!(text.decode(b"ab\xc3", None), Err(DecodeError::Utf8(2)));
        assert_eq!(decoder(Binary).decode(b"\xff\0", None), Ok(Decoded::verbatim(PayloadKind::Bytes)));
    }

    #[test]
    fn members_are_chosen_typed_timed_and_made_attributes() {
        let mut json = decoder(Json);
        json.fields = vec!["t".into(), "dev.id".into(), "missing".into()];
        json.types = vec![("t".into(), Type::Float), ("dev.id".into(), Type::String)];
        json.attributes = vec![("device".into(), "dev.id".into()), ("none".into(), "x".into())];
        json.time = Some(Time { member: "ts".into(), format: TimeFormat::Unix(Unix::Millis), zone: TimeZone::UTC });
        let message = r#"{"ts":1714564800001,"t":"021.50","dev":{"id":7},"x.y":1}"#;
        let decoded = json.decode(message.as_bytes(), None).unwrap();
        assert_eq!(decoded.payload.as_deref(), Some(&br#"{"t":21.50,"dev.id":"7"}"#[..]));
        assert_eq!(decoded.device_time_us, Some(1_714_564_800_001_000));
        assert_eq!(decoded.attributes, [("device".into(), "7".into())]);
        let error = json.decode(br#"{"ts":1,"t":"warm"}"#, None).unwrap_err().to_string();
        assert_eq!(error, "`t` = \"warm\" is no number");
        assert_eq!(json.decode(b"[1]", None).unwrap_err().to_string(), "no time: there is no `ts`");
        json.time = None;
        assert_eq!(json.decode(b"[1]", None), Err(DecodeError::NoObject));
    }

    #[test]
    fn types_convert_or_refuse() {
        for (json, wanted, made) in [
            ("\"+07\"", Type::Int, Some("7")),
            ("1.5", Type::Int, None),
            ("\".5\"", Type::Float, Some("0.5")),
            ("\"-0\"", Type::Float, Some("-0")),
            ("\"1.\"", Type::Float, None),
            ("\"\"", Type::Float, None),
            ("1", Type::Bool, Some("true")),
            ("\"no\"", Type::Bool, None),
            ("21.50", Type::String, Some("\"21.50\"")),
            ("null", Type::Int, Some("null")),
        ] {
            assert_eq!(converted("x", json, wanted).ok().as_deref(), made, "{json} {wanted:?}");
        }
    }

    #[test]
    fn what_is_converted_becomes_json_and_keeps_its_raw_text_if_asked() {
        let mut csv = decoder(Csv::default());
        assert_eq!(payload(&csv, "1,x", Some("a,b")), r#"{"a":1,"b":"x"}"#);
        assert!(csv.decode(b"1,x", None).is_err(), "no header");
        csv.keep_raw = true;
        assert_eq!(payload(&csv, "1,x", Some("a,b")), r#"{"a":1,"b":"x","raw":"1,x"}"#);
        assert_eq!(payload(&decoder(KeyValue::default()), "a=1", None), r#"{"a":1}"#);
        assert!(payload(&decoder(Nmea), "$HEHDT,90,T", None).contains("\"heading\":90"));
        let point = decoder(Influx(Unix::Seconds)).decode(b"m f=1 7", None).unwrap();
        assert_eq!(point.device_time_us, Some(7_000_000));
    }

    #[test]
    fn lines_lose_their_ends_only() {
        let split =
            |text: &'static str| lines(text.as_bytes()).map(|l| std::str::from_utf8(l).unwrap()).collect::<Vec<_>>();
        assert_eq!(split("a\r\n\nb"), ["a", "", "b"]);
        assert_eq!(split("a\n"), ["a"]);
        assert_eq!(split("\n\n"), ["", ""]);
    }
}
