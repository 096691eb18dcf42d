//! How messages are read: the format, and what is taken out of it.

use super::Quality;

/// How a source's messages are read.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoder {
    /// What a message is.
    pub format: Format,
    /// Only these members are kept, in this order; empty keeps all.
    pub fields: Vec<String>,
    /// Members that are made to be of a type, or the message is set aside.
    pub types: Vec<(String, Type)>,
    /// Members that become attributes of the record: attribute, member.
    pub attributes: Vec<(String, String)>,
    /// Where the device's own time stands.
    pub time: Option<Time>,
    /// What had to be converted carries the bytes that it was made of, as the member `raw`.
    pub keep_raw: bool,
}

impl Decoder {
    /// A format and nothing else.
    #[must_use]
    pub fn new(format: Format) -> Self {
        let (fields, types, attributes) = (Vec::new(), Vec::new(), Vec::new());
        Self { format, fields, types, attributes, time: None, keep_raw: false }
    }

    /// Whether the first line of a file or message names the columns.
    #[must_use]
    pub fn wants_header(&self) -> bool {
        matches!(&self.format, Format::Csv(csv) if csv.columns.is_none())
    }
}

/// What a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// One JSON value, kept verbatim.
    Json,
    /// A JSON value a line, each kept verbatim.
    Ndjson,
    /// Delimited values, a record a line; becomes a JSON object.
    Csv(Csv),
    /// NMEA 0183 sentences, one a line; become JSON objects.
    Nmea,
    /// `name=value` pairs, a record a line; becomes a JSON object.
    KeyValue(KeyValue),
    /// Influx line protocol, a point a line; becomes a JSON object.
    Influx(Unix),
    /// UTF-8 text, kept verbatim.
    Text,
    /// Any bytes, kept verbatim; base64 in JSON output.
    Bytes,
}

impl Format {
    /// As it is written in a configuration.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv(_) => "csv",
            Self::Nmea => "nmea",
            Self::KeyValue(_) => "key-value",
            Self::Influx(_) => "influx",
            Self::Text => "text",
            Self::Bytes => "bytes",
        }
    }

    /// Whether what it makes has members that can be named.
    #[must_use]
    pub fn has_members(&self) -> bool {
        !matches!(self, Self::Text | Self::Bytes)
    }
}

/// Delimited values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Csv {
    /// One ASCII character.
    pub delimiter: u8,
    /// Names of the columns; without them the first line of a file or message is the header.
    pub columns: Option<Vec<String>>,
}

impl Default for Csv {
    fn default() -> Self {
        Self { delimiter: b',', columns: None }
    }
}

/// Pairs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// Between pairs; without it white space, `,` and `;`.
    pub separator: Option<char>,
    /// Between name and value.
    pub assign: char,
}

impl Default for KeyValue {
    fn default() -> Self {
        Self { separator: None, assign: '=' }
    }
}

/// What a member is made to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// `true` or `false`; 1 and 0 are taken for them.
    Bool,
    /// Text.
    String,
}

/// A unit of time since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unix {
    /// Seconds, also with a fraction.
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
}

/// How a time is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeFormat {
    /// `2026-11-24T12:00:00Z`; without an offset it is taken in the zone.
    Rfc3339,
    /// A number.
    Unix(Unix),
    /// As `strptime` reads it.
    Custom(String),
}

/// Where the device's time stands, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Time {
    /// The member.
    pub member: String,
    /// How it is written.
    pub format: TimeFormat,
    /// The zone of times without an offset.
    pub zone: jiff::tz::TimeZone,
}

/// Where messages of a source go: a subscription of MQTT, or the whole source.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// The stream.
    pub stream: String,
    /// How its messages are read.
    pub decoder: Decoder,
    /// What is checked on the way in.
    pub quality: Quality,
}
