//! Reads sealed segments back, slowly. Rot is then reported while the device is at hand, and not only when its
//! backlog is needed.
//!
//! The committer reads one frame at a time when it has nothing else to do, at `BYTES_PER_SECOND`. A new round
//! begins a day after the last one. Bad bytes are reported as by a reader: with log line, metric and event.

use super::Committer;
use crate::platform::disk::Mode;
use crate::store::damaged::copy_out;
use crate::store::log::body::StreamId;
use crate::store::log::layout::Kind;
use crate::store::log::place::placed;
use crate::store::log::segment::Segment;
use crate::store::log::walk::{Step, Walk};
use crate::telemetry::{Metric, event};
use std::collections::BTreeMap;
use std::io;

const BYTES_PER_SECOND: u64 = 64 << 10;
/// The first round begins this long after the start, in milliseconds.
const FIRST_MS: u64 = 600_000;
/// The next round begins this long after the last one, in milliseconds.
const AGAIN_MS: u64 = 24 * 3600 * 1000;

/// The place of the present round.
#[derive(Debug)]
pub(super) struct Scrub {
    due_ms: u64,
    /// The number of the segment that is being read, if any.
    open: Option<u64>,
    /// The next segment has at least this number.
    next: u64,
    offset: u64,
    /// The sequence that should come next in the segment, by stream.
    expected: BTreeMap<StreamId, u64>,
}

impl Scrub {
    pub fn new(now_ms: u64) -> Self {
        Self { due_ms: now_ms + FIRST_MS, open: None, next: 0, offset: 0, expected: BTreeMap::new() }
    }

    pub fn due_ms(&self) -> u64 {
        self.due_ms
    }
}

impl Committer {
    /// Checks one frame.
    pub(super) fn scrub(&mut self) {
        let now = self.inner.options.clock.monotonic_ms();
        let current = self.current();
        let next = {
            let shared = self.inner.lock();
            shared.segments.range(self.scrub.next..).find(|(number, _)| **number != current).map(|(_, s)| s.clone())
        };
        let Some(segment) = next else {
            self.scrub = Scrub { due_ms: now + AGAIN_MS, ..Scrub::new(now) };
            tracing::debug!(event = event::STORE_SCRUBBED, "all sealed segments were read back");
            return;
        };
        let number = segment.summary.number;
        if self.scrub.open != Some(number) {
            let first = segment.summary.holdings.iter().map(|holding| (holding.stream, holding.first));
            let expected = first.collect();
            self.scrub = Scrub { due_ms: now, open: Some(number), next: number, offset: 0, expected };
        }
        let read = match self.scrub_frame(&segment) {
            Ok(Some(read)) => read,
            Ok(None) => self.leave(&segment),
            Err(error) => {
                tracing::warn!(event = event::STORE_FINDING, %error, path = %segment.path.display(), "cannot be read back");
                self.leave(&segment)
            }
        };
        self.inner.options.metrics.add(Metric::StoreScrubbedBytes, read);
        self.scrub.due_ms = now + (read * 1000).div_ceil(BYTES_PER_SECOND);
    }

    /// Goes on to the next segment. Returns the bytes that were read, which are 0.
    fn leave(&mut self, segment: &Segment) -> u64 {
        let expected = std::mem::take(&mut self.scrub.expected);
        for holding in &segment.summary.holdings {
            let next = expected.get(&holding.stream).copied().unwrap_or(holding.first);
            self.tell(segment, holding.stream, next, holding.last);
        }
        (self.scrub.open, self.scrub.next) = (None, segment.summary.number + 1);
        0
    }

    /// Checks the frame at the present place. Returns its bytes; `None` at the end of the segment.
    fn scrub_frame(&mut self, segment: &Segment) -> io::Result<Option<u64>> {
        let disk = self.inner.options.disk.clone();
        let (store, number) = (self.inner.id, segment.summary.number);
        let file = disk.open(&segment.path, Mode::Read)?;
        let mut walk = Walk::new(store, file.clone(), number, self.scrub.offset, segment.summary.end, false);
        let from = walk.offset();
        let mut bad = Vec::new();
        match walk.step()? {
            Step::End { .. } => return Ok(None),
            Step::Damage { from, to } => bad.push((from, to)),
            Step::Frame(found) if matches!(found.header.kind, Kind::Commit | Kind::Carry) => {
                match placed(&store, &found) {
                    None => bad.push((found.offset, walk.offset())),
                    Some((_, sections)) => {
                        for section in sections {
                            let head = &section.head;
                            let next = self.scrub.expected.get(&head.stream).copied().unwrap_or(head.first);
                            self.tell(segment, head.stream, next, head.first.saturating_sub(1));
                            if section.stored(&store, &*file)?.is_none() {
                                bad.push((section.offset, section.end()));
                                self.tell(segment, head.stream, head.first, head.last());
                            }
                            self.scrub.expected.insert(head.stream, head.last() + 1);
                        }
                    }
                }
            }
            Step::Frame(_) => {}
        }
        for range in bad {
            copy_out(&*disk, &self.folders, &*file, number, range)?;
        }
        self.scrub.offset = walk.offset();
        Ok(Some(walk.offset() - from))
    }

    /// Reports the missing sequences of a range, as far as they are above the floor.
    fn tell(&self, segment: &Segment, stream: StreamId, from: u64, to: u64) {
        let floor = {
            let shared = self.inner.lock();
            if !shared.segments.contains_key(&segment.summary.number) {
                return;
            }
            shared.state.streams.get(&stream).map_or(0, |stream| stream.floor)
        };
        if from.max(floor) <= to {
            self.inner.damaged(stream, (from.max(floor), to));
        }
    }
}
