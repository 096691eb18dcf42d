//! Where a reader stands in a stream, how it moves, and what it leaves.

use super::log::body::{CursorEntry, LaneMark, StreamId};
use crate::flow::lane::LaneId;
use crate::flow::receipt::Accepted;

/// What a reader has not released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Records.
    pub records: u64,
    /// Stored bytes, in proportion.
    pub bytes: u64,
    /// When the oldest arrived, milliseconds since the Unix epoch; within a segment in proportion.
    pub oldest_ms: Option<i64>,
}

/// Where a reader stands in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Everything below is delivered, filtered or set aside.
    pub next: u64,
    /// What the reader keeps of its lanes.
    pub lanes: Vec<LaneMark>,
    /// While a part of the stream is a lane of its own: the first sequence behind that part.
    pub split: Option<u64>,
}

impl Position {
    /// Of a reader that takes the stream as a whole; `after` is the last sequence that it sent.
    #[must_use]
    pub fn whole(next: u64, after: u64) -> Self {
        Self { next, lanes: vec![LaneMark { lane: LaneId::WHOLE, next, after }], split: None }
    }

    /// What is kept of a lane.
    #[must_use]
    pub fn lane(&self, lane: LaneId) -> Option<&LaneMark> {
        self.lanes.iter().find(|mark| mark.lane == lane)
    }
}

impl From<&CursorEntry> for Position {
    fn from(entry: &CursorEntry) -> Self {
        Self { next: entry.next, lanes: entry.lanes.clone(), split: entry.split }
    }
}

/// A reader's progress in one stream.
#[derive(Debug)]
pub struct Release {
    /// The stream.
    pub stream: StreamId,
    /// Where it stands now.
    pub position: Position,
    /// Bytes that would be sent again without this.
    pub bytes: u64,
    /// The proof.
    pub proof: Accepted,
}
