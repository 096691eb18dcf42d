//! The content of a frame.
//!
//! A body is `directory length u32, directory CRC u32, directory, sections`. The directory has a CRC of its own, so
//! that a reader of one stream need not read the sections of other streams.

use super::layout::{Heat, checksum, u32_at};
use crate::flow::lane::LaneId;
use serde::{Deserialize, Serialize};

/// Bytes in front of the directory.
pub const PREFIX: usize = 8;

/// The number of a stream inside one store.
pub type StreamId = u32;

/// When a frame was written, and in which boot of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stamp {
    /// The kernel's boot id.
    pub boot: [u8; 16],
    /// Milliseconds since the machine was started.
    pub monotonic_ms: u64,
    /// Milliseconds since the Unix epoch, by the wall clock.
    pub wall_ms: i64,
    /// Whether the wall time can be right.
    pub trusted: bool,
}

/// A stream's number and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamName {
    /// The number of the stream.
    pub id: StreamId,
    /// The name of the stream.
    pub name: String,
}

/// A run of records of one stream in one frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectionHead {
    /// The stream of the records.
    pub stream: StreamId,
    /// The epoch in which the records were first written.
    pub epoch: u64,
    /// The sequence of the first record.
    pub first: u64,
    /// The number of records; at least one.
    pub count: u32,
    /// The generation of the configuration that made the records.
    pub generation: u64,
    /// True when a version on trial made the records.
    pub in_flight: bool,
    /// The number of the lane; 0 is the whole stream.
    pub lane: LaneId,
    /// The earliest arrival, milliseconds since the Unix epoch.
    pub arrival_min: i64,
    /// The latest arrival, milliseconds since the Unix epoch.
    pub arrival_max: i64,
    /// How the records are stored: 0 as they are, 1 compressed with zstd, 2 given up and not stored.
    pub codec: u8,
    /// The bytes of the records before compression.
    pub raw: u32,
    /// The bytes of the section as stored.
    pub length: u32,
    /// CRC of the stored bytes.
    pub crc: u32,
}

impl SectionHead {
    /// The sequence of the last record.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.first + u64::from(self.count).saturating_sub(1)
    }
}

/// The position of a part of a source; an empty value removes the part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionEntry {
    /// The source's name.
    pub source: String,
    /// The name of the part within the source.
    pub part: String,
    /// The position, in the source's own encoding.
    pub value: Vec<u8>,
}

/// A lane of a reader that may be ahead of the cursor: how far the lane has come, and its last sent sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneMark {
    /// The lane.
    pub lane: LaneId,
    /// The next sequence that the lane has not delivered.
    pub next: u64,
    /// The last sequence that was sent in the lane; 0 when there was none.
    pub after: u64,
}

/// The position of a reader in a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CursorEntry {
    /// The reader's name.
    pub reader: String,
    /// The stream that the reader reads.
    pub stream: StreamId,
    /// The next sequence; all records below it are released.
    pub next: u64,
    /// The marks of the reader's lanes.
    pub lanes: Vec<LaneMark>,
    /// With `drain = "live-first"`, the first sequence behind the older part of the stream.
    pub split: Option<u64>,
    /// When the reader was last seen, in milliseconds since the Unix epoch.
    pub seen_ms: i64,
}

/// Why a floor rose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// Every reader has released the records, and `keep` no longer holds them.
    Trim,
    /// The records were given up: the store or the stream was full, or a person trimmed the stream.
    Drop,
}

/// A stream's floor rises; floors never fall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloorEntry {
    /// The stream whose floor rises.
    pub stream: StreamId,
    /// Records below this are gone.
    pub floor: u64,
    /// Why the floor rises.
    pub reason: Reason,
}

/// The directory of a commit or carry frame.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Commit {
    /// When the frame was written.
    pub stamp: Stamp,
    /// The names of the streams that have sections in this frame, new streams among them.
    pub streams: Vec<StreamName>,
    /// The heads of the sections, in the order in which their bytes follow.
    pub sections: Vec<SectionHead>,
    /// The new positions of sources.
    pub positions: Vec<PositionEntry>,
    /// The new cursors of readers.
    pub cursors: Vec<CursorEntry>,
    /// The floors that rise.
    pub floors: Vec<FloorEntry>,
    /// Always zero: the place of a list that format 1 had and nobody used.
    pub reserved: u8,
}

/// The records of one stream that a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// The stream.
    pub stream: StreamId,
    /// The first sequence that the segment holds.
    pub first: u64,
    /// The last sequence that the segment holds.
    pub last: u64,
    /// The stored bytes of the sections.
    pub bytes: u64,
    /// The earliest arrival, in milliseconds since the Unix epoch.
    pub arrival_min: i64,
    /// The latest arrival, in milliseconds since the Unix epoch.
    pub arrival_max: i64,
}

impl Holding {
    /// The stored bytes from a sequence on, estimated in proportion to the records.
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

/// The summary of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The number of the segment.
    pub number: u64,
    /// Whether the segment is hot or cold.
    pub heat: Heat,
    /// The size of the segment's file, in bytes.
    pub size: u64,
    /// The offset at which the segment's frames end.
    pub end: u64,
    /// What the segment holds of each stream.
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

    /// What the segment holds of a stream, if anything.
    #[must_use]
    pub fn of(&self, stream: StreamId) -> Option<&Holding> {
        self.holdings.iter().find(|holding| holding.stream == stream)
    }
}

/// A stream's state in a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamState {
    /// The number of the stream.
    pub id: StreamId,
    /// The name of the stream.
    pub name: String,
    /// The sequence that the next record gets.
    pub next: u64,
    /// Records below this are gone.
    pub floor: u64,
    /// Why the floor rose last.
    pub reason: Reason,
}

/// The directory of a checkpoint frame: all that a start needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// When the checkpoint was made.
    pub stamp: Stamp,
    /// The machine that the store was made on.
    pub machine: [u8; 16],
    /// The epoch in force.
    pub epoch: u64,
    /// The states of all streams.
    pub streams: Vec<StreamState>,
    /// All cursors.
    pub cursors: Vec<CursorEntry>,
    /// All positions of sources.
    pub positions: Vec<PositionEntry>,
    /// The summary of the segment that was just sealed; none if there was none.
    pub sealed: Option<Summary>,
}

/// The directory of an open frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// When the store was opened.
    pub stamp: Stamp,
    /// The machine on which the store was opened.
    pub machine: [u8; 16],
    /// The new epoch.
    pub epoch: u64,
}

/// The directory of a close frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    /// When the store was closed.
    pub stamp: Stamp,
}

/// Encodes a body from a directory and sections.
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

/// The length of the directory, from the first bytes of a body.
#[must_use]
pub fn directory_length(prefix: &[u8]) -> Option<usize> {
    usize::try_from(u32_at(prefix, 0)?).ok()
}

/// Decodes the directory at the start of a body; `None` when its CRC or its encoding is wrong.
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
