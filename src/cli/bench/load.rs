//! Readings at a steady rate into a broker, over one connection at QoS 1.

use super::reading;
use crate::platform::clock;
use rumqttc::{AsyncClient, Broker, Event, MqttOptions, NetworkOptions, Packet, PublishOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(5);
const IN_FLIGHT: u16 = 2000;

/// Publishes for `length`. Returns the number of readings when the broker has acknowledged all of them.
pub async fn publish(port: u16, rate: u64, length: Duration) -> Result<u64, String> {
    let mut options = MqttOptions::new("forebay-bench-load", Broker::tcp("127.0.0.1", port));
    options.set_inflight(IN_FLIGHT);
    let (client, mut events) =
        AsyncClient::builder(options).capacity(256).try_build().map_err(|error| error.to_string())?;
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    events.set_network_options(network);
    let taken = Arc::new(AtomicU64::new(0));
    let counter = taken.clone();
    let polling = tokio::spawn(async move {
        while let Ok(event) = events.poll().await {
            if matches!(event, Event::Incoming(Packet::PubAck(_))) {
                counter.fetch_add(1, Relaxed);
            }
        }
    });
    let started = Instant::now();
    let mut sent = 0;
    let mut ticks = tokio::time::interval(TICK);
    while started.elapsed() < length {
        ticks.tick().await;
        let due = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX) * rate / 1000;
        while sent < due {
            let topic = format!("plant/press-{:02}", sent % 50);
            let published = client.publish(topic, reading(sent, clock::wall_ms()), PublishOptions::at_least_once());
            published.await.map_err(|error| error.to_string())?;
            sent += 1;
        }
    }
    while taken.load(Relaxed) < sent && !polling.is_finished() {
        tokio::time::sleep(TICK).await;
    }
    polling.abort();
    Ok(sent)
}
