//! Frames: the raw messages that a source hands to the intake.

use bytes::Bytes;
use std::sync::Arc;

/// The position of a source in one of its parts (a file, a session). Only the source can read its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The part of the source: a file's identity, an MQTT session.
    pub part: String,
    /// The position in the source's own encoding; an empty value removes the part.
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
    /// No message: the frame only saves a position.
    Nothing,
    /// A message that is too large: only its length, its CRC32C and its first bytes are kept.
    TooLarge {
        /// The length of the whole message, in bytes.
        length: u64,
        /// The CRC32C of the whole message.
        crc: u32,
        /// The first `DEAD_LETTER_KEEP` bytes at most.
        head: Bytes,
    },
}

/// One hand-over from a source. All of its messages settle together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The key of its records: a topic, a path or another name.
    pub key: Arc<str>,
    /// The flags of its records, such as `REDELIVERED`.
    pub flags: u8,
    /// The messages that the source received.
    pub payload: Payload,
    /// The position of the source; it is saved in the same commit as the records.
    pub position: Option<Position>,
    /// The index of the frame's route among the routes of its source.
    pub route: usize,
    /// The attributes that each of its records gets.
    pub attributes: Vec<(Box<str>, Box<str>)>,
    /// The header that the decoder needs for each message: the line with the column names (csv), or the unit of the
    /// times (Influx).
    pub header: Option<Arc<[u8]>>,
}

/// The memory that a record takes besides its payload, in bytes.
const RECORD: usize = 144;

impl Frame {
    /// A frame of the first route, without a position.
    #[must_use]
    pub fn new(key: impl Into<Arc<str>>, payload: Payload) -> Self {
        let key = key.into();
        Self { key, flags: 0, payload, position: None, route: 0, attributes: Vec::new(), header: None }
    }

    /// A frame without records that only saves a position.
    #[must_use]
    pub fn position(part: impl Into<String>, value: Vec<u8>) -> Self {
        let position = Some(Position { part: part.into(), value });
        Self { position, ..Self::new("", Payload::Nothing) }
    }

    /// The payload bytes that the source received, including bytes that are not kept.
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
