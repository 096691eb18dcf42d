//! The last day, a point a minute: what waited, and what came and went. For the page, and to see when the store will be
//! full.

use super::view::View;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The number of points: a day of minutes.
const POINTS: usize = 24 * 60;
/// The growth of what waits is measured over at most so many points,
const GROWTH: usize = 30;
/// and over so many at least.
const LEAST: usize = 3;

/// An agent at one minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// The time, in milliseconds since 1970.
    pub at_ms: i64,
    /// Records that the slowest sink has not delivered.
    pub records: u64,
    /// Bytes in the store that somebody must still read.
    pub bytes: u64,
    /// The age of the oldest undelivered record, in milliseconds.
    pub age_ms: u64,
    /// Records made durable since the start.
    pub stored: u64,
    /// Records delivered since the start, all sinks together.
    pub delivered: u64,
}

/// The points, the oldest first.
#[derive(Debug, Default)]
pub struct History(VecDeque<Point>);

impl History {
    /// Adds the present minute.
    pub fn add(&mut self, view: &View) {
        if self.0.len() >= POINTS {
            self.0.pop_front();
        }
        let number = |name| view.numbers.get(name).copied().unwrap_or(0);
        self.0.push_back(Point {
            at_ms: view.now_ms,
            records: view.records(),
            bytes: view.fill.waits,
            age_ms: view.age_ms().unwrap_or(0),
            stored: number("store_records_total"),
            delivered: number("sink_records_total"),
        });
    }

    /// All points, the oldest first.
    #[must_use]
    pub fn points(&self) -> Vec<Point> {
        self.0.iter().copied().collect()
    }

    /// Seconds until `room` bytes wait, if it goes on like that; `None` when nothing fills.
    #[must_use]
    pub fn full_in_s(&self, waits: u64, room: u64) -> Option<u64> {
        let recent = self.0.len().saturating_sub(GROWTH);
        let first = self.0.get(recent)?;
        let minutes = u64::try_from(self.0.len() - recent).ok().filter(|minutes| *minutes >= LEAST as u64)?;
        let grown = waits.checked_sub(first.bytes).filter(|grown| *grown > 0)?;
        let left = room.saturating_sub(waits);
        u64::try_from(u128::from(left) * u128::from(minutes) * 60 / u128::from(grown)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::view::Fill;

    #[test]
    fn the_time_until_the_store_is_full_is_known_while_it_fills() {
        let mut history = History::default();
        let view = |minute: i64, waits| View {
            now_ms: minute * 60_000,
            fill: Fill { waits, ..Fill::default() },
            ..View::default()
        };
        for minute in 0..60 {
            history.add(&view(minute, 1000));
        }
        assert_eq!(history.full_in_s(1000, 10_000), None);
        for minute in 60..75 {
            history.add(&view(minute, 1000 + (minute.unsigned_abs() - 59) * 100));
        }
        // 1500 bytes in the last half hour, 7500 are left.
        assert_eq!(history.full_in_s(2500, 10_000), Some(5 * 1800));
        assert_eq!(history.full_in_s(10_000, 10_000), Some(0));
        assert_eq!(history.full_in_s(500, 10_000), None, "it gets empty");
        for minute in 75..2000 {
            history.add(&view(minute, 0));
        }
        assert_eq!(history.points().len(), POINTS);
        assert_eq!(History::default().full_in_s(5, 10), None);
    }
}
