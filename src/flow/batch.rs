//! What a sink delivers: event bodies with their properties.

use super::lane::LaneId;
use bytes::Bytes;
use std::sync::Arc;

/// What every event says of the records that it holds (`docs/design/envelope.md`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The device's name.
    pub device: Arc<str>,
    /// The store's random id, in hex.
    pub store: Arc<str>,
    /// The stream.
    pub stream: Arc<str>,
    /// The epoch of all records of this event.
    pub epoch: u64,
    /// The lane within the stream.
    pub lane: LaneId,
    /// The first sequence.
    pub first: u64,
    /// The last sequence.
    pub last: u64,
    /// How many records.
    pub count: u32,
    /// The sequence sent before this event in the lane; 0 when there was none.
    pub after: u64,
    /// The configuration that produced the records.
    pub generation: u64,
    /// Made by a version on trial.
    pub in_flight: bool,
    /// Nobody had set the clock when its records arrived.
    pub unset: Option<Unset>,
    /// MIME type of the decompressed body.
    pub content_type: &'static str,
    /// Compression of the body.
    pub content_encoding: Option<&'static str>,
}

/// When the first record of an event arrived, by the only clock that could be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unset {
    /// The boot of the machine.
    pub boot: Box<str>,
    /// Milliseconds since that boot.
    pub monotonic_ms: u64,
}

/// The version of the properties (`docs/design/envelope.md`).
const SCHEMA: i32 = 1;

/// A property's value, with the type that a target with types gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Property<'a> {
    /// A small number.
    Int(i32),
    /// A number.
    Long(u64),
    /// A text.
    Text(&'a str),
    /// Yes or no.
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
    /// What every target says of an event besides its content type and encoding.
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

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What it holds.
    pub envelope: Envelope,
    /// The encoded readings.
    pub body: Bytes,
}

/// Events of one lane, delivered together.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Decides the partition: equal keys, one partition. None: the target spreads batches.
    pub key: Option<String>,
    /// Batches of one channel follow one after another; other channels are independent of it.
    pub channel: Arc<str>,
    /// In order.
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
