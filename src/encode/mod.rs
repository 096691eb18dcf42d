//! Encodes records from the store into event bodies (`docs/design/envelope.md`).
//!
//! A body holds records of one stream, epoch, generation and lane; it is closed where one of
//! these values changes. The stored form is never the wire form. Each format is one file that implements `Encode`.

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

/// The encoder of one body in one format.
pub trait Encode: Debug + Send {
    /// Adds a record.
    fn push(&mut self, sequence: u64, record: &RecordRef<'_>);

    /// Bytes of the records, before compression.
    fn raw_bytes(&self) -> usize;

    /// The estimated size of the body after `more` raw bytes are added, in bytes. Without compression it is close
    /// to exact; with compression it is a guess.
    fn estimate(&self, more: usize) -> usize;

    /// Ends the body and compresses it.
    ///
    /// # Errors
    /// No error is known: compression writes into memory.
    fn finish(self: Box<Self>) -> std::io::Result<Encoded>;
}

/// An encoded body, with the properties that a consumer needs to read it.
#[derive(Debug)]
pub struct Encoded {
    /// The bytes of the body, compressed if `content_encoding` is set.
    pub body: Bytes,
    /// MIME type of the decompressed body.
    pub content_type: &'static str,
    /// The compression of the body; `None` when the body is not compressed.
    pub content_encoding: Option<&'static str>,
}

/// An encoder for a new body.
fn encoder(codec: Codec) -> Box<dyn Encode> {
    Box::new(Ndjson::new(codec))
}

/// The arrival of a record by the monotonic clock, if nobody had set the wall clock before.
fn unset(record: &RecordRef<'_>) -> Option<Unset> {
    Some(Unset { boot: record.attribute(BOOT)?.into(), monotonic_ms: record.attribute(MONOTONIC)?.parse().ok()? })
}

/// The values that all events of a stream share.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The device's name.
    pub device: Arc<str>,
    /// The store's id.
    pub store: Arc<str>,
    /// The name of the stream.
    pub stream: Arc<str>,
}

impl Origin {
    /// The key of a lane's partition (`docs/design/envelope.md`).
    #[must_use]
    pub fn key(&self, lane: LaneId) -> String {
        format!("{}/{}/{lane}", self.device, self.stream)
    }
}

/// The values that all records of one body share. A record with other values begins a new body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Same {
    /// The epoch of the records.
    pub epoch: u64,
    /// The generation of the configuration that produced the records.
    pub generation: u64,
    /// True when a version on trial made the records.
    pub in_flight: bool,
    /// True when nobody had set the machine's clock before the records arrived.
    pub clock_unset: bool,
}

/// A body that still takes records.
#[derive(Debug)]
pub struct Body {
    same: Same,
    encoder: Box<dyn Encode>,
    first: u64,
    last: u64,
    count: u32,
    unset: Option<Unset>,
    arrival_ms: Option<i64>,
}

impl Body {
    /// An empty body.
    #[must_use]
    pub fn new(same: Same, codec: Codec) -> Self {
        Self { same, encoder: encoder(codec), first: 0, last: 0, count: 0, unset: None, arrival_ms: None }
    }

    /// Adds a record.
    pub fn push(&mut self, sequence: u64, record: &RecordRef<'_>) {
        self.encoder.push(sequence, record);
        if self.count == 0 {
            self.first = sequence;
            self.unset = unset(record).filter(|_| self.same.clock_unset);
            self.arrival_ms = Some(record.arrival_ms).filter(|_| !self.same.clock_unset);
        }
        self.last = sequence;
        self.count += 1;
    }

    /// The values that all records of the body share.
    #[must_use]
    pub fn same(&self) -> Same {
        self.same
    }

    /// The size of the body before compression, in bytes.
    #[must_use]
    pub fn raw_bytes(&self) -> usize {
        self.encoder.raw_bytes()
    }

    /// The estimated size of the body after `more` raw bytes are added, in bytes (`Encode::estimate`).
    #[must_use]
    pub fn estimate(&self, more: usize) -> usize {
        self.encoder.estimate(more)
    }

    /// Ends the body and makes its event. `after` is the last sequence that the lane sent before this event.
    ///
    /// # Errors
    /// No error is known: compression writes into memory.
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
        Ok(Event { envelope, body, arrival_ms: self.arrival_ms })
    }
}
