//! Every metric and every log event, in one table each.
//!
//! Counters only rise while the process runs; gauges are set. They are logged once a minute and
//! at stop (event `status`), and `forebay demo` and `forebay bench` read them.

pub mod outage;
pub mod people;
pub mod seldom;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! metrics {
    ($($variant:ident $name:literal $help:literal)*) => {
        /// A number that Forebay keeps about itself.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Metric { $(#[doc = $help] $variant),* }

        /// Name and meaning of every metric, in order.
        pub const METRICS: &[(Metric, &str, &str)] = &[$((Metric::$variant, $name, $help)),*];
    };
}

metrics! {
    SourceFrames "source_frames_total" "Frames that sources handed over."
    SourceBytes "source_bytes_total" "Payload bytes that sources handed over."
    SourceRedelivered "source_redelivered_total" "Frames that the source marked as handed over before."
    SourceRepeatsSkipped "source_repeats_skipped_total" "MQTT QoS 2 repeats that were stored before and not stored again."
    SourceUnwanted "source_unwanted_total" "MQTT messages that no configured topic asks for: acknowledged and not stored."
    SourceCopiesSkipped "source_copies_skipped_total" "MQTT 5 messages that a broker sent once more for an overlapping filter."
    SourceDropped "source_dropped_total" "Messages without acknowledgement (MQTT QoS 0, serial) dropped because the held-bytes limit was reached."
    SourceSettled "source_settled_total" "Frames that were told to be safe."
    SourceReconnects "source_reconnects_total" "Connections to brokers that ended and were made again."
    SourceSubscribed "source_subscribed_total" "Subscriptions that brokers confirmed."
    SourceStalls "source_stalls_total" "Commits made early because a source had stopped until an acknowledgement."
    HttpRefused "http_refused_total" "Requests that were not answered 202."
    SourceTimeouts "source_timeouts_total" "Devices that did not answer in time."
    SerialBadFrames "serial_bad_frames_total" "Serial frames that were too long, or whose checksum or beginning was wrong."
    SerialGarbageBytes "serial_garbage_bytes_total" "Serial bytes that belong to no frame."
    SerialLostBytes "serial_lost_bytes_total" "Serial bytes that were lost because the store was blocked and there is no flow control."
    FileTruncated "file_truncated_total" "Files found shorter than read before, and read again from their start."
    FileDamaged "file_damaged_total" "Packed files that are damaged or cut: read as far as they unpack."
    FileDone "file_done_total" "Files that were moved or removed after their records were safe."
    QualityTagged "quality_tagged_total" "Records that failed a check and went on with a tag."
    QualitySetAside "quality_dead_letters_total" "Records that failed a check and were set aside."
    QualityDropped "quality_dropped_total" "Records that failed a check and were dropped, as the rule says."
    QualityStale "quality_stale_total" "Times that a device was silent for longer than its rule allows."
    DeadLetters "dead_letters_total" "Records set aside because they could not be decoded or delivered."
    StoreRecords "store_records_total" "Records made durable."
    StorePayloadBytes "store_payload_bytes_total" "Payload bytes made durable."
    StoreCommits "store_commits_total" "Commit frames written."
    StoreSyncs "store_syncs_total" "Flushes asked of the device by the store, its index included."
    StoreWrittenBytes "store_written_bytes_total" "Bytes handed to the device by the store, its index included."
    StoreWrittenPerRecord "store_written_bytes_per_record" "Bytes handed to the device for each record made durable, since the start (gauge)."
    StoreReadBytes "store_read_bytes_total" "Bytes of the store's files that were read."
    StoreDropped "store_dropped_total" "Records given up because a stream or the store was full, as its rule says."
    StoreCarriedBytes "store_carried_bytes_total" "Bytes written to copy what is still wanted out of old segments."
    StoreWriteErrors "store_write_errors_total" "Writes or flushes of the log that failed."
    StoreFull "store_full_total" "Times that the store was full and blocked its sources."
    StoreSegments "store_segments" "Segments in use (gauge)."
    StoreScrubbedBytes "store_scrubbed_bytes_total" "Bytes of sealed segments that were read back to find rot."
    StoreDamage "store_damage_total" "Damaged places and missing ranges that were found."
    SinkRecords "sink_records_total" "Records that a target accepted."
    SinkEvents "sink_events_total" "Events that a target accepted."
    SinkBodyBytes "sink_body_bytes_total" "Bytes of event bodies that a target accepted."
    SinkWireBytes "sink_wire_bytes_total" "Bytes of sent messages, event properties included; retries count again."
    SinkRetries "sink_retries_total" "Deliveries that failed and were tried again."
    SinkSplits "sink_splits_total" "Batches cut because the target found them too large, or refused them."
    SinkPacedMs "sink_paced_ms_total" "Milliseconds that batches waited so as not to exceed `throughput_units`."
    SinkThrottles "sink_throttles_total" "Times that a target asked for a pause after it had accepted."
    SinkConnects "sink_connects_total" "Connections made to the target."
    SinkGivenUp "sink_given_up_total" "Records that a sink gave up because it was further behind than `max_behind` or `give_up_after` allow."
    DirectoryRemoved "directory_removed_total" "Files that a directory sink removed because its folder had more bytes than `keep`."
    SinkGaps "sink_gaps_total" "Ranges of sequences that a reader found missing and reported."
}

/// All metrics of one agent.
#[derive(Debug)]
pub struct Metrics {
    values: Vec<AtomicU64>,
}

impl Metrics {
    /// All zero.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { values: METRICS.iter().map(|_| AtomicU64::new(0)).collect() })
    }

    /// Adds to a counter.
    pub fn add(&self, metric: Metric, amount: u64) {
        self.values[metric as usize].fetch_add(amount, Relaxed);
    }

    /// Sets a gauge.
    pub fn set(&self, metric: Metric, value: u64) {
        self.values[metric as usize].store(value, Relaxed);
    }

    /// Reads one.
    #[must_use]
    pub fn get(&self, metric: Metric) -> u64 {
        self.values[metric as usize].load(Relaxed)
    }

    /// `name=value` of all that are not zero.
    #[must_use]
    pub fn line(&self) -> String {
        let parts: Vec<String> = METRICS
            .iter()
            .map(|(metric, name, _)| (name, self.get(*metric)))
            .filter(|(_, value)| *value > 0)
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        parts.join(" ")
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_a_name_of_its_own_and_its_own_place() {
        let mut names: Vec<&str> = METRICS.iter().map(|(_, name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), METRICS.len());
        assert!(METRICS.iter().enumerate().all(|(i, (metric, _, _))| *metric as usize == i));
    }
}
