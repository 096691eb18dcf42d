//! Batches: the encoded events, with their properties, that a sink delivers together.

use super::lane::LaneId;
use bytes::Bytes;
use std::sync::Arc;

/// The description of the records in one event; it becomes the event's properties (`docs/design/envelope.md`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The device's name.
    pub device: Arc<str>,
    /// The store's random id, in hex.
    pub store: Arc<str>,
    /// The name of the stream that the records belong to.
    pub stream: Arc<str>,
    /// The epoch of all records of this event.
    pub epoch: u64,
    /// The lane within the stream.
    pub lane: LaneId,
    /// The first sequence.
    pub first: u64,
    /// The last sequence.
    pub last: u64,
    /// The number of records in the event.
    pub count: u32,
    /// The last sequence that the lane sent before this event; 0 when the lane sent none.
    pub after: u64,
    /// The generation of the configuration that produced the records.
    pub generation: u64,
    /// True when a version on trial made the records.
    pub in_flight: bool,
    /// Present when nobody had set the machine's clock before the records arrived.
    pub unset: Option<Unset>,
    /// MIME type of the decompressed body.
    pub content_type: &'static str,
    /// The compression of the body; `None` when the body is not compressed.
    pub content_encoding: Option<&'static str>,
}

/// The arrival of an event's first record by the monotonic clock; the wall clock could not be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unset {
    /// The id of the machine's boot in which the record arrived.
    pub boot: Box<str>,
    /// The time of arrival, in milliseconds since that boot.
    pub monotonic_ms: u64,
}

/// The version of the properties (`docs/design/envelope.md`).
const SCHEMA: i32 = 1;

/// A property's value, with the type that a target with types gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Property<'a> {
    /// A signed number of 32 bits.
    Int(i32),
    /// An unsigned number of 64 bits.
    Long(u64),
    /// A text.
    Text(&'a str),
    /// A boolean.
    Bool(bool),
}

impl std::fmt::Display for Property<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(number) => number.fmt(f),
            Self::Long(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
            Self::Bool(flag) => flag.fmt(f),
        }
    }
}

impl Envelope {
    /// The properties that every target gets with an event, besides its content type and encoding.
    pub fn properties(&self) -> impl Iterator<Item = (&'static str, Property<'_>)> {
        let always = [
            ("schema", Property::Int(SCHEMA)),
            ("device", Property::Text(&self.device)),
            ("store", Property::Text(&self.store)),
            ("stream", Property::Text(&self.stream)),
            ("epoch", Property::Long(self.epoch)),
            ("lane", Property::Long(u64::from(self.lane.number()))),
            ("first", Property::Long(self.first)),
            ("last", Property::Long(self.last)),
            ("count", Property::Long(u64::from(self.count))),
            ("after", Property::Long(self.after)),
            ("generation", Property::Long(self.generation)),
            ("in_flight", Property::Bool(self.in_flight)),
        ];
        let unset = self.unset.iter().flat_map(|unset| {
            [
                ("clock", Property::Text("unset")),
                ("boot", Property::Text(&unset.boot)),
                ("monotonic_ms", Property::Long(unset.monotonic_ms)),
            ]
        });
        always.into_iter().chain(unset)
    }
}

/// One event: many records in one encoded body, with their description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The description of the records in the body.
    pub envelope: Envelope,
    /// The encoded records; the envelope names the content type and the compression.
    pub body: Bytes,
    /// The time of arrival of the first record, in milliseconds since 1970; `None` if the clock was not set then.
    pub arrival_ms: Option<i64>,
}

/// Events of one lane, delivered together.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The partition key: batches with equal keys go to one partition. Without a key, batches are spread.
    pub key: Option<String>,
    /// The channel of the sink. Batches of one channel go one after another; other channels do not wait for them.
    pub channel: Arc<str>,
    /// The events, in the order of their sequences.
    pub events: Vec<Event>,
}

impl Batch {
    /// Bytes of all bodies.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.events.iter().map(|event| event.body.len()).sum()
    }

    /// Records in all events.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.events.iter().map(|event| u64::from(event.envelope.count)).sum()
    }
}
