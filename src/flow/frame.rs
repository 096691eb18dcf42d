//! What a source hands to the intake.

use bytes::Bytes;
use std::sync::Arc;

/// Where a source stands in one of its parts (a file, a session); opaque to everybody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The part of the source: a file's identity, an MQTT session.
    pub part: String,
    /// The source's own encoding; empty removes the part.
    pub value: Vec<u8>,
}

/// The bytes of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// One message.
    One(Bytes),
    /// Several messages, each with its newline; the last may lack it.
    Lines(Bytes),
    /// Several messages that may have newlines in them.
    Messages(Vec<Bytes>),
    /// Nothing to store, only a position to save.
    Nothing,
    /// A message that is too large: its length, a CRC32C of all of it, its first bytes.
    TooLarge {
        /// All of it, in bytes.
        length: u64,
        /// CRC32C of all of it.
        crc: u32,
        /// The first `DEAD_LETTER_KEEP` bytes at most.
        head: Bytes,
    },
}

/// One hand-over from a source: it settles as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Topic, path or other key.
    pub key: Arc<str>,
    /// Record flags.
    pub flags: u8,
    /// What came.
    pub payload: Payload,
    /// Saved in the same commit as the records.
    pub position: Option<Position>,
    /// Which of the source's routes it takes.
    pub route: usize,
    /// Given to each of its records.
    pub attributes: Vec<(Box<str>, Box<str>)>,
    /// What its messages cannot be read without: the line that names their columns (csv), or the unit of
    /// their times (Influx).
    pub header: Option<Arc<[u8]>>,
}

/// What a record takes in memory besides its payload, in bytes.
const RECORD: usize = 144;

impl Frame {
    /// A frame of the first route, without a position.
    #[must_use]
    pub fn new(key: impl Into<Arc<str>>, payload: Payload) -> Self {
        let key = key.into();
        Self { key, flags: 0, payload, position: None, route: 0, attributes: Vec::new(), header: None }
    }

    /// No records, only a position to save.
    #[must_use]
    pub fn position(part: impl Into<String>, value: Vec<u8>) -> Self {
        let position = Some(Position { part: part.into(), value });
        Self { position, ..Self::new("", Payload::Nothing) }
    }

    /// Payload bytes that came, also those that are not kept.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match &self.payload {
            Payload::One(bytes) | Payload::Lines(bytes) => bytes.len() as u64,
            Payload::Messages(list) => list.iter().map(|bytes| bytes.len() as u64).sum(),
            Payload::TooLarge { length, .. } => *length,
            Payload::Nothing => 0,
        }
    }

    /// Bytes held in memory for this frame, roughly.
    #[must_use]
    pub fn weight(&self) -> usize {
        let payload = match &self.payload {
            Payload::One(bytes) => bytes.len(),
            // Each line becomes a record with fields of its own.
            Payload::Lines(bytes) => bytes.len() + bytes.iter().filter(|byte| **byte == b'\n').count() * RECORD,
            Payload::Messages(list) => list.iter().map(|bytes| bytes.len() + RECORD).sum(),
            Payload::TooLarge { head, .. } => head.len(),
            Payload::Nothing => 0,
        };
        let attributes: usize = self.attributes.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
        payload + self.key.len() + attributes + RECORD
    }
}
