//! The settings that all sinks share: compression, pace, partition, and how far a sink may be behind.

use super::pace::Rate;
use crate::flow::codec::Codec;
use crate::section::{Bytes, Section};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// The settings for making and sending events, independent of the target.
#[derive(Debug, Clone, PartialEq)]
pub struct Sending {
    /// How bodies are compressed.
    pub codec: Codec,
    /// A batch that is not full waits for more for this long.
    pub linger: Duration,
    /// The speed limit of the sink; `None` means no limit.
    pub rate: Option<Rate>,
    /// The rule that decides the partition of an event.
    pub partition_by: PartitionBy,
    /// True: after an outage new readings go first, and the backlog goes beside them.
    pub live_first: bool,
    /// How far the sink may be behind.
    pub limit: Limit,
}

/// How far a sink may be behind before it gives up its oldest records. Without a limit, other sinks may have to
/// wait for this sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limit {
    /// The largest backlog, in stored bytes.
    pub bytes: Option<u64>,
    /// The largest age of a waiting record, counted from its arrival.
    pub age: Option<Duration>,
}

/// The rule that decides the partition of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartitionBy {
    /// The stream decides: one lane, one order.
    Stream,
    /// The device decides: all streams go to one partition.
    Device,
    /// The attribute of this name decides: each of its values has a lane.
    Attribute(String),
    /// Nothing decides: batches go to all partitions in turn.
    RoundRobin,
}

#[derive(Clone, Copy, PartialEq)]
enum By {
    Stream,
    Device,
    Attribute,
    RoundRobin,
}

impl Sending {
    /// Reads the settings that every sink has. Bodies are not compressed, and a whole stream goes to one partition.
    pub fn read(section: &mut Section<'_>) -> Self {
        section.grouped("every sink", |section| {
            let linger = section
                .duration("linger")
                .doc("A batch that is not full waits for more readings for this long. Longer saves bytes on the link; shorter brings readings sooner.")
                .at_most(3600 * SECOND)
                .or(SECOND);
            let bytes = section
                .bytes("max_behind")
                .doc("The oldest readings are given up when more than this waits for the sink, in bytes as stored. Given-up readings are told in `forebay.events`.")
                .example("\"512MiB\"")
                .at_least(Bytes(1 << 20))
                .get_or("no limit: other sinks may have to wait for this one");
            let age = section
                .duration("give_up_after")
                .doc("Readings that wait for longer than this since their arrival are given up.")
                .example("\"7d\"")
                .at_least(10 * SECOND)
                .get_or("no limit");
            let limit = Limit { bytes: bytes.map(|bytes| bytes.0), age };
            let partition_by = PartitionBy::Stream;
            Self { codec: Codec::None, linger, rate: None, partition_by, live_first: false, limit }
        })
    }

    /// Reads the settings of a sink with partitions. `is_fixed`: another setting already decides the partition.
    pub fn read_partitioned(section: &mut Section<'_>, is_fixed: bool) -> Self {
        section.grouped("hubs and brokers", |section| {
            let mut sending = Self::read(section);
            let format = section.choice("format", &[("ndjson", (), "One JSON object a line.")]);
            let () = format.doc("Format of an event's body.").or(());
            sending.codec = Self::read_codec(section, Codec::Gzip);
            if !section.has("format") && !section.has("compression") {
                section.assume("format = \"ndjson\", compression = \"gzip\"");
            }
            sending.partition_by = PartitionBy::read(section, is_fixed);
            sending.live_first = section
                .choice(
                    "drain",
                    &[
                        ("fifo", false, "The oldest reading first."),
                        ("live-first", true, "New readings first, the backlog beside them in a lane of its own."),
                    ],
                )
                .doc("The order after an outage.")
                .or(false);
            if sending.live_first && matches!(sending.partition_by, PartitionBy::Attribute(_)) {
                let hint = "a record's lane is for life: take one of the two";
                let problem = "`drain = \"live-first\"` does not go with `partition_by = \"attribute\"`";
                section.wrong_because("drain", problem, hint);
            }
            if sending.live_first
                && let Some(key) = ["max_behind", "give_up_after"].into_iter().find(|key| section.has(key))
            {
                let hint = "with drain = \"fifo\" the oldest is given up first";
                section.wrong_because(key, "this does not go with drain = \"live-first\"", hint);
            }
            sending
        })
    }

    /// Reads `compression`.
    pub fn read_codec(section: &mut Section<'_>, usual: Codec) -> Codec {
        section
            .choice(
                "compression",
                &[("none", Codec::None, "Bodies are sent as they are."), ("gzip", Codec::Gzip, "gzip, level 6.")],
            )
            .doc("Compression of an event's body.")
            .or(usual)
    }
}

impl PartitionBy {
    fn read(section: &mut Section<'_>, is_fixed: bool) -> Self {
        let by = section
            .choice(
                "partition_by",
                &[
                    ("stream", By::Stream, "Its stream: one lane, one order."),
                    ("device", By::Device, "The device: all streams in one partition."),
                    ("attribute", By::Attribute, "The attribute `partition_attribute` of its records."),
                    ("round-robin", By::RoundRobin, "Nothing: batches go to all partitions in turn."),
                ],
            )
            .doc("What decides the partition of an event.")
            .or(By::Stream);
        let attribute = section.text("partition_attribute").doc("Attribute that decides the partition.");
        let attribute = attribute.example("\"line\"");
        let attribute = if by == By::Attribute { attribute.need() } else { attribute.get() };
        let key = ["partition_by", "partition_attribute"].into_iter().find(|key| section.has(key));
        if let Some(key) = key.filter(|_| is_fixed) {
            let hint = "give one of `partition`, `publisher`, `partition_by`";
            section.wrong_because(key, "the partition is decided twice", hint);
        }
        if section.is_bad("partition_by") || section.is_bad("partition_attribute") {
            return Self::Stream;
        }
        match (by, attribute) {
            (By::Attribute, Some(name)) => Self::Attribute(name),
            (By::Device, None) => Self::Device,
            (By::RoundRobin, None) => Self::RoundRobin,
            (By::Stream | By::Attribute, None) => Self::Stream,
            (_, Some(_)) => {
                let hint = "write partition_by = \"attribute\"";
                section.wrong_because("partition_attribute", "`partition_attribute` does nothing here", hint);
                Self::Stream
            }
        }
    }
}
