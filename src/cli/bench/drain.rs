//! `forebay bench drain`: delivers the backlog of an outage to a hub that is far away and throttles.

use super::rig::{Agent, PATIENCE, SUBSCRIBE, Scratch, median, mosquitto};
use super::{fill, load};
use crate::cli::consumer::{Consumer, Seen};
use crate::cli::runtime;
use crate::hub::{Hub, Settings, fault};
use crate::platform::process::memory_of;
use crate::sink::pace::Rate;
use crate::sink::pace::cost_us;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// The interval at which the events of the hub are read.
const LOOK: Duration = Duration::from_millis(100);
/// The time without a backlog during which live readings are measured, for comparison.
const AFTER: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Readings of about 120 bytes that wait
    #[arg(long, default_value_t = 1_000_000)]
    readings: u64,
    /// The time to the hub and back
    #[arg(long, value_parser = fault::duration, default_value = "0ms")]
    rtt: Duration,
    /// The sink's `compression`: gzip or none
    #[arg(long, default_value = "gzip")]
    compression: String,
    /// The sink's `throughput_units`, above which the hub throttles
    #[arg(long)]
    units: Option<f64>,
    /// The sink's `drain`: fifo or live-first
    #[arg(long, default_value = "fifo")]
    order: String,
    /// Readings per second that come meanwhile, and 30 s longer
    #[arg(long, default_value_t = 0)]
    live: u64,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), String> {
    let dir = Scratch::new()?;
    runtime().map_err(|error| error.to_string())?.block_on(bench(arguments, dir.path()))
}

/// The observations at the hub.
#[derive(Debug, Default)]
struct Found {
    /// The times of the first event and of the last event of the backlog, in milliseconds since the Unix epoch.
    begin_ms: Option<i64>,
    end_ms: i64,
    /// The last sequence of each lane. An event that does not begin above it is a repeat.
    highest: BTreeMap<u64, u64>,
    /// The number of readings of the backlog that arrived.
    readings: u64,
    /// The bodies and events between the first moment and the end of the backlog.
    bytes: u64,
    events: u64,
    wire: u64,
    /// The delivery times of live readings, in milliseconds: during the backlog, and after it.
    during: Vec<u64>,
    after: Vec<u64>,
}

impl Found {
    fn take(&mut self, wanted: u64, consumer: &mut Consumer, hub: &Hub) -> Option<()> {
        let mut new: Vec<_> = consumer.take(hub, "readings").into_iter().map(|(_, event)| event).collect();
        new.sort_by_key(|event| event.enqueued_ms);
        for event in new {
            let seen = Seen::of(&event)?;
            if seen.text("stream") != Some("readings") {
                continue;
            }
            let (first, count) = (seen.number("first")?, seen.number("count")?);
            let highest = self.highest.entry(seen.number("lane")?).or_insert(0);
            if first <= *highest {
                continue;
            }
            *highest = first + count - 1;
            let begin_ms = *self.begin_ms.get_or_insert(event.enqueued_ms);
            let is_over = self.readings >= wanted;
            if !is_over && event.enqueued_ms > begin_ms {
                self.bytes += seen.body_bytes() as u64;
                self.events += 1;
                self.wire += event.message.len() as u64;
            }
            if first <= wanted {
                self.readings += count.min(wanted + 1 - first);
                self.end_ms = event.enqueued_ms;
            }
            if first + count > wanted + 1 {
                let made = |record: &serde_json::Value| record["payload"]["t"].as_i64();
                let new = seen.records()?.into_iter().skip(usize::try_from((wanted + 1).saturating_sub(first)).ok()?);
                let took = new.filter_map(|record| u64::try_from(event.enqueued_ms - made(&record)?).ok());
                (if is_over { &mut self.after } else { &mut self.during }).extend(took);
            }
        }
        Some(())
    }

    fn seconds(&self) -> f64 {
        (self.end_ms - self.begin_ms.unwrap_or(self.end_ms)) as f64 / 1000.0
    }
}

async fn bench(arguments: &Arguments, dir: &Path) -> Result<(), String> {
    let state = dir.join("state");
    let (wanted, payload) = fill::fill(&state, "hub", |readings, _| readings >= arguments.readings)?;
    let (_broker, port) = mosquitto(dir, false)?;
    let latency = (!arguments.rtt.is_zero()).then_some(arguments.rtt / 2);
    let listen = "127.0.0.1:0".into();
    let settings = Settings { listen, latency, throughput_units: arguments.units, ..Settings::default() };
    let hub = Hub::start(settings).await.map_err(|error| error.to_string())?;
    let mut sink =
        vec![("compression", format!("\"{}\"", arguments.compression)), ("drain", format!("\"{}\"", arguments.order))];
    sink.extend(arguments.units.map(|units| ("throughput_units", units.to_string())));
    let agent = Agent { port, protocol: "3.1.1", linger: "1s", sink: &sink, state: &state };
    let agent = agent.start(dir, &hub, &dir.join("agent.out")).await?;
    let memory = || memory_of(&agent.0.id().to_string());
    let mut live = (arguments.live > 0).then(|| {
        let rate = arguments.live;
        tokio::spawn(async move {
            tokio::time::sleep(SUBSCRIBE).await;
            load::publish(port, rate, Duration::from_secs(u64::from(u32::MAX))).await
        })
    });
    let (mut found, mut consumer, mut resident) = (Found::default(), Consumer::default(), Vec::new());
    let (mut looked, mut over) = (Instant::now(), None);
    let mut last = (0, Instant::now());
    while over.is_none_or(|over: Instant| live.is_some() && over.elapsed() < AFTER) {
        tokio::time::sleep(LOOK).await;
        if live.as_ref().is_some_and(tokio::task::JoinHandle::is_finished)
            && let Some(ended) = live.take()
        {
            let why = ended.await.map_err(|error| error.to_string())?.err();
            return Err(format!("the live readings ended: {}", why.unwrap_or_default()));
        }
        found.take(wanted, &mut consumer, &hub).ok_or("the hub holds what no agent sends")?;
        if found.readings != last.0 {
            last = (found.readings, Instant::now());
        } else if over.is_none() && last.1.elapsed() > PATIENCE {
            return Err(format!("nothing comes any more: {} of {wanted} readings", found.readings));
        }
        if over.is_none() && looked.elapsed() > Duration::from_secs(1) {
            resident.push(memory().resident >> 10);
            looked = Instant::now();
        }
        if found.readings >= wanted && over.is_none() {
            over = Some(Instant::now());
        }
    }
    if let Some(live) = live {
        live.abort();
    }
    if found.begin_ms == Some(found.end_ms) {
        return Err("all of it came in one batch, which tells no rate: give more --readings".into());
    }
    report(arguments, &hub, &mut found, payload, &resident, memory().peak >> 10);
    Ok(())
}

fn report(arguments: &Arguments, hub: &Hub, found: &mut Found, payload: u64, resident: &[u64], peak: u64) {
    let (seconds, readings) = (found.seconds(), found.readings);
    let Arguments { rtt, compression, order, live, .. } = arguments;
    say!(
        "{readings} readings wait; {order}, compression {compression}, {rtt:?} to the hub and back, {live} readings/s come"
    );
    say!("  until the last was there    {seconds:.1} s");
    say!(
        "  readings                    {:.0}/s, {:.2} MB/s of payload",
        readings as f64 / seconds,
        payload as f64 / seconds / 1e6
    );
    say!(
        "  on the wire                 {:.2} MB/s, {:.1} events/s",
        found.wire as f64 / seconds / 1e6,
        found.events as f64 / seconds
    );
    if let Some(units) = arguments.units {
        let allowed = cost_us(Rate::throughput_units(units), found.bytes, found.events) as f64 / 1e6;
        say!(
            "  of what {units} throughput units allow {:.3}; {} batches throttled",
            allowed / seconds,
            hub.throttled()
        );
    }
    for (when, took) in [("came meanwhile", &mut found.during), ("came afterwards", &mut found.after)] {
        if let Some(worst) = took.iter().max().copied() {
            let count = took.len();
            say!("  {count} {when}: from the device to the hub {} ms (median), {worst} ms (worst)", median(took));
        }
    }
    let quarter = resident.len().div_ceil(4);
    let (mut first, mut last) = (resident[..quarter].to_vec(), resident[resident.len() - quarter..].to_vec());
    let (first, last) = (median(&mut first), median(&mut last));
    say!(
        "  resident memory             {first} kB in the first quarter, {last} kB in the last (medians), {peak} kB peak"
    );
}
