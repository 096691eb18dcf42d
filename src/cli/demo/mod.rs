//! `forebay demo`: broker, devices, a growing log file, agent and hub in one process.
//!
//! Code that shares nothing with the agent compares the events of the hub with the readings of the devices, by
//! value. So `lost` is a fact and not an opinion.

mod audit;
mod broker;
mod devices;
mod screen;

use super::{fail, runtime};
use crate::agent::{Agent, PartId};
use crate::config::{self, Environment, System};
use crate::flow::health::Health;
use crate::hub::{Hub, Settings};
use crate::platform::{process, signals};
use crate::telemetry::{Metric, Metrics};
use audit::Audit;
use devices::Devices;
use screen::{Key, Screen, Snapshot};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep;

const HUB: &str = "readings";
/// The usual port of the page.
const PAGE: u16 = 8686;
/// The interval at which the numbers are shown.
const TICK: Duration = Duration::from_millis(250);
/// The time that the agent has to subscribe before the devices begin.
const PATIENCE: Duration = Duration::from_secs(20);
/// The time at the end for readings that are still on their way.
const DRAIN: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// End by itself after this long, as in 20s
    #[arg(long = "for", value_parser = span)]
    length: Option<Duration>,
    /// Cut the uplink, as in 5s..10s; may be given several times
    #[arg(long = "outage", value_parser = outage)]
    outages: Vec<Range<Duration>>,
    /// Readings per second that the devices send
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    rate: u32,
    /// Print the result as one JSON object on the last line
    #[arg(long, value_parser = ["json"])]
    summary: Option<String>,
    /// Keep the store here instead of in a folder that goes when the demo ends
    #[arg(long)]
    state: Option<PathBuf>,
}

fn span(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().map_err(|_| format!("`{text}` is not a time like 20s"))?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        _ => Err(format!("`{text}` needs a unit: ms, s or m")),
    }
}

fn outage(text: &str) -> Result<Range<Duration>, String> {
    let (from, to) = text.split_once("..").ok_or("write it as 5s..10s")?;
    let range = span(from)?..span(to)?;
    if range.start < range.end { Ok(range) } else { Err("the outage must end after it begins".into()) }
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, error),
    };
    let done = runtime.block_on(demo(arguments));
    // The broker's threads never end by themselves.
    runtime.shutdown_background();
    match done {
        Ok(0) => ExitCode::SUCCESS,
        Ok(lost) => fail(1, format_args!("{lost} readings were lost")),
        Err(error) => fail(1, error),
    }
}

/// The secrets of the demo's own configuration.
struct Local {
    connection: String,
}

impl Environment for Local {
    fn variable(&self, name: &str) -> Option<String> {
        (name == "EVENTHUB_CONNECTION").then(|| self.connection.clone())
    }

    fn file(&self, path: &Path) -> std::io::Result<String> {
        System.file(path)
    }

    fn files(&self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        System.files(pattern)
    }

    fn host_name(&self) -> String {
        "demo-gateway".into()
    }
}

/// The seconds until the sink tries again, when it waits.
fn reconnecting(agent: &Agent) -> Option<u64> {
    agent.health().into_iter().find_map(|(part, status)| match (part, status.health) {
        (PartId::Sink(_), Health::Waiting(_, Some(again))) => {
            Some(again.saturating_duration_since(Instant::now()).as_secs() + 1)
        }
        _ => None,
    })
}

/// A folder that is removed when the demo ends, unless the user named it.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            // If the folder cannot be removed, it stays in the temporary folder, which the system cleans.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

fn folder(arguments: &Arguments) -> std::io::Result<Folder> {
    let usual = || std::env::temp_dir().join(format!("forebay-demo-{}", std::process::id()));
    let folder = Folder { path: arguments.state.clone().unwrap_or_else(usual), keep: arguments.state.is_some() };
    std::fs::create_dir_all(&folder.path)?;
    Ok(folder)
}

async fn demo(arguments: &Arguments) -> Result<u64, String> {
    let text = |error: std::io::Error| error.to_string();
    let folder = folder(arguments).map_err(text)?;
    let port = broker::start()?;
    let hub = Settings { listen: "127.0.0.1:0".into(), hubs: vec![HUB.into()], retain: 1 << 30, ..Settings::default() };
    let hub = Hub::start(hub).await.map_err(text)?;
    let log = folder.path.join("plant.log");
    let page = page().map_err(text)?;
    let written = configuration(&folder.path, port, &log, page);
    let (config, _) = config::load(&written, &Local { connection: hub.connection_string(HUB) })
        .map_err(|report| report.to_string())?;
    let (agent, _) = Agent::start(config).await.map_err(|error| error.to_string())?;
    let metrics = agent.metrics().clone();
    subscribed(&metrics).await?;
    let devices = Devices::start(port, log, arguments.rate).map_err(text)?;
    let mut show = Show { arguments, screen: Screen::new(), audit: Audit::default(), cut: false, by_key: None };
    show.screen.begin(&format!(
        "devices -> MQTT broker (port {port}), file {}\n        -> agent -> hub at {}\nthe page of the agent: http://{page}/",
        folder.path.join("plant.log").display(),
        hub.address()
    ));
    show.until_the_end(&agent, &devices, &hub).await?;
    let sent = devices.stop().await;
    let on_their_way = async {
        while metrics.get(Metric::StoreRecords) < sent {
            sleep(TICK).await;
        }
    };
    // What has not arrived by then is counted as lost below.
    let _ = tokio::time::timeout(DRAIN, on_their_way).await;
    let left = agent.stop(DRAIN).await;
    show.audit.look(&hub, HUB);
    Ok(show.finish(sent, left.backlog.records, &metrics, &hub))
}

/// The address of the page: the usual one, or another where that is taken.
fn page() -> std::io::Result<SocketAddr> {
    let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr());
    free(PAGE).or_else(|_| free(0))
}

/// The demo's configuration: what a user would write.
fn configuration(state: &Path, port: u16, log: &Path, page: SocketAddr) -> String {
    format!(
        "device = \"demo-gateway\"\nstate = {state}\n\n\
         [store]\ncap = \"256MiB\"\nreserve = \"16MiB\"\n\n\
         [page]\nlisten = \"{page}\"\n\n\
         [source.plant]\nkind = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{port}\"\ntopics = [\"plant/#\"]\n\n\
         [source.log]\nkind = \"file\"\npath = {log}\n\n\
         [sink.hub]\nkind = \"eventhubs\"\nconnection = {{ env = \"EVENTHUB_CONNECTION\" }}\n",
        state = toml_text(&state.join("state")),
        log = toml_text(log),
    )
}

/// A path as a TOML string.
fn toml_text(path: &Path) -> String {
    toml::Value::String(path.to_string_lossy().into_owned()).to_string()
}

async fn subscribed(metrics: &Metrics) -> Result<(), String> {
    let wait = async {
        while metrics.get(Metric::SourceSubscribed) == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.map_err(|_| "the agent could not subscribe at the broker".into())
}

struct Show<'a> {
    arguments: &'a Arguments,
    screen: Screen,
    audit: Audit,
    cut: bool,
    /// The state of the uplink that the key last asked for: `true` for cut.
    by_key: Option<bool>,
}

impl Show<'_> {
    async fn until_the_end(&mut self, agent: &Agent, devices: &Devices, hub: &Hub) -> Result<(), String> {
        let started = Instant::now();
        let mut stop = std::pin::pin!(signals::stop_requested().map_err(|error| error.to_string())?);
        loop {
            let elapsed = started.elapsed();
            if self.arguments.length.is_some_and(|length| elapsed >= length) {
                return Ok(());
            }
            let wanted =
                self.by_key.unwrap_or_else(|| self.arguments.outages.iter().any(|outage| outage.contains(&elapsed)));
            if wanted != self.cut {
                self.cut = wanted;
                hub.cut(wanted);
            }
            self.audit.look(hub, HUB);
            self.screen.show(&self.snapshot(elapsed, agent, devices));
            tokio::select! {
                () = sleep(TICK) => {}
                key = self.screen.key() => match key {
                    Key::Outage => self.by_key = Some(!self.cut),
                    Key::Quit => return Ok(()),
                },
                () = &mut stop => return Ok(()),
            }
        }
    }

    fn snapshot(&self, elapsed: Duration, agent: &Agent, devices: &Devices) -> Snapshot {
        let metrics = agent.metrics();
        Snapshot {
            elapsed,
            sent: devices.sent(),
            safe: metrics.get(Metric::StoreRecords),
            delivered: self.audit.delivered(),
            backlog: agent.backlog(),
            bytes_per_reading: per_reading(metrics),
            cut: self.cut,
            reconnecting: reconnecting(agent),
        }
    }

    fn finish(mut self, sent: u64, backlog: u64, metrics: &Arc<Metrics>, hub: &Hub) -> u64 {
        let verdict = self.audit.verdict(sent, backlog);
        let peak = process::memory_of("self").peak;
        let result = serde_json::json!({
            "sent": sent,
            "durable": metrics.get(Metric::StoreRecords),
            "delivered": self.audit.delivered(),
            "repeated_on_wire": verdict.repeated_on_wire,
            "redelivered_by_source": verdict.redelivered_by_source,
            "wrong": verdict.wrong,
            "lost": verdict.lost,
            "backlog": backlog,
            "bytes_per_reading": per_reading(metrics),
            "connections": hub.connections(),
            "rss_peak_bytes": peak,
        });
        self.screen.end(&format!(
            "sent {sent}, delivered {}, lost {}; {backlog} stayed behind on disk",
            self.audit.delivered(),
            verdict.lost
        ));
        if self.arguments.summary.is_some() {
            say!("{result}");
        }
        verdict.lost + verdict.wrong
    }
}

/// Bytes of sent messages, properties included, for each delivered reading; to a hundredth.
fn per_reading(metrics: &Metrics) -> f64 {
    let (bytes, records) = (metrics.get(Metric::SinkWireBytes), metrics.get(Metric::SinkRecords));
    let hundredths = bytes.saturating_mul(100).checked_div(records).unwrap_or(0);
    f64::from(u32::try_from(hundredths).unwrap_or(u32::MAX)) / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_outages_are_read() {
        assert_eq!(outage("5s..1m"), Ok(Duration::from_secs(5)..Duration::from_secs(60)));
        for bad in ["5..10", "10s..5s", "5s", "s..5s", ""] {
            assert!(outage(bad).is_err(), "{bad}");
        }
    }
}
