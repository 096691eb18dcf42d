//! Messages that are kept as they are: JSON, text, bytes.

use super::{Content, DecodeError, Format, Kind, Utf8, strict};
use crate::flow::record::PayloadKind;
use serde::de::IgnoredAny;
use std::sync::Arc;

/// The row of `json` in the table of decoders.
pub const JSON: Kind = Kind {
    name: "json",
    doc: "One JSON value, kept as it is.",
    keys: &[],
    read: |_| Arc::new(Json),
    usual: || Arc::new(Json),
};
/// The row of `ndjson` in the table of decoders.
pub const NDJSON: Kind = Kind {
    name: "ndjson",
    doc: "A JSON value a line, each kept as it is.",
    keys: &[],
    read: |_| Arc::new(Ndjson),
    usual: || Arc::new(Ndjson),
};
/// The row of `text` in the table of decoders.
pub const TEXT: Kind = Kind {
    name: "text",
    doc: "UTF-8 text, kept as it is.",
    keys: &[],
    read: |_| Arc::new(Text),
    usual: || Arc::new(Text),
};
/// The row of `bytes` in the table of decoders.
pub const BYTES: Kind = Kind {
    name: "bytes",
    doc: "Any bytes, kept as they are; base64 in JSON output.",
    keys: &[],
    read: |_| Arc::new(Binary),
    usual: || Arc::new(Binary),
};

/// One JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json;
/// A JSON value a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ndjson;
/// UTF-8 text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text;
/// Any bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binary;

impl Format for Json {
    fn name(&self) -> &'static str {
        JSON.name
    }

    fn is_by_line(&self) -> bool {
        false
    }

    fn decode<'m>(&self, message: &'m [u8], _: Option<&[u8]>) -> Result<Content<'m>, DecodeError> {
        json(message).map(Content::Json)
    }
}

impl Format for Ndjson {
    fn name(&self) -> &'static str {
        NDJSON.name
    }

    fn decode<'m>(&self, message: &'m [u8], _: Option<&[u8]>) -> Result<Content<'m>, DecodeError> {
        json(message).map(Content::Json)
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

    fn decode<'m>(&self, message: &'m [u8], _: Option<&[u8]>) -> Result<Content<'m>, DecodeError> {
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

    fn decode<'m>(&self, _: &'m [u8], _: Option<&[u8]>) -> Result<Content<'m>, DecodeError> {
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
