//! Spans into event bodies (`docs/design/envelope.md`).
//!
//! A body holds records of one stream, epoch, generation and lane; it is closed where one of
//! these changes. The stored form is never the wire form. A format is one file with an `Encode`.

pub mod ndjson;

use crate::flow::batch::{Envelope, Event, Unset};
pub use crate::flow::codec::Codec;
use crate::flow::lane::LaneId;
use crate::flow::record::RecordRef;
use crate::platform::clock::{BOOT, MONOTONIC};
use bytes::Bytes;
use ndjson::Ndjson;
use std::fmt::Debug;
use std::sync::Arc;

/// One body in one format.
pub trait Encode: Debug + Send {
    /// Adds a record.
    fn push(&mut self, sequence: u64, record: &RecordRef<'_>);

    /// Bytes of the records, before compression.
    fn raw_bytes(&self) -> usize;

    /// Bytes that the body will have with so many raw bytes more. Exact without compression; with it, a guess.
    fn estimate(&self, more: usize) -> usize;

    /// The body.
    ///
    /// # Errors
    /// None is known: compression writes into memory.
    fn finish(self: Box<Self>) -> std::io::Result<Encoded>;
}

/// A body with what a reader must know of it.
#[derive(Debug)]
pub struct Encoded {
    /// The bytes.
    pub body: Bytes,
    /// MIME type of the decompressed body.
    pub content_type: &'static str,
    /// Its compression.
    pub content_encoding: Option<&'static str>,
}

/// An encoder for a new body.
#[must_use]
pub fn encoder(codec: Codec) -> Box<dyn Encode> {
    Box::new(Ndjson::new(codec))
}

/// When a record arrived, if nobody had set the clock.
fn unset(record: &RecordRef<'_>) -> Option<Unset> {
    Some(Unset { boot: record.attribute(BOOT)?.into(), monotonic_ms: record.attribute(MONOTONIC)?.parse().ok()? })
}

/// What all events of a stream have in common.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The device's name.
    pub device: Arc<str>,
    /// The store's id.
    pub store: Arc<str>,
    /// The stream.
    pub stream: Arc<str>,
}

impl Origin {
    /// The key of a lane's partition (`docs/design/envelope.md`).
    #[must_use]
    pub fn key(&self, lane: LaneId) -> String {
        format!("{}/{}/{lane}", self.device, self.stream)
    }
}

/// What the records of one body have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Same {
    /// Their epoch.
    pub epoch: u64,
    /// The configuration that produced them.
    pub generation: u64,
    /// Made by a version on trial.
    pub in_flight: bool,
    /// Nobody had set the clock when they arrived.
    pub clock_unset: bool,
}

/// A body in the making.
#[derive(Debug)]
pub struct Body {
    same: Same,
    encoder: Box<dyn Encode>,
    first: u64,
    last: u64,
    count: u32,
    unset: Option<Unset>,
}

impl Body {
    /// An empty one.
    #[must_use]
    pub fn new(same: Same, codec: Codec) -> Self {
        Self { same, encoder: encoder(codec), first: 0, last: 0, count: 0, unset: None }
    }

    /// Adds a record.
    pub fn push(&mut self, sequence: u64, record: &RecordRef<'_>) {
        self.encoder.push(sequence, record);
        if self.count == 0 {
            self.first = sequence;
            self.unset = unset(record).filter(|_| self.same.clock_unset);
        }
        self.last = sequence;
        self.count += 1;
    }

    /// What its records have in common.
    #[must_use]
    pub fn same(&self) -> Same {
        self.same
    }

    /// Bytes before compression.
    #[must_use]
    pub fn raw_bytes(&self) -> usize {
        self.encoder.raw_bytes()
    }

    /// Bytes that it will have with so many raw bytes more (`Encode::estimate`).
    #[must_use]
    pub fn estimate(&self, more: usize) -> usize {
        self.encoder.estimate(more)
    }

    /// How many records.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The event; `after` is the sequence sent before it in the lane.
    ///
    /// # Errors
    /// None is known: compression writes into memory.
    pub fn finish(self, origin: &Origin, lane: LaneId, after: u64) -> std::io::Result<Event> {
        let Encoded { body, content_type, content_encoding } = self.encoder.finish()?;
        let envelope = Envelope {
            device: origin.device.clone(),
            store: origin.store.clone(),
            stream: origin.stream.clone(),
            epoch: self.same.epoch,
            lane,
            first: self.first,
            last: self.last,
            count: self.count,
            after,
            generation: self.same.generation,
            in_flight: self.same.in_flight,
            unset: self.unset,
            content_type,
            content_encoding,
        };
        Ok(Event { envelope, body })
    }
}
