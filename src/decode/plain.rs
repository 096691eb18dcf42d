//! Messages that are kept as they are: JSON, text, bytes.

use super::members::Members;
use super::{About, Content, DecodeError, Format, Kind, Utf8, strict};
use crate::flow::record::PayloadKind;
use serde::de::IgnoredAny;

/// The row of `json` in the table of decoders.
pub const JSON: Kind = Kind::without_keys::<Json>("json", "One JSON value, kept as it is.");
/// The row of `ndjson` in the table of decoders.
pub const NDJSON: Kind = Kind::without_keys::<Ndjson>("ndjson", "A JSON value a line, each kept as it is.");
/// The row of `value` in the table of decoders.
pub const VALUE: Kind = Kind::without_keys::<Value>(
    "value",
    "A number, a truth value or a text alone becomes `{\"value\": ...}`; a JSON object or list is kept as it is.",
);
/// The row of `text` in the table of decoders.
pub const TEXT: Kind = Kind::without_keys::<Text>("text", "UTF-8 text, kept as it is.");
/// The row of `bytes` in the table of decoders.
pub const BYTES: Kind = Kind::without_keys::<Binary>("bytes", "Any bytes, kept as they are; base64 in JSON output.");

/// The decoder `json`: a message is one JSON value.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Json;
/// The decoder `ndjson`: each line is a JSON value.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Ndjson;
/// The decoder `text`: a message is UTF-8 text.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Text;
/// The decoder `bytes`: a message is any bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Binary;

impl Format for Json {
    fn name(&self) -> &'static str {
        JSON.name
    }

    fn is_by_line(&self) -> bool {
        false
    }

    fn decode<'m>(&self, message: &'m [u8], _: &About<'_>) -> Result<Content<'m>, DecodeError> {
        json(message).map(|text| Content::Json(text.into()))
    }
}

impl Format for Ndjson {
    fn name(&self) -> &'static str {
        NDJSON.name
    }

    fn decode<'m>(&self, message: &'m [u8], _: &About<'_>) -> Result<Content<'m>, DecodeError> {
        json(message).map(|text| Content::Json(text.into()))
    }
}

/// The decoder `value`: a message is one value, as many devices send it under a topic of its own.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Value;

impl Format for Value {
    fn name(&self) -> &'static str {
        VALUE.name
    }

    fn is_by_line(&self) -> bool {
        false
    }

    fn decode<'m>(&self, message: &'m [u8], _: &About<'_>) -> Result<Content<'m>, DecodeError> {
        let text = Utf8::check(message)?.trim();
        if text.is_empty() {
            return Err(DecodeError::Empty("a value"));
        }
        if text.starts_with(['{', '[']) && json(message).is_ok() {
            return Ok(Content::Json(Utf8::check(message)?.into()));
        }
        let mut members = Members::default();
        if text.starts_with('"') && json(message).is_ok() {
            members.push_json("value", text.to_string());
        } else {
            members.push_plain("value", text);
        }
        Ok(Content::Members(members, None))
    }
}

impl Format for Text {
    fn name(&self) -> &'static str {
        TEXT.name
    }

    fn has_members(&self) -> bool {
        false
    }

    fn is_by_line(&self) -> bool {
        false
    }

    fn skips(&self, _: &[u8]) -> bool {
        false
    }

    fn decode<'m>(&self, message: &'m [u8], _: &About<'_>) -> Result<Content<'m>, DecodeError> {
        Utf8::check(message).map(|_| Content::Verbatim(PayloadKind::Text))
    }
}

impl Format for Binary {
    fn name(&self) -> &'static str {
        BYTES.name
    }

    fn has_members(&self) -> bool {
        false
    }

    fn is_by_line(&self) -> bool {
        false
    }

    fn skips(&self, _: &[u8]) -> bool {
        false
    }

    fn decode<'m>(&self, _: &'m [u8], _: &About<'_>) -> Result<Content<'m>, DecodeError> {
        Ok(Content::Verbatim(PayloadKind::Bytes))
    }
}

fn json(message: &[u8]) -> Result<&str, DecodeError> {
    let text = Utf8::check(message)?;
    if text.trim_ascii().is_empty() {
        return Err(DecodeError::Empty("a JSON value"));
    }
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(IgnoredAny) => strict::check(text).map(|()| text).map_err(DecodeError::Json),
        Err(error) => Err(DecodeError::Json(error.to_string())),
    }
}
