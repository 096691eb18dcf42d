//! What a target never takes becomes a dead letter, durable before the lane goes past it.

use super::lane::Lane;
use super::rounds::Rounds;
use crate::flow::record::{DEAD_LETTER_KEEP, DEAD_LETTERS, Record, readable};
use crate::flow::stop::Stop;
use crate::store::{Atom, Item, OfferError, Part, ReadError, Reader};
use crate::telemetry::{Metric, event};
use bytes::Bytes;
use std::time::Duration;

/// A dead letter waits this long for room in a full store.
const NO_ROOM: Duration = Duration::from_secs(30);

impl Lane {
    /// Makes a record that the target never takes a durable dead letter; `Ok(false)` at a stop.
    pub async fn write_letter(
        &self,
        rounds: &mut Rounds,
        sequence: u64,
        why: &str,
        stop: &mut Stop,
    ) -> Result<bool, ReadError> {
        rounds.rewind(sequence).await;
        let Some(reader) = rounds.reader() else {
            return Ok(false);
        };
        let letter = self.letter(reader, sequence, why)?;
        if let Some(letter) = letter {
            let dead = self.shared.store.stream(DEAD_LETTERS);
            let records = vec![letter];
            let part = Part { stream: dead, generation: 0, in_flight: false, records };
            if dead != self.stream && !self.commit(Atom { parts: vec![part], ..Atom::default() }, stop).await {
                return Ok(false);
            }
            self.shared.metrics.add(Metric::DeadLetters, 1);
            let sink = &self.shared.rule.name;
            let stream = &*self.course.origin.stream;
            tracing::warn!(event = event::DEAD_LETTER, sink, stream, sequence, why, "set aside");
        }
        Ok(true)
    }

    /// The dead letter; none when the record turns out to be damaged.
    fn letter(&self, reader: &mut Reader, sequence: u64, why: &str) -> Result<Option<Record>, ReadError> {
        let Some(Item::Span(span)) = reader.read()? else {
            return Ok(None);
        };
        let Some((_, record)) = span.records().next() else {
            return Ok(None);
        };
        let length = record.payload.len();
        let kept = &record.payload[..length.min(DEAD_LETTER_KEEP)];
        let (kind, payload) = readable(Bytes::copy_from_slice(kept));
        let attribute = |name: &str, value: String| (name.into(), value.into());
        Ok(Some(Record {
            arrival_ms: record.arrival_ms,
            device_time_us: record.device_time_us,
            key: record.key.into(),
            flags: record.flags,
            attributes: vec![
                attribute("sink", self.shared.rule.name.clone()),
                attribute("reason", why.to_string()),
                attribute("stream", self.course.origin.stream.to_string()),
                attribute("sequence", sequence.to_string()),
                attribute("length", length.to_string()),
                attribute("crc32c", format!("{:08x}", crc32c::crc32c(record.payload))),
            ],
            kind,
            payload,
        }))
    }

    async fn commit(&self, atom: Atom, stop: &mut Stop) -> bool {
        let mut durable = self.shared.store.durable();
        let mut room = self.shared.store.room();
        let mut atom = atom;
        // A full store waits for this lane to go on, and this lane for room: what the target will
        // never take gives way. The log line with its reason is all that stays of it then.
        let give_up = tokio::time::sleep(NO_ROOM);
        tokio::pin!(give_up);
        let ticket = loop {
            match self.shared.store.offer(atom) {
                Ok(ticket) => break ticket,
                Err(OfferError::Full(back)) => atom = *back,
                Err(_) => return false,
            }
            tokio::select! {
                changed = room.changed() => if changed.is_err() { return false },
                () = stop.requested() => return false,
                () = &mut give_up => return true,
            }
        };
        tokio::select! {
            safe = durable.wait_for(|proof| proof.covers(ticket)) => safe.is_ok(),
            () = stop.requested() => false,
            () = give_up => true,
        }
    }
}
