//! The one kind of writer of each stream: sources, queries or the store itself.
//!
//! A group of sources and a group of queries may wait at the same time, and each takes the next sequences of its
//! streams. If both wrote to one stream, one sequence would name two records.

use super::log::body::StreamId;
use super::shared::{Inner, Shared};
use crate::flow::receipt::Ticket;
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

/// Who writes to a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    writer: Writer,
    /// The last group of that writer with records of the stream.
    group: u64,
    /// The configuration has changed since: another kind of writer may take over when that group is durable.
    pub is_former: bool,
}

/// Why a stream cannot be claimed.
pub(super) enum ClaimError {
    /// The stream has another kind of writer.
    Other(OtherWriter),
    /// The stream had another kind of writer before the configuration changed, whose last group is not durable yet.
    Wait,
}

impl Inner {
    /// Claims streams for a kind of writer, all of them or none.
    pub fn claim(
        &self,
        shared: &mut Shared,
        streams: impl Iterator<Item = StreamId> + Clone,
        writer: Writer,
    ) -> Result<(), ClaimError> {
        for stream in streams.clone() {
            let Some(claim) = shared.writers.get(&stream) else {
                if shared.name(stream) == EVENTS {
                    return Err(ClaimError::Other(OtherWriter { stream: EVENTS.into(), writer: Writer::Store }));
                }
                continue;
            };
            if claim.writer == writer {
                continue;
            }
            if !claim.is_former {
                return Err(ClaimError::Other(OtherWriter { stream: shared.name(stream), writer: claim.writer }));
            }
            let settled = if claim.writer == Writer::Queries { &self.stepped } else { &self.durable };
            if !settled.borrow().covers(Ticket::new(claim.group)) {
                return Err(ClaimError::Wait);
            }
        }
        let group = if writer == Writer::Queries { shared.steps.number } else { shared.pending.number };
        for stream in streams {
            shared.writers.insert(stream, Claim { writer, group, is_former: false });
        }
        Ok(())
    }
}
