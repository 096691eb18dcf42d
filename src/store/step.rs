//! Steps of a query: the records that it read, its results and its state are committed whole or not at all.
//!
//! Invariants: after any crash, the cursors of a query's inputs, its output and its state belong to one and the
//! same step. A stream has one kind of writer, sources or queries, so that two waiting groups never number the same
//! records.
//!
//! The state is a stream of its own, named `forebay.state.` and the reader's name. The query's cursor in that
//! stream is the first piece of its last complete snapshot. The cursor holds back the snapshot and the later
//! changes like any other data.

use super::claim::{ClaimError, OtherWriter, Writer};
use super::group::Part;
use super::log::body::StreamId;
use super::options::STATE;
use super::reader::{Item, ReadError, Reader};
use super::shared::{Inner, Shared};
use super::space::WhenFull;
use super::{GROUP_BYTES, MAX_ATOM};
use crate::flow::receipt::Ticket;
use crate::flow::record::{MAX_RECORD, PayloadKind, Record};
use bytes::Bytes;

/// The largest snapshot of a query, in bytes as the query gives it.
pub const MAX_SNAPSHOT: usize = 4 << 20;
/// Beyond this many stored bytes of the last snapshot and the changes since, a query must write a new snapshot. The
/// segment that sources leave to queries has room for one of `MAX_SNAPSHOT`.
pub const MAX_STATE: u64 = 8 << 20;

/// One step of a query.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// The inputs that the step read, each with its next sequence.
    pub inputs: Vec<(StreamId, u64)>,
    /// The records that the step made.
    pub output: Vec<Part>,
    /// The change of the query's state.
    pub kept: Kept,
}

/// The change of a query's state in a step, in the query's own encoding; at most 1 MiB.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Kept {
    /// The state does not change.
    #[default]
    Nothing,
    /// A change to the present state.
    Change(Bytes),
    /// A piece of a snapshot. A snapshot counts when its last piece is there, with no change between its pieces.
    /// The pieces of a snapshot of several pieces come in steps that read and make nothing. Until the last piece is
    /// there, the state is the one before the snapshot.
    Snapshot {
        /// The bytes of the piece.
        piece: Bytes,
        /// Whether the piece is the first, and whether it is the last.
        place: Place,
    },
}

/// The place of a piece in its snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The piece is the whole snapshot.
    Whole,
    /// The piece is the first; more pieces follow.
    First,
    /// Some pieces came before, and more follow.
    Middle,
    /// The piece is the last; some pieces came before.
    Last,
}

/// The state of a query, as the log has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// The pieces of the last complete snapshot.
    pub snapshot: Vec<Bytes>,
    /// The changes since the snapshot, in order.
    pub changes: Vec<Bytes>,
    /// A part of the state cannot be read. The part here is of no use, unless the query can make the state again
    /// from its inputs.
    pub is_damaged: bool,
}

/// Why the store refused a step.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Enough bytes wait already. The step comes back; commit it again when `Store::room` changes.
    #[error("the store has no room for a query at the moment")]
    Full(Box<Step>),
    /// The step is larger than `MAX_ATOM`, or a piece of its state is larger than 1 MiB.
    #[error("a step of {0} bytes is larger than the limit of {MAX_ATOM}, or its state comes in a piece of over 1 MiB")]
    TooLarge(usize),
    /// The last snapshot and the changes since have more than `MAX_STATE` stored bytes.
    #[error("the state has more than {MAX_STATE} bytes of snapshot and changes: a new snapshot is due")]
    StateTooLarge,
    /// A snapshot has more than `MAX_SNAPSHOT` bytes.
    #[error("the snapshot has more than {MAX_SNAPSHOT} bytes")]
    SnapshotTooLarge,
    /// The step says that it read an input to a place that is behind its cursor, or that is not durable yet.
    #[error("the stream `{0}` cannot have been read up to sequence {1}")]
    NoSuchInput(String, u64),
    /// A piece of a snapshot of several pieces came together with inputs or output.
    #[error("a snapshot of several pieces comes in steps that read and make nothing")]
    Mixed,
    /// A stream of the output has another kind of writer.
    #[error(transparent)]
    OtherWriter(#[from] OtherWriter),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// The kind of a record in the stream of a state; the key of the record says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// A change.
    Change,
    /// A piece of a snapshot.
    Snapshot(Place),
}

const PIECES: [(&str, Piece); 5] = [
    ("change", Piece::Change),
    ("whole", Piece::Snapshot(Place::Whole)),
    ("first", Piece::Snapshot(Place::First)),
    ("middle", Piece::Snapshot(Place::Middle)),
    ("last", Piece::Snapshot(Place::Last)),
];

/// A piece of a state in a group: the record `at` of the group's section.
#[derive(Debug, Clone)]
pub struct Mark {
    /// The name of the query's reader.
    pub reader: String,
    /// The stream of its state.
    pub stream: StreamId,
    /// The kind of the piece.
    pub piece: Piece,
    /// The index of the section in the group.
    pub section: usize,
    /// The index of the record in the section.
    pub at: u32,
}

impl Step {
    /// The bytes that the step adds to a group, approximately.
    #[must_use]
    pub fn weight(&self) -> usize {
        let kept = self.kept.piece().map_or(0, |(_, bytes)| bytes.len() + 24);
        self.output.iter().map(Part::weight).sum::<usize>() + self.inputs.len() * 32 + kept
    }
}

impl Kept {
    fn piece(&self) -> Option<(Piece, &Bytes)> {
        match self {
            Self::Nothing => None,
            Self::Change(bytes) => Some((Piece::Change, bytes)),
            Self::Snapshot { piece, place } => Some((Piece::Snapshot(*place), piece)),
        }
    }
}

impl Inner {
    /// Puts a step into the next commit.
    pub fn commit(&self, reader: &str, step: Step) -> Result<Ticket, StepError> {
        let weight = step.weight();
        let kept = step.kept.piece();
        if weight > MAX_ATOM || kept.is_some_and(|(_, bytes)| bytes.len() > MAX_RECORD) {
            return Err(StepError::TooLarge(weight));
        }
        let is_piece = matches!(kept, Some((Piece::Snapshot(place), _)) if place != Place::Whole);
        if is_piece && !(step.inputs.is_empty() && step.output.iter().all(|part| part.records.is_empty())) {
            return Err(StepError::Mixed);
        }
        let state = self.stream(&format!("{STATE}{reader}"));
        let now = self.options.clock.now();
        let mut shared = self.lock();
        if shared.closing {
            return Err(StepError::Closed);
        }
        if shared.steps.weight >= self.options.pending_limit() {
            return Err(StepError::Full(Box::new(step)));
        }
        let is_full = |part: &Part| shared.full.get(&part.stream) == Some(&WhenFull::Block);
        if step.output.iter().any(is_full) {
            return Err(StepError::Full(Box::new(step)));
        }
        for (stream, next) in &step.inputs {
            let durable = shared.state.streams.get(stream).map_or(1, |stream| stream.next);
            if !(shared.cursor(reader, *stream)..=durable).contains(next) {
                return Err(StepError::NoSuchInput(shared.name(*stream), *next));
            }
        }
        let begun = shared.snapshot_bytes(state, kept)?;
        let from = shared.cursor(reader, state);
        if matches!(kept, Some((Piece::Change, _))) && shared.bytes_from(state, from) > MAX_STATE {
            return Err(StepError::StateTooLarge);
        }
        let written = step.output.iter().map(|part| part.stream).chain([state]);
        match self.claim(&mut shared, written, Writer::Queries) {
            Ok(()) => {}
            Err(ClaimError::Other(other)) => return Err(other.into()),
            Err(ClaimError::Wait) => return Err(StepError::Full(Box::new(step))),
        }
        shared.begun.insert(state, begun);
        let kept = kept.map(|(piece, bytes)| (piece, record(piece, bytes, now.wall_ms)));
        let (before, first) = (shared.steps.weight, shared.steps.is_empty());
        shared.steps.push_step(reader, step, state, kept, now.monotonic_ms);
        let ticket = Ticket::new(shared.steps.number);
        if first || (before < GROUP_BYTES && shared.steps.weight >= GROUP_BYTES) {
            self.wake.notify_one();
        }
        Ok(ticket)
    }
}

impl Shared {
    /// The bytes of a query's snapshot that is not complete, with this piece.
    fn snapshot_bytes(&self, state: StreamId, kept: Option<(Piece, &Bytes)>) -> Result<usize, StepError> {
        let before = self.begun.get(&state).copied().unwrap_or(0);
        let bytes = match kept {
            None => return Ok(before),
            Some((Piece::Change | Piece::Snapshot(Place::Whole), _)) => return Ok(0),
            Some((Piece::Snapshot(Place::First), bytes)) => bytes.len(),
            Some((Piece::Snapshot(Place::Middle | Place::Last), bytes)) => before + bytes.len(),
        };
        if bytes > MAX_SNAPSHOT { Err(StepError::SnapshotTooLarge) } else { Ok(bytes) }
    }
}

fn record(piece: Piece, bytes: &Bytes, arrival_ms: i64) -> Record {
    let key = PIECES.iter().find(|(_, known)| *known == piece).map_or("", |(key, _)| key);
    Record {
        arrival_ms,
        device_time_us: None,
        key: key.into(),
        flags: 0,
        attributes: Vec::new(),
        kind: PayloadKind::Bytes,
        payload: bytes.clone(),
    }
}

impl Memory {
    /// Reads the state, from the first piece of its snapshot on.
    pub(super) fn read(mut reader: Reader) -> Result<Self, ReadError> {
        let (mut memory, mut begun) = (Self::default(), None::<Vec<Bytes>>);
        while let Some(item) = reader.read()? {
            let Item::Span(span) = item else {
                (memory, begun) = (Self { is_damaged: true, ..Self::default() }, None);
                continue;
            };
            for (_, record) in span.records() {
                let piece = PIECES.iter().find(|(key, _)| *key == record.key).map(|(_, piece)| *piece);
                memory.take(&mut begun, piece, Bytes::copy_from_slice(record.payload));
            }
        }
        Ok(memory)
    }

    fn take(&mut self, begun: &mut Option<Vec<Bytes>>, piece: Option<Piece>, bytes: Bytes) {
        let complete = match piece {
            // A newer version of Forebay wrote this piece.
            None => {
                self.is_damaged = true;
                None
            }
            Some(Piece::Change) => {
                *begun = None;
                self.changes.push(bytes);
                None
            }
            Some(Piece::Snapshot(Place::Whole)) => Some(vec![bytes]),
            Some(Piece::Snapshot(Place::First)) => {
                *begun = Some(vec![bytes]);
                None
            }
            Some(Piece::Snapshot(place)) => {
                if let Some(pieces) = begun {
                    pieces.push(bytes);
                }
                if place == Place::Last { begun.take() } else { None }
            }
        };
        if let Some(snapshot) = complete {
            (*self, *begun) = (Self { snapshot, ..Self::default() }, None);
        }
    }
}
