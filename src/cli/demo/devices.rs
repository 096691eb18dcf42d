//! Synthetic devices: every reading follows from its device and number, so that the audit can
//! tell a right value from a wrong one.

use crate::platform::clock;
use rumqttc::{AsyncClient, Broker, Event, MqttOptions, NetworkOptions, Packet, PublishOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// The number of MQTT devices.
pub const DEVICES: u64 = 10;
/// One of this many readings is a line of the log file.
const LINE_EVERY: u64 = 20;
const TICK: Duration = Duration::from_millis(10);
/// Publishes that wait for the broker.
const IN_FLIGHT: u16 = 1000;
/// The time at the end for the broker to acknowledge everything that was sent.
const FAREWELL: Duration = Duration::from_secs(10);

/// A device's reading, without its time.
pub fn reading(device: u64, number: u64) -> String {
    // Slow waves with a little noise, as sensors give.
    let mixed = (device * 1_000_003 + number).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let wave = (number + device * 37) % 200;
    let slow = if wave < 100 { wave } else { 200 - wave };
    let (temperature, pressure) = (2000 + slow * 3 + mixed % 7, 101_000 + slow * 11 + mixed % 23);
    format!(
        "\"device\":\"press-{device:02}\",\"n\":{number},\"temperature\":{}.{:02},\"pressure\":{pressure},\"status\":\"ok\"",
        temperature / 100,
        temperature % 100
    )
}

/// A line of the log file.
pub fn line(number: u64) -> String {
    format!("line {number} conveyor speed {} mm/s", 400 + number * 7 % 60)
}

/// The running devices.
#[derive(Debug)]
pub struct Devices {
    counts: Arc<Counts>,
    sending: JoinHandle<()>,
    client: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Counts {
    published: AtomicU64,
    acknowledged: AtomicU64,
    lines: AtomicU64,
    stop: AtomicBool,
}

impl Devices {
    /// Starts them at `rate` readings per second together.
    pub fn start(port: u16, log: PathBuf, rate: u32) -> std::io::Result<Self> {
        let counts = Arc::new(Counts::default());
        let mut options = MqttOptions::new("demo-devices", Broker::tcp("127.0.0.1", port));
        options.set_inflight(IN_FLIGHT);
        let built = AsyncClient::builder(options).capacity(64).try_build();
        let (client, mut events) = built.map_err(std::io::Error::other)?;
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        events.set_network_options(network);
        let counted = counts.clone();
        let polling = tokio::spawn(async move {
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Packet::PubAck(_))) => {
                        counted.acknowledged.fetch_add(1, SeqCst);
                    }
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        });
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        let sending = tokio::spawn(send(client, file, counts.clone(), u64::from(rate)));
        Ok(Self { counts, sending, client: polling })
    }

    /// Readings that were sent and lines that were written.
    pub fn sent(&self) -> u64 {
        self.counts.published.load(SeqCst) + self.counts.lines.load(SeqCst)
    }

    /// Stops the devices. Returns the readings that the broker acknowledged, and the lines in the file.
    pub async fn stop(self) -> u64 {
        self.counts.stop.store(true, SeqCst);
        let _ = self.sending.await;
        let taken = async {
            while self.counts.acknowledged.load(SeqCst) < self.counts.published.load(SeqCst) {
                tokio::time::sleep(TICK).await;
            }
        };
        let _ = tokio::time::timeout(FAREWELL, taken).await;
        self.client.abort();
        self.counts.acknowledged.load(SeqCst) + self.counts.lines.load(SeqCst)
    }
}

async fn send(client: AsyncClient, mut file: std::fs::File, counts: Arc<Counts>, rate: u64) {
    let started = Instant::now();
    let mut done = 0;
    let mut ticks = tokio::time::interval(TICK);
    while !counts.stop.load(SeqCst) {
        ticks.tick().await;
        let due = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_mul(rate) / 1000;
        while done < due && !counts.stop.load(SeqCst) {
            if done % LINE_EVERY == LINE_EVERY - 1 {
                let number = counts.lines.load(SeqCst);
                if writeln!(file, "{}", line(number)).is_err() {
                    return;
                }
                counts.lines.store(number + 1, SeqCst);
            } else {
                let nth = counts.published.load(SeqCst);
                let (device, number) = (nth % DEVICES, nth / DEVICES);
                let payload = format!("{{\"t\":{},{}}}", clock::wall_ms(), reading(device, number));
                let topic = format!("plant/line{}/press-{device:02}", device % 3);
                if client.publish(topic, payload, PublishOptions::at_least_once()).await.is_err() {
                    return;
                }
                counts.published.store(nth + 1, SeqCst);
            }
            done += 1;
        }
    }
}
