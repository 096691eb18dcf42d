//! The cursors of readers: as they are now, and as far as they are in the log.

use super::log::body::{CursorEntry, FloorEntry, Reason, Stamp, StreamId};
use super::options::Begin;
use super::position::{Position, Release};
use super::reader::{Item, Reader};
use super::shared::{Inner, Live, Shared};
use super::space::Hold;
use crate::flow::lane::LaneId;
use std::sync::Arc;

/// Cursor progress is saved at the latest after this many milliseconds.
const CURSOR_MS: u64 = 5000;
/// Cursor progress is saved at the latest after this many bytes of event bodies.
const CURSOR_BYTES: u64 = 4 << 20;

/// A reader begins in a stream with the first record that arrived at this time or later.
#[derive(Debug)]
pub(super) struct AtTime {
    reader: String,
    stream: StreamId,
    /// The time of arrival, in milliseconds since the Unix epoch.
    arrival_ms: i64,
}

impl Inner {
    pub fn release(&self, reader: &str, release: Release) {
        let now = self.options.clock.now();
        let mut shared = self.lock();
        let stream = release.stream;
        let live = shared.ensure_cursor(reader, stream, now.wall_ms);
        live.entry.next = live.entry.next.max(release.position.next);
        (live.entry.lanes, live.entry.split) = (release.position.lanes, release.position.split);
        live.entry.seen_ms = now.wall_ms;
        live.unsaved += release.bytes;
        live.since_ms.get_or_insert(now.monotonic_ms);
        // A stream that was full at its own cap has room at once, and not only when its cursor is saved.
        if shared.full.contains_key(&stream) && shared.refresh_full() {
            self.room.send_modify(|n| *n += 1);
        }
        // The committer sleeps until its next deadline. When woken, it decides whether the progress is worth a
        // frame.
        self.wake.notify_one();
    }

    pub fn position(&self, reader: &str, stream: StreamId) -> Position {
        let now = self.options.clock.now().wall_ms;
        Position::from(&self.lock().ensure_cursor(reader, stream, now).entry)
    }

    pub fn mark(&self, reader: &str, stream: StreamId, position: Position) {
        let now = self.options.clock.now();
        let mut shared = self.lock();
        let live = shared.ensure_cursor(reader, stream, now.wall_ms);
        (live.entry.lanes, live.entry.split) = (position.lanes, position.split);
        live.since_ms.get_or_insert(now.monotonic_ms);
        live.urgent = true;
        self.wake.notify_one();
    }

    /// Finds the first sequences of readers that begin at a time; reads up to one segment for each.
    pub fn begin_at_times(self: &Arc<Self>, readers: Vec<AtTime>) {
        for AtTime { reader, stream, arrival_ms } in readers {
            let next = self.sequence_at(stream, arrival_ms);
            let mut shared = self.lock();
            if let Some(live) = shared.cursors.get_mut(&(reader, stream)) {
                live.entry.next = live.entry.next.max(next);
                live.since_ms = Some(0);
            }
        }
    }

    /// The first sequence that arrived at this time or later. Unreadable sequences count as later: too many records
    /// are better than too few.
    fn sequence_at(self: &Arc<Self>, stream: StreamId, arrival_ms: i64) -> u64 {
        let from = {
            let shared = self.lock();
            let Some(state) = shared.state.streams.get(&stream) else { return 1 };
            let holdings = shared.segments.values().filter_map(|segment| segment.summary.of(stream));
            let later = holdings.filter(|holding| holding.arrival_max >= arrival_ms).map(|holding| holding.first);
            later.min().map_or(state.next, |first| first.max(state.floor))
        };
        let mut reader = Reader::new(self.clone(), stream, from);
        while let Ok(Some(item)) = reader.read() {
            match item {
                Item::Gap(gap) => return gap.from,
                Item::Span(span) if span.head.arrival_max < arrival_ms => {}
                Item::Span(span) => {
                    if let Some((sequence, _)) = span.records().find(|(_, record)| record.arrival_ms >= arrival_ms) {
                        return sequence;
                    }
                }
            }
        }
        reader.next_sequence()
    }
}

impl Shared {
    /// A reader's next sequence in a stream.
    pub fn cursor(&self, reader: &str, stream: StreamId) -> u64 {
        let start = self.state.streams.get(&stream).map_or(1, |stream| stream.floor);
        self.cursors.get(&(reader.to_string(), stream)).map_or(start, |live| live.entry.next)
    }

    /// The number of records behind a split that were delivered already.
    pub fn delivered_ahead(&self, reader: &str, stream: StreamId, next: u64) -> u64 {
        let Some(live) = self.cursors.get(&(reader.to_string(), stream)) else { return 0 };
        let position = Position::from(&live.entry);
        let ahead = position.split.zip(position.lane(LaneId::WHOLE));
        ahead.map_or(0, |(split, mark)| mark.next.saturating_sub(split.max(next)))
    }

    /// Stored bytes of a stream from a sequence on; estimated within a segment.
    pub fn bytes_from(&self, stream: StreamId, next: u64) -> u64 {
        let holdings = self.segments.values().filter_map(|segment| segment.summary.of(stream));
        holdings.filter(|holding| holding.last >= next).map(|holding| holding.bytes_from(next)).sum()
    }

    /// Gives each reader that is new to a stream its first cursor there. Returns the readers whose cursor still has
    /// to be found by time (`Inner::begin_at_times`).
    #[must_use]
    pub fn place_readers(&mut self, wall_ms: i64) -> Vec<AtTime> {
        let rules = self.readers.clone();
        let mut at_times = Vec::new();
        let streams: Vec<_> = self.state.streams.values().map(|s| (s.id, s.name.clone(), s.next)).collect();
        for rule in rules {
            for (id, name, next) in &streams {
                let key = (rule.name.clone(), *id);
                if !rule.reads(name) || self.cursors.contains_key(&key) {
                    continue;
                }
                let is_known = self.state.cursors.contains_key(&key);
                let live = self.ensure_cursor(&rule.name, *id, wall_ms);
                let begin = match rule.begin {
                    Begin::Oldest => None,
                    Begin::Newest => Some(*next),
                    Begin::Sequence(sequence) => Some(sequence.min(*next)),
                    Begin::Time(arrival_ms) => {
                        if !is_known {
                            at_times.push(AtTime { reader: rule.name.clone(), stream: *id, arrival_ms });
                        }
                        None
                    }
                };
                if let Some(begin) = begin.filter(|_| !is_known) {
                    live.entry.next = live.entry.next.max(begin);
                    // The cursor is saved with the next frame: a restart before the first delivery must not skip
                    // any record.
                    live.since_ms = Some(0);
                }
            }
        }
        at_times
    }

    /// The cursor of a reader in a stream. A reader that is new to the stream gets its first cursor.
    pub fn ensure_cursor(&mut self, reader: &str, stream: StreamId, wall_ms: i64) -> &mut Live {
        let state = &self.state;
        self.cursors.entry((reader.to_string(), stream)).or_insert_with_key(|key| {
            let entry = state.cursors.get(key).cloned().unwrap_or_else(|| CursorEntry {
                reader: reader.to_string(),
                stream,
                next: state.streams.get(&stream).map_or(1, |stream| stream.floor),
                lanes: Vec::new(),
                split: None,
                seen_ms: wall_ms,
            });
            Live { entry, unsaved: 0, saving: 0, since_ms: None, urgent: false }
        })
    }

    /// Keeps the cursors of configured readers, however long they are idle, and removes those of readers that are
    /// long gone. A person who repairs a store configures no readers: then all cursors stay.
    pub fn tend_cursors(&mut self, stamp: Stamp) {
        if self.readers.is_empty() {
            return;
        }
        for ((reader, _), cursor) in &mut self.state.cursors {
            if self.readers.iter().any(|rule| rule.name == *reader) {
                cursor.seen_ms = stamp.wall_ms;
            }
        }
        self.state.forget_cursors(stamp.wall_ms);
    }

    /// Moves cursors up to the floor where damage has destroyed newer cursors. All readers had released the records
    /// below a floor that trims.
    pub fn lift_cursors(&mut self) {
        for ((reader, stream), live) in &mut self.cursors {
            let Some(stream) = self.state.streams.get(stream).filter(|stream| stream.reason == Reason::Trim) else {
                continue;
            };
            // Of a query's state nothing may be missing in silence.
            let reads = self.readers.iter().any(|rule| rule.name == *reader && rule.reads(&stream.name));
            if reads && live.entry.next < stream.floor {
                live.entry.next = stream.floor;
            }
        }
    }

    /// Takes over a cursor that is in the log: a query's step may have moved it further.
    pub fn follow(&mut self, cursor: &CursorEntry) {
        let live = self.ensure_cursor(&cursor.reader, cursor.stream, cursor.seen_ms);
        if live.entry.next < cursor.next {
            live.entry = cursor.clone();
        }
    }

    /// The cursors that have moved since they were saved; the next frame saves them.
    pub fn dirty(&mut self) -> Vec<CursorEntry> {
        let dirty = self.cursors.values_mut().filter(|live| live.since_ms.is_some());
        dirty
            .map(|live| {
                live.saving = live.unsaved;
                live.entry.clone()
            })
            .collect()
    }

    /// The time at which cursors must be saved even without other data, in monotonic milliseconds.
    pub fn cursors_due(&self) -> Option<u64> {
        let unsaved: u64 = self.cursors.values().map(|live| live.unsaved).sum();
        let since = self.cursors.values().filter_map(|live| live.since_ms).min()?;
        let urgent = self.cursors.values().any(|live| live.urgent);
        Some(if urgent || unsaved >= CURSOR_BYTES { since } else { since + CURSOR_MS })
    }

    /// A floor that trims never rises above a cursor (checked in debug and test builds).
    pub fn assert_floors(&self, floors: &[FloorEntry]) {
        for floor in floors.iter().filter(|floor| cfg!(debug_assertions) && floor.reason == Reason::Trim) {
            if let Hold::Cursor(lowest) = self.hold(floor.stream) {
                debug_assert!(floor.floor <= lowest, "{floor:?} is above the cursor {lowest}");
            }
        }
    }

    /// Asserts that no floor and no cursor is ahead of the durable records (in debug and test builds).
    pub fn assert_cursors(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        for stream in self.state.streams.values() {
            debug_assert!(stream.floor <= stream.next, "{stream:?}");
        }
        for ((_, stream), live) in &self.cursors {
            let durable = self.state.streams.get(stream).map_or(1, |stream| stream.next);
            debug_assert!(live.entry.next <= durable, "{:?} is ahead of {durable}", live.entry);
        }
    }

    /// Marks cursors as saved, unless they have moved since.
    pub fn saved(&mut self, cursors: &[CursorEntry]) {
        for cursor in cursors {
            if let Some(live) = self.cursors.get_mut(&(cursor.reader.clone(), cursor.stream)) {
                live.unsaved -= std::mem::take(&mut live.saving);
                let at = |entry: &CursorEntry| (entry.next, entry.lanes.clone(), entry.split);
                let moved = at(&live.entry) != at(cursor);
                live.since_ms = live.since_ms.filter(|_| moved);
                live.urgent &= moved;
            }
        }
    }
}
