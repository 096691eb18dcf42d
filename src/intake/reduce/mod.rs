//! Less data: leaves out readings that say nothing new, or sums up those of a span of time.
//!
//! The rules are pure: the caller passes the time. A span that is open is saved with the positions of its source,
//! in the commit of each reading that it took. So a power cut costs no reading. Memory is bounded.

mod rule;
mod span;

pub use rule::{Deadband, Reduce, Take};

use super::quality::{KEYS, QUALITY, millis};
use crate::decode::members::{find, text};
use crate::flow::record::{PayloadKind, Record};
use span::Rule;
pub use span::Span;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most bytes that the state of one span may have.
const MOST_SPAN: usize = 4 << 10;
/// The most bytes that the states of all spans of an agent may have: each checkpoint of the store has them all, and
/// has 4 MiB at most.
const MOST_SPANS: usize = 1 << 20;
/// A span that has ended waits for its last readings for this long at most, in milliseconds.
const GRACE_MS: i64 = 5000;

/// The bytes of all spans of this agent.
static SPANS: AtomicUsize = AtomicUsize::new(0);

/// The last reading of a sensor that was kept.
#[derive(Debug)]
struct Kept {
    at_ms: u64,
    /// The value of each member that was seen.
    values: Vec<Option<Value>>,
}

/// The value of a member, in a few bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A number.
    Number(f64),
    /// The hash of any other JSON value.
    Other(u64),
}

impl Value {
    fn of(json: &str) -> Self {
        let number = Some(json).filter(|json| !json.starts_with('"')).and_then(|json| json.parse().ok());
        number.map_or_else(
            || {
                let mut hasher = DefaultHasher::new();
                json.hash(&mut hasher);
                Self::Other(hasher.finish())
            },
            Self::Number,
        )
    }
}

/// What is left of the records of a frame.
#[derive(Debug, Default)]
pub struct Reduced {
    /// The records that go on.
    pub records: Vec<Record>,
    /// The number of readings that were left out.
    pub left_out: u64,
    /// The states to save: a part, and its value. An empty value removes the part.
    pub states: Vec<(String, Vec<u8>)>,
}

/// The rule of one route, with the state of its sensors.
#[derive(Debug)]
pub struct Reducer {
    rule: Option<Reduce>,
    /// The number of the route, which is in the names of its parts.
    route: usize,
    /// The name of the stream.
    stream: String,
    kept: HashMap<Arc<str>, Kept>,
    /// The open spans, and the bytes that the state of each takes.
    spans: HashMap<Arc<str>, (Span, usize)>,
    /// The bytes of all spans, of this route and others.
    budget: &'static AtomicUsize,
}

impl Reducer {
    /// Creates the rule of a route.
    pub fn new(rule: Option<Reduce>, route: usize, stream: String) -> Self {
        Self { rule, route, stream, kept: HashMap::new(), spans: HashMap::new(), budget: &SPANS }
    }

    /// Takes a span over that was open at the last stop, if it goes on under the same rule.
    pub fn load(&mut self, part: &str, span: &Span, bytes: usize) -> bool {
        let Some((route, sensor)) = part.split_once('/') else { return false };
        let is_own = route == self.route.to_string() && self.summing().is_some_and(|rule| span.is_of(rule));
        if is_own {
            self.put(sensor.into(), span.clone(), part.len() + bytes);
        }
        is_own
    }

    /// Whether spans end without a reading.
    pub fn has_spans(&self) -> bool {
        matches!(self.rule, Some(Reduce::Span { .. }))
    }

    /// The records that go on of those of one frame. `now_ms` counts from the start of the machine.
    pub fn pass(&mut self, records: Vec<Record>, now_ms: u64) -> Reduced {
        match &self.rule {
            None => Reduced { records, ..Reduced::default() },
            Some(Reduce::Unchanged { .. }) => {
                let before = records.len();
                let mut records = records;
                records.retain(|record| self.is_new(record, now_ms));
                Reduced { left_out: (before - records.len()) as u64, records, states: Vec::new() }
            }
            Some(Reduce::Span { .. }) => self.sum_up(records),
        }
    }

    /// The records of spans that have ended by `wall_ms`, and the parts to remove.
    pub fn ended(&mut self, wall_ms: i64) -> Vec<(Record, String)> {
        let is_over = |span: &Span| {
            // Devices may send late, or what they have kept for days: a span ends when its readings do.
            let quiet = wall_ms.saturating_sub(span.arrival_ms);
            let is_quiet = quiet >= GRACE_MS.min(span.every_ms) || quiet < 0;
            // A span of the future comes from a clock that was wrong.
            let is_far = span.until_ms.saturating_sub(wall_ms) > span.every_ms.saturating_mul(2);
            is_quiet && (wall_ms >= span.until_ms || is_far)
        };
        let over: Vec<Arc<str>> =
            self.spans.iter().filter(|(_, (span, _))| is_over(span)).map(|(sensor, _)| sensor.clone()).collect();
        over.into_iter().filter_map(|sensor| Some((self.close(&sensor)?, self.part(&sensor)))).collect()
    }

    fn summing(&self) -> Option<Rule<'_>> {
        let Some(Reduce::Span { every, take, times, .. }) = &self.rule else { return None };
        let every_ms = i64::try_from(every.as_millis()).unwrap_or(i64::MAX).max(1);
        Some(Rule { stream: &self.stream, every_ms, take, times })
    }

    fn part(&self, sensor: &str) -> String {
        format!("{}/{sensor}", self.route)
    }

    /// Whether a reading says something new.
    fn is_new(&mut self, record: &Record, now_ms: u64) -> bool {
        let Some(Reduce::Unchanged { members, heartbeat, by }) = &self.rule else { return true };
        let Some(json) = plain_json(record) else { return true };
        let values: Vec<Option<Value>> = members.iter().map(|(name, _)| find(json, name).map(Value::of)).collect();
        // Another kind of message.
        if values.iter().all(Option::is_none) {
            return true;
        }
        let sensor = sensor(record, json, by);
        // A member that is not there has not changed: devices often send only what has.
        let has_changed = |kept: &Kept| {
            let mut pairs = kept.values.iter().zip(&values).zip(members);
            pairs.any(|((before, after), (_, band))| {
                after.is_some_and(|after| before.is_none_or(|before| band.counts(before, after)))
            })
        };
        let is_due =
            |kept: &Kept| heartbeat.is_some_and(|heartbeat| now_ms.saturating_sub(kept.at_ms) >= millis(heartbeat));
        if let Some(kept) = self.kept.get_mut(&sensor) {
            if !has_changed(kept) && !is_due(kept) {
                return false;
            }
            kept.at_ms = now_ms;
            kept.values.iter_mut().zip(values).for_each(|(before, after)| *before = after.or(*before));
            return true;
        }
        if self.kept.len() >= KEYS {
            let mut ages: Vec<u64> = self.kept.values().map(|kept| kept.at_ms).collect();
            ages.sort_unstable();
            let oldest = ages.get(KEYS / 4).copied().unwrap_or_default();
            self.kept.retain(|_, kept| kept.at_ms > oldest);
        }
        self.kept.insert(sensor, Kept { at_ms: now_ms, values });
        true
    }

    /// Adds the records of a frame to the spans of their sensors.
    fn sum_up(&mut self, records: Vec<Record>) -> Reduced {
        let mut reduced = Reduced::default();
        let mut changed = std::collections::BTreeSet::new();
        for record in records {
            let sensor = match (plain_json(&record), &self.rule) {
                (Some(json), Some(Reduce::Span { by, .. })) => sensor(&record, json, by),
                _ => {
                    reduced.records.push(record);
                    continue;
                }
            };
            match self.grown(&record, &sensor) {
                Some((span, bytes, ended)) => {
                    reduced.records.extend(ended);
                    reduced.left_out += u64::from(span.readings > 1);
                    self.put(sensor.clone(), span, bytes);
                    changed.insert(sensor);
                }
                None => reduced.records.push(record),
            }
        }
        let state = |sensor: Arc<str>| {
            let value = self.spans.get(&sensor).map(|(span, _)| span.encode()).unwrap_or_default();
            (self.part(&sensor), value)
        };
        reduced.states = changed.into_iter().map(state).collect();
        reduced
    }

    /// The span of a sensor with one more reading, the bytes of its state, and the record of the span before it, if
    /// that has ended. None for a reading that goes on as it is: it is older than the open span, no object, or the
    /// state would be too large.
    fn grown(&mut self, record: &Record, sensor: &Arc<str>) -> Option<(Span, usize, Option<Record>)> {
        let rule = self.summing()?;
        let time_ms = record.device_time_us.map_or(record.arrival_ms, |us| us.div_euclid(1000));
        let until_ms = time_ms.div_euclid(rule.every_ms).saturating_add(1).saturating_mul(rule.every_ms);
        let (open, before) = self.spans.get(sensor).map_or((None, 0), |(open, bytes)| (Some(open), *bytes));
        if open.is_some_and(|open| until_ms < open.until_ms) {
            return None;
        }
        let goes_on = open.filter(|open| open.until_ms == until_ms);
        let span = Span::grown(goes_on, record, plain_json(record)?, until_ms, rule)?;
        let bytes = self.part(sensor).len() + span.encode().len();
        let all = self.budget.load(Ordering::Relaxed).saturating_sub(before) + bytes;
        if bytes > MOST_SPAN || all > MOST_SPANS {
            return None;
        }
        let is_next = span.readings == 1;
        let ended = if is_next { self.close(sensor) } else { None };
        Some((span, bytes, ended))
    }

    /// Keeps a span in place of the one that its sensor had.
    fn put(&mut self, sensor: Arc<str>, span: Span, bytes: usize) {
        self.budget.fetch_add(bytes, Ordering::Relaxed);
        if let Some((_, before)) = self.spans.insert(sensor, (span, bytes)) {
            self.budget.fetch_sub(before, Ordering::Relaxed);
        }
    }

    /// Ends the span of a sensor: its record.
    fn close(&mut self, sensor: &Arc<str>) -> Option<Record> {
        let (span, bytes) = self.spans.remove(sensor)?;
        self.budget.fetch_sub(bytes, Ordering::Relaxed);
        Some(span.into_record())
    }
}

impl Drop for Reducer {
    fn drop(&mut self) {
        let bytes: usize = self.spans.values().map(|(_, bytes)| bytes).sum();
        self.budget.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The key of a record, and the members and attributes that tell its sensors apart.
fn sensor(record: &Record, json: &str, by: &[String]) -> Arc<str> {
    if by.is_empty() {
        return record.key.clone();
    }
    let mut sensor = record.key.to_string();
    for name in by {
        let attribute = || record.attributes.iter().find(|(own, _)| **own == **name).map(|(_, value)| (**value).into());
        sensor.push('\n');
        sensor.push_str(&find(json, name).map(text).or_else(attribute).unwrap_or_default());
    }
    sensor.into()
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
    use std::time::Duration;

    const MINUTE: Duration = Duration::from_secs(60);

    fn record(key: &str, payload: &str, arrival_ms: i64) -> Record {
        let payload = Bytes::from(payload.to_string());
        let (kind, attributes) = (PayloadKind::Json, vec![("line".into(), "7".into())]);
        Record { arrival_ms, device_time_us: None, key: key.into(), flags: 0, attributes, kind, payload }
    }

    fn shown(records: &[Record]) -> Vec<String> {
        let text = |record: &Record| {
            let readings = record.attributes.iter().find(|(name, _)| &**name == READINGS);
            let readings = readings.map(|(_, count)| format!(" {count}")).unwrap_or_default();
            format!("{}{readings}", String::from_utf8_lossy(&record.payload))
        };
        records.iter().map(text).collect()
    }

    fn reducer(rule: Reduce) -> Reducer {
        let mut reducer = Reducer::new(Some(rule), 2, "readings".into());
        reducer.budget = Box::leak(Box::new(AtomicUsize::new(0)));
        reducer
    }

    fn unchanged(members: Vec<(String, Deadband)>, by: &[&str]) -> Reducer {
        let by = by.iter().map(ToString::to_string).collect();
        reducer(Reduce::Unchanged { members, heartbeat: Some(MINUTE), by })
    }

    fn spans(take: &[Take]) -> Reducer {
        reducer(Reduce::Span { every: MINUTE, take: take.to_vec(), by: Vec::new(), times: vec!["ts".into()] })
    }

    /// The record of the one span that has ended.
    fn end(reducer: &mut Reducer, wall_ms: i64) -> String {
        let ended = reducer.ended(wall_ms);
        assert_eq!(ended.len(), 1);
        shown(&[ended[0].0.clone()]).remove(0)
    }

    #[test]
    fn a_reading_goes_on_when_a_member_has_changed_enough_or_the_heartbeat_is_due() {
        let members = vec![
            ("t".into(), Deadband::Absolute(0.5)),
            ("p".into(), Deadband::Relative(0.01)),
            ("s".into(), Deadband::Any),
        ];
        let mut reducer = unchanged(members, &[]);
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
            (r#"{"t":20.4}"#, 5, false, "others are not there"),
            (r#"{"s":"off"}"#, 6, false, "this one alone has not changed"),
            (r#"{"t":20.2,"p":98.9}"#, 60_003, false, "just before the heartbeat"),
            (r#"{"t":20.2,"p":98.9}"#, 60_004, true, "the heartbeat"),
            (r#"{"t":"20.2","p":98.9}"#, 60_006, true, "a text is no number"),
            (r#"{"t":null}"#, 60_007, true, "nor is null"),
            (r#"{"other":1}"#, 60_008, true, "another kind of message"),
            ("[1]", 60_009, true, "no object"),
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

    #[test]
    fn sensors_under_one_key_are_told_apart() {
        let mut reducer = unchanged(vec![("v".into(), Deadband::Absolute(0.5))], &["n", "line"]);
        let both = vec![record("k", r#"{"n":"temp","v":21}"#, 0), record("k", r#"{"n":"floor","v":21.2}"#, 0)];
        assert_eq!(reducer.pass(both.clone(), 0).left_out, 0);
        assert_eq!(reducer.pass(both, 1).left_out, 2);
        let mut other = record("k", r#"{"n":"temp","v":21}"#, 0);
        other.attributes[0].1 = "8".into();
        assert_eq!(reducer.pass(vec![other], 2).left_out, 0, "an attribute tells apart too");
    }

    #[test]
    fn a_span_gives_one_record_at_its_end() {
        let mut reducer = spans(&[Take::Mean, Take::Min, Take::Max]);
        for (at, payload) in [
            (0, r#"{"t":1.50,"n":3,"s":"a","ts":5}"#),
            (1, r#"{"t":-2.0,"n":4,"s":"b","ts":6}"#),
            (59_999, r#"{"t":1,"s":"c"}"#),
        ] {
            let after = reducer.pass(vec![record("k", payload, 60_000 + at)], 0);
            assert_eq!((after.records.len(), after.left_out), (0, u64::from(at > 0)));
            assert_eq!(after.states[0].0, "2/k");
        }
        let after = reducer.pass(vec![record("k", r#"{"t":7}"#, 120_000)], 0);
        // What is not in the last reading is kept; a time is not averaged.
        let whole = r#"{"t_mean":0.1667,"t_min":-2.0,"t_max":1.50,"s":"c","n_mean":3.5,"n_min":3,"n_max":4,"ts":6} 3"#;
        assert_eq!(shown(&after.records), [whole]);
        assert_eq!((after.records[0].arrival_ms, &*after.records[0].key), (119_999, "k"));
        assert!(reducer.ended(179_999).is_empty());
        assert_eq!(end(&mut reducer, 180_000), r#"{"t_mean":7,"t_min":7,"t_max":7} 1"#);
        assert_eq!((reducer.budget.load(Ordering::Relaxed), reducer.spans.len()), (0, 0));
        for (take, wanted) in [(Take::Last, "2.25"), (Take::Mean, "1.375"), (Take::Min, "0.5"), (Take::Max, "2.25")] {
            let mut reducer = spans(&[take]);
            reducer.pass(vec![record("k", r#"{"t":0.5}"#, 1), record("k", r#"{"t":2.25}"#, 2)], 0);
            assert_eq!(end(&mut reducer, 60_000), format!("{{\"t\":{wanted}}} 2"));
        }
        let mut small = spans(&[Take::Mean]);
        small.pass(vec![record("k", r#"{"leak":1.5e-9}"#, 1), record("k", r#"{"leak":2.5e-09}"#, 1)], 0);
        assert_eq!(end(&mut small, 60_000), r#"{"leak":2e-9} 2"#);
    }

    #[test]
    fn spans_go_by_the_time_of_the_device_and_wait_for_what_comes_late() {
        let mut reducer = spans(&[Take::Mean]);
        let at = |device_s: i64, arrival_ms: i64, t: i64| Record {
            device_time_us: Some(device_s * 1_000_000),
            ..record("k", &format!("{{\"t\":{t}}}"), arrival_ms)
        };
        // Three minutes that were kept by the device, sent in one second of a later hour.
        let hour = 3_600_000;
        let sent = vec![at(0, hour, 1), at(59, hour, 3), at(60, hour, 5), at(121, hour, 7), at(119, hour, 9)];
        let after = reducer.pass(sent, 0);
        assert_eq!(
            shown(&after.records),
            ["{\"t\":2} 2", "{\"t\":5} 1", "{\"t\":9}"],
            "one that is older goes on as it is"
        );
        assert!(reducer.ended(hour + GRACE_MS - 1).is_empty(), "more of it may come");
        assert_eq!(end(&mut reducer, hour + GRACE_MS), "{\"t\":7} 1");
        // A clock that was wrong, or that is set back, keeps no span open for years.
        reducer.pass(vec![at(4_000_000_000, hour, 1)], 0);
        assert_eq!(end(&mut reducer, hour + GRACE_MS), "{\"t\":1} 1");
        reducer.pass(vec![record("k", "{\"t\":1}", 1_000_000_000_000)], 0);
        assert_eq!(end(&mut reducer, 7), "{\"t\":1} 1");
    }

    /// The state as it is saved; later versions must read it.
    const SAVED: &str = r#"{"stream":"readings","take":["mean"],"every_ms":60000,"until_ms":60000,"readings":2,"arrival_ms":2,"device_time_us":null,"key":"k","flags":0,"attributes":[["line","7"]],"payload":"{\"t\":2.25}","numbers":{"t":{"count":2,"sum":2.75,"min":"0.5","max":"2.25","decimals":2}}}"#;

    #[test]
    fn an_open_span_goes_on_after_a_restart_if_its_rule_does() {
        let mut reducer = spans(&[Take::Mean]);
        let (part, value) =
            reducer.pass(vec![record("k", r#"{"t":0.5}"#, 1), record("k", r#"{"t":2.25}"#, 2)], 0).states.remove(0);
        assert_eq!((&*part, std::str::from_utf8(&value).unwrap()), ("2/k", SAVED));
        let span = Span::decode(&value).unwrap();
        let mut again = spans(&[Take::Mean]);
        assert!(!again.load("7/k", &span, value.len()) && again.load("2/k", &span, value.len()));
        assert_eq!(again.budget.load(Ordering::Relaxed), reducer.budget.load(Ordering::Relaxed));
        again.pass(vec![record("k", r#"{"t":1}"#, 3)], 0);
        assert_eq!(end(&mut again, 60_000), "{\"t\":1.25} 3");
        // Another rule does not go on with it: it ends as it began.
        for other in [spans(&[Take::Max]), unchanged(Vec::new(), &[]), Reducer::new(None, 2, "readings".into())] {
            let mut other = other;
            assert!(!other.load("2/k", &span, value.len()));
        }
        assert_eq!(shown(&[span.into_record()]), ["{\"t\":1.375} 2"]);
        assert!(Span::decode(b"{").is_none());
    }

    #[test]
    fn what_would_take_too_much_memory_goes_on_as_it_is() {
        let mut reducer = spans(&[Take::Last]);
        let long = format!("{{\"s\":\"{}\"}}", "x".repeat(MOST_SPAN));
        assert_eq!(reducer.pass(vec![record("k", &long, 1)], 0).records.len(), 1);
        let half = format!("{{\"s\":\"{}\"}}", "x".repeat(MOST_SPAN / 2));
        let passed: usize =
            (0..1000).map(|n| reducer.pass(vec![record(&n.to_string(), &half, 1)], 0).records.len()).sum();
        assert!(passed > 0 && reducer.spans.len() + passed == 1000);
        let budget = reducer.budget;
        assert!(budget.load(Ordering::Relaxed) <= MOST_SPANS);
        drop(reducer);
        assert_eq!(budget.load(Ordering::Relaxed), 0);
        // A sum that is no number any more, also after a restart.
        let mut mean = spans(&[Take::Mean]);
        let huge = r#"{"t":1.7976931348623157e308,"q":1}"#;
        let (_, state) = mean.pass(vec![record("k", huge, 1), record("k", huge, 1)], 0).states.remove(0);
        let mut again = spans(&[Take::Mean]);
        assert!(again.load("2/k", &Span::decode(&state).unwrap(), state.len()));
        assert_eq!(end(&mut again, 60_000), "{\"t\":null,\"q\":1} 2");
    }
}
