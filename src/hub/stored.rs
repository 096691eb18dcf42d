//! An event of a partition.

/// An event as the hub received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The sequence in the partition, from 0.
    pub sequence: u64,
    /// The bytes of all events before it in the partition.
    pub offset: u64,
    /// The time at which it arrived, in milliseconds since the Unix epoch.
    pub enqueued_ms: i64,
    /// The partition key.
    pub key: Option<String>,
    /// The AMQP message, encoded.
    pub message: Vec<u8>,
}
