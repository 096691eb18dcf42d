//! Gauges for `/metrics` that are found in the view of an agent.

use super::view::{PartView, View, Waits};
use crate::telemetry::prometheus::Found;

/// The gauges of a view.
pub fn of(view: &View) -> Vec<Found> {
    let one = |name, help, value: String| Found { name, help, samples: vec![(Vec::new(), value)] };
    let parts = view.parts.iter().map(|part| (label(part), u8::from(part.is_good).to_string())).collect();
    let waits = |value: fn(&Waits, &View) -> String| {
        let samples = view.parts.iter().flat_map(|part| part.waits.iter().map(move |waits| (part, waits)));
        samples
            .map(|(part, waits)| {
                let mut labels = label(part);
                labels.push(("stream", waits.stream.clone()));
                (labels, value(waits, view))
            })
            .collect()
    };
    let about = vec![("version", view.version.to_string()), ("device", view.device.clone())];
    vec![
        Found { name: "forebay_info", help: "Version and device; always 1.", samples: vec![(about, "1".into())] },
        one("forebay_uptime_seconds", "Time since the agent was started.", view.uptime_s.to_string()),
        one("forebay_config_generation", "The number of the configuration in force.", view.generation.to_string()),
        one("forebay_clock_set", "1 when the clock of the machine is set.", u8::from(view.clock_is_set).to_string()),
        Found { name: "forebay_part_up", help: "1 when a source or sink works, or has nothing to do.", samples: parts },
        Found {
            name: "forebay_sink_backlog_records",
            help: "Records of a stream that a sink has not delivered.",
            samples: waits(|waits, _| waits.records.to_string()),
        },
        Found {
            name: "forebay_sink_backlog_bytes",
            help: "Bytes in the store that a sink has not delivered.",
            samples: waits(|waits, _| waits.bytes.to_string()),
        },
        Found {
            name: "forebay_sink_backlog_age_seconds",
            help: "Age of the oldest record of a stream that a sink has not delivered; 0 when nothing waits.",
            samples: waits(|waits, view| {
                let age_ms = waits.oldest_ms.map_or(0, |at| view.now_ms.saturating_sub(at).max(0));
                format!("{}.{:03}", age_ms / 1000, age_ms % 1000)
            }),
        },
    ]
}

fn label(part: &PartView) -> Vec<(&'static str, String)> {
    vec![(part.kind.label(), part.name.clone())]
}
