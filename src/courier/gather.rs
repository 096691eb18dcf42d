//! Reading ahead and encoding: what goes into the next batch.

use crate::encode::{Body, Codec, Origin, Reading, Same};
use crate::flow::batch::Batch;
use crate::sink::Limits;
use crate::store::{Gap, Item, ReadError, Reader, Span};

/// A body is closed when it has this many bytes before compression.
const BODY_RAW: usize = 512 << 10;
/// So many bytes of properties and framing are assumed around each event.
const FRAMING: usize = 64;

/// How much may go into a batch.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// What the target takes.
    pub limits: Limits,
    /// At most so many records: less than usual after the target found a batch too large.
    pub records: u64,
}

/// A batch, and what reading it found.
#[derive(Debug)]
pub struct Gathered {
    /// Events, in order; may be empty.
    pub batch: Batch,
    /// The next sequence when this batch is delivered.
    pub next: u64,
    /// The last sequence in the batch, or what was sent before it.
    pub after: u64,
    /// Sequences that are not there.
    pub gaps: Vec<Gap>,
    /// A single record whose event alone is larger than the target takes.
    pub too_large: Option<u64>,
}

/// Reads from `reader` until the batch is full or nothing more is durable. The reader stands
/// behind the batch afterwards.
///
/// # Errors
/// When the store cannot be read.
pub fn gather(
    reader: &mut Reader,
    after: u64,
    origin: &Origin,
    codec: Codec,
    bounds: Bounds,
) -> Result<Gathered, ReadError> {
    let mut gatherer = Gatherer { origin, codec, bounds, batch: Batch::default(), bytes: 0, after, body: None };
    let mut gaps = Vec::new();
    let mut next = reader.next_sequence();
    let mut taken = 0;
    let mut full = false;
    while !full && taken < bounds.records {
        match reader.read()? {
            None => break,
            Some(Item::Gap(gap)) => {
                next = gap.to + 1;
                gaps.push(gap);
                // A gap ends the batch, so that `after` tells of it.
                break;
            }
            Some(Item::Span(span)) => {
                let same = same(&span);
                for (sequence, record) in span.records() {
                    if taken >= bounds.records || !gatherer.has_room(same, record.payload.len()) {
                        full = true;
                        break;
                    }
                    gatherer.push(same, &reading(sequence, &record))?;
                    taken += 1;
                    next = sequence + 1;
                }
            }
        }
    }
    gatherer.close()?;
    let Gatherer { mut batch, after: last, .. } = gatherer;
    let mut too_large = None;
    let limit = bounds.limits.batch.saturating_sub(bounds.limits.per_event + FRAMING);
    // Compression may have done less than hoped for: what does not fit waits for the next batch.
    let mut sum = 0;
    let fitting = batch.events.iter().take_while(|event| {
        sum += event.body.len() + bounds.limits.per_event + FRAMING;
        sum <= limit + bounds.limits.per_event + FRAMING
    });
    let fitting = fitting.count();
    let mut after = last;
    if fitting < batch.events.len() {
        let cut = &batch.events[fitting].envelope;
        (next, after) = (cut.first, cut.after);
        gaps.clear();
        if fitting == 0 {
            let count = u64::from(cut.count);
            let alone = batch.events[0].body.len() + bounds.limits.per_event + FRAMING;
            if count == 1 && alone <= bounds.limits.largest {
                (next, after) = (cut.last + 1, cut.last);
                batch.events.truncate(1);
                reader.rewind_if(next);
                return Ok(Gathered { batch, next, after, gaps, too_large });
            }
            if count == 1 {
                too_large = Some(cut.first);
            } else {
                // Alone it is too large already: again with half of its records.
                reader.rewind(next);
                return gather(reader, after, origin, codec, Bounds { records: count / 2, ..bounds });
            }
        }
        batch.events.truncate(fitting);
    }
    reader.rewind_if(next);
    Ok(Gathered { batch, next, after, gaps, too_large })
}

fn same(span: &Span) -> Same {
    Same { epoch: span.head.epoch, generation: span.head.generation, in_flight: span.head.in_flight }
}

fn reading<'a>(sequence: u64, record: &'a crate::store::log::section::RecordRef<'a>) -> Reading<'a> {
    Reading {
        sequence,
        arrival_ms: record.arrival_ms,
        device_time_us: record.device_time_us,
        key: record.key,
        flags: record.flags,
        attributes: &record.attributes,
        kind: record.kind,
        payload: record.payload,
    }
}

struct Gatherer<'a> {
    origin: &'a Origin,
    codec: Codec,
    bounds: Bounds,
    batch: Batch,
    bytes: usize,
    after: u64,
    body: Option<Body>,
}

impl Gatherer<'_> {
    /// Whether a record still goes into this batch. Without compression the sum is exact; with it,
    /// an eighth of the open body is assumed, and `gather` checks what it came to.
    fn has_room(&self, same: Same, payload: usize) -> bool {
        let limit = self.bounds.limits.batch;
        let open = self.body.as_ref().map_or(0, |body| body.raw_bytes() + payload + 128);
        let open = if self.codec == Codec::Gzip { open / 8 } else { open };
        let more =
            if self.body.as_ref().is_none_or(|body| body.same() != same) { self.bounds.limits.per_event } else { 0 };
        let empty = self.batch.events.is_empty() && self.body.is_none();
        empty || self.bytes + open + more + FRAMING <= limit
    }

    fn push(&mut self, same: Same, reading: &Reading<'_>) -> Result<(), ReadError> {
        // Without compression a body must leave room for its properties in a batch of its own.
        let most = match self.codec {
            Codec::Gzip => BODY_RAW,
            Codec::None => BODY_RAW.min(self.bounds.limits.batch / 2),
        };
        if self.body.as_ref().is_some_and(|body| body.same() != same || body.raw_bytes() >= most) {
            self.close()?;
        }
        self.body.get_or_insert_with(|| Body::new(same, self.codec)).push(reading);
        Ok(())
    }

    fn close(&mut self) -> Result<(), ReadError> {
        if let Some(body) = self.body.take().filter(|body| body.count() > 0) {
            let event = body.finish(self.origin, self.after)?;
            self.after = event.envelope.last;
            self.bytes += event.body.len() + self.bounds.limits.per_event + FRAMING;
            self.batch.events.push(event);
        }
        Ok(())
    }
}
