//! Reads the hub and export folders as any consumer would; shares nothing with the agent.

use fe2o3_amqp_types::messaging::message::DecodeIntoMessage;
use fe2o3_amqp_types::messaging::{Body, Message};
use fe2o3_amqp_types::primitives::{SimpleValue, Value};
use flate2::read::GzDecoder;
use forebay::hub::{Hub, Stored};
use serde_amqp::read::SliceReader;
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

/// A record as a consumer sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Store, stream, epoch, lane.
    pub lane: (String, String, i64, i64),
    /// The sequence that the event says was sent before it.
    pub after: i64,
    /// Its sequence.
    pub sequence: u64,
    /// The whole line.
    pub line: serde_json::Value,
}

impl Reading {
    /// Its payload as text: JSON as it is, text without quotes.
    pub fn value(&self) -> String {
        match &self.line["payload"] {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

/// Everything at an event hub, partition by partition, in order.
pub fn readings(hub: &Hub, name: &str) -> Vec<Reading> {
    (0..hub.partitions())
        .flat_map(|partition| hub.events(name, partition))
        .flat_map(|event| event_readings(&event))
        .collect()
}

fn event_readings(event: &Stored) -> Vec<Reading> {
    let reader = SliceReader::new(&event.message);
    let message: Message<Body<Value>> = <Body<Value> as DecodeIntoMessage>::decode_message_from_reader(reader).unwrap();
    let about = message.application_properties.unwrap();
    let text = |name: &str| match about.get(name) {
        Some(SimpleValue::String(text)) => text.clone(),
        other => panic!("{name}: {other:?}"),
    };
    let number = |name: &str| match about.get(name) {
        Some(SimpleValue::Long(number)) => *number,
        // What came over HTTP has the type that its text looks like.
        Some(SimpleValue::Int(number)) => i64::from(*number),
        other => panic!("{name}: {other:?}"),
    };
    let lane = (text("store"), text("stream"), number("epoch"), number("lane"));
    let Body::Data(data) = message.body else { panic!("a body that is no data") };
    let packed: Vec<u8> = data.into_iter().flat_map(|data| data.0.into_vec()).collect();
    let mut body = String::new();
    GzDecoder::new(&packed[..]).read_to_string(&mut body).unwrap();
    let lines: Vec<Reading> = body
        .lines()
        .map(|line| {
            let json: serde_json::Value = serde_json::from_str(line).unwrap();
            Reading { lane: lane.clone(), after: number("after"), sequence: json["seq"].as_u64().unwrap(), line: json }
        })
        .collect();
    assert_eq!(i64::try_from(lines.len()).unwrap(), number("count"), "the event says how many records it holds");
    assert_eq!(i64::try_from(lines[0].sequence).unwrap(), number("first"));
    assert_eq!(i64::try_from(lines[lines.len() - 1].sequence).unwrap(), number("last"));
    lines
}

/// What is left when a consumer drops what it has: sequence not above the highest of the lane.
pub fn without_repeats(readings: &[Reading]) -> Vec<Reading> {
    let mut highest: HashMap<_, u64> = HashMap::new();
    let mut kept = Vec::new();
    for reading in readings {
        let seen = highest.entry(reading.lane.clone()).or_insert(0);
        if reading.sequence > *seen {
            *seen = reading.sequence;
            kept.push(reading.clone());
        }
    }
    kept
}

/// Everything in an export folder of one stream, in order; a torn last line is left out.
pub fn files(dir: &Path, stream: &str) -> Vec<Reading> {
    let mut paths: Vec<_> = std::fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut out = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        let Some(rest) = name.strip_prefix(&format!("{stream}.")) else { continue };
        let epoch = i64::from_str_radix(rest.split('.').next().unwrap(), 16).unwrap();
        let mut bytes = Vec::new();
        // A file may get its final name between these two lines: the next look has it.
        let Ok(mut file) = std::fs::File::open(&path) else { continue };
        file.read_to_end(&mut bytes).unwrap();
        if name.contains(".ndjson.gz") {
            let packed = std::mem::take(&mut bytes);
            // What is torn off at the end comes again.
            let _ = flate2::read::MultiGzDecoder::new(&packed[..]).read_to_end(&mut bytes);
        }
        let text = String::from_utf8(bytes).unwrap();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        for line in text[..whole].lines() {
            let json: serde_json::Value = serde_json::from_str(line).unwrap();
            let identity = (String::new(), stream.to_string(), epoch, 0);
            out.push(Reading { lane: identity, after: 0, sequence: json["seq"].as_u64().unwrap(), line: json });
        }
    }
    out
}
