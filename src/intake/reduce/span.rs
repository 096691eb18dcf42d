//! An open span of time: the readings of one key in it, and the record that they become.

use super::Take;
use crate::decode::members::{Members, is_number};
use crate::flow::record::{PayloadKind, Record};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The attribute that says how many readings a record stands for.
pub const READINGS: &str = "readings";
/// A mean has so many decimals more than the readings.
const MORE_DECIMALS: usize = 2;

/// The readings of one key in an open span, as it is saved: JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// The end of the span, in milliseconds since 1970-01-01 UTC.
    pub until_ms: i64,
    /// How many readings it has.
    pub readings: u64,
    arrival_ms: i64,
    device_time_us: Option<i64>,
    flags: u8,
    attributes: Vec<(Box<str>, Box<str>)>,
    /// The last reading.
    payload: String,
    numbers: BTreeMap<String, Numbers>,
}

/// The values of one member.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Numbers {
    count: u64,
    sum: f64,
    /// The smallest and the largest, as they were written.
    min: String,
    max: String,
    /// The most decimals that a value had.
    decimals: usize,
}

impl Numbers {
    fn add(&mut self, number: f64, text: &str) {
        self.count += 1;
        self.sum += number;
        let decimals = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        self.decimals = self.decimals.max(decimals);
        if self.min.parse::<f64>().is_ok_and(|min| number < min) {
            self.min = text.into();
        }
        if self.max.parse::<f64>().is_ok_and(|max| number > max) {
            self.max = text.into();
        }
    }

    fn mean(&self) -> String {
        let mean = self.sum / self.count as f64;
        if !mean.is_finite() {
            return "null".into();
        }
        let mean = format!("{:.*}", (self.decimals + MORE_DECIMALS).min(17), mean);
        mean.trim_end_matches('0').trim_end_matches('.').into()
    }
}

impl Span {
    /// The span with one more reading, whose payload is `json`; none when that is no object. `open` is the span
    /// until now. Numbers are only kept where they are wanted.
    pub fn grown(open: Option<&Self>, record: &Record, json: &str, until_ms: i64, wants_numbers: bool) -> Option<Self> {
        let members = Members::parse(json)?;
        let mut numbers = open.map(|open| open.numbers.clone()).unwrap_or_default();
        for (name, value) in members.0.iter().filter(|(_, value)| wants_numbers && is_number(value)) {
            let Ok(number) = value.parse::<f64>() else { continue };
            let first = || Numbers { count: 0, sum: 0.0, min: value.to_string(), max: value.to_string(), decimals: 0 };
            numbers.entry(name.to_string()).or_insert_with(first).add(number, value);
        }
        Some(Self {
            until_ms,
            readings: open.map_or(0, |open| open.readings) + 1,
            arrival_ms: record.arrival_ms,
            device_time_us: record.device_time_us,
            flags: record.flags,
            attributes: record.attributes.clone(),
            payload: json.to_string(),
            numbers,
        })
    }

    /// The record that the span becomes.
    pub fn into_record(self, key: Arc<str>, take: &[Take]) -> Record {
        let (kind, payload) = (PayloadKind::Json, self.payload(take));
        let Self { readings, arrival_ms, device_time_us, flags, mut attributes, .. } = self;
        attributes.push((READINGS.into(), readings.to_string().into()));
        Record { arrival_ms, device_time_us, key, flags, attributes, kind, payload }
    }

    /// The state as it is saved.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The last reading, with what is taken of its numbers.
    fn payload(&self, take: &[Take]) -> Bytes {
        if take == [Take::Last] {
            return Bytes::from(self.payload.clone());
        }
        let mut made = Members::default();
        for (name, last) in Members::parse(&self.payload).unwrap_or_default().0 {
            let Some(numbers) = self.numbers.get(&*name) else {
                made.push_json(name, last);
                continue;
            };
            for one in take {
                let (suffix, value) = match one {
                    Take::Last => ("", last.to_string()),
                    Take::Mean => ("_mean", numbers.mean()),
                    Take::Min => ("_min", numbers.min.clone()),
                    Take::Max => ("_max", numbers.max.clone()),
                };
                let suffix = if take.len() == 1 { "" } else { suffix };
                made.push_json(format!("{name}{suffix}"), value);
            }
        }
        Bytes::from(made.to_json())
    }
}
