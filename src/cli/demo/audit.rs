//! Compares the events of the hub with the readings of the devices, by value.
//!
//! The audit drops repeated sequences, as `docs/design/envelope.md` tells consumers to do.

use super::devices::{DEVICES, line, reading};
use crate::cli::consumer::{Consumer, Seen};
use crate::hub::{Hub, Stored};
use std::collections::BTreeMap;

/// The result of the audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Records that came again under the same identity.
    pub repeated_on_wire: u64,
    /// Values that came again under another identity.
    pub redelivered_by_source: u64,
    /// Values that no device sent.
    pub wrong: u64,
    /// Values that were sent and are neither at the hub nor in the backlog.
    pub lost: u64,
}

/// Reads the events of the hub and compares them.
#[derive(Debug, Default)]
pub struct Audit {
    consumer: Consumer,
    highest: BTreeMap<(String, u64), u64>,
    /// The numbers that were seen, for each device. The log file is the last device.
    seen: BTreeMap<u64, Vec<bool>>,
    distinct: u64,
    repeated: u64,
    redelivered: u64,
    wrong: u64,
}

impl Audit {
    /// Reads the new events of the hub.
    pub fn look(&mut self, hub: &Hub, name: &str) {
        for (_, event) in self.consumer.take(hub, name) {
            if self.event(&event).is_none() {
                self.wrong += 1;
            }
        }
    }

    /// Distinct values at the hub.
    pub fn delivered(&self) -> u64 {
        self.distinct
    }

    /// The verdict, when everything has ended.
    pub fn verdict(&self, sent: u64, backlog: u64) -> Verdict {
        Verdict {
            repeated_on_wire: self.repeated,
            redelivered_by_source: self.redelivered,
            wrong: self.wrong,
            lost: sent.saturating_sub(self.distinct + backlog),
        }
    }

    fn event(&mut self, event: &Stored) -> Option<()> {
        let seen = Seen::of(event)?;
        let lane = (seen.text("stream")?.to_string(), seen.number("epoch")?);
        seen.records()?.iter().try_for_each(|record| self.record(&lane, record))
    }

    fn record(&mut self, lane: &(String, u64), record: &serde_json::Value) -> Option<()> {
        let sequence = record["seq"].as_u64()?;
        let highest = self.highest.entry(lane.clone()).or_insert(0);
        if sequence <= *highest {
            self.repeated += 1;
            return Some(());
        }
        *highest = sequence;
        let (device, number) = match &record["payload"] {
            serde_json::Value::String(text) => {
                let number = text.split(' ').nth(1)?.parse().ok()?;
                (*text == line(number)).then_some((DEVICES, number))?
            }
            payload => {
                let number = payload["n"].as_u64()?;
                let device = payload["device"].as_str()?.strip_prefix("press-")?.parse().ok()?;
                let sent: serde_json::Value = serde_json::from_str(&format!("{{{}}}", reading(device, number))).ok()?;
                let same = sent.as_object()?.iter().all(|(key, value)| payload.get(key) == Some(value));
                same.then_some((device, number))?
            }
        };
        let seen = self.seen.entry(device).or_default();
        let at = usize::try_from(number).ok()?;
        if seen.len() <= at {
            seen.resize(at + 1, false);
        }
        if std::mem::replace(&mut seen[at], true) {
            self.redelivered += 1;
        } else {
            self.distinct += 1;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_redeliveries_wrong_values_and_losses_are_told_apart() {
        let mut audit = Audit::default();
        let lane = ("readings".to_string(), 1);
        let record = |seq: u64, text: String| serde_json::json!({"seq": seq, "payload": text});
        assert!(audit.record(&lane, &record(1, line(0))).is_some());
        assert!(audit.record(&lane, &record(1, line(0))).is_some());
        assert!(audit.record(&lane, &record(2, line(0))).is_some());
        assert!(audit.record(&lane, &record(3, "line 1 conveyor speed 0 mm/s".into())).is_none());
        let verdict = audit.verdict(5, 1);
        assert_eq!((verdict.repeated_on_wire, verdict.redelivered_by_source, verdict.lost), (1, 1, 3));
    }
}
