//! Events that wait to be written to Forebay's own stream (`forebay.events`).
//!
//! Bounds: at most `LIMIT` events wait. A damaged range is reported once while the store is open. Records that a
//! stream loses for lack of room are summed up and reported once a minute.

use super::log::body::StreamId;
use super::log::recover::Finding;
use crate::flow::record::{CLOCK_UNSET, PayloadKind, Record};
use crate::platform::clock::Reading;
use crate::telemetry::{Cause, Event, Metric, Metrics};
use std::collections::{BTreeMap, BTreeSet};

/// The largest number of waiting events. Further events are logged and counted, and not written.
const LIMIT: usize = 4096;
/// A frame has at most this many events.
const FRAME: usize = 256;
/// An event waits this long for others, in milliseconds.
const LINGER_MS: u64 = 1000;
/// How long records lost for lack of room are summed up before they are reported, in milliseconds.
const DROPS_MS: u64 = 60_000;
/// The number of reported ranges that are remembered.
const REPORTED: usize = 4096;

#[derive(Debug)]
struct Lost {
    name: String,
    from: u64,
    to: u64,
    records: u64,
    since_ms: u64,
}

/// The events and losses that wait to be reported.
#[derive(Debug, Default)]
pub(super) struct Reports {
    waiting: Vec<Record>,
    since_ms: Option<u64>,
    lost: BTreeMap<(StreamId, Cause), Lost>,
    reported: BTreeSet<(StreamId, u64, u64)>,
}

impl Reports {
    /// Reports a finding of the start.
    pub fn finding(&mut self, finding: &Finding, metrics: &Metrics, now: Reading) {
        let (stream, from, to) = match finding {
            Finding::Missing { stream, from, to } => (Some(stream.clone()), Some(*from), Some(*to)),
            _ => (None, None, None),
        };
        let cause = stream.as_ref().map(|_| Cause::Damaged);
        let (is_loss, message) = (finding.is_loss(), finding.to_string());
        self.tell(&Event::Finding { stream, from, to, cause, is_loss, message }, metrics, now);
    }

    /// Reports sequences that a reader could not read. Returns true the first time.
    pub fn gap(&mut self, stream: (StreamId, &str), range: (u64, u64), metrics: &Metrics, now: Reading) -> bool {
        let ((id, name), (from, to)) = (stream, range);
        if self.reported.len() >= REPORTED {
            // A second report is better than none.
            self.reported.clear();
        }
        if !self.reported.insert((id, from, to)) {
            return false;
        }
        let records = to - from + 1;
        self.tell(&Event::Gap { stream: name.into(), from, to, records, cause: Cause::Damaged }, metrics, now);
        true
    }

    /// Counts records that were given up; they are reported later, summed up.
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

    /// The time at which a report is due, in monotonic milliseconds.
    pub fn due(&self) -> Option<u64> {
        let lost = self.lost.values().map(|lost| lost.since_ms + DROPS_MS).min();
        self.since_ms.map(|at| at + LINGER_MS).into_iter().chain(lost).min()
    }

    /// Takes the reports that are due; with `all`, every waiting report.
    pub fn take(&mut self, now: Reading, metrics: &Metrics, all: bool) -> Vec<Record> {
        let now_ms = now.monotonic_ms;
        let is_due = |lost: &Lost| all || lost.since_ms + DROPS_MS <= now_ms;
        let (due, kept) = std::mem::take(&mut self.lost).into_iter().partition(|(_, lost)| is_due(lost));
        self.lost = kept;
        let due: BTreeMap<(StreamId, Cause), Lost> = due;
        for ((_, cause), lost) in due {
            let Lost { name, from, to, records, .. } = lost;
            self.tell(&Event::Dropped { stream: name, from, to, records, cause }, metrics, now);
        }
        let ready = all || self.since_ms.is_some_and(|since| since + LINGER_MS <= now_ms);
        if !ready {
            return Vec::new();
        }
        let rest = self.waiting.split_off(self.waiting.len().min(FRAME));
        self.since_ms = self.since_ms.filter(|_| !rest.is_empty());
        std::mem::replace(&mut self.waiting, rest)
    }

    /// Puts back reports that could not be written.
    pub fn put_back(&mut self, mut records: Vec<Record>, now_ms: u64) {
        if records.is_empty() {
            return;
        }
        records.append(&mut self.waiting);
        records.truncate(LIMIT);
        self.waiting = records;
        self.since_ms = Some(now_ms);
    }

    /// Tells the user of an event: log line, count and record.
    pub fn tell(&mut self, event: &Event, metrics: &Metrics, now: Reading) {
        event.log(metrics);
        self.push(event, metrics, now);
    }

    /// Has the record of an event written.
    pub fn push(&mut self, event: &Event, metrics: &Metrics, now: Reading) {
        if self.waiting.len() >= LIMIT {
            metrics.add(Metric::EventsLeftOut, 1);
            return;
        }
        self.waiting.push(Record {
            arrival_ms: now.wall_ms,
            device_time_us: None,
            key: event.name().into(),
            flags: if now.trusted { 0 } else { CLOCK_UNSET },
            attributes: now.marks(),
            kind: PayloadKind::Json,
            payload: event.json().into(),
        });
        self.since_ms.get_or_insert(now.monotonic_ms);
    }
}
