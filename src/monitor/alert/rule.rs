//! When an alert begins and when it ends. Pure: time and values are given.
//!
//! Invariants: a condition must hold for the whole of `for` before the alert begins; with `clear` it ends only beyond
//! that bound, so that a value that trembles at one bound tells nothing; a restart neither ends nor repeats an alert
//! that goes on.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The most values that a rate remembers.
const POINTS: u64 = 60;

/// How bad an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Somebody should look.
    #[default]
    Warning,
    /// Data is lost, or will be.
    Critical,
}

impl Severity {
    /// Its name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// When a value is bad.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Condition {
    /// Above this; it ends at or below the second.
    Above(f64, f64),
    /// Below this; it ends at or above the second.
    Below(f64, f64),
    /// Without a change, or a record, for so many milliseconds.
    Absent(u64),
}

/// When an alert begins and ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// When the value is bad.
    pub condition: Condition,
    /// The change within so many milliseconds is judged instead of the value.
    pub rate_ms: Option<u64>,
    /// The condition must hold for so many milliseconds.
    pub hold_ms: u64,
}

/// What a value does to an alert.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Turn {
    /// The alert begins; the value that was judged. For `Absent`: the seconds of silence.
    Begins(f64),
    /// The alert ends.
    Ends,
}

/// One value that is watched.
#[derive(Debug, Default)]
pub struct Series {
    points: VecDeque<(u64, f64)>,
    last: Option<f64>,
    changed_ms: u64,
    bad_since_ms: Option<u64>,
    is_active: bool,
    /// The alert was active before the start, and no value has said yet that it is not.
    is_restored: bool,
}

impl Series {
    /// A value that is watched from now on. `first` is what it is known to have been; `is_active` when the alert goes
    /// on from before a restart. Times are milliseconds of a clock that only goes forward.
    #[must_use]
    pub fn new(first: Option<f64>, is_active: bool, now_ms: u64) -> Self {
        let points = first.map(|first| (now_ms, first)).into_iter().collect();
        Self { points, last: first, changed_ms: now_ms, is_active, is_restored: is_active, ..Self::default() }
    }

    /// When the value last changed, or was heard of.
    #[must_use]
    pub fn changed_ms(&self) -> u64 {
        self.changed_ms
    }

    /// Judges a value; with `None` only time has passed.
    pub fn take(&mut self, rule: &Rule, value: Option<f64>, now_ms: u64, is_news: bool) -> Option<Turn> {
        let has_changed = value.is_some() && (is_news || value != self.last);
        if has_changed {
            self.changed_ms = now_ms;
        }
        self.last = value.or(self.last);
        let (is_bad, is_good, shown) = self.judge(rule, has_changed, now_ms)?;
        if self.is_active {
            return is_good.then(|| {
                (self.is_active, self.is_restored, self.bad_since_ms) = (false, false, None);
                Turn::Ends
            });
        }
        if !is_bad {
            self.bad_since_ms = None;
            return None;
        }
        let since = *self.bad_since_ms.get_or_insert(now_ms);
        (now_ms.saturating_sub(since) >= rule.hold_ms).then(|| {
            self.is_active = true;
            Turn::Begins(shown)
        })
    }

    /// Whether it is bad, whether it is good, and the value that says so.
    fn judge(&mut self, rule: &Rule, has_changed: bool, now_ms: u64) -> Option<(bool, bool, f64)> {
        if let Condition::Absent(longest) = rule.condition {
            let silent = now_ms.saturating_sub(self.changed_ms);
            // After a restart only a change says that the silence is over.
            let is_good = has_changed || !self.is_restored && silent < longest;
            return Some((silent >= longest, is_good, (silent / 1000) as f64));
        }
        let value = self.last?;
        let (judged, is_whole) = match rule.rate_ms {
            Some(window) => self.change(value, window, now_ms),
            None => (value, true),
        };
        Some(match rule.condition {
            Condition::Above(bound, clear) => (judged > bound, judged <= clear && is_whole, judged),
            Condition::Below(bound, clear) => (judged < bound, judged >= clear && is_whole, judged),
            Condition::Absent(_) => return None,
        })
    }

    /// The change within the window, and whether a whole window was seen.
    fn change(&mut self, value: f64, window: u64, now_ms: u64) -> (f64, bool) {
        let is_due = self.points.back().is_none_or(|(at, _)| now_ms.saturating_sub(*at) >= window / POINTS);
        if is_due {
            self.points.push_back((now_ms, value));
        }
        // The newest point that is as old as the window is the one to compare with.
        while self.points.get(1).is_some_and(|(at, _)| now_ms.saturating_sub(*at) >= window) {
            self.points.pop_front();
        }
        let (at, before) = self.points.front().copied().unwrap_or((now_ms, value));
        (value - before, now_ms.saturating_sub(at) >= window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(condition: Condition, rate_ms: Option<u64>, hold_ms: u64) -> Rule {
        Rule { condition, rate_ms, hold_ms }
    }

    /// What values at times make of an alert, as `time+` for a beginning and `time-` for an end.
    fn run(rule: &Rule, series: &mut Series, values: &[(u64, f64)]) -> String {
        let turn = |(at, value): &(u64, f64)| match series.take(rule, Some(*value), *at, false) {
            Some(Turn::Begins(_)) => Some(format!("{at}+")),
            Some(Turn::Ends) => Some(format!("{at}-")),
            None => None,
        };
        values.iter().filter_map(turn).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_bound_holds_for_its_time_and_clears_at_its_own_bound() {
        let above = rule(Condition::Above(10.0, 5.0), None, 20);
        let values = [(0, 11.0), (10, 9.0), (20, 11.0), (30, 12.0), (40, 11.0), (50, 6.0), (60, 12.0), (70, 5.0)];
        assert_eq!(run(&above, &mut Series::new(None, false, 0), &values), "40+ 70-");
        let below = rule(Condition::Below(1.0, 1.0), None, 0);
        assert_eq!(run(&below, &mut Series::new(None, false, 0), &[(0, 1.0), (1, 0.0), (2, 0.5), (3, 1.0)]), "1+ 3-");
        // NaN is neither.
        assert_eq!(run(&above, &mut Series::new(None, false, 0), &[(0, f64::NAN), (100, f64::NAN)]), "");
    }

    #[test]
    fn a_rate_is_the_change_within_its_window_and_forgets_what_is_older() {
        let lost = rule(Condition::Above(0.0, 0.0), Some(600), 0);
        let mut series = Series::new(Some(0.0), false, 0);
        // The first value counts: nothing was there before the start.
        assert_eq!(run(&lost, &mut series, &[(10, 3.0), (300, 3.0), (609, 3.0)]), "10+");
        assert_eq!(run(&lost, &mut series, &[(620, 3.0), (700, 3.0)]), "620-");
        assert_eq!(run(&lost, &mut series, &[(710, 4.0), (1000, 4.0), (1400, 4.0)]), "710+ 1400-");
        assert!(series.points.len() < 64);
    }

    #[test]
    fn silence_begins_without_a_change_and_ends_with_one() {
        let silent = rule(Condition::Absent(100), None, 0);
        let mut series = Series::new(None, false, 0);
        assert_eq!(series.take(&silent, None, 99, false), None);
        assert_eq!(series.take(&silent, None, 1100, false), Some(Turn::Begins(1.0)));
        assert_eq!(series.take(&silent, Some(7.0), 1200, false), Some(Turn::Ends));
        assert_eq!(series.take(&silent, Some(7.0), 1300, false), Some(Turn::Begins(0.0)));
        // The same value again, as a record of its own.
        assert_eq!(series.take(&silent, Some(7.0), 1301, true), Some(Turn::Ends));
    }

    #[test]
    fn an_alert_from_before_a_restart_goes_on_until_a_value_says_otherwise() {
        let above = rule(Condition::Above(10.0, 5.0), None, 1000);
        assert_eq!(run(&above, &mut Series::new(None, true, 0), &[(0, 11.0), (10, 6.0), (20, 5.0)]), "20-");
        let lost = rule(Condition::Above(0.0, 0.0), Some(600), 0);
        assert_eq!(run(&lost, &mut Series::new(Some(0.0), true, 0), &[(0, 0.0), (500, 0.0), (700, 0.0)]), "700-");
        let silent = rule(Condition::Absent(100), None, 0);
        let mut series = Series::new(None, true, 0);
        assert_eq!(series.take(&silent, None, 10, false), None);
        assert_eq!(series.take(&silent, None, 500, false), None);
        assert_eq!(series.take(&silent, Some(1.0), 600, false), Some(Turn::Ends));
    }
}
