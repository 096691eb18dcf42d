//! NDJSON: one JSON object per line; a JSON payload stays verbatim inside the object.
//!
//! `{"seq":7,"arrival":1714564800123,"key":"plant/line1","payload":{...}}`. The members `time`
//! (device time, microseconds), `redelivered`, `retained` and `attributes` appear only when the record has them.
//! Bytes that are no text travel as `payload_base64`.

use super::{Encode, Encoded};
use crate::flow::codec::Codec;
use crate::flow::record::{PayloadKind, REDELIVERED, RETAINED, RecordRef};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::{Compression, GzBuilder};
use std::io::Write;

/// The assumed ratio of compression, until the readings are compressed: they shrink to one part in this many.
const SHRINKS_TO: usize = 8;
/// The approximate size of a line besides its payload, in bytes.
const LINE: usize = 128;

/// Lines of JSON, compressed at the end.
#[derive(Debug)]
pub struct Ndjson {
    raw: Vec<u8>,
    codec: Codec,
}

impl Ndjson {
    /// An empty body.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        Self { raw: Vec::new(), codec }
    }
}

impl Encode for Ndjson {
    fn push(&mut self, sequence: u64, record: &RecordRef<'_>) {
        line(&mut self.raw, sequence, record);
    }

    fn raw_bytes(&self) -> usize {
        self.raw.len()
    }

    fn estimate(&self, more: usize) -> usize {
        let raw = self.raw.len() + if more == 0 { 0 } else { more + LINE };
        match self.codec {
            Codec::Gzip => raw / SHRINKS_TO,
            Codec::None => raw,
        }
    }

    fn finish(self: Box<Self>) -> std::io::Result<Encoded> {
        let (body, content_encoding) = match self.codec {
            Codec::None => (self.raw, None),
            Codec::Gzip => {
                // No time in the header: the same readings give the same bytes.
                let room = Vec::with_capacity(self.raw.len() / SHRINKS_TO);
                let mut encoder = GzBuilder::new().mtime(0).write(room, Compression::new(6));
                encoder.write_all(&self.raw)?;
                (encoder.finish()?, Some("gzip"))
            }
        };
        Ok(Encoded { body: Bytes::from(body), content_type: "application/x-ndjson", content_encoding })
    }
}

/// Appends the line of a record.
pub fn line(out: &mut Vec<u8>, sequence: u64, record: &RecordRef<'_>) {
    // Writing into memory does not fail.
    let _ = write!(out, "{{\"seq\":{sequence},\"arrival\":{}", record.arrival_ms);
    if let Some(time) = record.device_time_us {
        let _ = write!(out, ",\"time\":{time}");
    }
    out.extend_from_slice(b",\"key\":");
    string(out, record.key);
    if record.flags & REDELIVERED != 0 {
        out.extend_from_slice(b",\"redelivered\":true");
    }
    if record.flags & RETAINED != 0 {
        out.extend_from_slice(b",\"retained\":true");
    }
    if !record.attributes.is_empty() {
        out.extend_from_slice(b",\"attributes\":{");
        for (i, (name, value)) in record.attributes.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            string(out, name);
            out.push(b':');
            string(out, value);
        }
        out.push(b'}');
    }
    payload(out, record);
    out.extend_from_slice(b"}\n");
}

fn payload(out: &mut Vec<u8>, record: &RecordRef<'_>) {
    match (record.kind, std::str::from_utf8(record.payload)) {
        (PayloadKind::Json, Ok(json)) => {
            out.extend_from_slice(b",\"payload\":");
            // Line breaks in JSON only ever stand between its tokens.
            out.extend(json.trim_ascii().bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
        }
        (PayloadKind::Text, Ok(text)) => {
            out.extend_from_slice(b",\"payload\":");
            string(out, text);
        }
        _ => {
            out.extend_from_slice(b",\"payload_base64\":\"");
            out.extend_from_slice(STANDARD.encode(record.payload).as_bytes());
            out.push(b'"');
        }
    }
}

fn string(out: &mut Vec<u8>, text: &str) {
    // Writing into memory does not fail, and a str is always a JSON string.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(kind: PayloadKind, payload: &[u8]) -> String {
        let mut out = Vec::new();
        let record = RecordRef {
            arrival_ms: 1_714_564_800_123,
            device_time_us: None,
            key: "a/\"b\"",
            flags: 0,
            attributes: Vec::new(),
            kind,
            payload,
        };
        line(&mut out, 7, &record);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_json_payload_is_verbatim_on_one_line() {
        assert_eq!(
            reading(PayloadKind::Json, b" {\"t\":\r\n 21.50}\n"),
            "{\"seq\":7,\"arrival\":1714564800123,\"key\":\"a/\\\"b\\\"\",\"payload\":{\"t\":   21.50}}\n"
        );
    }

    #[test]
    fn text_is_escaped_and_bytes_are_base64() {
        assert!(reading(PayloadKind::Text, "a\n\u{1}°".as_bytes()).contains(",\"payload\":\"a\\n\\u0001°\"}"));
        assert!(reading(PayloadKind::Bytes, &[0xff, 0]).contains(",\"payload_base64\":\"/wA=\"}"));
    }

    #[test]
    fn every_line_is_json_with_all_that_was_said() {
        let mut out = Vec::new();
        let record = RecordRef {
            arrival_ms: -5,
            device_time_us: Some(9),
            key: "",
            flags: 3,
            attributes: vec![("reason", "not \"JSON\""), ("n", "2")],
            kind: PayloadKind::Text,
            payload: b"x",
        };
        line(&mut out, 1, &record);
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["time"], 9);
        assert_eq!(value["redelivered"], true);
        assert_eq!(value["retained"], true);
        assert_eq!(value["attributes"]["reason"], "not \"JSON\"");
    }
}
