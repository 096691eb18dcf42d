//! Steps of a query: what it read, what it made of it and what it keeps are committed whole or not at all.
//!
//! Invariants: after any crash the cursors of a query's inputs, its output and its state are those of one and the
//! same step. A stream has one kind of writer, sources or queries, so that two groups that wait never number the
//! same records. The state is a stream of its own (`forebay.state.` and the reader's name); the query's cursor there
//! stands at the first piece of its last complete snapshot, which holds that back like any other data.

use super::claim::{OtherWriter, Writer};
use super::group::Part;
use super::log::body::StreamId;
use super::options::STATE;
use super::reader::{Item, ReadError, Reader};
use super::shared::Inner;
use super::{GROUP_BYTES, MAX_ATOM};
use crate::flow::receipt::Ticket;
use crate::flow::record::{MAX_RECORD, PayloadKind, Record};
use bytes::Bytes;

/// A query keeps no more, in stored bytes: beyond that it must write a snapshot, and none that is larger.
pub const MAX_STATE: u64 = 16 << 20;

/// One step of a query.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// The next sequence of each input that it read.
    pub inputs: Vec<(StreamId, u64)>,
    /// What it made.
    pub output: Vec<Part>,
    /// What it keeps.
    pub kept: Kept,
}

/// What a step changes of a query's state, in the query's own encoding; at most 1 MiB.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Kept {
    /// Nothing.
    #[default]
    Nothing,
    /// A change to what there is.
    Change(Bytes),
    /// A piece of a snapshot. A snapshot counts when its last piece is there, with no change between its pieces.
    /// One of several pieces comes in steps that read and make nothing: until its last piece is there, the state
    /// is what it was before.
    Snapshot {
        /// The piece.
        piece: Bytes,
        /// Whether it is the first, and whether it is the last.
        place: Place,
    },
}

/// Where a piece of a snapshot stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It is the whole of it.
    Whole,
    /// More follow.
    First,
    /// Some came before, and more follow.
    Middle,
    /// Some came before.
    Last,
}

/// The state of a query, as the log has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// The pieces of the last complete snapshot.
    pub snapshot: Vec<Bytes>,
    /// The changes since, in order.
    pub changes: Vec<Bytes>,
    /// Some of it cannot be read: what is here is of no use, unless the query can make it again from its inputs.
    pub is_damaged: bool,
}

/// Why a step was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Enough waits already: again when `Store::stepped` has moved on. The step comes back.
    #[error("the store has no room for a query at the moment")]
    Full(Box<Step>),
    /// More than `MAX_ATOM`, or a piece of state of more than 1 MiB.
    #[error("a step of {0} bytes is larger than the limit of {MAX_ATOM}, or its state comes in a piece of over 1 MiB")]
    TooLarge(usize),
    /// The changes since the last snapshot are more than `MAX_STATE`: a snapshot is due.
    #[error("the state has more than {MAX_STATE} bytes of changes: a snapshot is due")]
    StateTooLarge,
    /// A piece of a snapshot came along with something else.
    #[error("a snapshot of several pieces comes in steps that read and make nothing")]
    Mixed,
    /// A stream of its output has another kind of writer.
    #[error(transparent)]
    OtherWriter(#[from] OtherWriter),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// What a record in the stream of a state is; its key says so.
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
    /// The query.
    pub reader: String,
    /// The stream of its state.
    pub stream: StreamId,
    /// What it is.
    pub piece: Piece,
    /// The section in the group.
    pub section: usize,
    /// The record in the section.
    pub at: u32,
}

impl Step {
    /// Bytes that it adds to a group, roughly.
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
        let from = shared.cursor(reader, state);
        if matches!(kept, Some((Piece::Change, _))) && shared.bytes_from(state, from) > MAX_STATE {
            return Err(StepError::StateTooLarge);
        }
        for stream in step.output.iter().map(|part| part.stream).chain([state]) {
            shared.claim(stream, Writer::Queries)?;
        }
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
    /// Reads it from the first piece of its snapshot on.
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
            // A newer Forebay wrote it.
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
