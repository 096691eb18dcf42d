//! Who writes to a stream: sources, queries or the store itself, never two of them.
//!
//! Groups of two kinds may wait at the same time, and each has the next sequences of its streams: were they the same
//! streams, one sequence would name two records.

use super::log::body::StreamId;
use super::shared::Shared;
use crate::flow::record::EVENTS;

/// Who writes to a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// Whoever offers atoms.
    Sources,
    /// Steps of queries.
    Queries,
    /// The store itself.
    Store,
}

impl std::fmt::Display for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sources => "sources",
            Self::Queries => "queries",
            Self::Store => "the store itself",
        })
    }
}

/// Sources, queries and the store itself never write to the same stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stream `{stream}` is written by {writer}: nobody else can write to it")]
pub struct OtherWriter {
    /// The stream.
    pub stream: String,
    /// Who writes to it.
    pub writer: Writer,
}

impl Shared {
    /// Sees to it that a stream has one kind of writer: groups of two kinds may wait at the same time, and each
    /// has the next sequences of its streams.
    pub fn claim(&mut self, stream: StreamId, writer: Writer) -> Result<(), OtherWriter> {
        let known = self.writers.get(&stream).copied().unwrap_or_else(|| {
            let first = if self.name(stream) == EVENTS { Writer::Store } else { writer };
            self.writers.insert(stream, first);
            first
        });
        if known == writer { Ok(()) } else { Err(OtherWriter { stream: self.name(stream), writer: known }) }
    }
}
