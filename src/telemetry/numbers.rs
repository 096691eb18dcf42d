//! The metrics of Forebay itself and of each of its parts, in one table.
//!
//! Counters only rise while the process runs; gauges are set. A part counts in `Metrics` of its own, and each count
//! is added to those of the agent. So a counter of the agent is the sum over all parts that there ever were. Names
//! follow Prometheus: the unit is at the end (`_bytes`, `_ms`), counters end in `_total`.

use super::histogram::{Buckets, Distribution, HISTOGRAMS, Histogram};
use super::reason::{REASONS, Reason};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The behaviour of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The value only rises while the process runs.
    Counter,
    /// The value is set, and may fall.
    Gauge,
}

/// The parts that count a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// The agent as a whole, or its store.
    Agent,
    /// Each source.
    Source,
    /// Each sink.
    Sink,
    /// Each source and each sink.
    Part,
}

macro_rules! metrics {
    ($($variant:ident $kind:ident $of:ident $name:literal $help:literal)*) => {
        /// A number that Forebay keeps.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Metric { $(#[doc = $help] $variant),* }

        /// Every metric: what it does, who counts it, its name, its meaning, in order.
        pub const METRICS: &[(Metric, Kind, Of, &str, &str)] =
            &[$((Metric::$variant, Kind::$kind, Of::$of, $name, $help)),*];
    };
}

metrics! {
    SourceFrames Counter Source "source_frames_total" "Frames that sources handed over."
    SourceBytes Counter Source "source_bytes_total" "Payload bytes that sources handed over."
    SourceRedelivered Counter Source "source_redelivered_total" "Frames that the source marked as handed over before."
    SourceRepeatsSkipped Counter Source "source_repeats_skipped_total" "MQTT QoS 2 repeats that were stored before and not stored again."
    SourceUnwanted Counter Source "source_unwanted_total" "MQTT messages that no configured topic asks for: acknowledged and not stored."
    SourceCopiesSkipped Counter Source "source_copies_skipped_total" "MQTT 5 messages that a broker sent once more for an overlapping filter."
    SourceDropped Counter Source "source_dropped_total" "Messages without acknowledgement (MQTT QoS 0, serial) dropped because the held-bytes limit was reached."
    SourceSettled Counter Source "source_settled_total" "Frames that were told to be safe."
    SourceLastFrame Gauge Source "source_last_frame_timestamp_ms" "When the source brought its last frame, in milliseconds since 1970 by the clock of this machine; 0: none since the start."
    SourceReconnects Counter Source "source_reconnects_total" "Connections to brokers that ended and were made again."
    SourceSubscribed Counter Source "source_subscribed_total" "Subscriptions that brokers confirmed."
    SourceStalls Counter Source "source_stalls_total" "Commits made early because a source had stopped until an acknowledgement."
    HttpRefused Counter Source "http_refused_total" "Requests that were not answered 202."
    SourceTimeouts Counter Source "source_timeouts_total" "Devices that did not answer in time."
    SerialBadFrames Counter Source "serial_bad_frames_total" "Serial frames that were too long, or whose checksum or beginning was wrong."
    SerialGarbageBytes Counter Source "serial_garbage_bytes_total" "Serial bytes that belong to no frame."
    SerialLostBytes Counter Source "serial_lost_bytes_total" "Serial bytes that were lost because the store was blocked and there is no flow control."
    FileTruncated Counter Source "file_truncated_total" "Files found shorter than read before, and read again from their start."
    FileDamaged Counter Source "file_damaged_total" "Packed files that are damaged or cut: read as far as they unpack."
    FileDone Counter Source "file_done_total" "Files that were moved or removed after their records were safe."
    QualityTagged Counter Source "quality_tagged_total" "Records that failed a check and went on with a tag."
    QualitySetAside Counter Source "quality_dead_letters_total" "Records that failed a check and were set aside."
    QualityDropped Counter Source "quality_dropped_total" "Records that failed a check and were dropped, as the rule says."
    QualityStale Counter Source "quality_stale_total" "Times that a device was silent for longer than its rule allows."
    PartRestarts Counter Part "part_restarts_total" "Times that a source or sink failed and was started again."
    PartHangs Counter Agent "part_hangs_total" "Times that a task worked on one thing for 10 seconds without an end."
    Memory Gauge Agent "memory_bytes" "Memory of the process for data, without the program and other files that it maps."
    MemoryShort Counter Agent "memory_short_total" "Times that the process took more memory than `memory_max` and its sources had to wait."
    Alerts Counter Agent "alerts_total" "Alerts that began."
    AlertsNotTold Counter Agent "alert_messages_failed_total" "Messages about alerts that a webhook or a broker did not take; they are sent again."
    OtlpFailed Counter Agent "otlp_failed_total" "Times that a collector did not take the metrics."
    ConfigApplied Counter Agent "config_applied_total" "Changed configurations that came into force."
    ConfigRefused Counter Agent "config_refused_total" "Problems for which a changed configuration was refused."
    ConfigRolledBack Counter Agent "config_rolled_back_total" "Pushed configurations that did worse than the one before, and were given up."
    EventsLeftOut Counter Agent "events_left_out_total" "Events that are in the log only: more waited for their place in `forebay.events` than are kept."
    Reduced Counter Source "readings_reduced_total" "Readings that `reduce` left out: they said nothing new, or are part of a record that stands for several."
    DecodeRepairs Counter Source "decode_repairs_total" "Values of JSON messages that were repaired: `nan`, `Infinity`, a comma too many (`lenient`)."
    DeadLetters Counter Part "dead_letters_total" "Records set aside because they could not be decoded or delivered."
    StoreRecords Counter Agent "store_records_total" "Records made durable."
    StorePayloadBytes Counter Agent "store_payload_bytes_total" "Payload bytes made durable."
    StoreCommits Counter Agent "store_commits_total" "Commit frames written."
    StoreSyncs Counter Agent "store_syncs_total" "Flushes asked of the device by the store, its index included."
    StoreWrittenBytes Counter Agent "store_written_bytes_total" "Bytes handed to the device by the store, its index included."
    StoreWrittenPerRecord Gauge Agent "store_written_bytes_per_record" "Bytes handed to the device for each record made durable, since the start."
    StoreReadBytes Counter Agent "store_read_bytes_total" "Bytes of the store's files that were read."
    StoreDropped Counter Agent "store_dropped_total" "Records given up because a stream or the store was full, as its rule says."
    StoreCarriedBytes Counter Agent "store_carried_bytes_total" "Bytes written to copy what is still wanted out of old segments."
    StoreWriteErrors Counter Agent "store_write_errors_total" "Writes or flushes of the log that failed."
    StoreFull Counter Agent "store_full_total" "Times that the store was full and blocked its sources."
    StoreSegments Gauge Agent "store_segments" "Segments in use."
    StoreScrubbedBytes Counter Agent "store_scrubbed_bytes_total" "Bytes of sealed segments that were read back to find rot."
    StoreDamage Counter Agent "store_damage_total" "Damaged places and missing ranges that were found."
    SinkRecords Counter Sink "sink_records_total" "Records that a target accepted."
    SinkEvents Counter Sink "sink_events_total" "Events that a target accepted."
    SinkBodyBytes Counter Sink "sink_body_bytes_total" "Bytes of event bodies that a target accepted."
    SinkWireBytes Counter Sink "sink_wire_bytes_total" "Bytes of sent messages, event properties included; retries count again."
    SinkErrors Counter Sink "sink_errors_total" "Deliveries that failed."
    SinkRetries Counter Sink "sink_retries_total" "Deliveries that failed and were tried again."
    SinkSplits Counter Sink "sink_splits_total" "Batches cut because the target found them too large, or refused them."
    SinkPacedMs Counter Sink "sink_paced_ms_total" "Milliseconds that batches waited so as not to exceed `throughput_units`."
    SinkThrottles Counter Sink "sink_throttles_total" "Times that a target asked for a pause after it had accepted."
    SinkConnects Counter Sink "sink_connects_total" "Connections made to the target."
    SinkGivenUp Counter Sink "sink_given_up_total" "Records that a sink gave up because it was further behind than `max_behind` or `give_up_after` allow."
    DirectoryRemoved Counter Sink "directory_removed_total" "Files that a directory sink removed because its folder had more bytes than `keep`."
    SinkGaps Counter Sink "sink_gaps_total" "Ranges of sequences that a reader found missing and reported."
}

/// The part that numbers belong to: a label and its value.
pub type Label = (&'static str, String);

/// The numbers of the agent, or of one of its parts.
#[derive(Debug)]
pub struct Metrics {
    values: Vec<AtomicU64>,
    histograms: Vec<Buckets>,
    /// What was counted for each reason.
    reasons: Vec<AtomicU64>,
    /// The metrics of the agent, if these are the metrics of a part.
    whole: Option<Arc<Metrics>>,
    parts: Mutex<BTreeMap<Label, Arc<Metrics>>>,
}

impl Metrics {
    /// The numbers of an agent: all zero.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::below(None))
    }

    fn below(whole: Option<Arc<Self>>) -> Self {
        Self {
            values: METRICS.iter().map(|_| AtomicU64::new(0)).collect(),
            histograms: HISTOGRAMS.iter().map(|(_, bounds, ..)| Buckets::new(bounds)).collect(),
            reasons: REASONS.iter().map(|_| AtomicU64::new(0)).collect(),
            whole,
            parts: Mutex::default(),
        }
    }

    fn parts(&self) -> MutexGuard<'_, BTreeMap<Label, Arc<Self>>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The metrics of a part. Its counts are added here too. A part that was there before keeps its metrics.
    #[must_use]
    pub fn part(self: &Arc<Self>, label: &'static str, name: &str) -> Arc<Self> {
        let mut parts = self.parts();
        let part = parts.entry((label, name.into())).or_insert_with(|| Arc::new(Self::below(Some(self.clone()))));
        part.clone()
    }

    /// Forgets a part that is not configured any more; the agent's own numbers stay.
    pub fn forget(&self, label: &'static str, name: &str) {
        self.parts().remove(&(label, name.to_string()));
    }

    /// Forgets all parts at the end of an agent, because each part holds a reference to the agent's metrics.
    pub fn forget_parts(&self) {
        self.parts().clear();
    }

    /// Adds to a counter.
    pub fn add(&self, metric: Metric, amount: u64) {
        self.values[metric as usize].fetch_add(amount, Relaxed);
        if let Some(whole) = &self.whole {
            whole.add(metric, amount);
        }
    }

    /// Adds to the counter that has this reason.
    pub fn add_for(&self, reason: Reason, amount: u64) {
        self.add(reason.metric(), amount);
        self.reasons[reason as usize].fetch_add(amount, Relaxed);
    }

    /// What this part counted for a reason.
    #[must_use]
    pub fn get_for(&self, reason: Reason) -> u64 {
        self.reasons[reason as usize].load(Relaxed)
    }

    /// Sets a gauge. The gauge of a part does not change the agent's.
    pub fn set(&self, metric: Metric, value: u64) {
        self.values[metric as usize].store(value, Relaxed);
    }

    /// Counts a value of a distribution.
    pub fn observe(&self, histogram: Histogram, value: u64) {
        self.histograms[histogram as usize].observe(value);
        if let Some(whole) = &self.whole {
            whole.observe(histogram, value);
        }
    }

    /// Reads a distribution.
    #[must_use]
    pub fn distribution(&self, histogram: Histogram) -> Distribution {
        self.histograms[histogram as usize].distribution()
    }

    /// Reads one metric.
    #[must_use]
    pub fn get(&self, metric: Metric) -> u64 {
        self.values[metric as usize].load(Relaxed)
    }

    /// All parts that there are, with their metrics.
    #[must_use]
    pub fn by_part(&self) -> Vec<(Label, Arc<Self>)> {
        self.parts().iter().map(|(label, part)| (label.clone(), part.clone())).collect()
    }

    /// All metrics that are not zero, as `name=value`. A distribution shows two bounds: half of the values, and 99
    /// of 100 values, are not larger.
    #[must_use]
    pub fn line(&self) -> String {
        let values = METRICS.iter().map(|(metric, .., name, _)| (name, self.get(*metric)));
        let values = values.filter(|(_, value)| *value > 0).map(|(name, value)| format!("{name}={value}"));
        let bounds = HISTOGRAMS.iter().filter_map(|(histogram, _, name, _)| {
            let now = self.distribution(*histogram);
            let bound = |percent| now.percentile(percent).map_or_else(|| "above".into(), |bound| bound.to_string());
            (now.count() > 0).then(|| format!("{name}_p50={} {name}_p99={}", bound(50), bound(99)))
        });
        values.chain(bounds).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_its_place_a_name_and_a_meaning() {
        for (i, (metric, kind, _, name, help)) in METRICS.iter().enumerate() {
            assert_eq!(*metric as usize, i);
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') && help.ends_with('.'), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        }
    }

    #[test]
    fn parts_add_up_to_the_whole_and_keep_their_numbers() {
        let whole = Metrics::new();
        whole.part("source", "a").add(Metric::SourceFrames, 3);
        whole.part("source", "b").add(Metric::SourceFrames, 4);
        whole.part("source", "a").add(Metric::SourceFrames, 1);
        whole.part("source", "a").set(Metric::SourceLastFrame, 99);
        assert_eq!((whole.get(Metric::SourceFrames), whole.get(Metric::SourceLastFrame)), (8, 0));
        let parts = whole.by_part();
        let numbers: Vec<_> = parts.iter().map(|((_, name), part)| (&**name, part.get(Metric::SourceFrames))).collect();
        assert_eq!(numbers, [("a", 4), ("b", 4)]);
        whole.forget("source", "a");
        assert_eq!((whole.by_part().len(), whole.get(Metric::SourceFrames)), (1, 8));
        assert_eq!(whole.line(), "source_frames_total=8");
        whole.part("sink", "c").observe(Histogram::SinkDelivery, 42);
        whole.part("sink", "d").observe(Histogram::SinkDelivery, 1_000_000);
        assert_eq!(whole.distribution(Histogram::SinkDelivery).count(), 2);
        assert!(whole.line().ends_with(" sink_delivery_ms_p50=50 sink_delivery_ms_p99=above"), "{}", whole.line());
    }

    /// `docs/metrics.md` is made of the table; `FOREBAY_BLESS=1` makes it again.
    #[test]
    fn the_page_of_metrics_is_the_one_that_the_table_gives() {
        let mut page = String::from(
            "# Metrics\n\nNumbers that an agent keeps of itself. The log has them once a minute and at the stop (event \
             `status`): those of the agent in one line, and one line for each source and sink with its own.\n\nPrometheus \
             reads them at `/metrics` of the page (`docs/monitoring.md`). There each name begins with `forebay_`, \
             times are in seconds (`_ms` is `_seconds` there), and what sources and sinks count has the label `source` or \
             `sink`. What waits for each sink, how old it is, and which parts work is there too (`forebay_sink_backlog_*`, \
             `forebay_part_up`).\n\nThis page is made of the table in the code (`src/telemetry/numbers.rs`).\n\n| name | kind | of | meaning |\n|---|---|---|---|\n",
        );
        for (_, kind, of, name, help) in METRICS {
            page.push_str("| `");
            page.push_str(name);
            page.push_str(if *kind == Kind::Counter { "` | counter | " } else { "` | gauge | " });
            page.push_str(match of {
                Of::Agent => "agent | ",
                Of::Source => "source | ",
                Of::Sink => "sink | ",
                Of::Part => "source, sink | ",
            });
            page.push_str(&help.replace('|', "\\|"));
            page.push_str(" |\n");
        }
        page.push_str(
            "\n## Reasons\n\nFor Prometheus and OTLP these counters have one more label. The status line and the page have \
             their sums.\n\n| name | label | meaning |\n|---|---|---|\n",
        );
        for (_, metric, label, value, _, help) in REASONS {
            let name = METRICS[*metric as usize].3;
            page.extend(["| `", name, "` | `", label, "=\"", value, "\"` | ", help, " |\n"]);
        }
        page.push_str(
            "\n## Distributions\n\nHistograms, as Prometheus has them. The status line has two bounds of each: half of the \
             values (`_p50`) and 99 of 100 (`_p99`) are no larger.\n\n| name | bounds | meaning |\n|---|---|---|\n",
        );
        for (_, bounds, name, help) in HISTOGRAMS {
            let bounds = bounds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            page.extend(["| `", name, "` | ", &bounds, " | ", help, " |\n"]);
        }
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
        if std::env::var_os("FOREBAY_BLESS").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        assert!(std::fs::read_to_string(&path).unwrap_or_default() == page, "run again with FOREBAY_BLESS=1");
    }
}
