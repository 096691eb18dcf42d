//! How a store behaves, and who reads it.

use super::log::layout::SEGMENT_BYTES;
use super::space::{StreamRule, WhenFull};
use crate::flow::record::is_own_stream;
use crate::platform::clock::Clock;
use crate::platform::disk::{Disk, RealDisk};
use crate::telemetry::Metrics;
use std::sync::Arc;

/// Before data takes a file, so many wait: one for it, and one for cursors, floors and events, and for what must be
/// copied. Queries have one more, so that a full device does not stop them: what they release makes room.
pub(super) const LEAST_SPARES: usize = 2;

/// How a store behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Segments together are no larger, in bytes; at least four segments.
    pub cap: u64,
    /// Held by files allocated in advance, in bytes.
    pub reserve: u64,
    /// A group waits this long for more, in milliseconds.
    pub linger_ms: u64,
    /// At most this many early commits a second for stalled sources.
    pub max_commits_per_second: u32,
    /// The size of new segments, in bytes.
    pub segment: u64,
    /// What streams may take, by name.
    pub streams: Vec<(String, StreamRule)>,
    /// What happens to all other streams when the store is full.
    pub when_full: WhenFull,
    /// Where time comes from.
    pub clock: Clock,
    /// Where the files are.
    pub disk: Arc<dyn Disk>,
    /// Where numbers go.
    pub metrics: Arc<Metrics>,
}

impl Options {
    /// Nothing more is taken in while this many bytes wait, so that any group fits in a segment.
    #[must_use]
    pub fn pending_limit(&self) -> usize {
        super::PENDING_BYTES.min(usize::try_from(self.segment / 4).unwrap_or(super::PENDING_BYTES))
    }

    /// How many files wait for use: those of the reserve, but at least as many as frames need that must go on.
    #[must_use]
    pub fn spares(&self, has_queries: bool) -> usize {
        let least = if has_queries { LEAST_SPARES + 1 } else { LEAST_SPARES };
        usize::try_from(self.reserve / self.segment).unwrap_or(usize::MAX).max(least)
    }

    /// What can change while the store is open.
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
        }
    }
}

/// What can change while the store is open.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// Segments together are no larger, in bytes; at least four segments.
    pub cap: u64,
    /// A group waits this long for more, in milliseconds.
    pub linger_ms: u64,
    /// At most this many early commits a second for stalled sources.
    pub max_commits_per_second: u32,
    /// What streams may take, by name.
    pub streams: Vec<(String, StreamRule)>,
    /// What happens to all other streams when the store is full.
    pub when_full: WhenFull,
}

impl Rules {
    /// What a stream may take.
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
    /// All but Forebay's own.
    All,
    /// These.
    Named(Vec<String>),
}

/// A reader as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderRule {
    /// Its name; cursors are kept under it.
    pub name: String,
    /// What it reads.
    pub streams: Selection,
    /// Where it begins in a stream that it has no cursor for.
    pub begin: Begin,
    /// What it does with the records.
    pub role: Role,
}

impl ReaderRule {
    /// Whether it reads a stream: what it is given, and a query also its own state.
    #[must_use]
    pub fn reads(&self, stream: &str) -> bool {
        let is_given = match &self.streams {
            Selection::All => !is_own_stream(stream),
            Selection::Named(names) => names.iter().any(|name| name == stream),
        };
        is_given || self.role == Role::Query && stream.strip_prefix(STATE) == Some(&self.name)
    }
}

/// Where a reader begins in a stream that it has no cursor for.
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
    /// It delivers them.
    #[default]
    Sink,
    /// It makes others of them, with `ReaderHandle::commit`.
    Query,
}

/// The stream of a query's state has the name of its reader behind this.
pub(super) const STATE: &str = "forebay.state.";
