//! An open span of time: the readings of one sensor in it, and the record that they become.

use super::Take;
use crate::decode::members::{Members, is_number};
use crate::flow::record::{PayloadKind, Record};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The attribute that says how many readings a record stands for.
pub const READINGS: &str = "readings";
/// A mean has so many decimals more than the readings.
const MORE_DECIMALS: usize = 2;

/// The readings of one sensor in an open span, as it is saved: JSON. It says all that is needed to end it, also when
/// the configuration has changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// The name of the stream that its record goes to.
    pub stream: String,
    /// What is kept of its readings.
    pub take: Vec<Take>,
    /// The length of the span, in milliseconds.
    pub every_ms: i64,
    /// The end of the span, in milliseconds since 1970-01-01 UTC.
    pub until_ms: i64,
    /// How many readings it has.
    pub readings: u64,
    /// The arrival of the last reading, in milliseconds since 1970-01-01 UTC.
    pub arrival_ms: i64,
    device_time_us: Option<i64>,
    key: Box<str>,
    flags: u8,
    attributes: Vec<(Box<str>, Box<str>)>,
    /// The last value of each member.
    payload: String,
    numbers: BTreeMap<String, Numbers>,
}

/// The values of one member.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Numbers {
    count: u64,
    /// None when it is too large to be a number.
    sum: Option<f64>,
    /// The smallest and the largest, as they were written.
    min: String,
    max: String,
    /// The most decimals that a value had; none when one had an exponent.
    decimals: Option<usize>,
}

impl Numbers {
    fn new(text: &str) -> Self {
        Self { count: 0, sum: Some(0.0), min: text.into(), max: text.into(), decimals: Some(0) }
    }

    fn add(&mut self, number: f64, text: &str) {
        self.count += 1;
        self.sum = self.sum.map(|sum| sum + number).filter(|sum| sum.is_finite());
        let decimals = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        self.decimals = self.decimals.filter(|_| !text.contains(['e', 'E'])).map(|most| most.max(decimals));
        if self.min.parse::<f64>().is_ok_and(|min| number < min) {
            self.min = text.into();
        }
        if self.max.parse::<f64>().is_ok_and(|max| number > max) {
            self.max = text.into();
        }
    }

    fn mean(&self) -> String {
        let Some(sum) = self.sum else { return "null".into() };
        let mean = sum / self.count as f64;
        match self.decimals {
            Some(decimals) => {
                let mean = format!("{mean:.*}", (decimals + MORE_DECIMALS).min(17));
                mean.trim_end_matches('0').trim_end_matches('.').into()
            }
            None => format!("{mean:e}"),
        }
    }
}

/// The rule by which readings are summed up.
#[derive(Debug, Clone, Copy)]
pub struct Rule<'a> {
    /// The name of the stream.
    pub stream: &'a str,
    /// The length of a span, in milliseconds.
    pub every_ms: i64,
    /// What is kept.
    pub take: &'a [Take],
    /// The members that hold the time: no number of these is averaged.
    pub times: &'a [String],
}

impl Span {
    /// The span with one more reading, whose payload is `json`; none when that is no object. `open` is the span
    /// until now.
    pub fn grown(open: Option<&Self>, record: &Record, json: &str, until_ms: i64, rule: Rule<'_>) -> Option<Self> {
        let mut members = Members::parse(json)?;
        let mut numbers = open.map(|open| open.numbers.clone()).unwrap_or_default();
        let is_wanted = rule.take != [Take::Last];
        let is_time = |name: &str| rule.times.iter().any(|time| time == name);
        for (name, value) in members.0.iter().filter(|(name, value)| is_wanted && is_number(value) && !is_time(name)) {
            let Ok(number) = value.parse::<f64>() else { continue };
            numbers.entry(name.to_string()).or_insert_with(|| Numbers::new(value)).add(number, value);
        }
        // Devices often send only what has changed: members that are not in the last reading keep their value.
        let before = open.and_then(|open| Members::parse(&open.payload)).unwrap_or_default();
        let known: Vec<_> =
            before.0.into_iter().filter(|(name, _)| !members.0.iter().any(|(own, _)| own == name)).collect();
        let payload = if known.is_empty() {
            json.to_string()
        } else {
            members.0.extend(known);
            members.to_json()
        };
        Some(Self {
            stream: rule.stream.into(),
            take: rule.take.to_vec(),
            every_ms: rule.every_ms,
            until_ms,
            readings: open.map_or(0, |open| open.readings) + 1,
            arrival_ms: record.arrival_ms,
            device_time_us: record.device_time_us,
            key: (*record.key).into(),
            flags: record.flags,
            attributes: record.attributes.clone(),
            payload,
            numbers,
        })
    }

    /// Whether a rule goes on with this span.
    pub fn is_of(&self, rule: Rule<'_>) -> bool {
        self.stream == rule.stream && self.every_ms == rule.every_ms && self.take == rule.take
    }

    /// The record that the span becomes.
    pub fn into_record(self) -> Record {
        let (kind, payload) = (PayloadKind::Json, self.payload());
        let Self { readings, arrival_ms, device_time_us, key, flags, mut attributes, .. } = self;
        attributes.push((READINGS.into(), readings.to_string().into()));
        Record { arrival_ms, device_time_us, key: key.into(), flags, attributes, kind, payload }
    }

    /// The state as it is saved.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The state that was saved; none when it cannot be read.
    pub fn decode(saved: &[u8]) -> Option<Self> {
        serde_json::from_slice(saved).ok()
    }

    /// The last value of each member, with what is taken of its numbers.
    fn payload(&self) -> Bytes {
        if self.take == [Take::Last] {
            return Bytes::from(self.payload.clone());
        }
        let mut made = Members::default();
        for (name, last) in Members::parse(&self.payload).unwrap_or_default().0 {
            let Some(numbers) = self.numbers.get(&*name) else {
                made.push_json(name, last);
                continue;
            };
            for one in &self.take {
                let (suffix, value) = match one {
                    Take::Last => ("", last.clone()),
                    Take::Mean => ("_mean", Cow::Owned(numbers.mean())),
                    Take::Min => ("_min", Cow::Borrowed(&*numbers.min)),
                    Take::Max => ("_max", Cow::Borrowed(&*numbers.max)),
                };
                let suffix = if self.take.len() == 1 { "" } else { suffix };
                made.push_json(format!("{name}{suffix}"), value);
            }
        }
        Bytes::from(made.to_json())
    }
}
