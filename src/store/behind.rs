//! A reader that must not hold up the others: when it is too far behind, its oldest records are given up.

use super::log::body::StreamId;
use super::shared::{Inner, Shared};
use crate::platform::clock;
use crate::telemetry::{Cause, Metric};
use std::collections::VecDeque;

/// The byte limit divided by this is given up in addition, so that records are given up seldom.
const MORE: u64 = 20;

/// How far a reader may be behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Behind {
    /// The largest number of undelivered stored bytes; none for no limit.
    pub bytes: Option<u64>,
    /// Records that arrived before this time are given up; in milliseconds since the Unix epoch.
    pub before_ms: Option<i64>,
}

/// The records of a stream that a reader gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    /// The stream's name.
    pub stream: String,
    /// The first sequence that was given up.
    pub from: u64,
    /// The last sequence that was given up.
    pub to: u64,
}

impl Inner {
    /// Moves a reader's cursors past records that are too many or too old. The loss is counted, and reported as an
    /// event.
    pub fn give_up(&self, reader: &str, behind: Behind) -> Vec<GivenUp> {
        let now = self.options.clock.now();
        let mut shared = self.lock();
        let mut given = Vec::new();
        for (stream, next) in shared.too_far(reader, behind) {
            let floor = shared.state.streams.get(&stream).map_or(0, |stream| stream.floor);
            let live = shared.ensure_cursor(reader, stream, now.wall_ms);
            let from = live.entry.next.max(floor);
            live.entry.next = next;
            for mark in &mut live.entry.lanes {
                mark.next = mark.next.max(next);
            }
            live.since_ms.get_or_insert(now.monotonic_ms);
            let name = shared.name(stream);
            let range = (from, next - 1);
            shared.reports.given_up((stream, &name), range, Cause::Behind, &self.options.metrics, now.monotonic_ms);
            self.options.metrics.add(Metric::SinkGivenUp, next - from);
            given.push(GivenUp { stream: name, from, to: next - 1 });
        }
        if !given.is_empty() {
            shared.refresh_full();
            self.room.send_modify(|n| *n += 1);
            self.wake.notify_one();
        }
        given
    }
}

impl Shared {
    /// The new cursors of a reader that is too far behind. Streams whose cursor may stay are left out.
    fn too_far(&self, reader: &str, behind: Behind) -> Vec<(StreamId, u64)> {
        let Some(rule) = self.readers.iter().find(|rule| rule.name == reader) else { return Vec::new() };
        let mut streams: Vec<Waiting> = Vec::new();
        for stream in self.state.streams.values().filter(|stream| rule.reads(&stream.name)) {
            let next = self.cursor(reader, stream.id).max(stream.floor);
            let holdings = self.segments.values().filter_map(|segment| segment.summary.of(stream.id));
            let mut holdings: Vec<_> = holdings.filter(|holding| holding.last >= next).copied().collect();
            holdings.sort_by_key(|holding| holding.first);
            let holdings = VecDeque::from(holdings);
            streams.push(Waiting { id: stream.id, begin: next, next, holdings });
        }
        if let Some(before) = behind.before_ms {
            for stream in &mut streams {
                let is_old = |at: i64| clock::was_credible(at) && at < before;
                while let Some(last) = stream.first().filter(|first| is_old(first.arrival_max)).map(|first| first.last)
                {
                    stream.go_past(last);
                }
            }
        }
        let mut excess = behind.bytes.map_or(0, |most| {
            let total: u64 = streams.iter().map(Waiting::bytes).sum();
            // A little more than necessary is given up, so that this is done seldom.
            if total > most { total - most + most / MORE } else { 0 }
        });
        while excess > 0 {
            let oldest = streams.iter_mut().filter(|stream| stream.first().is_some());
            let Some(stream) = oldest.min_by_key(|stream| stream.arrival()) else { break };
            excess = stream.skip(excess);
        }
        let moved = streams.into_iter().filter(|stream| stream.next > stream.begin);
        moved.map(|stream| (stream.id, stream.next)).collect()
    }
}

/// The records of a stream that a reader has not delivered.
struct Waiting {
    id: StreamId,
    begin: u64,
    next: u64,
    /// The holdings of segments with undelivered records, the oldest first.
    holdings: VecDeque<super::log::body::Holding>,
}

impl Waiting {
    fn first(&self) -> Option<&super::log::body::Holding> {
        self.holdings.front()
    }

    fn bytes(&self) -> u64 {
        self.holdings.iter().map(|holding| holding.bytes_from(self.next)).sum()
    }

    /// Moves past the first holding: the next record is the one after its last.
    fn go_past(&mut self, last: u64) {
        self.next = last + 1;
        self.holdings.pop_front();
    }

    fn arrival(&self) -> i64 {
        self.first().map_or(i64::MAX, |first| first.arrival_of(self.next))
    }

    /// Passes over the oldest records until this many bytes are given up. Returns the bytes still to be given up.
    fn skip(&mut self, excess: u64) -> u64 {
        let Some(first) = self.first() else { return 0 };
        let (bytes, last) = (first.bytes_from(self.next), first.last);
        let from = self.next.max(first.first);
        if bytes <= excess {
            self.go_past(last);
            return excess - bytes;
        }
        let records = u128::from(last - from + 1) * u128::from(excess);
        self.next = from + u64::try_from(records.div_ceil(u128::from(bytes))).unwrap_or(0).max(1);
        0
    }
}
