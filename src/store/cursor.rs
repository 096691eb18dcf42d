//! Where readers stand: cursors as they are now, and what of them is in the log.

use super::log::body::{CursorEntry, Stamp, StreamId};
use super::position::Position;
use super::shared::{Live, Shared, reads};

/// Cursor progress is saved at the latest after this many milliseconds.
const CURSOR_MS: u64 = 5000;
/// Cursor progress is saved at the latest after this many bytes of event bodies.
const CURSOR_BYTES: u64 = 4 << 20;

impl Shared {
    /// A reader's next sequence in a stream.
    pub fn cursor(&self, reader: &str, stream: StreamId) -> u64 {
        let start = self.state.streams.get(&stream).map_or(1, |stream| stream.floor);
        self.cursors.get(&(reader.to_string(), stream)).map_or(start, |live| live.entry.next)
    }

    /// Records behind a split that are delivered already.
    pub fn delivered_ahead(&self, reader: &str, stream: StreamId, next: u64) -> u64 {
        let Some(live) = self.cursors.get(&(reader.to_string(), stream)) else { return 0 };
        let position = Position::from(&live.entry);
        let ahead = position.split.zip(position.lane(0));
        ahead.map_or(0, |(split, mark)| mark.next.saturating_sub(split.max(next)))
    }

    /// Stored bytes of a stream from a sequence on, in proportion.
    pub fn bytes_from(&self, stream: StreamId, next: u64) -> u64 {
        let holdings = self.segments.values().filter_map(|segment| segment.summary.of(stream));
        holdings.filter(|holding| holding.last >= next).map(|holding| holding.bytes_from(next)).sum()
    }

    /// Gives each reader that is new to a stream its place there.
    pub fn place_readers(&mut self, wall_ms: i64) {
        let rules = self.readers.clone();
        let streams: Vec<_> = self.state.streams.values().map(|s| (s.id, s.name.clone(), s.next)).collect();
        for rule in rules {
            for (id, name, next) in &streams {
                let key = (rule.name.clone(), *id);
                if !reads(&rule, name) || self.cursors.contains_key(&key) {
                    continue;
                }
                let is_known = self.state.cursors.contains_key(&key);
                self.ensure_cursor(&rule.name, *id, wall_ms);
                if let Some(live) = self.cursors.get_mut(&key)
                    && !is_known
                    && rule.newest
                {
                    live.entry.next = *next;
                    // Saved with the next frame: a restart before the first delivery must not skip anything.
                    live.since_ms = Some(0);
                }
            }
        }
    }

    /// Gives a reader that is new to a stream its first cursor.
    pub fn ensure_cursor(&mut self, reader: &str, stream: StreamId, wall_ms: i64) {
        let key = (reader.to_string(), stream);
        if self.cursors.contains_key(&key) {
            return;
        }
        let floor = self.state.streams.get(&stream).map_or(1, |stream| stream.floor);
        let entry = self.state.cursors.get(&key).cloned().unwrap_or_else(|| CursorEntry {
            reader: reader.to_string(),
            stream,
            next: floor,
            lanes: Vec::new(),
            split: None,
            seen_ms: wall_ms,
        });
        self.cursors.insert(key, Live { entry, unsaved: 0, saving: 0, since_ms: None, urgent: false });
    }

    /// Readers that are configured keep their cursors, however long they have nothing to do; those
    /// of readers that are long gone end. A person who mends a store configures none: all stay.
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

    /// Cursors that have moved since they were saved, to be saved now.
    pub fn dirty(&mut self) -> Vec<CursorEntry> {
        let dirty = self.cursors.values_mut().filter(|live| live.since_ms.is_some());
        dirty
            .map(|live| {
                live.saving = live.unsaved;
                live.entry.clone()
            })
            .collect()
    }

    /// When cursors must be saved for their own sake, monotonic milliseconds.
    pub fn cursors_due(&self) -> Option<u64> {
        let unsaved: u64 = self.cursors.values().map(|live| live.unsaved).sum();
        let since = self.cursors.values().filter_map(|live| live.since_ms).min()?;
        let urgent = self.cursors.values().any(|live| live.urgent);
        Some(if urgent || unsaved >= CURSOR_BYTES { since } else { since + CURSOR_MS })
    }

    /// Marks cursors as saved, unless they moved on meanwhile.
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
