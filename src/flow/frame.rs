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
}

/// What a record takes in memory besides its payload, in bytes.
const RECORD: usize = 144;

impl Frame {
    /// Bytes held in memory for this frame, roughly.
    #[must_use]
    pub fn weight(&self) -> usize {
        let payload = match &self.payload {
            Payload::One(bytes) => bytes.len(),
            // Each line becomes a record with fields of its own.
            Payload::Lines(bytes) => bytes.len() + bytes.iter().filter(|byte| **byte == b'\n').count() * RECORD,
            Payload::TooLarge { head, .. } => head.len(),
            Payload::Nothing => 0,
        };
        payload + self.key.len() + RECORD
    }
}
