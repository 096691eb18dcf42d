//! How the bodies of events are compressed.

/// How bodies are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// As they are.
    None,
    /// gzip, level 6.
    Gzip,
}
