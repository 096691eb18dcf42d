//! How the bodies of events are compressed.

/// How bodies are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Bodies are not compressed.
    None,
    /// Bodies are compressed with gzip, level 6.
    Gzip,
}
