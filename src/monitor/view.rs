//! An agent at one moment, as the local API shows it. The log, the page and `forebay status` show the same.

use super::alert::Severity;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Numbers by their names in `docs/metrics.md`; those that are 0 are left out.
pub type Numbers = BTreeMap<Cow<'static, str>, u64>;

/// An agent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct View {
    /// The version of the program.
    pub version: Cow<'static, str>,
    /// The name of the device.
    pub device: String,
    /// The number of the configuration in force.
    pub generation: u64,
    /// Seconds since the agent was started.
    pub uptime_s: u64,
    /// When the agent was started, in milliseconds since 1970; found out anew once when the clock is set.
    pub started_ms: i64,
    /// The present time, in milliseconds since 1970.
    pub now_ms: i64,
    /// Whether the clock of the machine is set.
    pub clock_is_set: bool,
    /// The numbers of the agent as a whole.
    pub numbers: Numbers,
    /// All sources and sinks.
    pub parts: Vec<PartView>,
    /// The streams in the store, by name.
    pub streams: Vec<StreamView>,
    /// How full the store is.
    pub fill: Fill,
    /// The alerts that are active, the oldest first.
    pub alerts: Vec<AlertView>,
    /// The first dead letter that nobody has replayed or discarded.
    #[serde(default)]
    pub open_dead_letters_from: u64,
}

/// A stream in the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamView {
    /// The name of the stream.
    pub name: String,
    /// The oldest sequence that can be read; larger than `last` when there is none.
    pub first: u64,
    /// The newest sequence on disk; 0 when there is none.
    pub last: u64,
    /// The bytes of these records in the store.
    pub bytes: u64,
}

/// How full the store is.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Fill {
    /// Bytes that somebody must still read.
    pub waits: u64,
    /// The most bytes that the store may take: its `cap`, or less if the disk has less room.
    pub room: u64,
    /// Seconds until the store is full if it goes on to fill as in the last minutes; `None` when it does not fill.
    pub full_in_s: Option<u64>,
}

/// An alert that is active.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertView {
    /// The name of the alert: `lag` for `[alert.lag]`.
    pub name: String,
    /// What it is about, such as `sink hub, stream readings`; empty for the agent as a whole.
    pub about: String,
    /// How bad it is.
    pub severity: Severity,
    /// What happened, and what to do.
    pub message: String,
    /// When it began, in milliseconds since 1970.
    pub since_ms: i64,
}

/// The two kinds of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It brings readings.
    Source,
    /// It delivers them.
    Sink,
}

impl Kind {
    /// The label of its metrics, which is also its word in the configuration.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Sink => "sink",
        }
    }
}

/// A source or a sink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartView {
    /// Whether it is a source or a sink.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its health in one word: `starting`, `idle`, `up`, `waiting` or `failed`.
    pub health: Cow<'static, str>,
    /// Whether it works, or has nothing to do.
    pub is_good: bool,
    /// The health with its reason.
    pub state: String,
    /// Seconds since the health changed.
    pub since_s: u64,
    /// When a source brought its last frame, in milliseconds since 1970; `None` if it brought none.
    pub last_frame_ms: Option<i64>,
    /// The streams that a source writes to, or that a sink reads.
    pub streams: Vec<String>,
    /// What waits for a sink, by stream.
    pub waits: Vec<Waits>,
    /// The numbers that the part counts.
    pub numbers: Numbers,
    /// When the certificates and signatures that the part shows to others end, the first to end first.
    pub ends: Vec<Ends>,
}

impl PartView {
    /// The records that wait for a sink, all streams together.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.waits.iter().map(|waits| waits.records).sum()
    }

    /// When the oldest record that waits for a sink arrived, in milliseconds since 1970.
    #[must_use]
    pub fn oldest_ms(&self) -> Option<i64> {
        self.waits.iter().filter(|waits| waits.records > 0).filter_map(|waits| waits.oldest_ms).min()
    }
}

impl View {
    /// The records that wait for the sink that is furthest behind.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.parts.iter().map(PartView::records).max().unwrap_or(0)
    }

    /// The age of the oldest record that waits for any sink, in milliseconds; `None` when nothing waits.
    #[must_use]
    pub fn age_ms(&self) -> Option<u64> {
        let oldest = self.parts.iter().filter_map(PartView::oldest_ms).min();
        oldest.map(|at| self.now_ms.saturating_sub(at).max(0).unsigned_abs())
    }
}

/// Something that ends: a certificate, the signature of a connection string.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ends {
    /// The file, or the name of the setting.
    pub what: String,
    /// When it ends, in milliseconds since 1970.
    pub at_ms: i64,
}

/// Records of a stream that a sink has not delivered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waits {
    /// The name of the stream.
    pub stream: String,
    /// The number of records.
    pub records: u64,
    /// Their bytes in the store.
    pub bytes: u64,
    /// When the oldest of them arrived, in milliseconds since 1970.
    pub oldest_ms: Option<i64>,
}
