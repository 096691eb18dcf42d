//! How messages are read and checked, as it stands in a source or in a subscription of MQTT.

use crate::config::value::{Span, Then, Type};
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// The keys of `Route`, which stand among those of its source.
pub const ROUTE: [&str; 12] = [
    "stream",
    "decoder",
    "fields",
    "types",
    "attributes",
    "time",
    "keep_raw",
    "csv",
    "key_value",
    "precision",
    "check",
    "quality",
];

/// See the module.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Route {
    /// Where records go.
    pub stream: Option<Spanned<String>>,
    /// What a message is.
    pub decoder: Option<Spanned<Decoder>>,
    /// Members that are kept.
    pub fields: Option<Spanned<Vec<Spanned<String>>>>,
    /// Types of members.
    pub types: Option<Spanned<BTreeMap<String, Type>>>,
    /// Attributes out of members.
    pub attributes: Option<Spanned<BTreeMap<String, String>>>,
    /// Where the device's time stands.
    pub time: Option<Spanned<Time>>,
    /// Converted records carry what they were made of.
    pub keep_raw: Option<Spanned<bool>>,
    /// Rules of `csv`.
    pub csv: Option<Spanned<Csv>>,
    /// Rules of `key-value`.
    pub key_value: Option<Spanned<KeyValue>>,
    /// The unit of times in `influx`.
    pub precision: Option<Spanned<Precision>>,
    /// Checks of members.
    pub check: Option<Vec<Spanned<Check>>>,
    /// Checks of records.
    pub quality: Option<Spanned<Quality>>,
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decoder {
    /// One JSON value.
    Json,
    /// A JSON value a line.
    Ndjson,
    /// Delimited values.
    Csv,
    /// NMEA 0183.
    Nmea,
    /// `name=value`.
    KeyValue,
    /// Influx line protocol.
    Influx,
    /// UTF-8.
    Text,
    /// Anything.
    Bytes,
}

/// `time = { .. }`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Time {
    /// The member.
    pub field: Option<Spanned<String>>,
    /// How it is written.
    pub format: Option<Spanned<String>>,
    /// Of times without an offset.
    pub zone: Option<Spanned<String>>,
}

/// `csv = { .. }`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Csv {
    /// One character.
    pub delimiter: Option<Spanned<String>>,
    /// Names where there is no header.
    pub columns: Option<Spanned<Vec<String>>>,
}

/// `key_value = { .. }`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyValue {
    /// Between pairs.
    pub separator: Option<Spanned<String>>,
    /// Between name and value.
    pub assign: Option<Spanned<String>>,
}

/// Units of time, as Influx names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Seconds.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
}

/// `[[source.NAME.check]]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Check {
    /// The member.
    pub field: Option<Spanned<String>>,
    /// It must be there.
    pub required: Option<bool>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Option<Type>,
    /// At least.
    pub min: Option<Spanned<f64>>,
    /// At most.
    pub max: Option<Spanned<f64>>,
    /// One of these.
    pub one_of: Option<Vec<String>>,
    /// The same for this long.
    pub stuck: Option<Span>,
    /// What happens otherwise.
    pub then: Option<Then>,
}

/// `[source.NAME.quality]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quality {
    /// The same payload again within this time.
    pub duplicate: Option<Span>,
    /// Records of a key in a second.
    pub rate_limit: Option<Spanned<u32>>,
    /// What happens to repeats and floods.
    pub then: Option<Then>,
    /// Silence that is told.
    pub stale: Option<Span>,
}
