//! The query of these tests: it counts and adds up the values of a stream, and makes a record of every five.

use super::*;
use crate::flow::receipt::Ticket;
use std::collections::VecDeque;

pub(super) const QUERY: &str = "query.sums";
/// The query makes one record of this many input records.
pub(super) const EACH: u64 = 5;

/// The rule of the reader that sums up a stream.
pub(super) fn rule() -> ReaderRule {
    let streams = Selection::Named(vec!["readings".into()]);
    ReaderRule { name: QUERY.into(), streams, begin: Begin::Oldest, role: Role::Query }
}

/// A query that counts and adds up the values of `readings`, and makes a record of `sums` of every five.
#[derive(Default)]
pub(super) struct Query {
    pub state: Sums,
    /// The state after the last durable step.
    pub settled: Sums,
    waiting: VecDeque<(Ticket, Sums)>,
    reader: Option<Reader>,
    steps: u64,
    /// Pieces of a snapshot that are still to be written.
    pieces: VecDeque<(Bytes, Place)>,
}

/// The state that the query keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sums {
    /// The next sequence of the query's input.
    pub next: u64,
    pub sum: u64,
    pub count: u64,
    /// The number of records that the query made.
    pub made: u64,
}

impl Sums {
    fn numbers(self) -> [u64; 4] {
        [self.next, self.sum, self.count, self.made]
    }

    fn bytes(self) -> Vec<u8> {
        self.numbers().iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    fn of(bytes: &[u8]) -> Self {
        let mut numbers = bytes.chunks(8).map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap()));
        let mut number = || numbers.next().unwrap();
        Self { next: number(), sum: number(), count: number(), made: number() }
    }

    /// What has come since: a change that is lost or done twice shows.
    fn since(self, before: Self) -> Vec<u8> {
        let pairs = self.numbers().into_iter().zip(before.numbers());
        pairs.flat_map(|(now, then)| now.wrapping_sub(then).to_le_bytes()).collect()
    }

    fn with(self, change: &[u8]) -> Self {
        let more = Self::of(change).numbers();
        let [next, sum, count, made] = std::array::from_fn(|at| self.numbers()[at].wrapping_add(more[at]));
        Self { next, sum, count, made }
    }
}

impl Query {
    /// Goes on where the log says; its state must be what it was at the cursor.
    pub fn open(&mut self, store: &Store) -> Result<(), String> {
        let (handle, input) = (store.reader(QUERY), store.stream("readings"));
        let (cursor, made) = (handle.position(input).next, store.end(store.stream("sums")) - 1);
        let memory = handle.memory().map_err(|error| error.to_string())?;
        let pieces: Vec<u8> = memory.snapshot.concat();
        let fresh = Sums { next: cursor, made, ..Sums::default() };
        // Without a snapshot it began at the cursor that it was given then.
        let begin = if pieces.is_empty() { Sums { next: 1, ..Sums::default() } } else { Sums::of(&pieces) };
        let state = memory.changes.iter().fold(begin, |state, change| state.with(change));
        let is_new = pieces.is_empty() && memory.changes.is_empty();
        self.state = if memory.is_damaged || is_new { fresh } else { state };
        self.reader = Some(store.reader_at(input, cursor));
        (self.waiting, self.pieces) = (VecDeque::new(), VecDeque::new());
        // A new state begins with a snapshot.
        self.steps = if memory.is_damaged || is_new { 0 } else { self.steps + 1 };
        let offered = self.settled;
        self.settled = self.state;
        if memory.is_damaged {
            return Err("its state is damaged".into());
        }
        if self.state.next != cursor || self.state.made != made {
            return Err(format!("the cursor is {cursor}, {made} records are made, its state says {:?}", self.state));
        }
        if self.state.next < offered.next && offered.count > 0 {
            return Err(format!("it was at {offered:?} and is at {:?}", self.state));
        }
        Ok(())
    }

    pub fn close(&mut self) {
        self.reader = None;
    }

    /// Reads so many runs and commits a step; whether it did.
    pub fn step(&mut self, store: &Store, runs: usize) -> bool {
        let handle = store.reader(QUERY);
        let before = self.state;
        let (mut now, mut records) = (before, Vec::new());
        let reader = self.reader.as_mut().unwrap();
        let is_snapshot = !self.pieces.is_empty();
        for _ in 0..if is_snapshot { 0 } else { runs } {
            match reader.read() {
                Ok(Some(Item::Gap(gap))) => now.next = gap.to + 1,
                Ok(Some(Item::Span(span))) => {
                    for (sequence, record) in span.records() {
                        now.sum = now.sum.wrapping_add(number_of(record.payload));
                        now.count += 1;
                        now.next = sequence + 1;
                        if now.count.is_multiple_of(EACH) {
                            records.push(super::record(now.made, 60));
                            now.made += 1;
                        }
                    }
                }
                _ => break,
            }
        }
        if now == before && !is_snapshot {
            return false;
        }
        let kept = match self.pieces.front() {
            Some((piece, place)) => Kept::Snapshot { piece: piece.clone(), place: *place },
            None if self.steps.is_multiple_of(7) => Kept::Snapshot { piece: now.bytes().into(), place: Place::Whole },
            None => Kept::Change(now.since(before).into()),
        };
        let inputs = if is_snapshot { Vec::new() } else { vec![(store.stream("readings"), now.next)] };
        let part = Part { stream: store.stream("sums"), generation: 1, in_flight: false, records };
        match handle.commit(Step { inputs, output: vec![part], kept }) {
            Ok(ticket) => {
                self.steps += 1;
                self.state = now;
                self.waiting.push_back((ticket, now));
                self.pieces.pop_front();
                if self.steps % 11 == 3 {
                    let bytes = now.bytes();
                    let places = [(0..8, Place::First), (8..16, Place::Middle), (16..32, Place::Last)];
                    self.pieces = places.map(|(range, place)| (bytes[range].to_vec().into(), place)).into();
                }
                true
            }
            Err(StepError::Full(_) | StepError::Closed) => {
                self.reader.as_mut().unwrap().rewind(before.next);
                false
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Whether some steps are not durable yet.
    pub fn is_busy(&self) -> bool {
        !self.waiting.is_empty() || !self.pieces.is_empty()
    }

    pub fn settle(&mut self, store: &Store) {
        let proof = *store.stepped().borrow();
        while self.waiting.front().is_some_and(|(ticket, _)| proof.covers(*ticket)) {
            self.settled = self.waiting.pop_front().unwrap().1;
        }
    }
}
