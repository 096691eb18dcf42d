//! Gauges that are found in the view of an agent.

use super::view::{PartView, View, Waits};
use crate::telemetry::family::{Family, Labels, Number};

/// The gauges of a view.
pub fn of(view: &View) -> Vec<Family> {
    let one = |name, help, value| Family::gauge(name, help, vec![(Labels::new(), value)]);
    let parts = view.parts.iter().map(|part| (label(part), Number::truth(part.is_good))).collect();
    let waits = |value: &dyn Fn(&Waits) -> Number| {
        let samples = view.parts.iter().flat_map(|part| part.waits.iter().map(move |waits| (part, waits)));
        let with_stream = |part: &PartView, waits: &Waits| {
            let mut labels = label(part);
            labels.push(("stream", waits.stream.clone()));
            labels
        };
        samples.map(|(part, waits)| (with_stream(part, waits), value(waits))).collect()
    };
    let age = |waits: &Waits| {
        let age_ms = waits.oldest_ms.map_or(0, |at| view.now_ms.saturating_sub(at).max(0));
        Number::Thousandths(age_ms.unsigned_abs())
    };
    let ends = view.parts.iter().flat_map(|part| {
        part.ends.iter().map(move |ends| {
            let mut labels = label(part);
            labels.push(("what", ends.what.clone()));
            (labels, Number::Thousandths(u64::try_from(ends.at_ms.saturating_sub(view.now_ms)).unwrap_or(0)))
        })
    });
    let about = vec![("version", view.version.to_string()), ("device", view.device.clone())];
    let full_in = view.fill.full_in_s.map(|seconds| (Labels::new(), Number::Whole(seconds)));
    let ratio = view.fill.waits.saturating_mul(1000) / view.fill.room.max(1);
    vec![
        Family::gauge("forebay_info", "Version and device; always 1.", vec![(about, Number::Whole(1))]),
        one("forebay_uptime_seconds", "Time since the agent was started.", Number::Whole(view.uptime_s)),
        one("forebay_config_generation", "The number of the configuration in force.", Number::Whole(view.generation)),
        one("forebay_clock_set", "1 when the clock of the machine is set.", Number::truth(view.clock_is_set)),
        one("forebay_alerts", "Alerts that are active.", Number::Whole(view.alerts.len() as u64)),
        one(
            "forebay_store_fill_ratio",
            "The share of the store that holds what somebody must still read; at 1 the store is full.",
            Number::Thousandths(ratio),
        ),
        Family::gauge(
            "forebay_store_full_in_seconds",
            "Time until the store is full if it goes on to fill as in the last minutes; missing when it does not fill.",
            full_in.into_iter().collect(),
        ),
        Family::gauge("forebay_part_up", "1 when a source or sink works, or has nothing to do.", parts),
        Family::gauge(
            "forebay_sink_backlog_records",
            "Records of a stream that a sink has not delivered.",
            waits(&|waits| Number::Whole(waits.records)),
        ),
        Family::gauge(
            "forebay_sink_backlog_bytes",
            "Bytes in the store that a sink has not delivered.",
            waits(&|waits| Number::Whole(waits.bytes)),
        ),
        Family::gauge(
            "forebay_sink_backlog_age_seconds",
            "Age of the oldest record of a stream that a sink has not delivered; 0 when nothing waits.",
            waits(&age),
        ),
        Family::gauge(
            "forebay_credential_ends_in_seconds",
            "Time until a certificate or the signature of a connection string ends; 0 when it has ended.",
            ends.collect(),
        ),
    ]
}

fn label(part: &PartView) -> Labels {
    vec![(part.kind.label(), part.name.clone())]
}
