//! A reader's position in a stream, its progress, and its backlog.

use super::log::body::{CursorEntry, LaneMark, StreamId};
use crate::flow::lane::LaneId;
use crate::flow::receipt::Accepted;

/// The records that a reader has not released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// The number of records.
    pub records: u64,
    /// Their stored bytes; estimated within a segment.
    pub bytes: u64,
    /// When the oldest record arrived, in milliseconds since the Unix epoch; estimated within a segment.
    pub oldest_ms: Option<i64>,
}

impl Backlog {
    /// Both backlogs together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            records: self.records + other.records,
            bytes: self.bytes + other.bytes,
            oldest_ms: self.oldest_ms.into_iter().chain(other.oldest_ms).min(),
        }
    }
}

/// The position of a reader in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The next sequence of the reader. All records below are delivered, filtered or set aside.
    pub next: u64,
    /// The marks that the reader keeps of its lanes.
    pub lanes: Vec<LaneMark>,
    /// While an older part of the stream is a lane of its own: the first sequence behind that part.
    pub split: Option<u64>,
}

impl Position {
    /// The position of a reader that takes the stream as a whole; `after` is the last sequence that it sent.
    #[must_use]
    pub fn whole(next: u64, after: u64) -> Self {
        Self { next, lanes: vec![LaneMark { lane: LaneId::WHOLE, next, after }], split: None }
    }

    /// The mark of a lane, if there is one.
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
    /// The stream in which the reader has moved.
    pub stream: StreamId,
    /// The position of the reader now.
    pub position: Position,
    /// Bytes that would be sent again if this progress were lost.
    pub bytes: u64,
    /// The proof that the target has accepted the records.
    pub proof: Accepted,
}
