//! Every metric and every log event, in one table each.
//!
//! Numbers are logged once a minute and at stop (event `status`), and `forebay demo` and `forebay bench` read them.

pub mod numbers;
pub mod outage;
pub mod people;
pub mod seldom;

pub use numbers::{Kind, METRICS, Metric, Metrics};

/// Names of log events: the field `event` of every line that Forebay logs.
pub mod event {
    /// The agent runs.
    pub const STARTED: &str = "started";
    /// The agent was asked to stop.
    pub const STOPPING: &str = "stopping";
    /// The agent has stopped; says what stays behind.
    pub const STOPPED: &str = "stopped";
    /// The machine's clock was set.
    pub const CLOCK_SET: &str = "clock_set";
    /// All metrics.
    pub const STATUS: &str = "status";
    /// A source or sink ended or panicked without being asked; it is started again.
    pub const PART_FAILED: &str = "part_failed";
    /// A changed configuration is in force.
    pub const CONFIG_APPLIED: &str = "config_applied";
    /// A changed configuration is refused: the one before stays in force.
    pub const CONFIG_REFUSED: &str = "config_refused";
    /// A store was opened.
    pub const STORE_OPENED: &str = "store_opened";
    /// Something about the store that the user is told of.
    pub const STORE_FINDING: &str = "store_finding";
    /// The store cannot be written; it is tried again.
    pub const STORE_BLOCKED: &str = "store_blocked";
    /// The store can be written again.
    pub const STORE_UNBLOCKED: &str = "store_unblocked";
    /// The thread that writes the store has failed: the process ends and is started anew.
    pub const STORE_FAILED: &str = "store_failed";
    /// Records were given up because a stream or the store was full.
    pub const STORE_DROPPED: &str = "store_dropped";
    /// What is still wanted was copied out of an old segment.
    pub const STORE_CARRIED: &str = "store_carried";
    /// All sealed segments were read back.
    pub const STORE_SCRUBBED: &str = "store_scrubbed";
    /// A range of sequences is gone.
    pub const STORE_GAP: &str = "store_gap";
    /// The index of the store is of no use.
    pub const STORE_INDEX: &str = "store_index";
    /// A source is connected or has opened its files.
    pub const SOURCE_UP: &str = "source_up";
    /// A source lost its connection or cannot read; it is tried again.
    pub const SOURCE_DOWN: &str = "source_down";
    /// Data was lost because the store was blocked and its device cannot wait.
    pub const SOURCE_DROPPED: &str = "source_dropped";
    /// A source says something that is no failure.
    pub const SOURCE_NOTE: &str = "source_note";
    /// A device has been silent for longer than its rule allows.
    pub const SENSOR_STALE: &str = "sensor_stale";
    /// A silent device has come back.
    pub const SENSOR_BACK: &str = "sensor_back";
    /// Records were set aside.
    pub const DEAD_LETTER: &str = "dead_letter";
    /// A step on the way to a target was taken (level debug).
    pub const SINK_STEP: &str = "sink_step";
    /// A sink says something that is no failure.
    pub const SINK_NOTE: &str = "sink_note";
    /// A sink is connected.
    pub const SINK_UP: &str = "sink_up";
    /// A sink gave up what it was too far behind with.
    pub const SINK_DROPPED: &str = "sink_dropped";
    /// A sink cannot deliver; it is tried again.
    pub const SINK_DOWN: &str = "sink_down";
    /// The hub serves.
    pub const HUB_UP: &str = "hub_up";
    /// The hub refuses a client.
    pub const HUB_REFUSED: &str = "hub_refused";
}
