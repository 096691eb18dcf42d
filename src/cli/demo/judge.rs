//! Compares what the hub holds with what the devices sent, by value.
//!
//! Reads bodies as any consumer would: AMQP message, gzip, one JSON object a line; drops what
//! repeats by sequence, as `docs/envelope.md` tells consumers to.

use super::devices::{DEVICES, line, reading};
use crate::hub::{Hub, Stored};
use fe2o3_amqp_types::messaging::message::DecodeIntoMessage;
use fe2o3_amqp_types::messaging::{Body, Message};
use fe2o3_amqp_types::primitives::{SimpleValue, Value};
use flate2::read::GzDecoder;
use serde_amqp::read::SliceReader;
use std::collections::BTreeMap;
use std::io::Read;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Records that came again under the same identity.
    pub repeated_on_wire: u64,
    /// Values that came again under another identity.
    pub redelivered_by_source: u64,
    /// Values that no device sent.
    pub wrong: u64,
    /// Values that were sent and are neither at the hub nor in the backlog.
    pub lost: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Judge {
    looked: BTreeMap<u16, u64>,
    highest: BTreeMap<(String, i64), u64>,
    /// By device, the log file last: which numbers were seen.
    seen: BTreeMap<u64, Vec<bool>>,
    distinct: u64,
    repeated: u64,
    redelivered: u64,
    wrong: u64,
}

impl Judge {
    /// Takes in what is new at the hub.
    pub fn look(&mut self, hub: &Hub, name: &str) {
        for partition in 0..hub.partitions() {
            let from = self.looked.get(&partition).copied().unwrap_or(0);
            for event in hub.events_from(name, partition, from) {
                self.looked.insert(partition, event.sequence + 1);
                if self.event(&event).is_none() {
                    self.wrong += 1;
                }
            }
        }
    }

    /// Distinct values at the hub.
    pub fn delivered(&self) -> u64 {
        self.distinct
    }

    /// When everything is over.
    pub fn verdict(&self, sent: u64, backlog: u64) -> Verdict {
        Verdict {
            repeated_on_wire: self.repeated,
            redelivered_by_source: self.redelivered,
            wrong: self.wrong,
            lost: sent.saturating_sub(self.distinct + backlog),
        }
    }

    fn event(&mut self, event: &Stored) -> Option<()> {
        let reader = SliceReader::new(&event.message);
        let message: Message<Body<Value>> =
            <Body<Value> as DecodeIntoMessage>::decode_message_from_reader(reader).ok()?;
        let about = message.application_properties?;
        let (Some(SimpleValue::String(stream)), Some(SimpleValue::Long(epoch))) =
            (about.get("stream"), about.get("epoch"))
        else {
            return None;
        };
        let lane = (stream.clone(), *epoch);
        let Body::Data(data) = message.body else {
            return None;
        };
        let packed: Vec<u8> = data.into_iter().flat_map(|data| data.0.into_vec()).collect();
        let mut text = String::new();
        GzDecoder::new(&packed[..]).read_to_string(&mut text).ok()?;
        for json in text.lines() {
            self.record(&lane, &serde_json::from_str(json).ok()?)?;
        }
        Some(())
    }

    fn record(&mut self, lane: &(String, i64), record: &serde_json::Value) -> Option<()> {
        let sequence = record["seq"].as_u64()?;
        let highest = self.highest.entry(lane.clone()).or_insert(0);
        if sequence <= *highest {
            self.repeated += 1;
            return Some(());
        }
        *highest = sequence;
        let (device, number) = match &record["payload"] {
            serde_json::Value::String(text) => {
                let number = text.split(' ').nth(1)?.parse().ok()?;
                (*text == line(number)).then_some((DEVICES, number))?
            }
            payload => {
                let number = payload["n"].as_u64()?;
                let device = payload["device"].as_str()?.strip_prefix("press-")?.parse().ok()?;
                let sent: serde_json::Value = serde_json::from_str(&format!("{{{}}}", reading(device, number))).ok()?;
                let same = sent.as_object()?.iter().all(|(key, value)| payload.get(key) == Some(value));
                same.then_some((device, number))?
            }
        };
        let seen = self.seen.entry(device).or_default();
        let at = usize::try_from(number).ok()?;
        if seen.len() <= at {
            seen.resize(at + 1, false);
        }
        if std::mem::replace(&mut seen[at], true) {
            self.redelivered += 1;
        } else {
            self.distinct += 1;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_redeliveries_wrong_values_and_losses_are_told_apart() {
        let mut judge = Judge::default();
        let lane = ("readings".to_string(), 1);
        let record = |seq: u64, text: String| serde_json::json!({"seq": seq, "payload": text});
        assert!(judge.record(&lane, &record(1, line(0))).is_some());
        assert!(judge.record(&lane, &record(1, line(0))).is_some());
        assert!(judge.record(&lane, &record(2, line(0))).is_some());
        assert!(judge.record(&lane, &record(3, "line 1 conveyor speed 0 mm/s".into())).is_none());
        let verdict = judge.verdict(5, 1);
        assert_eq!((verdict.repeated_on_wire, verdict.redelivered_by_source, verdict.lost), (1, 1, 3));
    }
}
