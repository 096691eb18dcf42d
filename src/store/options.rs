//! The options of a store, and the rules of its readers.

use super::log::layout::SEGMENT_BYTES;
use super::space::{StreamRule, WhenFull};
use crate::flow::pulse::Pulse;
use crate::flow::record::is_own_stream;
use crate::platform::clock::Clock;
use crate::platform::disk::{Disk, RealDisk};
use crate::telemetry::Metrics;
use std::sync::Arc;

/// Before data takes a file, this many files must wait in reserve. One is for the data. One is for cursors, floors
/// and events, and for sections that must be copied. Queries have one more file, so that a full device does not
/// stop them: the records that they release make room.
pub(super) const LEAST_SPARES: usize = 2;

/// The options of a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// All segments together have no more bytes than this; the cap is never below four segments.
    pub cap: u64,
    /// The bytes of the files that are allocated in advance.
    pub reserve: u64,
    /// How long a group waits for more data, in milliseconds.
    pub linger_ms: u64,
    /// At most this many early commits a second for stalled sources.
    pub max_commits_per_second: u32,
    /// The size of new segments, in bytes.
    pub segment: u64,
    /// The rules of the streams, by name.
    pub streams: Vec<(String, StreamRule)>,
    /// The rule for all other streams when the store is full.
    pub when_full: WhenFull,
    /// The clock of the store.
    pub clock: Clock,
    /// The disk that holds the store's files.
    pub disk: Arc<dyn Disk>,
    /// The metrics that the store counts in.
    pub metrics: Arc<Metrics>,
    /// The pulse of the thread that writes.
    pub pulse: Pulse,
}

impl Options {
    /// While this many bytes wait, the store refuses further offers, so that every group fits in a segment.
    #[must_use]
    pub fn pending_limit(&self) -> usize {
        super::PENDING_BYTES.min(usize::try_from(self.segment / 4).unwrap_or(super::PENDING_BYTES))
    }

    /// How many files wait for use: those of the reserve, but never fewer than the frames need that must not be
    /// blocked.
    #[must_use]
    pub fn spares(&self, has_queries: bool) -> usize {
        let least = if has_queries { LEAST_SPARES + 1 } else { LEAST_SPARES };
        usize::try_from(self.reserve / self.segment).unwrap_or(usize::MAX).max(least)
    }

    /// The options that can change while the store is open.
    #[must_use]
    pub fn rules(&self) -> Rules {
        let Self { cap, linger_ms, max_commits_per_second, streams, when_full, .. } = self.clone();
        Rules { cap, linger_ms, max_commits_per_second, streams, when_full }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cap: 1 << 30,
            reserve: 64 << 20,
            linger_ms: 1000,
            max_commits_per_second: 50,
            segment: SEGMENT_BYTES,
            streams: Vec::new(),
            when_full: WhenFull::Block,
            clock: Clock::system(),
            disk: Arc::new(RealDisk),
            metrics: Metrics::new(),
            pulse: Pulse::default(),
        }
    }
}

/// The options that can change while the store is open.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// All segments together have no more bytes than this; the cap is never below four segments.
    pub cap: u64,
    /// How long a group waits for more data, in milliseconds.
    pub linger_ms: u64,
    /// At most this many early commits a second for stalled sources.
    pub max_commits_per_second: u32,
    /// The rules of the streams, by name.
    pub streams: Vec<(String, StreamRule)>,
    /// The rule for all other streams when the store is full.
    pub when_full: WhenFull,
}

impl Rules {
    /// The rule of a stream, by its name.
    #[must_use]
    pub fn rule(&self, stream: &str) -> StreamRule {
        if stream.starts_with(STATE) {
            // A query that lost a part of its state would give wrong results.
            return StreamRule::default();
        }
        let own = self.streams.iter().find(|(name, _)| name == stream).map(|(_, rule)| *rule);
        own.unwrap_or(StreamRule { when_full: self.when_full, ..StreamRule::default() })
    }
}

/// Which streams a reader reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All streams but Forebay's own.
    All,
    /// The streams with these names.
    Named(Vec<String>),
}

/// A reader as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderRule {
    /// The name of the reader; its cursors are kept under this name.
    pub name: String,
    /// The streams that the reader reads.
    pub streams: Selection,
    /// The record with which the reader begins in a stream for which it has no cursor.
    pub begin: Begin,
    /// What the reader does with the records.
    pub role: Role,
}

impl ReaderRule {
    /// Whether the reader reads a stream.
    #[must_use]
    pub fn reads(&self, stream: &str) -> bool {
        match &self.streams {
            Selection::All => !is_own_stream(stream),
            Selection::Named(names) => names.iter().any(|name| name == stream),
        }
    }

    /// Whether the reader's cursor holds a stream back: what it reads, and the state of a query.
    #[must_use]
    pub fn holds(&self, stream: &str) -> bool {
        self.reads(stream) || self.role == Role::Query && stream.strip_prefix(STATE) == Some(&self.name)
    }
}

/// The record with which a reader begins in a stream for which it has no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Begin {
    /// With the oldest record that the store has.
    #[default]
    Oldest,
    /// With the next record that arrives.
    Newest,
    /// With this sequence, or with the next that the store has.
    Sequence(u64),
    /// With the first record that arrived at this time or later, milliseconds since the Unix epoch.
    Time(i64),
}

/// What a reader does with the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// The reader delivers the records.
    #[default]
    Sink,
    /// The reader makes other records of them, with `ReaderHandle::commit`.
    Query,
}

/// The prefix of the stream that holds a query's state; the name of the query's reader follows.
pub(super) const STATE: &str = "forebay.state.";
