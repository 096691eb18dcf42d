//! Less data: leaves out readings that say nothing new, or sums up those of a span of time.
//!
//! The rules are pure: the caller passes the time. A span that is open is saved with the positions of its source,
//! in the commit of each reading that it took. So a power cut costs no reading. Memory is bounded.

mod rule;
mod span;

pub use rule::{Deadband, Reduce, Take};

use super::quality::{KEYS, QUALITY, millis};
use crate::decode::members::find;
use crate::flow::record::{PayloadKind, Record};
use crate::telemetry::event;
use span::Span;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The most bytes that the state of one span may have.
const MOST_SPAN: usize = 4 << 10;
/// The most bytes that the states of all spans of a route may have.
const MOST_SPANS: usize = 512 << 10;
/// The last reading of a key that was kept.
#[derive(Debug)]
struct Kept {
    at_ms: u64,
    /// The value of each member, as JSON.
    values: Vec<Option<Box<str>>>,
}

/// What is left of the records of a frame.
#[derive(Debug, Default)]
pub struct Reduced {
    /// The records that go on.
    pub records: Vec<Record>,
    /// The number of readings that were left out.
    pub left_out: u64,
    /// The state to save: a part, and its value. An empty value removes the part.
    pub state: Option<(String, Vec<u8>)>,
}

/// The rule of one route, with the state of its keys.
#[derive(Debug)]
pub struct Reducer {
    rule: Option<Reduce>,
    /// The number of the route, which is in the names of its parts.
    route: usize,
    kept: HashMap<Arc<str>, Kept>,
    spans: HashMap<Arc<str>, Span>,
    /// The bytes of the states of all spans.
    bytes: usize,
}

impl Reducer {
    /// Creates the rule of a route.
    pub fn new(rule: Option<Reduce>, route: usize) -> Self {
        Self { rule, route, kept: HashMap::new(), spans: HashMap::new(), bytes: 0 }
    }

    /// Takes over the spans that were open at the last stop. Returns the records of those that are of no route any
    /// more, and the parts that cannot be used.
    pub fn load(lanes: &mut [&mut Self], saved: Vec<(String, Vec<u8>)>) -> (Vec<Record>, Vec<String>) {
        let (mut records, mut parts) = (Vec::new(), Vec::new());
        for (part, value) in saved {
            let read = part.split_once('/').zip(serde_json::from_slice::<Span>(&value).ok());
            match read {
                Some(((route, key), span)) => match lanes.iter_mut().find(|lane| lane.route.to_string() == route) {
                    Some(lane) => {
                        lane.bytes += part.len() + value.len();
                        lane.spans.insert(key.into(), span);
                        continue;
                    }
                    None => records.push(span.into_record(key.into(), &[Take::Last])),
                },
                None => {
                    tracing::error!(
                        event = event::SOURCE_NOTE,
                        part,
                        "the state of an open span of `reduce` cannot be read: its readings are lost"
                    );
                }
            }
            parts.push(part);
        }
        (records, parts)
    }

    /// Whether spans end without a reading.
    pub fn has_spans(&self) -> bool {
        matches!(self.rule, Some(Reduce::Span { .. })) || !self.spans.is_empty()
    }

    /// The records that go on of those of one frame. `now_ms` counts from the start of the machine.
    pub fn pass(&mut self, records: Vec<Record>, now_ms: u64) -> Reduced {
        match self.rule.clone() {
            None => Reduced { records, ..Reduced::default() },
            Some(Reduce::Unchanged { members, heartbeat }) => {
                let before = records.len();
                let mut records = records;
                records.retain(|record| self.is_new(record, &members, heartbeat, now_ms));
                Reduced { left_out: (before - records.len()) as u64, records, state: None }
            }
            Some(Reduce::Span { every, .. }) => self.sum_up(records, every),
        }
    }

    /// The records of spans that have ended by `wall_ms`, and the parts to remove.
    pub fn ended(&mut self, wall_ms: i64) -> Vec<(Record, String)> {
        let every = match &self.rule {
            Some(Reduce::Span { every, .. }) => i64::try_from(every.as_millis()).unwrap_or(i64::MAX),
            _ => 0,
        };
        // A clock that was set back ends a span too.
        let is_over = |span: &Span| wall_ms >= span.until_ms || wall_ms < span.until_ms.saturating_sub(every);
        let keys: Vec<Arc<str>> =
            self.spans.iter().filter(|(_, span)| is_over(span)).map(|(key, _)| key.clone()).collect();
        keys.into_iter().filter_map(|key| Some((self.close(&key)?, self.part(&key)))).collect()
    }

    fn part(&self, key: &str) -> String {
        format!("{}/{key}", self.route)
    }

    /// Whether a reading says something new.
    fn is_new(
        &mut self,
        record: &Record,
        members: &[(String, Deadband)],
        heartbeat: Option<Duration>,
        now_ms: u64,
    ) -> bool {
        let Some(json) = plain_json(record) else { return true };
        let value = |(name, _): &(String, Deadband)| find(json, name).map(Box::from);
        let values: Vec<Option<Box<str>>> = members.iter().map(value).collect();
        // Another kind of message under the same key.
        if values.iter().all(Option::is_none) {
            return true;
        }
        let same = |kept: &Kept| {
            let is_fresh = heartbeat.is_none_or(|heartbeat| now_ms.saturating_sub(kept.at_ms) < millis(heartbeat));
            let mut pairs = kept.values.iter().zip(&values).zip(members);
            is_fresh && !pairs.any(|((before, after), (_, band))| band.counts(before.as_deref(), after.as_deref()))
        };
        if self.kept.get(&record.key).is_some_and(same) {
            return false;
        }
        if self.kept.len() >= KEYS && !self.kept.contains_key(&record.key) {
            let mut ages: Vec<u64> = self.kept.values().map(|kept| kept.at_ms).collect();
            ages.sort_unstable();
            let oldest = ages.get(KEYS / 4).copied().unwrap_or_default();
            self.kept.retain(|_, kept| kept.at_ms > oldest);
        }
        self.kept.insert(record.key.clone(), Kept { at_ms: now_ms, values });
        true
    }

    /// Adds the records of a frame, which have one key, to its span.
    fn sum_up(&mut self, records: Vec<Record>, every: Duration) -> Reduced {
        let every = i64::try_from(every.as_millis()).unwrap_or(i64::MAX).max(1);
        let mut reduced = Reduced::default();
        let mut changed = None;
        for record in records {
            let until_ms = record.arrival_ms.div_euclid(every).saturating_add(1).saturating_mul(every);
            let span = plain_json(&record).and_then(|json| self.grown(&record, json, until_ms));
            let Some((span, size)) = span else {
                reduced.records.push(record);
                continue;
            };
            let key = record.key.clone();
            if self.spans.get(&key).is_some_and(|open| open.until_ms != until_ms) {
                reduced.records.extend(self.close(&key));
            } else if let Some(open) = self.spans.get(&key) {
                self.bytes = self.bytes.saturating_sub(self.size(&key, open));
            }
            self.bytes += size;
            reduced.left_out += u64::from(span.readings > 1);
            self.spans.insert(key.clone(), span);
            changed = Some(key);
        }
        reduced.state = changed.map(|key| {
            let value = self.spans.get(&key).map(Span::encode).unwrap_or_default();
            (self.part(&key), value)
        });
        reduced
    }

    /// The open span of a key with one more reading, and the bytes of its state; none when it would be too large.
    fn grown(&self, record: &Record, json: &str, until_ms: i64) -> Option<(Span, usize)> {
        let open = self.spans.get(&record.key).filter(|open| open.until_ms == until_ms);
        let wants_numbers = !matches!(&self.rule, Some(Reduce::Span { take, .. }) if *take == [Take::Last]);
        let span = Span::grown(open, record, json, until_ms, wants_numbers)?;
        let size = self.size(&record.key, &span);
        let before = open.map_or(0, |open| self.size(&record.key, open));
        (size <= MOST_SPAN && self.bytes.saturating_sub(before) + size <= MOST_SPANS).then_some((span, size))
    }

    fn size(&self, key: &str, span: &Span) -> usize {
        self.part(key).len() + span.encode().len()
    }

    /// Ends the span of a key: its record.
    fn close(&mut self, key: &Arc<str>) -> Option<Record> {
        let span = self.spans.remove(key)?;
        self.bytes = self.bytes.saturating_sub(self.size(key, &span));
        let take = match &self.rule {
            Some(Reduce::Span { take, .. }) => &take[..],
            _ => &[Take::Last],
        };
        Some(span.into_record(key.clone(), take))
    }
}

/// The JSON of a reading that no check has tagged: a doubtful one goes on as it is.
fn plain_json(record: &Record) -> Option<&str> {
    let is_doubtful = record.attributes.iter().any(|(name, _)| &**name == QUALITY);
    std::str::from_utf8(&record.payload).ok().filter(|_| record.kind == PayloadKind::Json && !is_doubtful)
}

#[cfg(test)]
mod tests {
    use super::span::READINGS;
    use super::*;
    use bytes::Bytes;

    const MINUTE: Duration = Duration::from_secs(60);

    fn record(key: &str, payload: &str, arrival_ms: i64) -> Record {
        let payload = Bytes::from(payload.to_string());
        let (kind, attributes) = (PayloadKind::Json, vec![("line".into(), "7".into())]);
        Record { arrival_ms, device_time_us: Some(arrival_ms), key: key.into(), flags: 0, attributes, kind, payload }
    }

    fn shown(records: &[Record]) -> Vec<String> {
        let text = |record: &Record| {
            let readings = record.attributes.iter().find(|(name, _)| &**name == READINGS);
            let readings = readings.map(|(_, count)| format!(" {count}")).unwrap_or_default();
            format!("{}{readings}", String::from_utf8_lossy(&record.payload))
        };
        records.iter().map(text).collect()
    }

    #[test]
    fn a_reading_goes_on_when_a_member_has_changed_enough_or_the_heartbeat_is_due() {
        let members = vec![
            ("t".into(), Deadband::Absolute(0.5)),
            ("p".into(), Deadband::Relative(0.01)),
            ("s".into(), Deadband::Any),
        ];
        let mut reducer = Reducer::new(Some(Reduce::Unchanged { members, heartbeat: Some(MINUTE) }), 0);
        let mut goes = |key: &str, payload: &str, now_ms| {
            let after = reducer.pass(vec![record(key, payload, 0)], now_ms);
            assert_eq!(after.records.len() as u64 + after.left_out, 1);
            after.left_out == 0
        };
        for (payload, now_ms, wanted, why) in [
            (r#"{"t":20,"p":100,"s":"on"}"#, 0, true, "the first"),
            (r#"{"t":20.5,"p":101,"s":"on"}"#, 1, false, "within both bands"),
            (r#"{"t":20.6,"p":100,"s":"on"}"#, 2, true, "beyond the first"),
            (r#"{"t":20.2,"p":98.9,"s":"on"}"#, 3, true, "beyond the second"),
            (r#"{"t":20.2,"p":98.9,"s":"off"}"#, 4, true, "any change"),
            (r#"{"t":20.2,"p":98.9}"#, 5, true, "a member is gone"),
            (r#"{"t":20.2,"p":98.9}"#, 6, false, "and stays away"),
            (r#"{"t":20.2,"p":98.9}"#, 60_004, false, "just before the heartbeat"),
            (r#"{"t":20.2,"p":98.9}"#, 60_005, true, "the heartbeat"),
            (r#"{"t":"20.2","p":98.9}"#, 60_006, true, "a text is no number"),
            (r#"{"other":1}"#, 60_007, true, "another kind of message"),
            ("[1]", 60_008, true, "no object"),
        ] {
            assert_eq!(goes("a", payload, now_ms), wanted, "{payload}: {why}");
        }
        assert!(goes("b", r#"{"t":20.2}"#, 7), "another key");
        let mut doubtful = record("b", r#"{"t":20.2}"#, 0);
        doubtful.attributes.push((QUALITY.into(), "stuck:t".into()));
        assert_eq!(reducer.pass(vec![doubtful], 8).left_out, 0, "what a check has tagged goes on");
        for n in 0..2 * KEYS as u64 {
            assert_eq!(reducer.pass(vec![record(&n.to_string(), r#"{"t":1}"#, 0)], n).left_out, 0);
        }
        assert!(reducer.kept.len() <= KEYS);
    }

    fn spans(take: &[Take]) -> Reducer {
        Reducer::new(Some(Reduce::Span { every: MINUTE, take: take.to_vec() }), 2)
    }

    #[test]
    fn a_span_gives_one_record_at_its_end() {
        let mut reducer = spans(&[Take::Mean, Take::Min, Take::Max]);
        for (at, payload) in
            [(0, r#"{"t":1.50,"n":3,"s":"a"}"#), (1, r#"{"t":-2.0,"n":4,"s":"b"}"#), (59_999, r#"{"t":1,"s":"c"}"#)]
        {
            let after = reducer.pass(vec![record("k", payload, 60_000 + at)], 0);
            assert_eq!((after.records.len(), after.left_out), (0, u64::from(at > 0)));
            assert_eq!(after.state.unwrap().0, "2/k");
        }
        let after = reducer.pass(vec![record("k", r#"{"t":7}"#, 120_000)], 0);
        assert_eq!(shown(&after.records), [r#"{"t_mean":0.1667,"t_min":-2.0,"t_max":1.50,"s":"c"} 3"#]);
        assert_eq!((after.records[0].arrival_ms, after.records[0].device_time_us), (119_999, Some(119_999)));
        assert!(reducer.ended(179_999).is_empty());
        let ended = reducer.ended(180_000);
        assert_eq!(
            (shown(&[ended[0].0.clone()]), &*ended[0].1),
            (vec![r#"{"t_mean":7,"t_min":7,"t_max":7} 1"#.to_string()], "2/k")
        );
        assert_eq!((reducer.bytes, reducer.spans.len()), (0, 0));
        for (take, wanted) in [(Take::Last, "2.25"), (Take::Mean, "1.375"), (Take::Min, "0.5"), (Take::Max, "2.25")] {
            let mut reducer = spans(&[take]);
            reducer.pass(vec![record("k", r#"{"t":0.5}"#, 1), record("k", r#"{"t":2.25}"#, 2)], 0);
            assert_eq!(shown(&[reducer.ended(60_000).remove(0).0]), [format!("{{\"t\":{wanted}}} 2")]);
        }
        // A clock that is set back does not keep a span open for years.
        reducer.pass(vec![record("k", "{}", 1_000_000_000_000)], 0);
        assert_eq!(reducer.ended(7).len(), 1);
    }

    /// The state as it is saved; later versions must read it.
    const SAVED: &str = r#"{"until_ms":60000,"readings":2,"arrival_ms":2,"device_time_us":2,"flags":0,"attributes":[["line","7"]],"payload":"{\"t\":2.25}","numbers":{"t":{"count":2,"sum":2.75,"min":"0.5","max":"2.25","decimals":2}}}"#;

    #[test]
    fn an_open_span_goes_on_after_a_restart() {
        let mut reducer = spans(&[Take::Mean]);
        let state =
            reducer.pass(vec![record("k", r#"{"t":0.5}"#, 1), record("k", r#"{"t":2.25}"#, 2)], 0).state.unwrap();
        assert_eq!((&*state.0, std::str::from_utf8(&state.1).unwrap()), ("2/k", SAVED));
        let mut again = spans(&[Take::Mean]);
        let saved = |part: &str, value: &str| (part.to_string(), value.as_bytes().to_vec());
        let all = vec![saved("2/k", SAVED), saved("7/gone", SAVED), saved("2/bad", "{"), saved("x", SAVED)];
        let (records, parts) = Reducer::load(&mut [&mut again], all);
        assert_eq!(
            (shown(&records), parts),
            (vec!["{\"t\":2.25} 2".to_string()], vec!["7/gone".into(), "2/bad".into(), "x".into()])
        );
        assert_eq!((again.bytes, again.has_spans()), (reducer.bytes, true));
        again.pass(vec![record("k", r#"{"t":1}"#, 3)], 0);
        assert_eq!(shown(&[again.ended(60_000).remove(0).0]), ["{\"t\":1.25} 3"]);
        // Without the rule the span still ends.
        let mut none = Reducer::new(None, 2);
        Reducer::load(&mut [&mut none], vec![saved("2/k", SAVED)]);
        assert!(none.has_spans());
        assert_eq!(shown(&[none.ended(60_000).remove(0).0]), ["{\"t\":2.25} 2"]);
    }

    #[test]
    fn what_would_take_too_much_memory_goes_on_as_it_is() {
        let mut reducer = spans(&[Take::Last]);
        let long = format!("{{\"s\":\"{}\"}}", "x".repeat(MOST_SPAN));
        assert_eq!(reducer.pass(vec![record("k", &long, 1)], 0).records.len(), 1);
        let half = format!("{{\"s\":\"{}\"}}", "x".repeat(MOST_SPAN / 2));
        let passed: usize =
            (0..1000).map(|n| reducer.pass(vec![record(&n.to_string(), &half, 1)], 0).records.len()).sum();
        assert!(passed > 0 && reducer.bytes <= MOST_SPANS && reducer.spans.len() + passed == 1000);
        let huge = r#"{"t":1e308}"#;
        let mut mean = spans(&[Take::Mean]);
        mean.pass(vec![record("k", huge, 1), record("k", huge, 1)], 0);
        assert_eq!(shown(&[mean.ended(60_000).remove(0).0]), ["{\"t\":null} 2"]);
    }
}
