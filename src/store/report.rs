//! What happened to data, told thrice: a log line, a metric, and an event in Forebay's own stream
//! (`forebay.events`), which a sink may carry to the hub.
//!
//! Bounds: at most `LIMIT` events wait; a range is told once while the store is open; what a
//! stream loses for want of room is summed up and told once a minute.

use super::log::body::StreamId;
use super::log::recover::Finding;
use crate::flow::record::{CLOCK_UNSET, PayloadKind, Record};
use crate::platform::clock::{self, Reading};
use crate::telemetry::{Metric, Metrics, event};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// More events than this do not wait; those that come then are in the log only.
const LIMIT: usize = 256;
/// An event waits this long for others, in milliseconds.
const LINGER_MS: u64 = 1000;
/// What a stream loses for want of room is told after this many milliseconds.
const DROPS_MS: u64 = 60_000;
/// So many ranges are remembered as told.
const TOLD: usize = 4096;

/// Why sequences are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The bytes are bad or gone.
    Damaged,
    /// Given up for want of room, the oldest first.
    DropOldest,
    /// Given up for want of room as they arrived.
    DropNewest,
    /// Given up by a person (`forebay buffer trim`).
    Trimmed,
    /// Given up by a sink that was further behind than its rule allows.
    Behind,
}

/// An event as the hub gets it: one JSON object.
#[derive(Debug, Serialize)]
struct Event<'a> {
    #[serde(rename = "event")]
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<Cause>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    clock: Option<Jump>,
    message: String,
}

/// The clock was set: what a consumer needs to correct times of the same boot.
#[derive(Debug, Clone, Copy, Serialize)]
struct Jump {
    /// The boot, as records have it that arrived before the clock was set.
    boot: &'static str,
    /// Milliseconds between that boot and now.
    monotonic_ms: u64,
    /// Milliseconds since the Unix epoch, now.
    wall_ms: i64,
    /// What the clock was moved by, in milliseconds.
    by_ms: i64,
}

#[derive(Debug)]
struct Lost {
    name: String,
    from: u64,
    to: u64,
    records: u64,
    since_ms: u64,
}

/// What waits to be told.
#[derive(Debug, Default)]
pub(super) struct Reports {
    waiting: Vec<Record>,
    since_ms: Option<u64>,
    lost: BTreeMap<(StreamId, Cause), Lost>,
    told: BTreeSet<(StreamId, u64, u64)>,
}

impl Reports {
    /// What opening the store found.
    pub fn finding(&mut self, finding: &Finding, metrics: &Metrics, now: Reading) {
        if finding.is_loss() {
            metrics.add(Metric::StoreDamage, 1);
        }
        tracing::warn!(event = event::STORE_FINDING, "{finding}");
        let (stream, from, to) = match finding {
            Finding::Missing { stream, from, to } => (Some(stream.as_str()), Some(*from), Some(*to)),
            _ => (None, None, None),
        };
        let cause = stream.map(|_| Cause::Damaged);
        let message = finding.to_string();
        self.push(
            &Event { name: event::STORE_FINDING, stream, from, to, records: None, cause, clock: None, message },
            now,
        );
    }

    /// A reader came upon sequences that cannot be read; true the first time.
    pub fn gap(&mut self, stream: (StreamId, &str), (from, to): (u64, u64), now: Reading) -> bool {
        let (id, name) = stream;
        if self.told.len() >= TOLD {
            // Better told again than not at all.
            self.told.clear();
        }
        if !self.told.insert((id, from, to)) {
            return false;
        }
        let message = format!("stream {name}: sequences {from} to {to} cannot be read");
        let (from, to, records) = (Some(from), Some(to), Some(to - from + 1));
        let cause = Some(Cause::Damaged);
        self.push(
            &Event { name: event::STORE_GAP, stream: Some(name), from, to, records, cause, clock: None, message },
            now,
        );
        true
    }

    /// The clock was moved.
    pub fn clock_set(&mut self, by_ms: i64, now: Reading) {
        let clock = Some(Jump { boot: clock::boot(), monotonic_ms: now.monotonic_ms, wall_ms: now.wall_ms, by_ms });
        let (name, message) = (event::CLOCK_SET, format!("the clock was set; it is {} now", clock::utc(now.wall_ms)));
        tracing::warn!(event = name, by_ms, "{message}");
        let (stream, from, to, records, cause) = (None, None, None, None, None);
        self.push(&Event { name, stream, from, to, records, cause, clock, message }, now);
    }

    /// Records were given up.
    pub fn given_up(
        &mut self,
        stream: (StreamId, &str),
        (from, to): (u64, u64),
        cause: Cause,
        metrics: &Metrics,
        now_ms: u64,
    ) {
        let (id, name) = stream;
        metrics.add(Metric::StoreDropped, to - from + 1);
        let new = || Lost { name: name.to_string(), from, to, records: 0, since_ms: now_ms };
        let lost = self.lost.entry((id, cause)).or_insert_with(new);
        (lost.from, lost.to) = (lost.from.min(from), lost.to.max(to));
        lost.records += to - from + 1;
    }

    /// When there is something to tell, monotonic milliseconds.
    pub fn due(&self) -> Option<u64> {
        let lost = self.lost.values().map(|lost| lost.since_ms + DROPS_MS).min();
        self.since_ms.map(|at| at + LINGER_MS).into_iter().chain(lost).min()
    }

    /// Takes what is due; with `all`, whatever there is.
    pub fn take(&mut self, now: Reading, all: bool) -> Vec<Record> {
        let now_ms = now.monotonic_ms;
        let due = |lost: &Lost| all || lost.since_ms + DROPS_MS <= now_ms;
        let (told, kept) = std::mem::take(&mut self.lost).into_iter().partition(|(_, lost)| due(lost));
        self.lost = kept;
        let told: BTreeMap<(StreamId, Cause), Lost> = told;
        for ((_, cause), lost) in told {
            let Lost { name, from, to, records, .. } = lost;
            let message = format!("stream {name}: {records} records were given up, sequences {from} to {to}");
            tracing::warn!(event = event::STORE_DROPPED, stream = name, from, to, records, ?cause, "given up");
            let (from, to, records) = (Some(from), Some(to), Some(records));
            let event = Event {
                name: event::STORE_DROPPED,
                stream: Some(&name),
                from,
                to,
                records,
                cause: Some(cause),
                clock: None,
                message,
            };
            self.push(&event, now);
        }
        let ready = all || self.since_ms.is_some_and(|since| since + LINGER_MS <= now_ms);
        if !ready {
            return Vec::new();
        }
        self.since_ms = None;
        std::mem::take(&mut self.waiting)
    }

    /// Takes back what could not be written.
    pub fn put_back(&mut self, mut records: Vec<Record>, now_ms: u64) {
        if records.is_empty() {
            return;
        }
        records.append(&mut self.waiting);
        records.truncate(LIMIT);
        self.waiting = records;
        self.since_ms = Some(now_ms);
    }

    fn push(&mut self, event: &Event<'_>, now: Reading) {
        if self.waiting.len() >= LIMIT {
            return;
        }
        // Text and numbers always make JSON.
        let payload = serde_json::to_vec(event).unwrap_or_default();
        self.waiting.push(Record {
            arrival_ms: now.wall_ms,
            device_time_us: None,
            key: event.name.into(),
            flags: if now.trusted { 0 } else { CLOCK_UNSET },
            attributes: now.marks(),
            kind: PayloadKind::Json,
            payload: payload.into(),
        });
        self.since_ms.get_or_insert(now.monotonic_ms);
    }
}
