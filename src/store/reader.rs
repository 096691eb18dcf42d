//! Reading a stream in order.
//!
//! `read` returns records or a gap; the CRC of a section is checked on every read. Unreadable sequences are a gap
//! of known range, never a wrong value and never the end of the stream.

use super::damaged::copy_out;
use super::log::body::{Reason, SectionHead, StreamId};
use super::log::layout::Kind;
use super::log::place::placed;
use super::log::section::Records;
use super::log::walk::{Found, Step, Walk};
use super::shared::Inner;
use crate::flow::record::RecordRef;
use crate::platform::disk::{DiskFile, Mode};
use crate::telemetry::{Metric, event};
use std::io;
use std::sync::Arc;

/// Why sequences are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapReason {
    /// The sequences are below the floor, because every reader had released them.
    Trimmed,
    /// The records were given up: the store or the stream was full, or a person trimmed the stream.
    Dropped,
    /// The bytes are bad or gone.
    Damaged,
}

/// Sequences that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The first sequence of the gap.
    pub from: u64,
    /// The last sequence of the gap.
    pub to: u64,
    /// Why the sequences are missing.
    pub reason: GapReason,
}

/// A run of records out of one section.
#[derive(Debug, Clone)]
pub struct Span {
    /// The head of the section that the records come from.
    pub head: SectionHead,
    /// The first sequence of this run.
    pub first: u64,
    raw: Vec<u8>,
}

impl Span {
    /// Sequence and record, in order.
    pub fn records(&self) -> impl Iterator<Item = (u64, RecordRef<'_>)> {
        let numbered = (self.head.first..=self.head.last()).zip(Records::new(&self.raw));
        numbered.filter(|(sequence, _)| *sequence >= self.first)
    }

    /// The last sequence of this run.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.head.last()
    }

    /// The bytes that the run holds in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.raw.len()
    }
}

/// The next item of a stream.
#[derive(Debug)]
pub enum Item {
    /// A run of records.
    Span(Span),
    /// Sequences without records.
    Gap(Gap),
}

/// The result of looking at a frame for a reader's stream.
enum Look {
    Item(Item),
    Nothing,
    /// The segment is no longer in use.
    Gone,
}

/// Why the store could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the store: {0}")]
pub struct ReadError(#[from] io::Error);

/// Reads one stream for one reader.
#[derive(Debug)]
pub struct Reader {
    inner: Arc<Inner>,
    stream: StreamId,
    next: u64,
    place: Option<(u64, u64)>,
    file: Option<(u64, Arc<dyn DiskFile>)>,
}

impl Reader {
    pub(super) fn new(inner: Arc<Inner>, stream: StreamId, next: u64) -> Self {
        Self { inner, stream, next, place: None, file: None }
    }

    /// The next sequence that `read` returns.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.next
    }

    /// Goes back: the next read starts at this sequence.
    pub fn rewind(&mut self, next: u64) {
        self.next = next;
        self.place = None;
    }

    /// Moves the reader to this sequence, unless it is there already.
    pub fn rewind_if(&mut self, next: u64) {
        if self.next != next {
            self.rewind(next);
        }
    }

    /// Reads the next item; `None` when all durable records were read.
    ///
    /// # Errors
    /// When a file cannot be opened or read although it should be there.
    pub fn read(&mut self) -> Result<Option<Item>, ReadError> {
        loop {
            let (number, path, end) = {
                let shared = self.inner.lock();
                let Some(stream) = shared.state.streams.get(&self.stream) else {
                    return Ok(None);
                };
                let (durable, floor, reason) = (stream.next, stream.floor, stream.reason);
                if self.next >= durable {
                    return Ok(None);
                }
                if self.next < floor {
                    let reason = if reason == Reason::Drop { GapReason::Dropped } else { GapReason::Trimmed };
                    drop(shared);
                    return Ok(Some(self.gap(floor - 1, reason)));
                }
                match shared.locate(self.stream, self.next) {
                    Some(segment) => (segment.summary.number, segment.path.clone(), segment.summary.end),
                    None => {
                        drop(shared);
                        return Ok(Some(self.gap(durable - 1, GapReason::Damaged)));
                    }
                }
            };
            let file = match &self.file {
                Some((held, file)) if *held == number => file.clone(),
                _ => {
                    let file = self.inner.options.disk.open(&path, Mode::Read);
                    match file {
                        Ok(file) => self.file.insert((number, file)).1.clone(),
                        // The segment was freed since the look-up: its records are elsewhere, or given up.
                        Err(error) if error.kind() == io::ErrorKind::NotFound && !self.is_in_use(number) => continue,
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {
                            return Ok(Some(self.lost_segment(number)));
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
            };
            let from = self.place.filter(|(held, _)| *held == number).map_or(0, |(_, at)| at);
            if let Some(item) = self.search(&file, number, from, end)? {
                return Ok(Some(item));
            }
        }
    }

    /// Searches one segment for the stream's next section.
    fn search(
        &mut self,
        file: &Arc<dyn DiskFile>,
        number: u64,
        from: u64,
        end: u64,
    ) -> Result<Option<Item>, ReadError> {
        let mut walk = Walk::new(self.inner.id, file.clone(), number, from, end, false);
        loop {
            match walk.step()? {
                Step::Frame(found) if matches!(found.header.kind, Kind::Commit | Kind::Carry) => {
                    match self.frame(file, number, &found)? {
                        Look::Item(item) => {
                            // More sections of the stream may follow in the same frame.
                            self.place = Some((number, found.offset));
                            return Ok(Some(item));
                        }
                        Look::Nothing => self.place = Some((number, walk.offset())),
                        Look::Gone => {
                            self.place = None;
                            return Ok(None);
                        }
                    }
                }
                Step::Frame(_) => self.place = Some((number, walk.offset())),
                Step::Damage { .. } if !self.is_in_use(number) => {
                    self.place = None;
                    return Ok(None);
                }
                Step::Damage { from, to } => {
                    self.set_aside(file, number, (from, to));
                    self.place = Some((number, walk.offset()));
                }
                Step::End { .. } => {
                    self.place = None;
                    let last = {
                        let shared = self.inner.lock();
                        let segment = shared.segments.get(&number);
                        let now_at = segment.map(|segment| segment.summary.end);
                        if now_at.is_some_and(|now_at| now_at > end) {
                            // Frames were appended since the look-up: search again.
                            return Ok(None);
                        }
                        segment.and_then(|segment| segment.summary.of(self.stream)).map(|holding| holding.last)
                    };
                    // The segment's summary names this sequence, but no frame has it. The sequences up to the last
                    // one of the segment are damaged, unless another segment continues earlier.
                    return Ok(last.filter(|last| *last >= self.next).map(|last| self.gap(last, GapReason::Damaged)));
                }
            }
        }
    }

    /// Whether a segment is still the one that this reader began to read. Ask this after bytes turned out bad. A
    /// number is never used twice, so a segment that is in use now was in use then.
    fn is_in_use(&self, number: u64) -> bool {
        self.inner.lock().segments.contains_key(&number)
    }

    fn frame(&mut self, file: &Arc<dyn DiskFile>, number: u64, found: &Found) -> Result<Look, ReadError> {
        let Some((_, sections)) = placed(&self.inner.id, found) else {
            if !self.is_in_use(number) {
                return Ok(Look::Gone);
            }
            self.set_aside(file, number, (found.offset, found.offset + found.header.span()));
            return Ok(Look::Nothing);
        };
        for section in sections {
            let head = &section.head;
            if head.stream != self.stream || head.last() < self.next || head.count == 0 {
                continue;
            }
            if head.first > self.next {
                if !self.is_in_use(number) {
                    return Ok(Look::Gone);
                }
                return Ok(Look::Item(self.gap(head.first - 1, GapReason::Damaged)));
            }
            if section.is_dropped() {
                return Ok(Look::Item(self.gap(head.last(), GapReason::Dropped)));
            }
            let first = self.next;
            let Some(raw) = section.records(&self.inner.id, &**file)? else {
                if !self.is_in_use(number) {
                    return Ok(Look::Gone);
                }
                self.set_aside(file, number, (section.offset, section.end()));
                return Ok(Look::Item(self.gap(head.last(), GapReason::Damaged)));
            };
            self.next = head.last() + 1;
            return Ok(Look::Item(Item::Span(Span { head: section.head, first, raw })));
        }
        Ok(Look::Nothing)
    }

    /// Keeps bad bytes in `damaged/`, so that somebody can examine them.
    fn set_aside(&self, file: &Arc<dyn DiskFile>, number: u64, range: (u64, u64)) {
        let done = copy_out(&*self.inner.options.disk, &self.inner.folders, &**file, number, range);
        if let Err(error) = done {
            tracing::warn!(event = event::STORE_FINDING, %error, segment = number, ?range, "damaged bytes are not kept");
        }
    }

    fn lost_segment(&mut self, number: u64) -> Item {
        let last = {
            let shared = self.inner.lock();
            shared.segments.get(&number).and_then(|segment| segment.summary.of(self.stream)).map(|holding| holding.last)
        };
        self.gap(last.unwrap_or(self.next).max(self.next), GapReason::Damaged)
    }

    fn gap(&mut self, to: u64, reason: GapReason) -> Item {
        let gap = Gap { from: self.next, to, reason };
        self.next = to + 1;
        self.inner.options.metrics.add(Metric::SinkGaps, 1);
        if gap.reason == GapReason::Damaged {
            self.inner.damaged(self.stream, (gap.from, gap.to));
        }
        Item::Gap(gap)
    }
}
