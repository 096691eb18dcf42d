//! `heartbeat = "5m"`: a record at each interval that says how the agent is, so that a fleet can be seen with nothing but
//! the hub.

use super::Around;
use super::view::View;
use crate::flow::record::{CLOCK_UNSET, PayloadKind, Record};
use crate::flow::stop::Stop;
use crate::platform::clock;
use crate::store::{Atom, OfferError, Part};
use crate::telemetry::{event, log};
use serde_json::{Value, json};
use std::time::Duration;

/// The stream of heartbeats. It is an ordinary stream: every sink without `from` delivers it.
pub const STREAM: &str = "heartbeat";

/// A heartbeat has at most so many warnings and errors.
const PROBLEMS: usize = 3;

/// Writes heartbeats until the stop, the first at once.
pub async fn run(every: Duration, around: Around, mut stop: Stop) {
    let mut due = tokio::time::interval(every);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.or(due.tick()).await.is_ok() {
        let view = around.agent.view();
        let record = Record {
            arrival_ms: view.now_ms,
            flags: if view.clock_is_set { 0 } else { CLOCK_UNSET },
            kind: PayloadKind::Json,
            payload: of(&view).to_string().into(),
            ..Record::empty(&view.device)
        };
        let stream = around.store.stream(STREAM);
        let part = Part { stream, generation: around.generation, in_flight: false, records: vec![record] };
        match around.store.offer(Atom { parts: vec![part], ..Atom::default() }) {
            // A full store has older heartbeats that say why; the next one is due soon.
            Ok(_) | Err(OfferError::Full(_)) => {}
            Err(error) => tracing::warn!(event = event::HEARTBEAT, %error, "no heartbeat"),
        }
    }
}

/// The newest warnings and errors of the log.
fn last_problems() -> Vec<String> {
    let problems = log::recent().into_iter().rev().filter(|line| line.level == "WARN" || line.level == "ERROR");
    problems.take(PROBLEMS).map(|line| format!("{} {}", clock::utc(line.at_ms), line.text)).collect()
}

/// The payload of a heartbeat.
fn of(view: &View) -> Value {
    let bytes = view.parts.iter().map(|part| part.waits.iter().map(|waits| waits.bytes).sum::<u64>()).max();
    let parts = view.parts.iter().map(|part| {
        json!({ "kind": part.kind.label(), "name": part.name, "health": part.health, "state": part.state, "since_s": part.since_s })
    });
    json!({
        "event": "heartbeat",
        "version": view.version,
        "generation": view.generation,
        "uptime_s": view.uptime_s,
        "clock_is_set": view.clock_is_set,
        "memory_bytes": view.numbers.get("memory_bytes"),
        "backlog": {
            "records": view.records(),
            "bytes": bytes.unwrap_or(0),
            "oldest_s": view.age_ms().map(|age| age / 1000),
        },
        "store_fill": view.fill.waits as f64 / view.fill.room.max(1) as f64,
        "parts": parts.collect::<Vec<_>>(),
        "alerts": view.alerts.iter().map(|alert| json!({ "name": alert.name, "about": alert.about, "message": alert.message })).collect::<Vec<_>>(),
        "last_problems": last_problems(),
        "dead_letters": view.numbers.get("dead_letters_total").copied().unwrap_or(0),
        "delivered": view.numbers.get("sink_records_total").copied().unwrap_or(0),
    })
}
