//! Decides which reports are made about a target or a source that cannot be reached. Pure.
//!
//! The beginning of an outage is reported, each other cause once, its duration in growing intervals, and its end. A
//! target that comes and goes is reported once a minute, with the number of outages.

use super::seldom::kind_of;
use std::collections::{BTreeSet, VecDeque};

/// The duration of an outage is reported for the first time after this long, in milliseconds.
const FIRST_MS: u64 = 60_000;
/// The longest interval between two reports, in milliseconds. Each interval is twice as long as the one before, up
/// to this limit.
const LONGEST_MS: u64 = 3_600_000;
/// This many beginnings within `WINDOW_MS` are reported one by one. Further ones are summed up.
const SINGLE: usize = 3;
const WINDOW_MS: u64 = 600_000;
/// The interval of the summaries, in milliseconds.
const SUM_MS: u64 = 60_000;
/// The most causes of an outage that are told apart.
const CAUSES: usize = 16;

/// The report about a failure.
#[derive(Debug, PartialEq, Eq)]
pub enum Tell {
    /// An outage has begun.
    Begun,
    /// The outage goes on, for another reason.
    OtherCause,
    /// The outage goes on. Its duration so far, in milliseconds.
    Lasting(u64),
    /// The number of beginnings that were not reported since the last summary.
    Flapping(u64),
    /// There is nothing to report.
    Nothing,
}

/// The outages of one target or source.
#[derive(Debug, Default)]
pub struct Outage {
    since_ms: Option<u64>,
    causes: BTreeSet<String>,
    next_ms: u64,
    interval_ms: u64,
    begun: VecDeque<u64>,
    untold: u64,
    summed_ms: u64,
    /// Whether the present outage was reported. Then its end is reported too.
    was_told: bool,
    was_up: bool,
}

impl Outage {
    /// Notes that a delivery failed.
    pub fn failed(&mut self, cause: &str, now_ms: u64) -> Tell {
        let kind = kind_of(cause);
        let Some(since) = self.since_ms else {
            self.since_ms = Some(now_ms);
            self.causes = BTreeSet::from([kind]);
            (self.interval_ms, self.next_ms) = (FIRST_MS, now_ms + FIRST_MS);
            self.begun.push_back(now_ms);
            while self.begun.front().is_some_and(|at| now_ms.saturating_sub(*at) > WINDOW_MS) {
                self.begun.pop_front();
            }
            if self.begun.len() <= SINGLE {
                self.was_told = true;
                return Tell::Begun;
            }
            self.untold += 1;
            self.was_told = false;
            if now_ms.saturating_sub(self.summed_ms) < SUM_MS {
                return Tell::Nothing;
            }
            self.summed_ms = now_ms;
            return Tell::Flapping(std::mem::take(&mut self.untold));
        };
        if now_ms >= self.next_ms {
            self.interval_ms = (self.interval_ms * 2).min(LONGEST_MS);
            self.next_ms = now_ms + self.interval_ms;
            self.causes.insert(kind);
            self.was_told = true;
            return Tell::Lasting(now_ms - since);
        }
        if self.causes.len() < CAUSES && self.causes.insert(kind) && self.was_told {
            return Tell::OtherCause;
        }
        Tell::Nothing
    }

    /// Notes that the target was reached. Returns whether to report this: the first time, and after a reported
    /// outage.
    pub fn up(&mut self, now_ms: u64) -> bool {
        let is_first = !std::mem::replace(&mut self.was_up, true);
        self.over(now_ms).is_some() || is_first
    }

    /// Notes that a delivery was accepted. Returns the duration of the outage in milliseconds, if its end is to be
    /// reported.
    pub fn over(&mut self, now_ms: u64) -> Option<u64> {
        let since = self.since_ms.take()?;
        self.was_told.then(|| now_ms.saturating_sub(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_by_its_causes_and_in_growing_intervals() {
        let mut outage = Outage::default();
        assert_eq!(outage.failed("127.0.0.1:5671: refused", 1000), Tell::Begun);
        assert_eq!(outage.failed("127.0.0.1:5672: refused", 2000), Tell::Nothing, "the same cause");
        assert_eq!(outage.failed("the name is not found", 3000), Tell::OtherCause);
        assert_eq!(outage.failed("127.0.0.1:5671: refused", 4000), Tell::Nothing, "told already");
        let lasting = (5..86_400).filter(|s| outage.failed("refused", 1000 + s * 1000) != Tell::Nothing).count();
        assert!((25..40).contains(&lasting), "{lasting} lines a day");
        assert_eq!(outage.over(90_000_000), Some(89_999_000));
        assert_eq!(outage.over(90_000_000), None);
        let mut source = Outage::default();
        assert!(source.up(1) && !source.up(2));
        source.failed("refused", 3);
        assert!(source.up(4));
    }

    #[test]
    fn a_target_that_comes_and_goes_is_summed_up() {
        let mut outage = Outage::default();
        let mut lines = 0;
        for n in 0..600 {
            lines += usize::from(outage.failed("refused", 1_000_000 + n * 1000) != Tell::Nothing);
            lines += usize::from(outage.over(1_000_500 + n * 1000).is_some());
        }
        assert!((10..20).contains(&lines), "{lines} lines in ten minutes");
        assert_eq!(outage.failed("refused", 9_000_000), Tell::Begun, "it was quiet for long");
    }
}
