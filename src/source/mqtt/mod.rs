//! Messages of an MQTT broker, 3.1.1 or 5.
//!
//! Invariants: PUBACK (QoS 1) and PUBREC (QoS 2) are sent after the commit, in order of arrival. An
//! acknowledgement belongs to its connection, and is never sent on another connection. The connection is polled
//! even while the store is blocked, so that pings go out. Held messages are bounded in bytes. Each connection
//! has a client and an event loop of its own, and any error drops both (`docs/reference/mqtt.md`).

mod acks;
mod connection;
mod copies;
mod open;
mod read;
mod session;
mod settings;
mod subscribing;
mod subscription;
mod topics;
mod wire;

pub use settings::{Broker, KIND, Settings};
pub use subscription::Subscription;

use super::Context;
use crate::platform::{clock, random};
use crate::telemetry::outage::{Outage, Tell};
use crate::telemetry::{Metric, event, people};
use connection::End;
use session::Session;
use std::time::Duration;

/// A packet takes at most one part in so many of the agent's memory.
const LARGEST: u64 = 4;
/// The largest packet of MQTT, in bytes (MQTT 3.1.1, 2.2.3). A message that is too large for Forebay becomes a dead
/// letter, and is never refused for ever, as long as memory allows.
const MAX_PACKET: usize = 256 << 20;
/// The first wait after a lost connection, in milliseconds; doubled up to the limit.
const BACKOFF_MS: u64 = 200;
const BACKOFF_LIMIT_MS: u64 = 30_000;
/// While too many messages are held, the source checks this often whether there is room again.
const ROOM_POLL: Duration = Duration::from_millis(50);

/// The broker must accept a probe within this time.
const PROBE: Duration = Duration::from_secs(10);

/// Connects to every broker once, under another client id and without a session.
pub(super) async fn probe(settings: &Settings) -> Result<String, String> {
    let mut settings = settings.clone();
    settings.client_id.push_str("-check");
    (settings.clean_session, settings.status) = (true, None);
    for broker in &settings.brokers {
        let (client, mut events) = open::open(&settings, broker, MAX_PACKET)?;
        let accepted = tokio::time::timeout(PROBE, async {
            loop {
                match events.next().await {
                    Ok(wire::Incoming::Connected { .. }) => return Ok(()),
                    Ok(_) => {}
                    Err(error) => return Err(format!("{broker}: {error}")),
                }
            }
        });
        accepted.await.map_err(|_| format!("{broker}: no answer within {} s", PROBE.as_secs()))??;
        // A quick broker still gets the DISCONNECT. The broker forgets this client in any case.
        client.leave();
        let _ = tokio::time::timeout(Duration::from_millis(200), events.next()).await;
    }
    let brokers: Vec<String> = settings.brokers.iter().map(ToString::to_string).collect();
    Ok(format!("{} accepts us", brokers.join(", ")))
}

pub(super) async fn run(settings: Settings, context: Context) {
    let Context { name, mut giver, positions, mut stop, metrics, health, memory } = context;
    let largest = usize::try_from(memory / LARGEST).unwrap_or(usize::MAX).min(MAX_PACKET);
    let mut session = Session::load(&settings.client_id, &positions);
    let mut failures = 0;
    let mut turn = 0;
    let mut outage = Outage::default();
    loop {
        let Some(broker) = settings.brokers.get(turn % settings.brokers.len().max(1)) else { return };
        let ended = connection::run(
            (&settings, largest),
            broker,
            &name,
            &mut giver,
            &mut session,
            &mut outage,
            (&metrics, &health),
            &mut stop,
        );
        let ended = ended.await;
        let wait = match &ended {
            End::Stopped => return,
            End::Overflow => {
                tracing::warn!(
                    event = event::SOURCE_DOWN,
                    source = %name,
                    "more is held than allowed while the store is blocked or memory is short: disconnected until there is room; \
                     the broker keeps QoS 1 and 2"
                );
                health.waiting("the store takes no more at the moment");
                failures = 0;
                Duration::ZERO
            }
            End::Lost { error, was_up } => {
                failures = if *was_up { 0 } else { failures + 1 };
                // Another broker does not know this session: its packet ids are its own.
                if settings.brokers.len() > 1 && !was_up {
                    turn += 1;
                }
                health.waiting(error);
                tell(&name, &mut outage, error);
                random::backoff(BACKOFF_MS, BACKOFF_LIMIT_MS, failures)
            }
        };
        metrics.add(Metric::SourceReconnects, 1);
        if stop.pause(wait).await.is_err() {
            return;
        }
        while !giver.is_roomy() {
            if stop.pause(ROOM_POLL).await.is_err() {
                return;
            }
        }
    }
}

/// Reports a connection that was lost or could not be made.
fn tell(source: &str, outage: &mut Outage, error: &str) {
    match outage.failed(error, clock::boot_ms()) {
        Tell::Begun => {
            tracing::warn!(event = event::SOURCE_DOWN, source, error, "connection lost; trying again");
        }
        Tell::OtherCause => {
            tracing::warn!(event = event::SOURCE_DOWN, source, error, "still no connection, for another reason");
        }
        Tell::Lasting(ms) => {
            let since = people::span(ms);
            tracing::warn!(event = event::SOURCE_DOWN, source, since, error, "still no connection");
        }
        Tell::Flapping(times) => {
            tracing::warn!(event = event::SOURCE_DOWN, source, times, error, "the connection comes and goes");
        }
        Tell::Nothing => tracing::debug!(event = event::SOURCE_DOWN, source, error, "still no connection"),
    }
}
