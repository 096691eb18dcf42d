//! Judges a configuration on trial by what the agent does with it, against what it did before. Pure.
//!
//! A target that was away before is no fault of the new configuration; one that is away since the change is.

use crate::monitor::view::{Kind, View};
use crate::telemetry::{Metric, Metrics, Reason};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A part that failed so often since the change is a fault.
const RESTARTS: u64 = 3;
/// A target that refused so often since the change is a fault: one answer may belong to a delivery from before.
const DENIALS: u64 = 2;

/// A source that brought something in so many of the last looks is expected to bring something within a trial.
const ARRIVALS: usize = 2;
/// The looks within the time of a trial. A device that sends once in a while is not expected in each trial.
pub const LOOKS: u32 = 8;

/// What sources brought lately: one look each eighth of the time of a trial.
#[derive(Debug, Default)]
pub struct Pace {
    looks: VecDeque<BTreeMap<String, u64>>,
}

impl Pace {
    /// Takes one look.
    pub fn look(&mut self, now: &Snapshot) {
        self.looks.push_back(now.sources.iter().map(|(name, source)| (name.clone(), source.bytes)).collect());
        while self.looks.len() > LOOKS as usize + 1 {
            self.looks.pop_front();
        }
    }

    /// The agent at this moment, with what its sources brought lately.
    #[must_use]
    pub fn over(&self, mut now: Snapshot) -> Snapshot {
        for (name, source) in &mut now.sources {
            let bytes = || self.looks.iter().filter_map(|look| look.get(name)).copied();
            let all: Vec<u64> = bytes().chain([source.bytes]).collect();
            source.arrivals = all.windows(2).filter(|pair| pair[1] > pair[0]).count();
        }
        now
    }
}

/// A source at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceState {
    /// Whether it works.
    pub is_good: bool,
    /// Why not.
    pub state: String,
    /// The bytes that it brought since the start of the agent. Frames may only save a position.
    pub bytes: u64,
    /// In how many of the last looks it had brought something (`Pace`).
    pub arrivals: usize,
    /// How often it failed.
    pub restarts: u64,
    /// Whether the change does not touch it.
    pub is_kept: bool,
}

/// A sink at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkState {
    /// Whether it works.
    pub is_good: bool,
    /// Why not.
    pub state: String,
    /// The records that it delivered since the start of the agent.
    pub delivered: u64,
    /// The records that wait for it.
    pub waits: u64,
    /// How often its target refused the credentials or the name.
    pub denied: u64,
    /// Whether it was refused before the change.
    pub was_denied: bool,
    /// How often it failed.
    pub restarts: u64,
}

/// An agent at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The sources by name.
    pub sources: BTreeMap<String, SourceState>,
    /// The sinks by name.
    pub sinks: BTreeMap<String, SinkState>,
    /// How often memory was short.
    pub memory_short: u64,
    /// How often the store was full.
    pub store_full: u64,
    /// Whether one of the two was so before the change.
    pub had_no_room: bool,
}

/// What is to become of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It stays on trial.
    Open,
    /// It is good.
    Good,
    /// It does no harm, but no sink could show that it works: each was away before the change, too.
    Unconfirmed,
    /// It does worse than the one before; why.
    Bad(String),
}

impl Snapshot {
    /// The agent as it is now.
    #[must_use]
    pub fn of(view: &View, metrics: &std::sync::Arc<Metrics>) -> Self {
        let (memory_short, store_full) = (metrics.get(Metric::MemoryShort), metrics.get(Metric::StoreFull));
        let had_no_room = memory_short > 0 || store_full > 0;
        let mut now = Self { memory_short, store_full, had_no_room, ..Self::default() };
        for part in &view.parts {
            let numbers = metrics.part(part.kind.label(), &part.name);
            let (is_good, state) = (part.is_good, part.state.clone());
            let restarts = numbers.get(Metric::PartRestarts);
            match part.kind {
                Kind::Source => {
                    let (bytes, arrivals) = (numbers.get(Metric::SourceBytes), 0);
                    now.sources.insert(
                        part.name.clone(),
                        SourceState { is_good, state, bytes, arrivals, restarts, is_kept: false },
                    );
                }
                Kind::Sink => {
                    let delivered = numbers.get(Metric::SinkRecords);
                    let (waits, denied) = (part.records(), numbers.get_for(Reason::Denied));
                    let was_denied = denied > 0 && !is_good;
                    now.sinks.insert(
                        part.name.clone(),
                        SinkState { is_good, state, delivered, waits, denied, was_denied, restarts },
                    );
                }
            }
        }
        now
    }

    /// The same, knowing which sources the change does not touch.
    #[must_use]
    pub fn keeping<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        for name in names {
            if let Some(source) = self.sources.get_mut(name) {
                source.is_kept = true;
            }
        }
        self
    }

    /// The same, counted from a later moment: what the old parts still did while they stopped is not the work of the new
    /// ones.
    #[must_use]
    pub fn counted_from(mut self, later: &Self) -> Self {
        for (name, source) in &mut self.sources {
            if let Some(later) = later.sources.get(name) {
                (source.bytes, source.restarts) = (later.bytes, later.restarts);
            }
        }
        for (name, sink) in &mut self.sinks {
            if let Some(later) = later.sinks.get(name) {
                (sink.delivered, sink.denied, sink.restarts) = (later.delivered, later.denied, later.restarts);
            }
        }
        (self.memory_short, self.store_full) = (later.memory_short, later.store_full);
        self
    }

    /// The same for an agent that was started again since: it counts from nothing.
    #[must_use]
    pub fn counted_anew(mut self) -> Self {
        self.sources.values_mut().for_each(|source| (source.bytes, source.restarts) = (0, 0));
        self.sinks.values_mut().for_each(|sink| (sink.delivered, sink.denied, sink.restarts) = (0, 0, 0));
        (self.memory_short, self.store_full) = (0, 0);
        self
    }

    /// The judgement after so much of the trial. `self` is the agent just before the change.
    #[must_use]
    pub fn judge(&self, now: &Self, passed: Duration, probation: Duration) -> Verdict {
        if let Some(why) = self.harm(now) {
            return Verdict::Bad(why);
        }
        if passed < probation {
            return Verdict::Open;
        }
        if let Some(why) = self.silence(now) {
            return Verdict::Bad(why);
        }
        self.deliveries(now)
    }

    /// What shows at once that the change did harm.
    fn harm(&self, now: &Self) -> Option<String> {
        for (name, source) in &now.sources {
            let before = self.sources.get(name).map_or(0, |before| before.restarts);
            if source.restarts.saturating_sub(before) >= RESTARTS {
                return Some(format!("source.{name} failed {RESTARTS} times since the change: {}", source.state));
            }
        }
        for (name, sink) in &now.sinks {
            let before = self.sinks.get(name).cloned().unwrap_or_default();
            if sink.restarts.saturating_sub(before.restarts) >= RESTARTS {
                return Some(format!("sink.{name} failed {RESTARTS} times since the change: {}", sink.state));
            }
            let is_new = sink.delivered == before.delivered && sink.denied.saturating_sub(before.denied) >= DENIALS;
            if is_new && !before.was_denied {
                return Some(format!("sink.{name} is refused since the change: {}", sink.state));
            }
        }
        if now.memory_short > self.memory_short && !self.had_no_room {
            return Some("memory is short since the change".into());
        }
        (now.store_full > self.store_full && !self.had_no_room).then(|| "the store is full since the change".into())
    }

    /// A source that brought readings again and again before, and brings none now.
    fn silence(&self, now: &Self) -> Option<String> {
        let brought_before = |before: &SourceState| before.arrivals >= ARRIVALS;
        for (name, before) in &self.sources {
            // What the change does not touch is not its fault.
            let Some(source) = now.sources.get(name).filter(|_| !before.is_kept) else { continue };
            if brought_before(before) && source.bytes <= before.bytes {
                return Some(format!("source.{name} brings nothing since the change: {}", source.state));
            }
            // One that works again and again is only connecting anew at this moment.
            if before.is_good && !source.is_good && source.bytes <= before.bytes {
                return Some(format!("source.{name} does not work since the change: {}", source.state));
            }
        }
        let bytes_before = |name: &String| self.sources.get(name).map_or(0, |before| before.bytes);
        let brings = now.sources.iter().any(|(name, source)| source.bytes > bytes_before(name));
        // A source may be taken away on purpose; one that is new should bring something.
        let is_other = now.sources.keys().any(|name| !self.sources.contains_key(name));
        let is_silent = is_other && self.sources.values().any(brought_before) && !brings;
        is_silent.then(|| "no source brings anything since the change".into())
    }

    fn deliveries(&self, now: &Self) -> Verdict {
        let delivers = |(name, sink): (&String, &SinkState)| {
            sink.delivered > self.sinks.get(name).map_or(0, |before| before.delivered)
        };
        let (any_delivers, any_waits) = (now.sinks.iter().any(delivers), now.sinks.values().any(|sink| sink.waits > 0));
        for (name, sink) in &now.sinks {
            let was_good = self.sinks.get(name).is_some_and(|before| before.is_good);
            if was_good && !sink.is_good && sink.waits > 0 && !delivers((name, sink)) {
                return Verdict::Bad(format!("sink.{name} delivers nothing since the change: {}", sink.state));
            }
        }
        if any_delivers || !any_waits {
            return Verdict::Good;
        }
        if self.sinks.values().any(|before| before.is_good) {
            return Verdict::Bad("no sink delivers since the change".into());
        }
        Verdict::Unconfirmed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBATION: Duration = Duration::from_secs(10);

    fn before() -> Snapshot {
        let source =
            SourceState { is_good: true, state: "up".into(), bytes: 100, arrivals: 5, restarts: 0, is_kept: false };
        let sink = SinkState { is_good: true, state: "up".into(), delivered: 90, ..SinkState::default() };
        let mut now = Snapshot::default();
        now.sources.insert("a".into(), source);
        now.sinks.insert("hub".into(), sink);
        now
    }

    /// The judgement at the end, of an agent that goes on but for what `change` does.
    fn after(before: &Snapshot, change: impl Fn(&mut Snapshot)) -> Verdict {
        let mut now = before.clone();
        now.sources.values_mut().for_each(|source| source.bytes += 10);
        now.sinks.values_mut().for_each(|sink| sink.delivered += 10);
        change(&mut now);
        before.judge(&now, PROBATION, PROBATION)
    }

    fn why(verdict: Verdict) -> String {
        match verdict {
            Verdict::Bad(why) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_goes_on_is_good_but_not_before_the_end() {
        assert_eq!(after(&before(), |_| {}), Verdict::Good);
        assert_eq!(before().judge(&before(), Duration::ZERO, PROBATION), Verdict::Open);
    }

    #[test]
    fn what_does_worse_is_bad() {
        let silent = after(&before(), |now| now.sources.get_mut("a").unwrap().bytes = 100);
        assert!(why(silent).contains("source.a brings nothing"));
        let renamed = after(&before(), |now| {
            now.sources.clear();
            now.sources.insert("b".into(), SourceState::default());
        });
        assert!(why(renamed).contains("no source brings anything"));
        let denied = |now: &mut Snapshot| {
            let sink = now.sinks.get_mut("hub").unwrap();
            (sink.delivered, sink.denied, sink.is_good, sink.state) = (90, 2, false, "waiting: no such key".into());
        };
        assert!(why(after(&before(), denied)).contains("no such key"));
        let mut early = before();
        denied(&mut early);
        assert!(matches!(before().judge(&early, Duration::from_secs(1), PROBATION), Verdict::Bad(_)), "at once");
        let away = after(&before(), |now| {
            let sink = now.sinks.get_mut("hub").unwrap();
            (sink.delivered, sink.waits, sink.is_good) = (90, 10, false);
        });
        assert!(why(away).contains("sink.hub delivers nothing"));
        let other = after(&before(), |now| {
            now.sinks.clear();
            now.sinks.insert("new".into(), SinkState { waits: 5, ..SinkState::default() });
        });
        assert!(why(other).contains("no sink delivers"));
        assert!(why(after(&before(), |now| now.sources.get_mut("a").unwrap().restarts = 3)).contains("failed 3 times"));
        assert!(why(after(&before(), |now| now.memory_short = 1)).contains("memory"));
        assert!(why(after(&before(), |now| now.store_full = 1)).contains("store is full"));
    }

    #[test]
    fn a_link_that_was_down_before_is_no_fault() {
        let mut down = before();
        let sink = down.sinks.get_mut("hub").unwrap();
        (sink.is_good, sink.waits, sink.denied, sink.was_denied) = (false, 7, 4, true);
        let stays = |now: &mut Snapshot| {
            let sink = now.sinks.get_mut("hub").unwrap();
            (sink.delivered, sink.denied) = (90, 9);
        };
        assert_eq!(after(&down, stays), Verdict::Unconfirmed);
        assert_eq!(after(&down, |_| {}), Verdict::Good, "it delivers now");
    }

    #[test]
    fn a_device_that_was_silent_may_stay_silent() {
        let mut silent = before();
        silent.sources.get_mut("a").unwrap().arrivals = 1;
        assert_eq!(after(&silent, |now| now.sources.get_mut("a").unwrap().bytes = 100), Verdict::Good);
    }

    #[test]
    fn what_was_so_before_stays_known_and_counting_begins_after_the_change() {
        let mut full = before();
        (full.store_full, full.had_no_room) = (3, true);
        let anew = full.clone().counted_anew();
        assert_eq!((anew.store_full, anew.sources["a"].bytes), (0, 0));
        assert_eq!(after(&anew, |now| now.store_full = 2), Verdict::Good, "it was full before");
        let mut later = before();
        later.sources.get_mut("a").unwrap().bytes = 150;
        later.sinks.get_mut("hub").unwrap().delivered = 95;
        let from = before().counted_from(&later);
        assert!(why(from.judge(&later, PROBATION, PROBATION)).contains("source.a brings nothing"));
    }

    #[test]
    fn what_the_change_does_not_touch_or_takes_away_is_not_its_fault() {
        let silent = |now: &mut Snapshot| now.sources.get_mut("a").unwrap().bytes = 100;
        assert_eq!(after(&before().keeping(["a"]), silent), Verdict::Good);
        let mut two = before();
        let quiet = SourceState { is_good: true, ..SourceState::default() };
        two.sources.insert("b".into(), quiet.clone());
        let removed = |now: &mut Snapshot| {
            now.sources.remove("a");
            now.sources.insert("b".into(), quiet.clone());
        };
        assert_eq!(after(&two, removed), Verdict::Good);
    }

    #[test]
    fn a_device_is_expected_when_it_came_again_and_again() {
        let mut pace = Pace::default();
        let at = |bytes| {
            let mut now = Snapshot::default();
            now.sources.insert("a".into(), SourceState { bytes, ..SourceState::default() });
            now
        };
        let arrivals = |pace: &Pace, bytes| pace.over(at(bytes)).sources["a"].arrivals;
        assert_eq!(arrivals(&pace, 5), 0);
        pace.look(&at(0));
        assert_eq!((arrivals(&pace, 0), arrivals(&pace, 5)), (0, 1));
        for bytes in [5, 5, 9] {
            pace.look(&at(bytes));
        }
        assert_eq!((arrivals(&pace, 9), arrivals(&pace, 10)), (2, 3));
        for _ in 0..20 {
            pace.look(&at(9));
        }
        assert_eq!((arrivals(&pace, 9), pace.looks.len()), (0, 9));
    }
}
