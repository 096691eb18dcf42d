//! Checks of data quality on the way in: required members, types, ranges, stuck and silent sensors, repeats and
//! floods.
//!
//! The checks are pure: the caller passes the time. Memory is bounded: at most `KEYS` keys of a route are
//! remembered. When there are more, the quarter that was silent longest is forgotten.

use super::rule::{Check, Quality, Then};
use crate::decode::Type;
use crate::decode::members::{find, text};
use crate::flow::record::{PayloadKind, Record};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// Keys that are remembered.
pub const KEYS: usize = 4096;

/// The attribute that says which checks a record failed.
pub const QUALITY: &str = "quality";

/// The result of failed checks: the consequence for the record, and the reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The most severe consequence of all failed checks.
    pub then: Then,
    /// The names of the failed checks, such as `range:temperature,stuck:temperature`.
    pub reasons: String,
}

/// The state of one key.
#[derive(Debug, Default)]
struct Seen {
    last_ms: u64,
    is_stale: bool,
    payload: Option<(u64, u64)>,
    /// For each check: the hash of the last value, and the time since when it has not changed, in milliseconds.
    values: Vec<Option<(u64, u64)>>,
    /// Thousandths of a record that the rate limit still allows, as of `last_ms`.
    credit: u64,
}

/// A hash of 64 bits, so that two values of one sensor do not collide by chance.
fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// The checks of one route, with the state of its keys.
#[derive(Debug)]
pub struct Checker {
    rule: Quality,
    seen: HashMap<Arc<str>, Seen>,
}

impl Checker {
    /// Creates the checks of one route.
    #[must_use]
    pub fn new(rule: Quality) -> Self {
        Self { rule, seen: HashMap::new() }
    }

    /// Checks a record; `None` when it passes all checks.
    pub fn check(&mut self, record: &Record, now_ms: u64) -> Option<Failed> {
        if self.rule.is_empty() {
            return None;
        }
        if self.seen.len() >= KEYS && !self.seen.contains_key(&record.key) {
            self.forget();
        }
        let checks = self.rule.checks.len();
        let first = || Seen { credit: u64::MAX, values: vec![None; checks], last_ms: now_ms, ..Seen::default() };
        let seen = self.seen.entry(record.key.clone()).or_insert_with(first);
        let mut failed: Vec<(Then, String)> = Vec::new();
        if let Some((limit, then)) = self.rule.rate_limit {
            let full = u64::from(limit) * 1000;
            let earned = now_ms.saturating_sub(seen.last_ms).saturating_mul(u64::from(limit));
            seen.credit = seen.credit.saturating_add(earned).min(full);
            match seen.credit.checked_sub(1000) {
                Some(rest) => seen.credit = rest,
                None => failed.push((then, "rate".into())),
            }
        }
        if let Some((within, then)) = self.rule.duplicate {
            let hash = hash(&record.payload);
            let again =
                seen.payload.is_some_and(|(before, at)| before == hash && now_ms.saturating_sub(at) < millis(within));
            if again {
                failed.push((then, "duplicate".into()));
            } else {
                seen.payload = Some((hash, now_ms));
            }
        }
        let json = std::str::from_utf8(&record.payload).ok().filter(|_| record.kind == PayloadKind::Json);
        for (check, before) in self.rule.checks.iter().zip(&mut seen.values) {
            let value = json.and_then(|json| find(json, &check.field)).filter(|value| *value != "null");
            failed.extend(fails(check, value).map(|what| (check.then, format!("{what}:{}", check.field))));
            if let (Some(after), Some(value)) = (check.stuck, value) {
                let hash = hash(value.as_bytes());
                let since = before.filter(|(same, _)| *same == hash).map_or(now_ms, |(_, since)| since);
                *before = Some((hash, since));
                if now_ms.saturating_sub(since) >= millis(after) {
                    failed.push((check.then, format!("stuck:{}", check.field)));
                }
            }
        }
        seen.last_ms = now_ms;
        let then = failed.iter().map(|(then, _)| *then).max()?;
        let reasons: Vec<String> = failed.into_iter().map(|(_, reason)| reason).collect();
        Some(Failed { then, reasons: reasons.join(",") })
    }

    /// Keys that became silent or sent again since the last call. A silent key comes with the time of its silence.
    pub fn stale(&mut self, now_ms: u64) -> Vec<(Arc<str>, Option<Duration>)> {
        let Some(limit) = self.rule.stale.map(millis) else {
            return Vec::new();
        };
        let mut changed = Vec::new();
        for (key, seen) in &mut self.seen {
            let silent = now_ms.saturating_sub(seen.last_ms);
            let is_stale = silent >= limit;
            if is_stale != seen.is_stale {
                seen.is_stale = is_stale;
                changed.push((key.clone(), is_stale.then(|| Duration::from_millis(silent))));
            }
        }
        changed.sort();
        changed
    }

    /// Whether the route has a limit for silence.
    #[must_use]
    pub fn watches(&self) -> bool {
        self.rule.stale.is_some()
    }

    fn forget(&mut self) {
        let mut ages: Vec<u64> = self.seen.values().map(|seen| seen.last_ms).collect();
        ages.sort_unstable();
        let oldest = ages.get(KEYS / 4).copied().unwrap_or_default();
        self.seen.retain(|_, seen| seen.last_ms > oldest);
    }
}

/// A duration in whole milliseconds.
pub fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The name of the check that a value fails; `None` when it passes.
fn fails(check: &Check, value: Option<&str>) -> Option<&'static str> {
    let Some(json) = value else {
        return check.required.then_some("missing");
    };
    let is_text = json.starts_with('"');
    let is_bool = json == "true" || json == "false";
    let number = || if is_text { None } else { json.parse::<f64>().ok() };
    let typed = match check.kind {
        None => true,
        Some(Type::String) => is_text,
        Some(Type::Bool) => is_bool,
        Some(Type::Float) => number().is_some(),
        Some(Type::Int) => number().is_some() && !json.contains(['.', 'e', 'E']),
    };
    if !typed {
        return Some("type");
    }
    if check.min.is_some() || check.max.is_some() {
        let inside = |value: f64| check.min.is_none_or(|min| value >= min) && check.max.is_none_or(|max| value <= max);
        match number() {
            None => return Some("type"),
            Some(value) if !inside(value) => return Some("range"),
            Some(_) => {}
        }
    }
    let listed = check.one_of.as_ref().is_none_or(|list| list.iter().any(|word| *word == text(json)));
    (!listed).then_some("value")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn record(key: &str, payload: &str) -> Record {
        Record {
            arrival_ms: 0,
            device_time_us: None,
            key: key.into(),
            flags: 0,
            attributes: Vec::new(),
            kind: PayloadKind::Json,
            payload: Bytes::from(payload.to_string()),
        }
    }

    fn check(field: &str) -> Check {
        let field = field.to_string();
        Check { field, required: false, kind: None, min: None, max: None, one_of: None, stuck: None, then: Then::Tag }
    }

    fn reasons(checker: &mut Checker, key: &str, payload: &str, now_ms: u64) -> String {
        checker
            .check(&record(key, payload), now_ms)
            .map_or_else(String::new, |failed| format!("{:?} {}", failed.then, failed.reasons))
    }

    #[test]
    fn members_are_checked_and_the_severest_rule_wins() {
        let checks = vec![
            Check { required: true, kind: Some(Type::Float), min: Some(-40.0), max: Some(125.0), ..check("t") },
            Check { one_of: Some(vec!["C".into(), "K".into()]), then: Then::DeadLetter, ..check("unit") },
        ];
        let mut checker = Checker::new(Quality { checks, ..Quality::default() });
        for (payload, wanted) in [
            (r#"{"t":21.5,"unit":"C"}"#, ""),
            (r#"{"t":21.5}"#, ""),
            (r#"{"t":null}"#, "Tag missing:t"),
            (r#"{"t":"21"}"#, "Tag type:t"),
            (r#"{"t":126}"#, "Tag range:t"),
            (r#"{"t":-41,"unit":"F"}"#, "DeadLetter range:t,value:unit"),
            ("[1]", "Tag missing:t"),
        ] {
            assert_eq!(reasons(&mut checker, "k", payload, 0), wanted, "{payload}");
        }
    }

    #[test]
    fn a_stuck_value_is_found_per_key_and_freed_by_a_change() {
        let checks = vec![Check { stuck: Some(Duration::from_secs(10)), ..check("t") }];
        let mut checker = Checker::new(Quality { checks, ..Quality::default() });
        let mut at = |key: &str, t: u32, now| reasons(&mut checker, key, &format!("{{\"t\":{t}}}"), now);
        assert_eq!(
            (at("a", 1, 0), at("b", 1, 9_999), at("a", 1, 9_999)),
            (String::new(), String::new(), String::new())
        );
        assert_eq!((at("a", 1, 10_000), at("b", 1, 10_000)), ("Tag stuck:t".into(), String::new()));
        assert_eq!((at("a", 2, 11_000), at("a", 2, 20_999)), (String::new(), String::new()));
    }

    #[test]
    fn repeats_and_floods() {
        let rule = Quality {
            duplicate: Some((Duration::from_secs(1), Then::Drop)),
            rate_limit: Some((2, Then::DeadLetter)),
            ..Quality::default()
        };
        let mut checker = Checker::new(rule);
        assert_eq!(reasons(&mut checker, "a", "1", 0), "");
        assert_eq!(reasons(&mut checker, "a", "1", 500), "Drop duplicate");
        assert_eq!(reasons(&mut checker, "b", "1", 500), "", "another key");
        assert_eq!(reasons(&mut checker, "a", "1", 1000), "", "after the time");
        assert_eq!(reasons(&mut checker, "a", "2", 1000), "");
        assert_eq!(reasons(&mut checker, "a", "3", 1000), "DeadLetter rate");
        assert_eq!(reasons(&mut checker, "a", "4", 1500), "", "half a second earns one");
    }

    #[test]
    fn silence_is_told_once_and_so_is_the_return() {
        let mut checker = Checker::new(Quality { stale: Some(Duration::from_secs(5)), ..Quality::default() });
        reasons(&mut checker, "a", "1", 0);
        assert_eq!(checker.stale(4_999), []);
        assert_eq!(checker.stale(5_000), [("a".into(), Some(Duration::from_secs(5)))]);
        assert_eq!(checker.stale(6_000), []);
        reasons(&mut checker, "a", "1", 7_000);
        assert_eq!(checker.stale(7_001), [("a".into(), None)]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut checker = Checker::new(Quality { stale: Some(Duration::from_secs(5)), ..Quality::default() });
        for n in 0..10_000_u64 {
            reasons(&mut checker, &n.to_string(), "1", n);
        }
        assert!(checker.seen.len() <= KEYS && checker.seen.contains_key("9999"));
    }
}
