//! Watches values by the rules, and remembers which alerts are active.

use super::rule::{Condition, Series, Turn};
use super::settings::{Alert, What};
use crate::monitor::view::AlertView;
use crate::telemetry::family::{Family, Samples};
use crate::telemetry::people;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The most values that one alert watches: parts, streams, or keys of a stream.
const MOST: usize = 1000;
/// An alert of before a restart ends when its value has not been seen again for this long, in milliseconds.
const GONE_MS: u64 = 120_000;

/// A value of a stream that was not heard of for this long gives its place to another, in milliseconds.
const IDLE_MS: u64 = 3_600_000;

/// The name of an alert, and what it is about.
pub type Id = (String, String);

/// An alert that began or ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// The alert.
    #[serde(flatten)]
    pub alert: AlertView,
    /// Whether it begins or ends.
    pub state: State,
    /// When it began or ended, in milliseconds since 1970.
    pub at_ms: i64,
}

/// Whether an alert begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is active from now on.
    Begins,
    /// It is over.
    Ended,
}

/// A moment: of a clock that only goes forward, and of the wall clock, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds of a clock that only goes forward.
    pub at_ms: u64,
    /// Milliseconds since 1970.
    pub wall_ms: i64,
}

/// All values that are watched.
#[derive(Debug)]
pub struct Engine {
    rules: Vec<Arc<Alert>>,
    series: BTreeMap<Id, Series>,
    active: BTreeMap<Id, AlertView>,
    /// Alerts of before the restart whose value was not seen yet.
    restored: BTreeMap<Id, AlertView>,
    started_ms: u64,
    /// The metrics were not judged yet.
    is_first: bool,
    /// Alerts that watch more values than they may.
    over: BTreeMap<String, u64>,
}

impl Engine {
    /// Watches by these rules. `active` are the alerts of before a restart, `keys` those whose silence was watched.
    #[must_use]
    pub fn new(rules: Vec<Alert>, active: Vec<AlertView>, keys: &[Id], now: Moment) -> Self {
        let id = |alert: AlertView| ((alert.name.clone(), alert.about.clone()), alert);
        let active: BTreeMap<Id, AlertView> = active.into_iter().map(id).collect();
        let restored = active.clone();
        let mut engine = Self {
            rules: rules.into_iter().map(Arc::new).collect(),
            series: BTreeMap::new(),
            active,
            restored,
            started_ms: now.at_ms,
            is_first: true,
            over: BTreeMap::new(),
        };
        // What a rule names as such is watched before anything of it is there.
        for rule in engine.rules.clone() {
            if let What::Field { stream, field: _, key } = &rule.what {
                let key = key.as_ref().map(glob::Pattern::as_str).filter(|key| !key.contains(['*', '?', '[']));
                if key.is_some() || matches!(rule.rule.condition, Condition::Absent(_)) && Self::has_one(&rule) {
                    engine.series(&rule, &about_key(stream, key.unwrap_or_default()), None, now);
                }
                // Those of a stream go on until a record, or time, says otherwise.
                let of_rule = |id: &&Id| id.0 == rule.name && id.1.starts_with(&about_key(stream, ""));
                let known: Vec<Id> = engine.restored.keys().chain(keys).filter(of_rule).cloned().collect();
                for (_, about) in known {
                    engine.series(&rule, &about, None, now);
                }
            }
        }
        engine
    }

    /// The keys whose silence is watched.
    #[must_use]
    pub fn keys(&self) -> Vec<Id> {
        let of_silence = |rule: &&Arc<Alert>| {
            matches!((&rule.what, rule.rule.condition), (What::Field { .. }, Condition::Absent(_)))
        };
        self.rules.iter().filter(of_silence).flat_map(|rule| self.ids(&rule.name)).cloned().collect()
    }

    /// Whether all records of a stream count as one value: the silence of a stream.
    fn has_one(rule: &Alert) -> bool {
        matches!((&rule.what, rule.rule.condition), (What::Field { key: None, .. }, Condition::Absent(_)))
    }

    /// The alerts that are active, the oldest first.
    #[must_use]
    pub fn active(&self) -> Vec<AlertView> {
        let mut active: Vec<AlertView> = self.active.values().cloned().collect();
        active.sort_by_key(|alert| alert.since_ms);
        active
    }

    /// Values that no alert watches because it watches as many as it may.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.over.values().sum()
    }

    fn series(&mut self, rule: &Alert, about: &str, first: Option<f64>, now: Moment) -> Option<&mut Series> {
        let id = (rule.name.clone(), about.to_string());
        if !self.series.contains_key(&id) {
            if self.ids(&rule.name).count() >= MOST && !self.make_place(&rule.name, now) {
                *self.over.entry(rule.name.clone()).or_default() += 1;
                return None;
            }
            let is_active = self.restored.remove(&id).is_some();
            self.series.insert(id.clone(), Series::new(first, is_active, now.at_ms));
        }
        self.series.get_mut(&id)
    }

    /// Forgets the value that was heard of longest ago, if that is long ago and its alert is not active.
    fn make_place(&mut self, rule: &str, now: Moment) -> bool {
        let idle = self.ids(rule).filter_map(|id| {
            let series = self.series.get(id)?;
            let idle_ms = now.at_ms.saturating_sub(series.changed_ms());
            (!self.active.contains_key(id) && idle_ms >= IDLE_MS).then_some((idle_ms, id))
        });
        let Some(id) = idle.max().map(|(_, id)| id.clone()) else { return false };
        self.series.remove(&id).is_some()
    }

    /// Judges all metrics, and lets time pass for the fields of streams. `is_new` when the agent has only begun, so
    /// that its counters began at 0.
    pub fn metrics(&mut self, families: &[Family], fill: Option<&str>, is_new: bool, now: Moment) -> Vec<Change> {
        let mut changes = Vec::new();
        // Later, the counters of a part that was not there before begin at 0 too.
        let is_first = std::mem::take(&mut self.is_first);
        let from_zero = is_new || !is_first;
        let mut seen = BTreeSet::new();
        for rule in self.rules.clone() {
            let What::Metrics(names) = &rule.what else { continue };
            for family in families.iter().filter(|family| names.contains(&family.name)) {
                let (samples, first) = match &family.samples {
                    Samples::Counter(samples) => (samples, from_zero.then_some(0.0)),
                    Samples::Gauge(samples) => (samples, None),
                    Samples::Histogram(..) => continue,
                };
                for (labels, number) in samples {
                    let is_meant = |of: &String| labels.iter().any(|(label, value)| format!("{label}.{value}") == *of);
                    if !rule.of.as_ref().is_none_or(is_meant) {
                        continue;
                    }
                    let mut about =
                        labels.iter().map(|(label, value)| format!("{label} {value}")).collect::<Vec<_>>().join(", ");
                    let metric = family.name.trim_start_matches("forebay_");
                    if names.len() > 1 {
                        let comma = if about.is_empty() { "" } else { ", " };
                        about = format!("{about}{comma}{metric}");
                    }
                    seen.insert((rule.name.clone(), about.clone()));
                    let value = number.value();
                    let turn = self
                        .series(&rule, &about, first, now)
                        .and_then(|series| series.take(&rule.rule, Some(value), now.at_ms, false));
                    changes.extend(self.turn(&rule, &about, (metric, fill), turn, now));
                }
            }
        }
        for rule in self.rules.clone().iter().filter(|rule| matches!(rule.what, What::Field { .. })) {
            let ids: Vec<Id> = self.ids(&rule.name).cloned().collect();
            for id in ids {
                let turn = self.series.get_mut(&id).and_then(|series| series.take(&rule.rule, None, now.at_ms, false));
                changes.extend(self.turn(rule, &id.1, ("", None), turn, now));
                seen.insert(id);
            }
        }
        changes.extend(self.forget_gone(&seen, now));
        changes
    }

    /// The values that a rule watches.
    fn ids<'s>(&'s self, rule: &'s str) -> impl Iterator<Item = &'s Id> {
        self.series.range((rule.to_string(), String::new())..).map(|(id, _)| id).take_while(move |id| id.0 == rule)
    }

    /// Judges a record of a stream.
    pub fn record(&mut self, stream: &str, key: &str, payload: &[u8], now: Moment) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut read: Option<Option<serde_json::Value>> = None;
        for rule in self.rules.clone() {
            let What::Field { stream: of, field, key: wanted } = &rule.what else { continue };
            if of != stream || !wanted.as_ref().is_none_or(|wanted| wanted.matches(key)) {
                continue;
            }
            let json = read.get_or_insert_with(|| serde_json::from_slice(payload).ok()).as_ref();
            let value = match field {
                Some(field) => json.and_then(|json| number(member(json, field)?)),
                None => json.and_then(number).or_else(|| std::str::from_utf8(payload).ok()?.trim().parse().ok()),
            };
            let is_silence = matches!(rule.rule.condition, Condition::Absent(_));
            // A record without the field says nothing, unless the record itself is what is waited for.
            let Some(value) = value.or(is_silence.then_some(0.0).filter(|_| field.is_none())) else { continue };
            let about = about_key(stream, if Self::has_one(&rule) { "" } else { key });
            let turn = self
                .series(&rule, &about, None, now)
                .and_then(|series| series.take(&rule.rule, Some(value), now.at_ms, true));
            changes.extend(self.turn(&rule, &about, ("", None), turn, now));
        }
        changes
    }

    fn turn(
        &mut self,
        rule: &Alert,
        about: &str,
        (metric, fill): (&str, Option<&str>),
        turn: Option<Turn>,
        now: Moment,
    ) -> Option<Change> {
        let id = (rule.name.clone(), about.to_string());
        match turn? {
            Turn::Begins(value) => {
                let value = shown(value);
                let words =
                    [("{value}", &*value), ("{about}", about), ("{metric}", metric), ("{full_at}", fill.unwrap_or(""))];
                let message = words.iter().fold(rule.message.clone(), |text, (word, with)| text.replace(word, with));
                let message = people::visible(&message);
                let (name, severity) = (rule.name.clone(), rule.severity);
                let alert = AlertView { name, about: about.into(), severity, message, since_ms: now.wall_ms };
                self.active.insert(id, alert.clone());
                Some(Change { alert, state: State::Begins, at_ms: now.wall_ms })
            }
            Turn::Ends => {
                let alert = self.active.remove(&id)?;
                Some(Change { alert, state: State::Ended, at_ms: now.wall_ms })
            }
        }
    }

    /// Ends the alerts whose part, stream or rule is gone.
    fn forget_gone(&mut self, seen: &BTreeSet<Id>, now: Moment) -> Vec<Change> {
        let gone: Vec<Id> = self.series.keys().filter(|id| !seen.contains(id)).cloned().collect();
        let is_late = now.at_ms.saturating_sub(self.started_ms) >= GONE_MS;
        let rules = &self.rules;
        let is_over = |id: &Id| is_late || !rules.iter().any(|rule| rule.name == id.0);
        let never_seen: Vec<Id> = self.restored.keys().filter(|id| is_over(id)).cloned().collect();
        self.restored.retain(|id, _| !never_seen.contains(id));
        let gone = gone.into_iter().chain(never_seen);
        let ended = gone.filter_map(|id| {
            self.series.remove(&id);
            let alert = self.active.remove(&id)?;
            Some(Change { alert, state: State::Ended, at_ms: now.wall_ms })
        });
        ended.collect()
    }
}

/// What an alert over a stream is about.
fn about_key(stream: &str, key: &str) -> String {
    if key.is_empty() { format!("stream {stream}") } else { format!("stream {stream}, key {key}") }
}

/// The member at a path with dots; the elements of a list have their numbers, from 0 on.
fn member<'v>(json: &'v serde_json::Value, path: &str) -> Option<&'v serde_json::Value> {
    path.split('.').try_fold(json, |value, part| match value {
        serde_json::Value::Array(list) => list.get(part.parse::<usize>().ok()?),
        other => other.get(part),
    })
}

fn number(value: &serde_json::Value) -> Option<f64> {
    match value {
        serde_json::Value::Number(number) => number.as_f64(),
        serde_json::Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
        serde_json::Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A number as people read it: not more than three digits behind the point.
fn shown(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

#[cfg(test)]
mod tests {
    use super::super::rule::{Rule, Severity};
    use super::*;
    use crate::telemetry::{Metric, Metrics, family};

    fn at(at_ms: u64) -> Moment {
        Moment { at_ms, wall_ms: 1_000_000 + i64::try_from(at_ms).unwrap() }
    }

    fn alert(name: &str, what: What, condition: Condition) -> Alert {
        let rule = Rule { condition, rate_ms: None, hold_ms: 0 };
        Alert {
            name: name.into(),
            what,
            of: None,
            rule,
            severity: Severity::Warning,
            message: "{about}: {value}".into(),
        }
    }

    fn field(field: &str, key: Option<&str>) -> What {
        let key = key.map(|key| glob::Pattern::new(key).unwrap());
        What::Field { stream: "readings".into(), field: (!field.is_empty()).then(|| field.into()), key }
    }

    fn words(changes: &[Change]) -> Vec<String> {
        changes
            .iter()
            .map(|change| format!("{:?} {} ({})", change.state, change.alert.name, change.alert.message))
            .collect()
    }

    #[test]
    fn each_part_and_each_key_is_watched_for_itself() {
        let metrics = Metrics::new();
        let (a, b) = (metrics.part("sink", "a"), metrics.part("sink", "b"));
        let mut lost =
            alert("lost", What::Metrics(vec!["forebay_sink_given_up_total".into()]), Condition::Above(0.0, 0.0));
        lost.rule.rate_ms = Some(60_000);
        let mut only = lost.clone();
        (only.name, only.of) = ("only-b".into(), Some("sink.b".into()));
        let hot = alert("hot", field("t.in", Some("plant/*")), Condition::Above(30.0, 25.0));
        let mut engine = Engine::new(vec![lost, only, hot], Vec::new(), &[], at(0));
        a.add(Metric::SinkGivenUp, 2);
        let changes = engine.metrics(&family::kept(&metrics), None, true, at(10_000));
        assert_eq!(words(&changes), ["Begins lost (sink a: 2)"]);
        b.add(Metric::SinkGivenUp, 1);
        let changes = engine.metrics(&family::kept(&metrics), None, true, at(20_000));
        assert_eq!(words(&changes), ["Begins lost (sink b: 1)", "Begins only-b (sink b: 1)"]);
        let mut take = |key, text: &str| words(&engine.record("readings", key, text.as_bytes(), at(30_000)));
        assert_eq!(take("plant/a", "{\"t\":{\"in\":31}}"), ["Begins hot (stream readings, key plant/a: 31)"]);
        assert_eq!(take("plant/b", "{\"t\":{\"in\":\"30.5\"}}"), ["Begins hot (stream readings, key plant/b: 30.5)"]);
        for (key, nothing) in [
            ("plant/a", "{\"t\":{\"in\":26}}"),
            ("plant/a", "{\"t\":1}"),
            ("hall/a", "{\"t\":{\"in\":99}}"),
            ("plant/a", "\u{0}"),
        ] {
            assert!(take(key, nothing).is_empty(), "{nothing}");
        }
        assert_eq!(take("plant/a", "{\"t\":{\"in\":25}}"), ["Ended hot (stream readings, key plant/a: 31)"]);
        assert_eq!(engine.active().len(), 4);
        // A sink that was removed takes its alerts along.
        metrics.forget("sink", "b");
        let changes = engine.metrics(&family::kept(&metrics), None, true, at(40_000));
        assert_eq!(words(&changes), ["Ended lost (sink b: 1)", "Ended only-b (sink b: 1)"]);
    }

    #[test]
    fn the_silence_of_a_stream_of_a_key_and_of_each_key() {
        let silent = Condition::Absent(60_000);
        let rules = vec![
            alert("stream", field("", None), silent),
            alert("key", field("", Some("a")), silent),
            alert("each", field("", Some("*")), silent),
        ];
        let mut engine = Engine::new(rules, Vec::new(), &[], at(0));
        assert!(engine.metrics(&[], None, true, at(59_000)).is_empty());
        let changes = engine.metrics(&[], None, true, at(60_000));
        assert_eq!(words(&changes), ["Begins stream (stream readings: 60)", "Begins key (stream readings, key a: 60)"]);
        let changes = engine.record("readings", "b", b"x", at(61_000));
        assert_eq!(words(&changes), ["Ended stream (stream readings: 60)"]);
        let changes = engine.metrics(&[], None, true, at(121_000));
        let expected = ["Begins stream (stream readings: 60)", "Begins each (stream readings, key b: 60)"];
        assert_eq!(words(&changes), expected);
    }

    #[test]
    fn alerts_of_before_a_restart_go_on_and_end_and_those_that_nobody_watches_are_gone() {
        let hot = || alert("hot", field("", Some("a")), Condition::Above(30.0, 25.0));
        let mut engine = Engine::new(vec![hot()], Vec::new(), &[], at(0));
        engine.record("readings", "a", b"31", at(1));
        let mut active = engine.active();
        active.push(AlertView { name: "gone".into(), ..active[0].clone() });
        active.push(AlertView { about: "stream readings, key z".into(), ..active[0].clone() });
        let mut engine = Engine::new(vec![hot()], active, &[], at(0));
        assert!(engine.record("readings", "a", b"32", at(5)).is_empty(), "told before");
        let changes = engine.metrics(&[], None, true, at(10_000));
        assert_eq!(words(&changes), ["Ended gone (stream readings, key a: 31)"], "no rule has this name any more");
        assert_eq!(engine.active().len(), 2);
        // Nothing was heard of either: a sensor that speaks seldom has not got well.
        assert!(engine.metrics(&[], None, true, at(2 * GONE_MS)).is_empty());
        let changes = engine.record("readings", "a", b"20", at(2 * GONE_MS));
        assert_eq!(words(&changes), ["Ended hot (stream readings, key a: 31)"]);
        assert_eq!(engine.active().len(), 1);
    }

    #[test]
    fn the_silence_of_a_key_is_watched_over_a_restart() {
        let silent = || alert("each", field("", Some("*")), Condition::Absent(60_000));
        let mut engine = Engine::new(vec![silent()], Vec::new(), &[], at(0));
        engine.record("readings", "a", b"x", at(1));
        let mut engine = Engine::new(vec![silent()], engine.active(), &engine.keys(), at(0));
        let changes = engine.metrics(&[], None, true, at(60_000));
        assert_eq!(words(&changes), ["Begins each (stream readings, key a: 60)"]);
        let mut engine = Engine::new(vec![silent()], engine.active(), &engine.keys(), at(0));
        assert!(engine.metrics(&[], None, true, at(2 * GONE_MS)).is_empty(), "it goes on");
        assert_eq!(engine.record("readings", "a", b"x", at(2 * GONE_MS)).len(), 1);
    }

    #[test]
    fn what_was_counted_before_anybody_watched_is_no_news() {
        let metrics = Metrics::new();
        metrics.part("sink", "a").add(Metric::SinkGivenUp, 500);
        let mut lost =
            alert("lost", What::Metrics(vec!["forebay_sink_given_up_total".into()]), Condition::Above(0.0, 0.0));
        lost.rule.rate_ms = Some(60_000);
        let mut engine = Engine::new(vec![lost], Vec::new(), &[], at(0));
        assert!(engine.metrics(&family::kept(&metrics), None, false, at(10_000)).is_empty());
        metrics.part("sink", "b").add(Metric::SinkGivenUp, 1);
        let changes = engine.metrics(&family::kept(&metrics), None, false, at(20_000));
        assert_eq!(words(&changes), ["Begins lost (sink b: 1)"], "a sink that is new");
    }

    #[test]
    fn an_alert_watches_a_bounded_number_of_keys() {
        let mut engine =
            Engine::new(vec![alert("hot", field("", None), Condition::Above(30.0, 25.0))], Vec::new(), &[], at(0));
        for key in 0..1500 {
            engine.record("readings", &key.to_string(), b"31", at(1));
        }
        assert_eq!((engine.active().len(), engine.left_out()), (MOST, 500));
    }
}
