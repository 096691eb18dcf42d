//! A record that the target never accepts becomes a dead letter. The dead letter is durable before the lane goes
//! on, except when the store stays full for `NO_ROOM`.

use super::lane::{Lane, Trouble};
use super::rounds::Rounds;
use crate::flow::dead_letter::dead_letter;
use crate::flow::record::DEAD_LETTERS;
use crate::flow::stop::{Stop, Stopped};
use crate::store::{Atom, Item, OfferError, Part, ReadError, Reader};
use crate::telemetry::{Reason, event};
use std::time::Duration;

/// A dead letter waits this long to become durable in a full store. Then only the log line with its reason stays.
const NO_ROOM: Duration = Duration::from_secs(30);

impl Lane {
    /// Writes a durable dead letter for a record that the target never accepts.
    pub async fn write_dead_letter(
        &self,
        rounds: &mut Rounds,
        sequence: u64,
        (reason, why): (Reason, &str),
        stop: &mut Stop,
    ) -> Result<(), Trouble> {
        let reader = rounds.rewound(sequence).await?;
        let Some(part) = self.dead_letter(reader, sequence, why)? else { return Ok(()) };
        // A dead letter that cannot be delivered does not become another one.
        if part.stream != self.stream {
            self.commit(Atom { parts: vec![part], ..Atom::default() }, stop).await?;
        }
        self.shared.metrics.add_for(reason, 1);
        let sink = self.shared.reader.name();
        let stream = &*self.identity.origin.stream;
        tracing::warn!(event = event::DEAD_LETTER, sink, stream, sequence, why, "set aside");
        Ok(())
    }

    /// The dead letter, with the generation of its record; none when the record turns out to be damaged.
    fn dead_letter(&self, reader: &mut Reader, sequence: u64, why: &str) -> Result<Option<Part>, ReadError> {
        let Some(Item::Span(span)) = reader.read()? else {
            return Ok(None);
        };
        let Some((_, record)) = span.records().next() else {
            return Ok(None);
        };
        let number = sequence.to_string();
        let by =
            [("sink", self.shared.reader.name()), ("stream", &*self.identity.origin.stream), ("sequence", &*number)];
        let letter = dead_letter(record.to_record(), &by, why, None);
        Ok(Some(Part {
            stream: self.shared.store.stream(DEAD_LETTERS),
            generation: span.head.generation,
            in_flight: span.head.in_flight,
            records: vec![letter],
        }))
    }

    async fn commit(&self, atom: Atom, stop: &mut Stop) -> Result<(), Stopped> {
        let mut durable = self.shared.store.durable();
        let mut room = self.shared.store.room();
        let mut atom = atom;
        // A full store waits for this lane to go on, and this lane waits for room. To end this wait, the record
        // that the target never accepts is given up. Only the log line with its reason stays.
        let give_up = tokio::time::sleep(NO_ROOM);
        tokio::pin!(give_up);
        let ticket = loop {
            match self.shared.store.offer(atom) {
                Ok(ticket) => break ticket,
                Err(OfferError::Full(back)) => atom = *back,
                Err(_) => return Err(Stopped),
            }
            tokio::select! {
                changed = room.changed() => changed.map_err(|_| Stopped)?,
                () = stop.requested() => return Err(Stopped),
                () = &mut give_up => return Ok(()),
            }
        };
        tokio::select! {
            safe = durable.wait_for(|proof| proof.covers(ticket)) => safe.map(drop).map_err(|_| Stopped),
            () = stop.requested() => Err(Stopped),
            () = give_up => Ok(()),
        }
    }
}
