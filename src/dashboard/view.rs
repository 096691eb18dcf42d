//! An agent at one moment, as the local API shows it. The log, the page and `forebay status` show the same.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// An agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// The version of the program.
    pub version: Cow<'static, str>,
    /// The name of the device.
    pub device: String,
    /// The number of the configuration in force.
    pub generation: u64,
    /// Seconds since the agent was started.
    pub uptime_s: u64,
    /// The present time, in milliseconds since 1970.
    pub now_ms: i64,
    /// Whether the clock of the machine is set.
    pub clock_is_set: bool,
    /// All sources and sinks.
    pub parts: Vec<PartView>,
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
    /// What waits for a sink, by stream.
    pub waits: Vec<Waits>,
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
