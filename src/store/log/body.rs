//! What is inside a frame.
//!
//! A body is `directory length u32, directory CRC u32, directory, sections`. The directory has a
//! CRC of its own so that a reader of one stream need not read the other streams' sections.

use super::layout::{Heat, checksum, u32_at};
use crate::flow::lane::LaneId;
use serde::{Deserialize, Serialize};

/// Bytes in front of the directory.
pub const PREFIX: usize = 8;

/// The number of a stream inside one store.
pub type StreamId = u32;

/// When and on which boot a frame was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stamp {
    /// The kernel's boot id.
    pub boot: [u8; 16],
    /// Milliseconds since the process started.
    pub monotonic_ms: u64,
    /// Milliseconds since the Unix epoch.
    pub wall_ms: i64,
    /// Whether the wall time can be right.
    pub trusted: bool,
}

/// A stream's number and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamName {
    /// Its number.
    pub id: StreamId,
    /// Its name.
    pub name: String,
}

/// A run of records of one stream in one frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectionHead {
    /// The stream.
    pub stream: StreamId,
    /// The epoch that they were first written in.
    pub epoch: u64,
    /// The first sequence.
    pub first: u64,
    /// How many; at least one.
    pub count: u32,
    /// The configuration that produced them.
    pub generation: u64,
    /// Made by a version on trial.
    pub in_flight: bool,
    /// The lane rule's number; 0 is the whole stream.
    pub lane: LaneId,
    /// The earliest arrival, milliseconds since the Unix epoch.
    pub arrival_min: i64,
    /// The latest arrival.
    pub arrival_max: i64,
    /// 0 as is, 1 zstd.
    pub codec: u8,
    /// Bytes of the records.
    pub raw: u32,
    /// Bytes as stored.
    pub length: u32,
    /// CRC of the stored bytes.
    pub crc: u32,
}

impl SectionHead {
    /// The last sequence.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.first + u64::from(self.count).saturating_sub(1)
    }
}

/// Where a source stands; an empty value removes the part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionEntry {
    /// The source's name.
    pub source: String,
    /// The part of the source.
    pub part: String,
    /// The source's own encoding.
    pub value: Vec<u8>,
}

/// A lane that is ahead of its reader's cursor, or its last sent sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneMark {
    /// The lane.
    pub lane: LaneId,
    /// The next sequence that it has not delivered.
    pub next: u64,
    /// The last sequence that it sent; 0 for none.
    pub after: u64,
}

/// Where a reader stands in a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CursorEntry {
    /// The reader's name.
    pub reader: String,
    /// The stream.
    pub stream: StreamId,
    /// The next sequence; everything below it is released.
    pub next: u64,
    /// Its lanes.
    pub lanes: Vec<LaneMark>,
    /// A live-first drain's split sequence.
    pub split: Option<u64>,
    /// Last written, milliseconds since the Unix epoch.
    pub seen_ms: i64,
}

/// Why a floor rose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// Every reader has released it, and `keep` holds it no longer.
    Trim,
    /// Given up because the store was full.
    Drop,
}

/// A stream's floor rises; floors never fall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloorEntry {
    /// The stream.
    pub stream: StreamId,
    /// Records below this are gone.
    pub floor: u64,
    /// Why.
    pub reason: Reason,
}

/// The directory of a commit or carry frame.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Commit {
    /// When.
    pub stamp: Stamp,
    /// The names of the streams of its sections, new ones among them.
    pub streams: Vec<StreamName>,
    /// In the order in which their bytes follow.
    pub sections: Vec<SectionHead>,
    /// Source positions.
    pub positions: Vec<PositionEntry>,
    /// Reader cursors.
    pub cursors: Vec<CursorEntry>,
    /// Floors.
    pub floors: Vec<FloorEntry>,
    /// Zero: the place of a list that format 1 had and nobody used.
    pub reserved: u8,
}

/// What one segment holds of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// The stream.
    pub stream: StreamId,
    /// The first sequence.
    pub first: u64,
    /// The last sequence.
    pub last: u64,
    /// Stored bytes.
    pub bytes: u64,
    /// The earliest arrival.
    pub arrival_min: i64,
    /// The latest arrival.
    pub arrival_max: i64,
}

impl Holding {
    /// Its bytes from a sequence on, in proportion.
    #[must_use]
    pub fn bytes_from(&self, from: u64) -> u64 {
        let all = u128::from(self.last - self.first + 1);
        let left = u128::from((self.last + 1).saturating_sub(self.first.max(from)));
        u64::try_from(u128::from(self.bytes) * left / all).unwrap_or(u64::MAX)
    }

    /// When a sequence arrived, in proportion between the first and the last.
    #[must_use]
    pub fn arrival_of(&self, sequence: u64) -> i64 {
        let span = i128::from(self.arrival_max) - i128::from(self.arrival_min);
        let part = i128::from(sequence.saturating_sub(self.first)) * span / i128::from(self.last - self.first + 1);
        self.arrival_min.saturating_add(i64::try_from(part).unwrap_or(0))
    }
}

/// A sealed segment in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Its number.
    pub number: u64,
    /// Hot or cold.
    pub heat: Heat,
    /// The size of its file.
    pub size: u64,
    /// Where its frames end.
    pub end: u64,
    /// What it holds.
    pub holdings: Vec<Holding>,
}

impl Summary {
    /// Takes a section into account.
    pub fn add(&mut self, head: &SectionHead) {
        let bytes = u64::from(head.length);
        match self.holdings.iter_mut().find(|holding| holding.stream == head.stream) {
            Some(holding) => {
                holding.first = holding.first.min(head.first);
                holding.last = holding.last.max(head.last());
                holding.bytes += bytes;
                holding.arrival_min = holding.arrival_min.min(head.arrival_min);
                holding.arrival_max = holding.arrival_max.max(head.arrival_max);
            }
            None => self.holdings.push(Holding {
                stream: head.stream,
                first: head.first,
                last: head.last(),
                bytes,
                arrival_min: head.arrival_min,
                arrival_max: head.arrival_max,
            }),
        }
    }

    /// What it holds of a stream.
    #[must_use]
    pub fn of(&self, stream: StreamId) -> Option<&Holding> {
        self.holdings.iter().find(|holding| holding.stream == stream)
    }
}

/// A stream's state in a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamState {
    /// Its number.
    pub id: StreamId,
    /// Its name.
    pub name: String,
    /// The next sequence.
    pub next: u64,
    /// Records below this are gone.
    pub floor: u64,
    /// Why the floor rose last.
    pub reason: Reason,
}

/// The directory of a checkpoint frame: all that a start needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// When.
    pub stamp: Stamp,
    /// The machine that the store was made on.
    pub machine: [u8; 16],
    /// The epoch in force.
    pub epoch: u64,
    /// Every stream.
    pub streams: Vec<StreamState>,
    /// Every cursor.
    pub cursors: Vec<CursorEntry>,
    /// Every source position.
    pub positions: Vec<PositionEntry>,
    /// The segment just sealed.
    pub sealed: Option<Summary>,
}

/// The directory of an open frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// When.
    pub stamp: Stamp,
    /// The machine it was opened on.
    pub machine: [u8; 16],
    /// The new epoch.
    pub epoch: u64,
}

/// The directory of a close frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    /// When.
    pub stamp: Stamp,
}

/// Puts a directory and sections together.
///
/// # Errors
/// When the directory cannot be encoded (postcard's own limits).
pub fn encode<D: Serialize>(store: &[u8; 16], directory: &D, sections: &[&[u8]]) -> Result<Vec<u8>, postcard::Error> {
    let mut out = postcard::to_extend(directory, vec![0; PREFIX])?;
    let length = u32::try_from(out.len() - PREFIX).map_err(|_| postcard::Error::SerializeBufferFull)?;
    let crc = checksum(store, &out[PREFIX..]);
    out[..4].copy_from_slice(&length.to_le_bytes());
    out[4..PREFIX].copy_from_slice(&crc.to_le_bytes());
    for section in sections {
        out.extend_from_slice(section);
    }
    Ok(out)
}

/// The length of the directory from a body's first bytes.
#[must_use]
pub fn directory_length(prefix: &[u8]) -> Option<usize> {
    usize::try_from(u32_at(prefix, 0)?).ok()
}

/// Reads the directory from the start of a body; `None` when its CRC or its form is wrong.
#[must_use]
pub fn decode<'a, D: Deserialize<'a>>(store: &[u8; 16], body: &'a [u8]) -> Option<(D, usize)> {
    let length = directory_length(body)?;
    let crc = u32_at(body, 4)?;
    let bytes = body.get(PREFIX..PREFIX.checked_add(length)?)?;
    if checksum(store, bytes) != crc {
        return None;
    }
    postcard::from_bytes(bytes).ok().map(|directory| (directory, PREFIX + length))
}
