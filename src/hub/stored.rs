//! An event of a partition.

/// An event as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// From 0.
    pub sequence: u64,
    /// Bytes of all events before it in the partition.
    pub offset: u64,
    /// Milliseconds since the Unix epoch.
    pub enqueued_ms: i64,
    /// The partition key.
    pub key: Option<String>,
    /// The AMQP message, encoded.
    pub message: Vec<u8>,
}
