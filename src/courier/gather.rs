//! Reads records ahead and encodes them into the batches of the next round.

use super::Rule;
use crate::encode::{Body, Codec, Origin, Same};
use crate::flow::batch::{Batch, Event};
use crate::flow::lane::LaneId;
use crate::flow::record::{CLOCK_UNSET, RecordRef};
use crate::platform::clock::{self, Clock};
use crate::sink::{BODY_RAW, Limits, PartitionBy};
use crate::store::{Gap, Item, ReadError, Reader, Span};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The open bodies of several lanes have at most this many bytes together, before compression.
const BODIES_RAW: usize = 2 * BODY_RAW;
/// The bytes of framing that are assumed around each event, in addition to the `per_event` of the target.
const FRAMING: usize = 64;
/// A round has at most this many lanes.
const LANES_AT_ONCE: usize = 64;
/// The last sent sequence is remembered for at most this many lanes. At one lane more, all of them are forgotten.
const MOST_LANES: usize = 4096;

/// The values that all events of a lane share.
#[derive(Debug, Clone)]
pub struct LaneIdentity {
    /// The device, store and stream of the events.
    pub origin: Origin,
    /// The lane of the events, unless a partition attribute decides it.
    pub lane: LaneId,
    /// The channel of the sink that delivers them in order.
    pub channel: Arc<str>,
}

/// The limits of one round.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The limits of the target.
    pub limits: Limits,
    /// The largest number of records. It is lower than usual after the target found a batch too large.
    pub records: u64,
    /// The end of the lane: records from this sequence on belong to another lane.
    pub end: u64,
}

/// The last sequence that each lane sent. A lane without an entry sent nothing, or its last sequence is not known.
pub type Sent = BTreeMap<LaneId, u64>;

/// One round: its batches, and the gaps and problems that reading found.
#[derive(Debug)]
pub struct Gathered {
    /// The batches in order; may be empty. With each batch, the sequence that the cursor may move to after its
    /// delivery; `None` when the cursor must wait for a later batch.
    pub batches: Vec<(Batch, Option<u64>)>,
    /// The next sequence after the whole round is delivered.
    pub next: u64,
    /// The last sequence of each lane after the whole round is delivered.
    pub sent: Sent,
    /// The gaps: sequences that the store does not have.
    pub gaps: Vec<Gap>,
    /// The sequence of a single record whose event alone is larger than the target accepts.
    pub too_large: Option<u64>,
    /// True when the round is full: there may be more records to read.
    pub full: bool,
}

impl Gathered {
    /// Whether there was nothing to read.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.gaps.is_empty() && self.too_large.is_none()
    }
}

/// Reads from `reader` until the round is full or no more records are durable. Afterwards the position of the
/// reader is behind the round.
///
/// # Errors
/// When the store cannot be read.
pub fn gather(
    reader: &mut Reader,
    sent: &Sent,
    identity: &LaneIdentity,
    rule: &Rule,
    bounds: Bounds,
) -> Result<Gathered, ReadError> {
    let (start, now) = (reader.next_sequence(), Clock::system().now());
    let mut gatherer =
        Gatherer { identity, rule, bounds, bytes: 0, sent: sent.clone(), open: Vec::new(), done: Vec::new() };
    let (mut gaps, mut next, mut taken, mut full) = (Vec::new(), start, 0, false);
    while !full && taken < bounds.records && next < bounds.end {
        match reader.read()? {
            None => break,
            Some(Item::Gap(gap)) => {
                next = (gap.to + 1).min(bounds.end);
                gaps.push(gap);
                // A gap ends the round, so that `after` of the next event shows the gap.
                break;
            }
            Some(Item::Span(span)) => {
                for (sequence, mut record) in span.records().take_while(|(sequence, _)| *sequence < bounds.end) {
                    correct(&mut record, now);
                    let same = same(&span, &record);
                    let (lane, value) = lane_of(identity.lane, &rule.sending.partition_by, &record);
                    if taken >= bounds.records || !gatherer.has_room(lane, same, record.payload.len()) {
                        full = true;
                        break;
                    }
                    gatherer.push(lane, value, same, (sequence, &record))?;
                    taken += 1;
                    next = sequence + 1;
                }
            }
        }
    }
    full |= taken >= bounds.records;
    gatherer.close_all()?;
    let Gatherer { done, sent: sent_then, .. } = gatherer;
    let size = |event: &Event| event.body.len() + bounds.limits.per_event + FRAMING;
    if done.iter().any(|lane| lane.events.iter().any(|event| size(event) > bounds.limits.largest)) {
        reader.rewind(start);
        if taken > 1 {
            // The bodies compressed less than assumed: try again with half of the records, down to a single record.
            return gather(reader, sent, identity, rule, Bounds { records: taken / 2, ..bounds });
        }
        let too_large = Some(start);
        return Ok(Gathered {
            batches: Vec::new(),
            next: start,
            sent: sent.clone(),
            gaps: Vec::new(),
            too_large,
            full,
        });
    }
    reader.rewind_if(next);
    let batches = batches(done, identity, &rule.sending.partition_by, bounds.limits.batch, size, next);
    Ok(Gathered { batches, next, sent: sent_then, gaps, too_large: None, full })
}

/// Cuts the events of the lanes into batches. With one lane, the cursor may move after each batch; with several
/// lanes, only after the last batch.
fn batches(
    done: Vec<Done>,
    identity: &LaneIdentity,
    by: &PartitionBy,
    limit: usize,
    size: impl Fn(&Event) -> usize,
    next: u64,
) -> Vec<(Batch, Option<u64>)> {
    let is_one = done.len() == 1;
    let mut out: Vec<(Batch, Option<u64>)> = Vec::new();
    for lane in done {
        let origin = &identity.origin;
        let key = match (by, lane.value) {
            (PartitionBy::RoundRobin, _) => None,
            (PartitionBy::Device, _) => Some(origin.device.to_string()),
            (PartitionBy::Attribute(_), Some(value)) => Some(value),
            _ => Some(origin.key(lane.lane)),
        };
        let mut bytes = 0;
        for (at, event) in lane.events.into_iter().enumerate() {
            let more = size(&event);
            if at == 0 || bytes + more > limit {
                out.push((Batch { key: key.clone(), channel: identity.channel.clone(), events: Vec::new() }, None));
                bytes = 0;
            }
            bytes += more;
            if let Some((batch, cursor)) = out.last_mut() {
                *cursor = is_one.then_some(event.envelope.last + 1);
                batch.events.push(event);
            }
        }
    }
    if let Some((_, cursor)) = out.last_mut() {
        *cursor = Some(next);
    }
    out
}

/// The lane of a record, and the attribute value that becomes the partition key.
fn lane_of<'a>(usual: LaneId, by: &PartitionBy, record: &'a RecordRef<'_>) -> (LaneId, Option<&'a str>) {
    let PartitionBy::Attribute(name) = by else { return (usual, None) };
    // A record without the attribute goes with the stream's own lane.
    record.attribute(name).map_or((usual, None), |value| (LaneId::of_value(value), Some(value)))
}

fn same(span: &Span, record: &RecordRef<'_>) -> Same {
    let clock_unset = record.flags & CLOCK_UNSET != 0;
    Same { epoch: span.head.epoch, generation: span.head.generation, in_flight: span.head.in_flight, clock_unset }
}

/// Corrects the arrival of a record that came in this boot before the clock was set, once the clock is trusted.
fn correct(record: &mut RecordRef<'_>, now: clock::Reading) {
    if record.flags & CLOCK_UNSET == 0 || !now.trusted {
        return;
    }
    let monotonic = record.attribute(clock::MONOTONIC).and_then(|text| text.parse::<i64>().ok());
    let is_of_this_boot = record.attribute(clock::BOOT) == Some(clock::boot());
    let Some(monotonic) = monotonic.filter(|_| is_of_this_boot) else { return };
    record.arrival_ms = now.offset_ms().saturating_add(monotonic);
    record.flags &= !CLOCK_UNSET;
    record.attributes.retain(|(name, _)| ![clock::CLOCK, clock::BOOT, clock::MONOTONIC].contains(name));
    record.attributes.push((clock::CLOCK, clock::CORRECTED));
}

/// The events of one lane in this round.
struct Done {
    lane: LaneId,
    value: Option<String>,
    events: Vec<Event>,
}

struct Gatherer<'a> {
    identity: &'a LaneIdentity,
    rule: &'a Rule,
    bounds: Bounds,
    /// The size of all closed bodies with their properties and framing, in bytes.
    bytes: usize,
    sent: Sent,
    open: Vec<(LaneId, Body)>,
    done: Vec<Done>,
}

impl Gatherer<'_> {
    /// Whether a record still fits into this round. Without compression the sum is close to exact; with compression
    /// the size of the open bodies is assumed. A round that turns out to be larger is cut into several batches.
    fn has_room(&self, lane: LaneId, same: Same, payload: usize) -> bool {
        let limits = self.bounds.limits;
        let raw: usize = self.open.iter().map(|(_, body)| body.raw_bytes()).sum::<usize>() + payload;
        let goes_on = |(number, body): &(LaneId, Body)| *number == lane && body.same() == same;
        let estimates = self.open.iter().map(|open| open.1.estimate(if goes_on(open) { payload } else { 0 }));
        let goes_on = self.open.iter().any(goes_on);
        let open = estimates.sum::<usize>() + if goes_on { 0 } else { payload + FRAMING };
        let bodies = self.open.len() + usize::from(!goes_on);
        let empty = self.done.is_empty() && self.open.is_empty();
        let fits = self.bytes + open + bodies * limits.per_event + FRAMING <= limits.batch;
        let known = self.done.len() < LANES_AT_ONCE || self.done.iter().any(|done| done.lane == lane);
        empty || (fits && known && (raw <= BODIES_RAW || self.open.len() < 2))
    }

    fn push(
        &mut self,
        lane: LaneId,
        value: Option<&str>,
        same: Same,
        (sequence, record): (u64, &RecordRef<'_>),
    ) -> Result<(), ReadError> {
        // Without compression a body must leave room for its properties in a batch of its own.
        let most = match self.rule.sending.codec {
            Codec::Gzip => self.bounds.limits.raw,
            Codec::None => self.bounds.limits.raw.min(self.bounds.limits.batch / 2),
        };
        let known = self.open.iter().position(|(number, _)| *number == lane);
        let goes_on = known.filter(|at| self.open[*at].1.same() == same && self.open[*at].1.raw_bytes() < most);
        if let Some(at) = known.filter(|_| goes_on.is_none()) {
            let (lane, body) = self.open.swap_remove(at);
            self.close(lane, body)?;
        }
        if !self.done.iter().any(|done| done.lane == lane) {
            self.done.push(Done { lane, value: value.map(String::from), events: Vec::new() });
        }
        let at = goes_on.unwrap_or_else(|| {
            self.open.push((lane, Body::new(same, self.rule.sending.codec)));
            self.open.len() - 1
        });
        self.open[at].1.push(sequence, record);
        Ok(())
    }

    fn close_all(&mut self) -> Result<(), ReadError> {
        let open = std::mem::take(&mut self.open);
        open.into_iter().try_for_each(|(lane, body)| self.close(lane, body))
    }

    fn close(&mut self, lane: LaneId, body: Body) -> Result<(), ReadError> {
        let after = self.sent.get(&lane).copied().unwrap_or(0);
        let event = body.finish(&self.identity.origin, lane, after)?;
        if self.sent.len() >= MOST_LANES && !self.sent.contains_key(&lane) {
            self.sent.clear();
        }
        self.sent.insert(lane, event.envelope.last);
        self.bytes += event.body.len() + self.bounds.limits.per_event + FRAMING;
        if let Some(done) = self.done.iter_mut().find(|done| done.lane == lane) {
            done.events.push(event);
        }
        Ok(())
    }
}
