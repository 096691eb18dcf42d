//! The state that the frames of the log add up to: streams, cursors, positions, the epoch.
//!
//! The committer and the recovery apply the same frames with the same code. A start therefore finds exactly the
//! state that was running before.

use super::log::body::{Checkpoint, Commit, CursorEntry, FloorEntry, PositionEntry, Reason, StreamId, StreamState};
use super::options::STATE;
use crate::flow::lane::LaneId;
use crate::platform::clock;
use std::collections::BTreeMap;

/// The cursor of a removed reader is kept this long, in milliseconds (30 days).
const CURSOR_KEPT_MS: i64 = 30 * 24 * 3600 * 1000;

/// A range of sequences that should be there and is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The stream.
    pub stream: StreamId,
    /// The first missing sequence.
    pub from: u64,
    /// The last missing sequence.
    pub to: u64,
}

/// The state of a store.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The epoch in force.
    pub epoch: u64,
    /// The machine that the store was made on.
    pub machine: [u8; 16],
    /// The streams, by number.
    pub streams: BTreeMap<StreamId, StreamState>,
    /// The cursors, by reader and stream.
    pub cursors: BTreeMap<(String, StreamId), CursorEntry>,
    /// The positions of sources, by source and part.
    pub positions: BTreeMap<(String, String), Vec<u8>>,
}

impl State {
    /// The state that a checkpoint holds.
    #[must_use]
    pub fn from_checkpoint(checkpoint: &Checkpoint) -> Self {
        let mut state = Self { epoch: checkpoint.epoch, machine: checkpoint.machine, ..Self::default() };
        state.streams = checkpoint.streams.iter().map(|stream| (stream.id, stream.clone())).collect();
        state.set_cursors(&checkpoint.cursors);
        state.set_positions(&checkpoint.positions);
        state
    }

    /// The checkpoint that holds this state.
    #[must_use]
    pub fn checkpoint(&self, stamp: super::log::body::Stamp, sealed: Option<super::log::body::Summary>) -> Checkpoint {
        Checkpoint {
            stamp,
            machine: self.machine,
            epoch: self.epoch,
            streams: self.streams.values().cloned().collect(),
            cursors: self.cursors.values().cloned().collect(),
            positions: self
                .positions
                .iter()
                .map(|((source, part), value)| PositionEntry {
                    source: source.clone(),
                    part: part.clone(),
                    value: value.clone(),
                })
                .collect(),
            sealed,
        }
    }

    /// Applies a commit. Returns the ranges that are missing in front of its sections.
    pub fn apply(&mut self, commit: &Commit) -> Vec<Missing> {
        let mut missing = Vec::new();
        for stream in &commit.streams {
            let known = self.streams.entry(stream.id).or_insert_with(|| new_stream(stream.id, stream.name.clone()));
            known.name.clone_from(&stream.name);
        }
        for head in &commit.sections {
            let lost_name = || new_stream(head.stream, format!("forebay.recovered-{}", head.stream));
            let stream = self.streams.entry(head.stream).or_insert_with(lost_name);
            if head.first > stream.next {
                missing.push(Missing { stream: head.stream, from: stream.next, to: head.first - 1 });
            }
            stream.next = stream.next.max(head.last() + 1);
            self.epoch = self.epoch.max(head.epoch);
        }
        self.set_positions(&commit.positions);
        self.set_cursors(&commit.cursors);
        for floor in &commit.floors {
            self.raise(*floor);
        }
        missing
    }

    /// Removes the cursors of readers that were not seen for 30 days.
    pub fn forget_cursors(&mut self, wall_ms: i64) {
        // A cursor last seen under a clock that was not set has no age.
        let is_old = |cursor: &CursorEntry| {
            clock::was_credible(cursor.seen_ms) && wall_ms.saturating_sub(cursor.seen_ms) >= CURSOR_KEPT_MS
        };
        let old = self.cursors.iter().filter(|(_, cursor)| is_old(cursor)).map(|(key, _)| key.clone());
        for key in old.collect::<Vec<_>>() {
            self.cursors.remove(&key);
            self.forget_state(&key.0);
        }
    }

    /// The state of a query goes with its cursors: it belongs to them.
    pub fn forget_state(&mut self, reader: &str) {
        if let Some(stream) = self.find(&format!("{STATE}{reader}")) {
            let floor = self.streams.get(&stream).map_or(1, |stream| stream.next);
            self.raise(FloorEntry { stream, floor, reason: Reason::Trim });
        }
    }

    /// Raises a floor; a lower one is ignored.
    pub fn raise(&mut self, entry: FloorEntry) {
        if let Some(stream) = self.streams.get_mut(&entry.stream)
            && entry.floor > stream.floor
        {
            stream.floor = entry.floor;
            stream.reason = entry.reason;
            stream.next = stream.next.max(entry.floor);
        }
    }

    fn set_cursors(&mut self, cursors: &[CursorEntry]) {
        for cursor in cursors {
            if let Some(stream) = self.streams.get_mut(&cursor.stream) {
                // Released records may have been damaged since: their sequences are spent all the same.
                stream.next = stream.next.max(spent(cursor));
            }
            // A frame that took long to write may bring an older cursor than the frame before it.
            let key = (cursor.reader.clone(), cursor.stream);
            let age = |cursor: &CursorEntry| (cursor.next, spent(cursor));
            if self.cursors.get(&key).is_none_or(|known| age(known) <= age(cursor)) {
                self.cursors.insert(key, cursor.clone());
            }
        }
    }

    fn set_positions(&mut self, positions: &[PositionEntry]) {
        for entry in positions {
            let key = (entry.source.clone(), entry.part.clone());
            if entry.value.is_empty() {
                self.positions.remove(&key);
            } else {
                self.positions.insert(key, entry.value.clone());
            }
        }
    }

    /// A stream's number.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<StreamId> {
        self.streams.values().find(|stream| stream.name == name).map(|stream| stream.id)
    }
}

/// The first sequence that neither the cursor nor its whole lane has passed. While a part of the stream is a lane
/// of its own, the whole lane is ahead of the cursor.
fn spent(cursor: &CursorEntry) -> u64 {
    let whole = cursor.lanes.iter().find(|mark| mark.lane == LaneId::WHOLE);
    whole.map_or(cursor.next, |mark| mark.next.max(cursor.next))
}

/// A stream without records; the first sequence is 1.
#[must_use]
pub fn new_stream(id: StreamId, name: String) -> StreamState {
    StreamState { id, name, next: 1, floor: 1, reason: Reason::Trim }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::log::body::{LaneMark, Stamp, StreamName};

    #[test]
    fn floors_cursors_and_sequences_never_fall() {
        let mut state = State::default();
        state.apply(&Commit { streams: vec![StreamName { id: 1, name: "a".into() }], ..Commit::default() });
        state.raise(FloorEntry { stream: 1, floor: 9, reason: Reason::Trim });
        state.raise(FloorEntry { stream: 1, floor: 4, reason: Reason::Drop });
        assert_eq!((state.streams[&1].floor, state.streams[&1].next, state.streams[&1].reason), (9, 9, Reason::Trim));
        let cursor = |next| CursorEntry { reader: "r".into(), stream: 1, next, lanes: vec![], split: None, seen_ms: 0 };
        state.set_cursors(&[cursor(20), cursor(12)]);
        assert_eq!(state.cursors[&("r".to_string(), 1)].next, 20);
        // While a part waits, the whole lane is ahead of its cursor: what it has delivered is not numbered again.
        let mark = |lane, next| LaneMark { lane, next, after: 0 };
        let split = CursorEntry {
            lanes: vec![mark(LaneId::WHOLE, 50), mark(LaneId::CLAIM, 9000)],
            split: Some(40),
            ..cursor(20)
        };
        state.set_cursors(&[split.clone(), cursor(20)]);
        assert_eq!((state.streams[&1].next, &state.cursors[&("r".to_string(), 1)]), (50, &split));
    }

    #[test]
    fn a_cursor_of_a_reader_that_is_long_gone_leaves_with_the_checkpoint() {
        let mut state = State::default();
        let cursor = |reader: &str, seen_ms| CursorEntry {
            reader: reader.into(),
            stream: 1,
            next: 5,
            lanes: vec![],
            split: None,
            seen_ms,
        };
        let then = 1_800_000_000_000;
        state.set_cursors(&[cursor("old", then), cursor("new", then + CURSOR_KEPT_MS), cursor("no clock", 5)]);
        let stamp = Stamp { wall_ms: then + CURSOR_KEPT_MS + 1, ..Stamp::default() };
        let kept = |state: &State| {
            state.checkpoint(stamp, None).cursors.into_iter().map(|c| c.reader).collect::<Vec<String>>()
        };
        assert_eq!(kept(&state).len(), 3, "a checkpoint alone forgets nobody");
        state.forget_cursors(stamp.wall_ms);
        assert_eq!(kept(&state), ["new", "no clock"]);
    }
}
