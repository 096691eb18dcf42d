//! The one kind of writer of each stream: sources, queries or the store itself.
//!
//! A group of sources and a group of queries may wait at the same time, and each takes the next sequences of its
//! streams. If both wrote to one stream, one sequence would name two records.

use super::log::body::StreamId;
use super::shared::Shared;
use crate::flow::record::EVENTS;

/// The kind of writer of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// The sources, and everybody else who offers atoms.
    Sources,
    /// The steps of queries.
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

/// A stream is already written by another kind of writer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stream `{stream}` is written by {writer}: nobody else can write to it")]
pub struct OtherWriter {
    /// The name of the stream.
    pub stream: String,
    /// The kind of writer that writes to the stream.
    pub writer: Writer,
}

impl Shared {
    /// Makes sure that a stream has one kind of writer. Groups of two kinds may wait at the same time, and each
    /// takes the next sequences of its streams.
    pub fn claim(&mut self, stream: StreamId, writer: Writer) -> Result<(), OtherWriter> {
        let known = self.writers.get(&stream).copied().unwrap_or_else(|| {
            let first = if self.name(stream) == EVENTS { Writer::Store } else { writer };
            self.writers.insert(stream, first);
            first
        });
        if known == writer { Ok(()) } else { Err(OtherWriter { stream: self.name(stream), writer: known }) }
    }
}
