//! Decodes messages into records: checks, extracts and converts them.
//!
//! Invariants: a message that needs no conversion stays verbatim; a message gives a record, or an error with the
//! reason; no input panics; the work is linear in the length of the message.

pub mod cloud_events;
pub mod csv;
mod encoding;
pub mod form;
pub mod influx;
pub mod key_value;
mod layout;
pub mod lenient;
pub mod members;
pub mod nmea;
pub mod pattern;
mod plain;
pub mod prometheus;
mod reading;
mod rule;
pub mod senml;
pub mod split;
mod strict;
pub mod time;

pub use cloud_events::CloudEvents;
pub use csv::Csv;
pub use encoding::Encoding;
pub use form::Form;
pub use influx::Influx;
pub use key_value::KeyValue;
pub use nmea::Nmea;
pub use pattern::Pattern;
pub use plain::{Binary, Json, Ndjson, Text, Value};
pub use prometheus::Prometheus;
pub use rule::{Decoder, TYPES, Type, member};
pub use senml::SenMl;
pub use split::Split;
pub use time::{Plausible, Time, TimeFormat, Unix};

use crate::flow::header::{Header, LineBreaks, row_end};
use crate::flow::record::PayloadKind;
use crate::section::{Same, Section};
use bytes::Bytes;
use members::Members;
use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

/// The attribute that says what is doubtful about a record's device time.
pub const TIME_QUALITY: &str = "time_quality";

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
    /// The message is not pairs of a form.
    #[error("not a form: {0}")]
    Form(String),
    /// The message is not a list of measurements.
    #[error("not SenML: {0}")]
    SenMl(String),
    /// The message is not an event of CloudEvents.
    #[error("not a CloudEvent: {0}")]
    CloudEvent(String),
    /// The message is not a write request of Prometheus.
    #[error("not a write request of Prometheus: {0}")]
    Prometheus(String),
    /// No pattern fits the text.
    #[error("no `pattern` fits the text")]
    Pattern,
    /// The device's time is missing, or cannot be read.
    #[error("no time: {0}")]
    Time(String),
    /// The message has no list of readings where `split` says.
    #[error("cannot be split: {0}")]
    Split(String),
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
    /// How many values of the message were repaired (`lenient`).
    pub repairs: u32,
}

/// A reading that cannot be a record, and why. Without a text it is the whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The reading, where it is a part of the message.
    pub reading: Option<String>,
    /// The reason.
    pub error: DecodeError,
}

/// Checks for UTF-8, with our error.
pub(crate) struct Utf8;

impl Utf8 {
    pub(crate) fn check(bytes: &[u8]) -> Result<&str, DecodeError> {
        std::str::from_utf8(bytes).map_err(|error| DecodeError::Utf8(error.valid_up_to()))
    }
}

/// One of several readings: a JSON value, and the time that it brings, in microseconds since 1970-01-01 UTC.
pub type Part = (String, Option<i64>);

/// The content of a message, as its format reads it.
#[derive(Debug)]
pub enum Content<'m> {
    /// The message stays as it is, and has no members.
    Verbatim(PayloadKind),
    /// The message is JSON. It stays as it is, unless rules select or convert its members.
    Json(Cow<'m, str>),
    /// The message has several readings, each on its own.
    Readings(Vec<Result<Part, Refused>>),
    /// The message became members. It may have brought its time, in microseconds since 1970-01-01 UTC.
    Members(Members<'static>, Option<i64>),
}

/// What is known about a message besides its bytes.
#[derive(Debug, Default, Clone, Copy)]
pub struct About<'a> {
    /// The lines that name the columns (csv), or the unit of times (Influx).
    pub header: Option<&'a [u8]>,
    /// The time of arrival in microseconds since 1970-01-01 UTC, where the clock can be trusted.
    pub arrival_us: Option<i64>,
    /// The device's time in the record before this one, under the same key: for formats that
    /// `continue_time`.
    pub before_us: Option<i64>,
    /// Names and values that came with the message, such as topic levels.
    pub attributes: &'a [(Box<str>, Box<str>)],
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

    /// Where a line break in quotes does not end a message.
    fn line_breaks(&self) -> Option<LineBreaks> {
        None
    }

    /// Whether a line is not a message: blank, or a comment where there are comments. The line has no white space
    /// around it.
    fn skips(&self, line: &[u8]) -> bool {
        line.is_empty()
    }

    /// Where the lines that name the columns are, for formats that have them in each file or message.
    fn header(&self) -> Option<Header> {
        None
    }

    /// Attributes that the format gives each record of a message.
    fn attributes(&self, _: &About<'_>) -> Vec<(Box<str>, Box<str>)> {
        Vec::new()
    }

    /// Whether a message may take its date from the one before it.
    fn continues_time(&self) -> bool {
        false
    }

    /// The key without which the format reads nothing.
    fn needs(&self) -> Option<&'static str> {
        None
    }

    /// Reads one message.
    ///
    /// # Errors
    /// The message does not have this format.
    fn decode<'m>(&self, message: &'m [u8], about: &About<'_>) -> Result<Content<'m>, DecodeError>;
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
pub const KINDS: &[Kind] = &[
    plain::JSON,
    plain::NDJSON,
    csv::KIND,
    nmea::KIND,
    key_value::KIND,
    form::KIND,
    senml::KIND,
    cloud_events::KIND,
    prometheus::KIND,
    influx::KIND,
    pattern::KIND,
    plain::VALUE,
    plain::TEXT,
    plain::BYTES,
];

/// The rows of a block, without `\n` and `\r\n` at their ends.
pub fn rows(block: &[u8], breaks: Option<LineBreaks>) -> impl Iterator<Item = &[u8]> + Clone {
    let mut at = 0;
    std::iter::from_fn(move || {
        let end = (at < block.len()).then(|| row_end(block, at, breaks.as_ref()))?;
        let row = &block[at..end];
        at = end;
        let row = row.strip_suffix(b"\n").unwrap_or(row);
        Some(row.strip_suffix(b"\r").unwrap_or(row))
    })
}

/// The lines of a block, without `\n` and `\r\n`.
pub fn lines(block: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    let whole = block.strip_suffix(b"\n").unwrap_or(block);
    whole.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::reading::converted;
    use super::*;
    use jiff::tz::TimeZone;

    impl Decoder {
        /// The record of a message that has one.
        fn one(&self, message: &[u8], header: Option<&[u8]>) -> Result<Decoded, DecodeError> {
            let readings = self.decode(message, &About { header, ..About::default() })?;
            let [reading] = <[_; 1]>::try_from(readings).unwrap();
            Ok(reading.unwrap())
        }
    }

    fn decoder(format: impl Format) -> Decoder {
        Decoder::new(format)
    }

    fn payload(decoder: &Decoder, message: &str, header: Option<&str>) -> String {
        let record = decoder.one(message.as_bytes(), header.map(str::as_bytes)).unwrap();
        String::from_utf8(record.payload.unwrap().to_vec()).unwrap()
    }

    #[test]
    fn json_is_any_one_value_and_nothing_else_and_stays_verbatim() {
        let json = decoder(Json);
        for good in ["1", " {\"a\":[1,2]}\n", "\"x\"", "null", "-1.5e-3"] {
            assert_eq!(json.one(good.as_bytes(), None), Ok(Decoded::verbatim(PayloadKind::Json)), "{good}");
        }
        for bad in ["{", "1 2", "{\"a\":}", "NaN", "01", "'a'"] {
            assert!(matches!(json.one(bad.as_bytes(), None), Err(DecodeError::Json(_))), "{bad}");
        }
        assert!(matches!(json.one(b"  ", None), Err(DecodeError::Empty(_))));
        assert_eq!(json.one(b"\"\xff\"", None), Err(DecodeError::Utf8(1)));
        let deep = "[".repeat(100_000);
        assert!(json.one(deep.as_bytes(), None).is_err(), "deep nesting is refused, not a stack overflow");
    }

    #[test]
    fn text_is_utf8_and_may_be_empty_and_bytes_are_anything() {
        let text = decoder(Text);
        assert!(text.one(b"", None).is_ok() && text.one("21 °C".as_bytes(), None).is_ok());
        assert_eq!(text.one(b"ab\xc3", None), Err(DecodeError::Utf8(2)));
        assert_eq!(decoder(Binary).one(b"\xff\0", None), Ok(Decoded::verbatim(PayloadKind::Bytes)));
    }

    #[test]
    fn members_are_chosen_typed_timed_and_made_attributes() {
        let mut json = decoder(Json);
        let own = |name: &str| (name.to_string(), name.to_string());
        json.fields = vec![own("t"), own("dev.id"), own("missing")];
        json.types = vec![("t".into(), Type::Float), ("dev.id".into(), Type::String)];
        json.attributes = vec![("device".into(), "dev.id".into()), ("none".into(), "x".into())];
        json.time = Some(Time::new("ts", TimeFormat::Unix(Unix::Millis), TimeZone::UTC));
        let message = r#"{"ts":1714564800001,"t":"021.50","dev":{"id":7},"x.y":1}"#;
        let decoded = json.one(message.as_bytes(), None).unwrap();
        assert_eq!(decoded.payload.as_deref(), Some(&br#"{"t":21.50,"dev.id":"7"}"#[..]));
        assert_eq!(decoded.device_time_us, Some(1_714_564_800_001_000));
        assert_eq!(decoded.attributes, [("device".into(), "7".into())]);
        let error = json.one(br#"{"ts":1,"t":"warm"}"#, None).unwrap_err().to_string();
        assert_eq!(error, "`t` = \"warm\" is no number");
        assert_eq!(json.one(b"[1]", None).unwrap_err().to_string(), "no time: there is no `ts`");
        json.time = None;
        assert_eq!(json.one(b"[1]", None), Err(DecodeError::NoObject));
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
        assert!(csv.one(b"1,x", None).is_err(), "no header");
        csv.keep_raw = true;
        assert_eq!(payload(&csv, "1,x", Some("a,b")), r#"{"a":1,"b":"x","raw":"1,x"}"#);
        assert_eq!(payload(&decoder(KeyValue::default()), "a=1", None), r#"{"a":1}"#);
        assert!(payload(&decoder(Nmea), "$HEHDT,90,T", None).contains("\"heading\":90"));
        let point = decoder(Influx(Unix::Seconds)).one(b"m f=1 7", None).unwrap();
        assert_eq!(point.device_time_us, Some(7_000_000));
    }

    #[test]
    fn lines_lose_their_ends_only() {
        let split =
            |text: &'static str| lines(text.as_bytes()).map(|l| std::str::from_utf8(l).unwrap()).collect::<Vec<_>>();
        assert_eq!(split("a\r\n\nb"), ["a", "", "b"]);
        assert_eq!(split("a\n"), ["a"]);
        assert_eq!(split("\n\n"), ["", ""]);
        assert!(rows(b"a,\"b\n\"\"c\"\r\n\nd", Some(LineBreaks::default())).eq([&b"a,\"b\n\"\"c\""[..], b"", b"d"]));
        assert!(rows(b"a,\"b\nc\"", None).eq([&b"a,\"b"[..], b"c\""]));
    }

    /// The payloads of all records of a message, or why a reading is none.
    fn all(decoder: &Decoder, message: &str) -> Vec<String> {
        let readings = decoder
            .decode(message.as_bytes(), &About { arrival_us: Some(1_714_564_800_000_000), ..About::default() })
            .unwrap();
        let shown = |reading: Result<Decoded, Refused>| match reading {
            Ok(Decoded { payload: None, .. }) => "verbatim".to_string(),
            Ok(record) => {
                let time = record.device_time_us.map(|us| format!(" at {}", us / 1_000_000)).unwrap_or_default();
                let named = |(name, value): &(Box<str>, Box<str>)| format!(" {name}={value}");
                let attributes: Vec<String> = record.attributes.iter().map(named).collect();
                String::from_utf8(record.payload.unwrap().to_vec()).unwrap() + &time + &attributes.concat()
            }
            Err(Refused { reading, error }) => format!("{}: {error}", reading.unwrap_or_default()),
        };
        readings.into_iter().map(shown).collect()
    }

    #[test]
    fn a_message_of_several_readings_gives_a_record_for_each_with_its_own_time() {
        let mut json = decoder(Json);
        json.split = Some(Split { at: "data".into(), keep: vec![("dev".into(), "id".into())], ..Split::default() });
        json.time = Some(Time::new("ts", TimeFormat::Unix(Unix::Seconds), TimeZone::UTC));
        json.fields = vec![("dev".into(), "dev".into()), ("temp".into(), "v.t".into())];
        json.constants = vec![("site".into(), "hall 3".into())];
        let message = r#"{"id":7,"data":[{"ts":10,"v":{"t":21.50}},{"ts":11,"v":{"t":22}},{"v":1}]}"#;
        assert_eq!(
            all(&json, message),
            [
                r#"{"dev":7,"temp":21.50} at 10 site=hall 3"#,
                r#"{"dev":7,"temp":22} at 11 site=hall 3"#,
                r#"{"dev":7,"v":1}: no time: there is no `ts`"#
            ]
        );
        assert!(all(&json, r#"{"data":[]}"#).is_empty());
        // Lines with lists are bounded together, and not each for itself.
        let line = format!("{{\"data\":[{}]}}\n", vec!["{\"ts\":1}"; 6000].join(","));
        let error = json.decode(line.repeat(2).as_bytes(), &About::default()).unwrap_err();
        assert_eq!(error.to_string(), "cannot be split: more than 10000 readings");
        assert_eq!(
            json.decode(b"{}", &About::default()).unwrap_err().to_string(),
            "cannot be split: there is no `data`"
        );
    }

    #[test]
    fn what_came_with_a_message_becomes_members_and_names_get_a_prefix() {
        let mut json = decoder(Json);
        json.constants = vec![("site".into(), "hall 3".into())];
        json.members = vec!["line".into(), "site".into(), "none".into()];
        json.prefix = "p.".into();
        json.types = vec![("line".into(), Type::String)];
        let attributes = [("line".into(), "7".into()), ("other".into(), "x".into())];
        let about = About { attributes: &attributes, ..About::default() };
        let made = json.decode(br#"{"t":21.50}"#, &about).unwrap().remove(0).unwrap();
        assert_eq!(made.payload.as_deref(), Some(&br#"{"p.line":"7","p.site":"hall 3","p.t":21.50}"#[..]));
        assert_eq!(json.decode(b"[1]", &about), Err(DecodeError::NoObject));
    }

    #[test]
    fn json_as_devices_write_it() {
        let mut json = decoder(Json);
        assert_eq!(all(&json, r#"{"t":21.5}"#), ["verbatim"]);
        assert_eq!(all(&json, "\u{feff}{\"t\":1}"), [r#"{"t":1}"#], "a byte order mark");
        assert_eq!(all(&json, "{\"t\":1}\r\n\n{\"t\":2}\n"), [r#"{"t":1}"#, r#"{"t":2}"#], "a value a line");
        let tasmota = r#"{"Time":"2024-05-01T12:00:00","DS18B20":{"Temperature":nan},}"#;
        assert!(json.decode(tasmota.as_bytes(), &About::default()).is_err());
        json.lenient = true;
        let repaired = json.decode(tasmota.as_bytes(), &About::default()).unwrap().remove(0).unwrap();
        assert_eq!(repaired.repairs, 2);
        let expected = r#"{"Time":"2024-05-01T12:00:00","DS18B20":{"Temperature":null}}"#;
        assert_eq!(repaired.payload.as_deref(), Some(expected.as_bytes()));
        assert!(json.decode(b"{nan", &About::default()).is_err());
    }

    #[test]
    fn a_bare_value_and_a_text_of_another_encoding() {
        let value = decoder(Value);
        for (message, made) in
            [("21.50", "21.50"), (" true\n", "true"), ("on", "\"on\""), ("\"a b\"", "\"a b\""), ("007", "\"007\"")]
        {
            assert_eq!(all(&value, message), [format!("{{\"value\":{made}}}")]);
        }
        assert_eq!(all(&value, r#"{"t":1}"#), ["verbatim"]);
        assert_eq!(all(&value, "{t"), [r#"{"value":"{t"}"#]);
        assert!(value.decode(b" ", &About::default()).is_err());
        let text = Decoder { encoding: Encoding::Windows1252, ..decoder(Text) };
        let read = text.decode(b"W\xe4rme", &About::default()).unwrap().remove(0).unwrap();
        assert_eq!((read.kind, read.payload.as_deref()), (PayloadKind::Text, Some("Wärme".as_bytes())));
    }
}
