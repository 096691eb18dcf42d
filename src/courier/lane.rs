//! One lane: gather, deliver, release, in this order, for ever.

use super::Shared;
use super::gather::{Bounds, Gathered, gather};
use crate::encode::Origin;
use crate::flow::batch::Batch;
use crate::flow::receipt::Accepted;
use crate::flow::record::{DEAD_LETTERS, PayloadKind, Record};
use crate::flow::stop::Stop;
use crate::platform::random;
use crate::sink::link::Permit;
use crate::sink::{Class, DeliverError};
use crate::store::{Atom, Item, OfferError, Part, ReadError, Reader, Release, StreamId};
use crate::telemetry::{Metric, event};
use bytes::Bytes;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// A backlog of this many stored bytes is not waited on.
const WORTH_SENDING: u64 = 32 << 10;
/// The store could not be read: again after this long.
const READ_RETRY: Duration = Duration::from_secs(5);

pub(super) struct Lane {
    shared: Arc<Shared>,
    stream: StreamId,
    origin: Origin,
    after: u64,
    /// Halved when the target found a batch too large, doubled when one was accepted.
    records: u64,
}

/// A dead letter waits this long for room in a full store.
const NO_ROOM: Duration = Duration::from_secs(30);
/// A delivery under way gets so long once we were asked to stop.
const LAST_DELIVERY: Duration = Duration::from_secs(3);

/// How a delivery ended.
enum Ended {
    Accepted(Accepted),
    TooLarge(String),
    Refused(String),
    Stopped,
}

impl Lane {
    pub fn new(shared: Arc<Shared>, stream: StreamId, origin: Origin) -> Self {
        Self { shared, stream, origin, after: 0, records: u64::MAX }
    }

    pub async fn run(mut self, mut stop: Stop) {
        let mut reader = self.shared.store.reader(&self.shared.rule.name, self.stream);
        self.after = reader.sent_before();
        let mut durable = self.shared.store.durable();
        while !stop.is_requested() {
            let bounds = Bounds { limits: self.shared.sink.limits(), records: self.records };
            let Some((back, gathered)) = self.gather(reader, bounds).await else {
                return;
            };
            reader = back;
            let Some(gathered) = gathered else {
                if !self.pause(READ_RETRY, &mut stop).await {
                    return;
                }
                continue;
            };
            if gathered.batch.events.is_empty() && gathered.gaps.is_empty() && gathered.too_large.is_none() {
                tokio::select! {
                    changed = durable.changed() => if changed.is_err() { return },
                    () = stop.requested() => return,
                }
                // Asked to stop, what is there goes out at once, without waiting for more.
                self.linger(&mut stop).await;
                continue;
            }
            if !self.finish(&mut reader, gathered, &mut stop).await {
                return;
            }
        }
    }

    /// Encodes on a thread of its own: compression must not hold up the network.
    async fn gather(&self, mut reader: Reader, bounds: Bounds) -> Option<(Reader, Option<Gathered>)> {
        let (after, origin, codec) = (self.after, self.origin.clone(), self.shared.rule.codec);
        let start = reader.next_sequence();
        let done = tokio::task::spawn_blocking(move || {
            let gathered = gather(&mut reader, after, &origin, codec, bounds);
            (reader, gathered)
        });
        match done.await.ok()? {
            (reader, Ok(gathered)) => Some((reader, Some(gathered))),
            (mut reader, Err(error)) => {
                tracing::warn!(event = event::SINK_DOWN, sink = self.shared.rule.name, %error, "trying again");
                reader.rewind(start);
                Some((reader, None))
            }
        }
    }

    /// Waits for more while what there is is not worth sending.
    async fn linger(&self, stop: &mut Stop) {
        if self.shared.rule.linger.is_zero() {
            return;
        }
        let mut durable = self.shared.store.durable();
        let deadline = tokio::time::sleep(self.shared.rule.linger);
        tokio::pin!(deadline);
        while self.shared.store.backlog(&self.shared.rule.name).bytes < WORTH_SENDING {
            tokio::select! {
                () = &mut deadline => return,
                changed = durable.changed() => if changed.is_err() { return },
                () = stop.requested() => return,
            }
        }
    }

    /// Delivers what was gathered and releases it; false when the lane is to end.
    async fn finish(&mut self, reader: &mut Reader, gathered: Gathered, stop: &mut Stop) -> bool {
        if let Some(sequence) = gathered.too_large {
            return self.set_aside(reader, sequence, "larger than the target takes in one event", stop).await;
        }
        let bytes = gathered.batch.bytes() as u64;
        let ended = if gathered.batch.events.is_empty() {
            Ended::Accepted(Accepted::nothing_left())
        } else {
            self.deliver(&gathered.batch, stop).await
        };
        match ended {
            Ended::Accepted(proof) => {
                let metrics = &self.shared.metrics;
                metrics.add(Metric::SinkRecords, gathered.batch.records());
                metrics.add(Metric::SinkEvents, gathered.batch.events.len() as u64);
                metrics.add(Metric::SinkBodyBytes, bytes);
                self.after = gathered.after;
                self.records = self.records.saturating_mul(2);
                self.release(gathered.next, bytes, proof);
                true
            }
            Ended::TooLarge(why) => self.cut(reader, &gathered.batch, &why, stop).await,
            Ended::Refused(why) => {
                // One record at a time shows which of them the target will not have.
                let count = gathered.batch.records();
                let first = gathered.batch.events.first().map_or(0, |event| event.envelope.first);
                if count == 1 {
                    return self.set_aside(reader, first, &why, stop).await;
                }
                reader.rewind(first);
                self.records = (count / 2).max(1);
                true
            }
            Ended::Stopped => false,
        }
    }

    /// The target found the batch too large: the next one has half of its records.
    async fn cut(&mut self, reader: &mut Reader, batch: &Batch, why: &str, stop: &mut Stop) -> bool {
        self.shared.metrics.add(Metric::SinkSplits, 1);
        let first = batch.events.first().map_or(0, |event| event.envelope.first);
        if batch.records() <= 1 {
            return self.set_aside(reader, first, why, stop).await;
        }
        self.records = batch.records() / 2;
        reader.rewind(first);
        true
    }

    /// Tries until the batch is accepted, or found to be its own trouble.
    async fn deliver(&self, batch: &Batch, stop: &mut Stop) -> Ended {
        if !self.paced(batch, stop).await {
            return Ended::Stopped;
        }
        loop {
            if !self.admitted(stop).await {
                return Ended::Stopped;
            }
            let result = tokio::select! {
                result = self.shared.sink.deliver(batch) => result,
                // What becomes of it is not known then: it is delivered again after the next start.
                () = patience_after(stop) => return Ended::Stopped,
            };
            let mut link = self.shared.link.lock().unwrap_or_else(PoisonError::into_inner);
            let error = match result {
                Ok(proof) => {
                    if link.succeeded() {
                        tracing::info!(event = event::SINK_UP, sink = self.shared.rule.name, "delivering again");
                        self.shared.probed.notify_waiters();
                    }
                    return Ended::Accepted(proof);
                }
                Err(error) => error,
            };
            match error.class {
                Class::TooLarge | Class::Refused => {
                    // The target answered: the link is fine.
                    link.succeeded();
                    self.shared.probed.notify_waiters();
                    return if error.class == Class::TooLarge {
                        Ended::TooLarge(error.message)
                    } else {
                        Ended::Refused(error.message)
                    };
                }
                _ => {
                    let (wait, first) = link.failed(error.class, self.shared.clock.monotonic_ms(), random::below);
                    self.complain(&error, wait, first);
                    self.shared.probed.notify_waiters();
                }
            }
        }
    }

    fn complain(&self, error: &DeliverError, wait_ms: u64, first: bool) {
        self.shared.metrics.add(Metric::SinkRetries, 1);
        let sink = &self.shared.rule.name;
        if first || error.class == Class::Denied {
            tracing::warn!(event = event::SINK_DOWN, sink, wait_ms, %error, "cannot deliver; readings stay safe on disk");
        } else {
            tracing::debug!(event = event::SINK_DOWN, sink, wait_ms, %error, "still cannot deliver");
        }
    }

    /// Waits until the link lets this lane try; false when asked to stop.
    async fn admitted(&self, stop: &mut Stop) -> bool {
        loop {
            let now = self.shared.clock.monotonic_ms();
            let probed = self.shared.probed.notified();
            let permit = self.shared.link.lock().unwrap_or_else(PoisonError::into_inner).admit(now);
            let wait = match permit {
                Permit::Go => return true,
                Permit::Wait(until) => Duration::from_millis(until - now),
                Permit::WaitForProbe => Duration::from_secs(1),
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = probed, if permit == Permit::WaitForProbe => {}
                () = stop.requested() => return false,
            }
        }
    }

    /// Waits until it is the batch's turn; false when asked to stop.
    async fn paced(&self, batch: &Batch, stop: &mut Stop) -> bool {
        let Some(pace) = &self.shared.pace else { return true };
        let (now, events) = (self.shared.clock.monotonic_ms(), batch.events.len() as u64);
        let wait = pace.lock().unwrap_or_else(PoisonError::into_inner).take(now, batch.bytes() as u64, events);
        self.shared.metrics.add(Metric::SinkPacedMs, wait);
        wait == 0 || self.pause(Duration::from_millis(wait), stop).await
    }

    fn release(&self, next: u64, bytes: u64, proof: Accepted) {
        self.shared.store.release(Release {
            reader: self.shared.rule.name.clone(),
            stream: self.stream,
            next,
            after: self.after,
            bytes,
            proof,
        });
    }

    /// Makes a record that the target never takes a durable dead letter, and goes past it.
    async fn set_aside(&mut self, reader: &mut Reader, sequence: u64, why: &str, stop: &mut Stop) -> bool {
        reader.rewind(sequence);
        let Ok(letter) = self.letter(reader, sequence, why) else {
            reader.rewind(sequence);
            return self.pause(READ_RETRY, stop).await;
        };
        if let Some(letter) = letter {
            let dead = self.shared.store.stream(DEAD_LETTERS);
            let records = vec![letter];
            let part = Part { stream: dead, generation: 0, in_flight: false, records };
            if dead != self.stream && !self.commit(Atom { parts: vec![part], ..Atom::default() }, stop).await {
                return false;
            }
            self.shared.metrics.add(Metric::DeadLetters, 1);
            let sink = &self.shared.rule.name;
            tracing::warn!(event = event::DEAD_LETTER, sink, stream = &*self.origin.stream, sequence, why, "set aside");
        }
        reader.rewind(sequence + 1);
        self.records = u64::MAX;
        self.release(sequence + 1, 0, Accepted::nothing_left());
        true
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
        let kept = &record.payload[..length.min(crate::flow::record::DEAD_LETTER_KEEP)];
        let attribute = |name: &str, value: String| (name.into(), value.into());
        Ok(Some(Record {
            arrival_ms: record.arrival_ms,
            device_time_us: record.device_time_us,
            key: record.key.into(),
            flags: record.flags,
            attributes: vec![
                attribute("sink", self.shared.rule.name.clone()),
                attribute("reason", why.to_string()),
                attribute("stream", self.origin.stream.to_string()),
                attribute("sequence", sequence.to_string()),
                attribute("length", length.to_string()),
                attribute("crc32c", format!("{:08x}", crc32c::crc32c(record.payload))),
            ],
            kind: PayloadKind::Bytes,
            payload: Bytes::copy_from_slice(kept),
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

    async fn pause(&self, wait: Duration, stop: &mut Stop) -> bool {
        tokio::select! {
            () = tokio::time::sleep(wait) => true,
            () = stop.requested() => false,
        }
    }
}

/// Ends a while after the stop was asked for.
async fn patience_after(stop: &mut Stop) {
    stop.requested().await;
    tokio::time::sleep(LAST_DELIVERY).await;
}
