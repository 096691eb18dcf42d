//! Spans into event bodies (`docs/envelope.md`).
//!
//! A body holds records of one stream, epoch, generation and lane; it is closed where one of
//! these changes. The stored form is never the wire form.

pub mod ndjson;

use crate::flow::batch::{Envelope, Event, Unset};
pub use crate::flow::codec::Codec;
use crate::flow::record::{PayloadKind, REDELIVERED, RETAINED};
use crate::platform::clock::{BOOT, MONOTONIC};
use bytes::Bytes;
use flate2::{Compression, GzBuilder};
use std::io::Write;
use std::sync::Arc;

/// What an encoder is given of a record.
#[derive(Debug)]
pub struct Reading<'a> {
    /// Its sequence.
    pub sequence: u64,
    /// When it arrived, milliseconds since the Unix epoch.
    pub arrival_ms: i64,
    /// The device's time, microseconds since the Unix epoch.
    pub device_time_us: Option<i64>,
    /// Topic, path or other key.
    pub key: &'a str,
    /// Record flags.
    pub flags: u8,
    /// Further names and values.
    pub attributes: &'a [(&'a str, &'a str)],
    /// How to read the payload.
    pub kind: PayloadKind,
    /// The payload.
    pub payload: &'a [u8],
}

impl Reading<'_> {
    fn redelivered(&self) -> bool {
        self.flags & REDELIVERED != 0
    }

    /// When it arrived, if nobody had set the clock.
    fn unset(&self) -> Option<Unset> {
        let value = |wanted: &str| self.attributes.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
        Some(Unset { boot: value(BOOT)?.into(), monotonic_ms: value(MONOTONIC)?.parse().ok()? })
    }

    fn retained(&self) -> bool {
        self.flags & RETAINED != 0
    }
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
    /// The key of a lane's partition (`docs/envelope.md`).
    #[must_use]
    pub fn key(&self, lane: u32) -> String {
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
    codec: Codec,
    raw: Vec<u8>,
    first: u64,
    last: u64,
    count: u32,
    unset: Option<Unset>,
}

impl Body {
    /// An empty one.
    #[must_use]
    pub fn new(same: Same, codec: Codec) -> Self {
        Self { same, codec, raw: Vec::new(), first: 0, last: 0, count: 0, unset: None }
    }

    /// Adds a record.
    pub fn push(&mut self, reading: &Reading<'_>) {
        ndjson::line(&mut self.raw, reading);
        if self.count == 0 {
            self.first = reading.sequence;
            self.unset = reading.unset().filter(|_| self.same.clock_unset);
        }
        self.last = reading.sequence;
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
        self.raw.len()
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
    pub fn finish(self, origin: &Origin, lane: u32, after: u64) -> std::io::Result<Event> {
        let (body, content_encoding) = match self.codec {
            Codec::None => (self.raw, None),
            Codec::Gzip => {
                // No time in the header: the same readings give the same bytes.
                let room = Vec::with_capacity(self.raw.len() / 8);
                let mut encoder = GzBuilder::new().mtime(0).write(room, Compression::new(6));
                encoder.write_all(&self.raw)?;
                (encoder.finish()?, Some("gzip"))
            }
        };
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
            content_type: "application/x-ndjson",
            content_encoding,
        };
        Ok(Event { envelope, body: Bytes::from(body) })
    }
}
