//! One JSON object a line; a JSON payload stays verbatim inside it.
//!
//! `{"seq":7,"arrival":1714564800123,"key":"plant/line1","payload":{...}}`; also, where there is
//! something to say, `time` (device time, microseconds), `redelivered`, `retained`, `attributes`;
//! bytes that are no text travel as `payload_base64`.

use super::Reading;
use crate::flow::record::PayloadKind;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::Write;

/// Appends the line of a reading.
pub fn line(out: &mut Vec<u8>, reading: &Reading<'_>) {
    // Writing into memory does not fail.
    let _ = write!(out, "{{\"seq\":{},\"arrival\":{}", reading.sequence, reading.arrival_ms);
    if let Some(time) = reading.device_time_us {
        let _ = write!(out, ",\"time\":{time}");
    }
    out.extend_from_slice(b",\"key\":");
    string(out, reading.key);
    if reading.redelivered() {
        out.extend_from_slice(b",\"redelivered\":true");
    }
    if reading.retained() {
        out.extend_from_slice(b",\"retained\":true");
    }
    if !reading.attributes.is_empty() {
        out.extend_from_slice(b",\"attributes\":{");
        for (i, (name, value)) in reading.attributes.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            string(out, name);
            out.push(b':');
            string(out, value);
        }
        out.push(b'}');
    }
    payload(out, reading);
    out.extend_from_slice(b"}\n");
}

fn payload(out: &mut Vec<u8>, reading: &Reading<'_>) {
    match (reading.kind, std::str::from_utf8(reading.payload)) {
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
            out.extend_from_slice(STANDARD.encode(reading.payload).as_bytes());
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
        let reading = Reading {
            sequence: 7,
            arrival_ms: 1_714_564_800_123,
            device_time_us: None,
            key: "a/\"b\"",
            flags: 0,
            attributes: &[],
            kind,
            payload,
        };
        line(&mut out, &reading);
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
        let reading = Reading {
            sequence: 1,
            arrival_ms: -5,
            device_time_us: Some(9),
            key: "",
            flags: 3,
            attributes: &[("reason", "not \"JSON\""), ("n", "2")],
            kind: PayloadKind::Text,
            payload: b"x",
        };
        line(&mut out, &reading);
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["time"], 9);
        assert_eq!(value["redelivered"], true);
        assert_eq!(value["retained"], true);
        assert_eq!(value["attributes"]["reason"], "not \"JSON\"");
    }
}
