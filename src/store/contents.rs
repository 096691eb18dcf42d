//! What the store holds at the moment, by stream: for the page, the metrics and the alerts.

use super::Store;
use super::log::body::StreamState;
use super::space::Snapshot;

/// A stream at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The name of the stream.
    pub name: String,
    /// The oldest sequence that can be read; larger than `last` when there is none.
    pub first: u64,
    /// The newest durable sequence; 0 when there is none.
    pub last: u64,
    /// The bytes of these records in the store; estimated within a segment.
    pub bytes: u64,
    /// The bytes of those that its slowest reader has not released.
    pub waits: u64,
}

impl Store {
    /// Every stream that has a record in the log, by name. The states of queries are not among them.
    #[must_use]
    pub fn contents(&self) -> Vec<Contents> {
        let shared = self.inner.lock();
        let snapshot = shared.snapshot(0);
        let of = |stream: &StreamState| of(&snapshot, stream);
        let streams = shared.state.streams.values().filter(|stream| !stream.name.starts_with(super::options::STATE));
        let mut contents: Vec<Contents> = streams.map(of).collect();
        contents.sort_by(|one, other| one.name.cmp(&other.name));
        contents
    }

    /// The most bytes that all segments may take together.
    #[must_use]
    pub fn cap(&self) -> u64 {
        self.inner.lock().rules.cap
    }
}

fn of(snapshot: &Snapshot<'_>, stream: &StreamState) -> Contents {
    Contents {
        name: stream.name.clone(),
        first: stream.floor.max(1),
        last: stream.next.saturating_sub(1),
        bytes: snapshot.bytes_from(stream.id, stream.floor),
        waits: snapshot.unreleased(stream.id),
    }
}
