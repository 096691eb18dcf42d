//! The names of log events, and the events that are also reported to the user.
//!
//! Every line that Forebay logs has a name in the field `event`. An `Event` concerns the person who looks after the
//! device. It is reported once, in one place: the report writes the log line, adds to the metric, and makes a
//! record in the stream `forebay.events`. A sink may carry this stream to the hub.

use super::{Metric, Metrics, people};
use serde::Serialize;

/// The agent runs.
pub const STARTED: &str = "started";
/// The agent was asked to stop.
pub const STOPPING: &str = "stopping";
/// The agent has stopped. The line says how many records are left.
pub const STOPPED: &str = "stopped";
/// The machine's clock was set.
pub const CLOCK_SET: &str = "clock_set";
/// All metrics of the agent and its parts.
pub const STATUS: &str = "status";
/// A source or sink ended or panicked without being asked; it is started again.
pub const PART_FAILED: &str = "part_failed";
/// A task of the agent works on one thing without an end.
pub const PART_HANGS: &str = "part_hangs";
/// The agent takes more memory than it may: its sources wait.
pub const MEMORY_SHORT: &str = "memory_short";
/// The agent takes less memory again than it may.
pub const MEMORY_ENOUGH: &str = "memory_enough";
/// A changed configuration is in force.
pub const CONFIG_APPLIED: &str = "config_applied";
/// A changed configuration is refused: the one before stays in force.
pub const CONFIG_REFUSED: &str = "config_refused";
/// A pushed configuration is on trial.
pub const CONFIG_TRIAL: &str = "config_trial";
/// A pushed configuration did worse than the one before, which is back.
pub const CONFIG_ROLLED_BACK: &str = "config_rolled_back";
/// A server or a broker that brings configurations answers again.
pub const CONTROL_UP: &str = "control_up";
/// A server or a broker that brings configurations cannot be reached.
pub const CONTROL_DOWN: &str = "control_down";
/// What became of a pushed document.
pub const CONTROL_NOTE: &str = "control_note";
/// A store was opened.
pub const STORE_OPENED: &str = "store_opened";
/// A finding about the store that is reported to the user.
pub const STORE_FINDING: &str = "store_finding";
/// The store cannot be written; it is tried again.
pub const STORE_BLOCKED: &str = "store_blocked";
/// The store can be written again.
pub const STORE_UNBLOCKED: &str = "store_unblocked";
/// The thread that writes the store has failed: the process ends and is started anew.
pub const STORE_FAILED: &str = "store_failed";
/// Records were given up because a stream or the store was full.
pub const STORE_DROPPED: &str = "store_dropped";
/// Records that are still needed were copied out of an old segment.
pub const STORE_CARRIED: &str = "store_carried";
/// All sealed segments were read back.
pub const STORE_SCRUBBED: &str = "store_scrubbed";
/// A range of sequences is gone.
pub const STORE_GAP: &str = "store_gap";
/// The index of the store cannot be used or written.
pub const STORE_INDEX: &str = "store_index";
/// A source is connected or has opened its files.
pub const SOURCE_UP: &str = "source_up";
/// A source lost its connection or cannot read; it is tried again.
pub const SOURCE_DOWN: &str = "source_down";
/// Data was lost because the store was blocked and the source's device cannot wait.
pub const SOURCE_DROPPED: &str = "source_dropped";
/// A source reports something that is not a failure.
pub const SOURCE_NOTE: &str = "source_note";
/// A device has been silent for longer than its rule allows.
pub const SENSOR_STALE: &str = "sensor_stale";
/// A silent device has come back.
pub const SENSOR_BACK: &str = "sensor_back";
/// Records became dead letters.
pub const DEAD_LETTER: &str = "dead_letter";
/// Dead letters were replayed or discarded.
pub const DEAD_LETTERS_TAKEN: &str = "dead_letters_taken";
/// A step on the way to a target was taken (level debug).
pub const SINK_STEP: &str = "sink_step";
/// A sink reports something that is not a failure.
pub const SINK_NOTE: &str = "sink_note";
/// A sink is connected.
pub const SINK_UP: &str = "sink_up";
/// A sink gave up records that it was too far behind with.
pub const SINK_DROPPED: &str = "sink_dropped";
/// A sink cannot deliver; it is tried again.
pub const SINK_DOWN: &str = "sink_down";
/// The page and the local API listen.
pub const PAGE_UP: &str = "page_up";
/// The page and the local API cannot listen; it is tried again.
pub const PAGE_DOWN: &str = "page_down";
/// An alert is active from now on.
pub const ALERT_BEGINS: &str = "alert_begins";
/// An alert is over.
pub const ALERT_ENDED: &str = "alert_ended";
/// The state of the alerts cannot be stored, or a watched stream not be read.
pub const ALERTS_NOT_KEPT: &str = "alerts_not_kept";
/// A webhook or broker is not told of alerts; it is tried again.
pub const ALERT_TARGET_DOWN: &str = "alert_target_down";
/// A webhook or broker is told of alerts again.
pub const ALERT_TARGET_UP: &str = "alert_target_up";
/// A collector takes no metrics; it is tried again.
pub const OTLP_DOWN: &str = "otlp_down";
/// A collector takes metrics again.
pub const OTLP_UP: &str = "otlp_up";
/// A heartbeat could not be written.
pub const HEARTBEAT: &str = "heartbeat";
/// The level of the log was changed.
pub const LOG_LEVEL: &str = "log_level";
/// The local hub accepts connections.
pub const HUB_UP: &str = "hub_up";
/// The hub refuses a client.
pub const HUB_REFUSED: &str = "hub_refused";

/// The reason why records are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The bytes are bad or gone.
    Damaged,
    /// Given up because there was no room, the oldest first.
    DropOldest,
    /// Given up because there was no room, as they arrived.
    DropNewest,
    /// Given up by a person (`forebay buffer trim`).
    Trimmed,
    /// Given up by a sink that was further behind than its rule allows.
    Behind,
}

/// An event that is reported to the user, with the fields of its record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Event {
    /// A finding while the store was opened.
    Finding {
        /// The stream that misses records.
        #[serde(skip_serializing_if = "Option::is_none")]
        stream: Option<String>,
        /// The first missing sequence.
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<u64>,
        /// The last missing sequence.
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<u64>,
        /// The reason why the records are missing.
        #[serde(skip_serializing_if = "Option::is_none")]
        cause: Option<Cause>,
        /// Whether data is gone, or may be.
        #[serde(skip)]
        is_loss: bool,
        /// The finding in words.
        message: String,
    },
    /// A reader found sequences that cannot be read.
    Gap {
        /// The name of the stream.
        stream: String,
        /// The first unreadable sequence.
        from: u64,
        /// The last unreadable sequence.
        to: u64,
        /// The number of records.
        records: u64,
        /// Always `damaged`.
        cause: Cause,
    },
    /// Records that were given up, summed up over a minute. They are counted when they are given up.
    Dropped {
        /// The name of the stream.
        stream: String,
        /// The first sequence that was given up.
        from: u64,
        /// The last sequence that was given up.
        to: u64,
        /// The number of records.
        records: u64,
        /// The reason why they were given up.
        cause: Cause,
    },
    /// The clock was set: a consumer can correct times of the same boot.
    ClockSet {
        /// The id of the boot, as in records that arrived before the clock was set.
        boot: &'static str,
        /// Milliseconds between that boot and now.
        monotonic_ms: u64,
        /// The present wall time, in milliseconds since the Unix epoch.
        wall_ms: i64,
        /// The milliseconds by which the clock was moved.
        by_ms: i64,
        /// The time that the clock shows now, in words.
        #[serde(skip)]
        now: String,
    },
    /// A device has been silent for longer than its rule allows.
    SensorStale {
        /// The name of the source.
        source: String,
        /// The device's key.
        key: String,
        /// The time of silence so far, in milliseconds.
        silent_ms: u64,
    },
    /// A silent device has come back.
    SensorBack {
        /// The name of the source.
        source: String,
        /// The device's key.
        key: String,
    },
    /// A source or sink ended or panicked without being asked.
    PartFailed {
        /// The part, such as `source.plant`.
        part: String,
        /// The reason of the failure.
        why: String,
        /// The wait before the part is started again, in milliseconds.
        again_ms: u64,
    },
    /// A task of the agent works on one thing without an end.
    PartHangs {
        /// The part, such as `source.plant`.
        part: String,
        /// The name of the task.
        task: &'static str,
        /// Seconds since that work began.
        seconds: u64,
    },
    /// The agent takes more memory than it may: its sources wait.
    MemoryShort {
        /// Memory that the process takes for data, in bytes.
        used: u64,
        /// The limit, `memory_max`, in bytes.
        most: u64,
    },
    /// The agent takes less memory again than it may.
    MemoryEnough {
        /// Memory that the process takes for data, in bytes.
        used: u64,
        /// Seconds since it took more.
        seconds: u64,
    },
    /// An alert is active from now on.
    AlertBegins {
        /// The name of the alert.
        alert: String,
        /// What it is about; empty for the agent as a whole.
        about: String,
        /// How bad it is: `warning` or `critical`.
        severity: &'static str,
        /// What happened, and what to do.
        reason: String,
    },
    /// An alert is over.
    AlertEnded {
        /// The name of the alert.
        alert: String,
        /// What it was about; empty for the agent as a whole.
        about: String,
        /// Seconds since it began.
        seconds: u64,
    },
    /// A changed configuration is in force.
    ConfigApplied {
        /// The path of the configuration file.
        config: String,
        /// The generation of the configuration.
        generation: u64,
        /// Parts that were stopped.
        stopped: String,
        /// Parts that were started.
        started: String,
        /// The number of parts that kept running.
        kept: usize,
    },
    /// A changed configuration is refused: the one before stays in force.
    ConfigRefused {
        /// The path of the configuration file.
        config: String,
        /// The line of the file with the problem.
        #[serde(skip_serializing_if = "Option::is_none")]
        line: Option<usize>,
        /// The problem in words.
        problem: String,
    },
    /// A pushed configuration was given up; the one before is back.
    ConfigRolledBack {
        /// The serial of its document.
        serial: u64,
        /// The generation of the configuration that is in force again.
        generation: u64,
        /// Why it was given up.
        problem: String,
    },
}

impl Event {
    /// The name of the event.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Finding { .. } => STORE_FINDING,
            Self::Gap { .. } => STORE_GAP,
            Self::Dropped { .. } => STORE_DROPPED,
            Self::ClockSet { .. } => CLOCK_SET,
            Self::SensorStale { .. } => SENSOR_STALE,
            Self::SensorBack { .. } => SENSOR_BACK,
            Self::PartFailed { .. } => PART_FAILED,
            Self::PartHangs { .. } => PART_HANGS,
            Self::MemoryShort { .. } => MEMORY_SHORT,
            Self::MemoryEnough { .. } => MEMORY_ENOUGH,
            Self::AlertBegins { .. } => ALERT_BEGINS,
            Self::AlertEnded { .. } => ALERT_ENDED,
            Self::ConfigApplied { .. } => CONFIG_APPLIED,
            Self::ConfigRefused { .. } => CONFIG_REFUSED,
            Self::ConfigRolledBack { .. } => CONFIG_ROLLED_BACK,
        }
    }

    /// The event in words, with the things that it is about.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Finding { message, .. } => message.clone(),
            Self::Gap { stream, from, to, .. } => format!("stream {stream}: sequences {from} to {to} cannot be read"),
            Self::Dropped { stream, from, to, records, .. } => {
                format!("stream {stream}: {records} records were given up, sequences {from} to {to}")
            }
            Self::ClockSet { now, .. } => format!("the clock was set; it is {now} now"),
            Self::SensorStale { source, key, .. } => format!("source {source}: {key} is silent"),
            Self::SensorBack { source, key } => format!("source {source}: {key} is back"),
            Self::PartFailed { part, .. } => format!("{part} failed; it is started again"),
            Self::PartHangs { part, task, seconds } => {
                format!("{part}: {task} has not come to an end for {seconds} s")
            }
            Self::MemoryShort { used, most } => format!(
                "memory is short: {} are used, and `memory_max` is {}; sources wait until what they hold is on disk",
                people::size(*used),
                people::size(*most)
            ),
            Self::MemoryEnough { used, seconds } => {
                format!("memory is enough again after {seconds} s: {} are used", people::size(*used))
            }
            Self::AlertBegins { alert, reason, .. } => format!("alert {alert}: {reason}"),
            Self::AlertEnded { alert, about, seconds } => {
                let about = if about.is_empty() { String::new() } else { format!(" ({about})") };
                format!("alert {alert}{about} has ended after {}", people::span(seconds * 1000))
            }
            Self::ConfigApplied { .. } => "the changed configuration is in force".into(),
            Self::ConfigRefused { .. } => "the changed configuration is refused; the running one stays".into(),
            Self::ConfigRolledBack { serial, .. } => {
                format!("document {serial} did worse than the configuration before, which is back")
            }
        }
    }

    /// Writes the log line and adds to the metric.
    pub fn log(&self, metrics: &Metrics) {
        let (event, message) = (self.name(), self.message());
        match self {
            Self::Finding { is_loss, .. } => {
                metrics.add(Metric::StoreDamage, u64::from(*is_loss));
                tracing::warn!(event, "{message}");
            }
            Self::Gap { stream, from, to, .. } => {
                metrics.add(Metric::StoreDamage, 1);
                tracing::warn!(event, stream, from, to, "{message}");
            }
            Self::Dropped { stream, from, to, records, cause } => {
                tracing::warn!(event, stream, from, to, records, ?cause, "{message}");
            }
            Self::ClockSet { by_ms, .. } => tracing::warn!(event, by_ms, "{message}"),
            Self::SensorStale { source, key, silent_ms } => {
                metrics.add(Metric::QualityStale, 1);
                tracing::warn!(event, source, key, silent_ms, "{message}");
            }
            Self::SensorBack { source, key } => tracing::info!(event, source, key, "{message}"),
            Self::PartFailed { part, why, again_ms } => {
                metrics.add(Metric::PartRestarts, 1);
                tracing::error!(event, part, why, again_ms, "{message}");
            }
            Self::PartHangs { .. } => {
                metrics.add(Metric::PartHangs, 1);
                tracing::error!(event, "{message}");
            }
            Self::MemoryShort { .. } => {
                metrics.add(Metric::MemoryShort, 1);
                tracing::warn!(event, "{message}");
            }
            Self::MemoryEnough { .. } => tracing::info!(event, "{message}"),
            Self::AlertBegins { alert, about, severity, .. } => {
                metrics.add(Metric::Alerts, 1);
                tracing::warn!(event, alert, about, severity, "{message}");
            }
            Self::AlertEnded { alert, .. } => tracing::info!(event, alert, "{message}"),
            Self::ConfigApplied { config, generation, stopped, started, kept } => {
                metrics.add(Metric::ConfigApplied, 1);
                tracing::info!(event, config, generation, stopped, started, kept, "{message}");
            }
            Self::ConfigRefused { config, line, problem } => {
                metrics.add(Metric::ConfigRefused, 1);
                tracing::error!(event, config, line, problem, "{message}");
            }
            Self::ConfigRolledBack { serial, generation, problem } => {
                metrics.add(Metric::ConfigRolledBack, 1);
                tracing::error!(event, serial, generation, problem, "{message}");
            }
        }
    }

    /// The record's payload: one JSON object with the name, the fields and the words.
    #[must_use]
    pub fn json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Whole<'a> {
            event: &'a str,
            #[serde(flatten)]
            fields: &'a Event,
            #[serde(skip_serializing_if = "Option::is_none")]
            message: Option<String>,
        }
        let message = (!matches!(self, Self::Finding { .. })).then(|| self.message());
        // Text and numbers always make JSON.
        serde_json::to_vec(&Whole { event: self.name(), fields: self, message }).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_json_object_with_its_name_its_fields_and_its_words() {
        let json = |event: Event| String::from_utf8(event.json()).unwrap();
        let dropped = Event::Dropped { stream: "s".into(), from: 3, to: 5, records: 3, cause: Cause::DropOldest };
        assert_eq!(
            json(dropped),
            "{\"event\":\"store_dropped\",\"stream\":\"s\",\"from\":3,\"to\":5,\"records\":3,\"cause\":\"drop-oldest\",\
             \"message\":\"stream s: 3 records were given up, sequences 3 to 5\"}"
        );
        let found = Event::Finding {
            stream: None,
            from: None,
            to: None,
            cause: None,
            is_loss: true,
            message: "damaged bytes".into(),
        };
        assert_eq!(json(found.clone()), "{\"event\":\"store_finding\",\"message\":\"damaged bytes\"}");
        let metrics = Metrics::new();
        found.log(&metrics);
        assert_eq!(metrics.get(Metric::StoreDamage), 1);
    }
}
