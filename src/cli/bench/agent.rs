//! `forebay bench agent`: the agent as a process of its own, between a real mosquitto and the hub.

use super::load;
use super::rig::{Agent, SUBSCRIBE, Scratch, mosquitto};
use crate::cli::runtime;
use crate::hub::{Hub, Settings};
use crate::platform::process::{self, Memory};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Readings per second
    #[arg(long, default_value_t = 10_000)]
    rate: u64,
    /// Seconds
    #[arg(long = "for", default_value_t = 20)]
    seconds: u64,
    /// mosquitto as it is installed, instead of max_inflight_messages 5000, max_queued_messages 0
    #[arg(long)]
    broker_defaults: bool,
    /// MQTT 3.1.1 or 5
    #[arg(long, default_value = "3.1.1")]
    protocol: String,
    /// The agent's store; give one filled by `bench fill` to measure with a backlog
    #[arg(long)]
    state: Option<PathBuf>,
    /// A block device as in /proc/diskstats (a private loop device) whose sectors and flushes are counted
    #[arg(long)]
    device: Option<String>,
    /// How long a commit waits for more
    #[arg(long, default_value = "1s")]
    linger: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), String> {
    let dir = Scratch::new()?;
    let runtime = runtime().map_err(|error| error.to_string())?;
    runtime.block_on(bench(arguments, dir.path()))
}

async fn bench(arguments: &Arguments, dir: &Path) -> Result<(), String> {
    let (_broker, port) = mosquitto(dir, arguments.broker_defaults)?;
    let settings = Settings { listen: "127.0.0.1:0".into(), retain: 8 << 20, ..Settings::default() };
    let hub = Hub::start(settings).await.map_err(|error| error.to_string())?;
    let log = dir.join("agent.out");
    let state = arguments.state.clone().unwrap_or_else(|| dir.join("state"));
    let (protocol, linger) = (&*arguments.protocol, &*arguments.linger);
    let agent = Agent { port, protocol, linger, sink: &[], state: &state };
    let mut agent = agent.start(dir, &hub, &log).await?;
    tokio::time::sleep(SUBSCRIBE).await;
    let pid = agent.0.id();
    let process = pid.to_string();
    let cpu_ms = || process::cpu_ms_of(&process);
    let (cpu, before) = (cpu_ms(), counters(arguments.device.as_deref()));
    let started = Instant::now();
    let sent = load::publish(port, arguments.rate, Duration::from_secs(arguments.seconds)).await?;
    let took = started.elapsed();
    // One linger to commit, one to send.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (cpu, resident) = (cpu_ms() - cpu, process::memory_of(&process));
    let after = counters(arguments.device.as_deref());
    let device = after.zip(before).map(|(after, before)| (after.0 - before.0, after.1 - before.1));
    let asked = Command::new("kill").args(["-TERM", &pid.to_string()]).status();
    asked.map_err(|error| error.to_string())?;
    agent.0.wait().map_err(|error| error.to_string())?;
    let numbers = numbers(&std::fs::read_to_string(&log).unwrap_or_default());
    report(arguments, sent, took, cpu, resident, device, &numbers);
    Ok(())
}

#[allow(clippy::too_many_arguments)]
fn report(
    arguments: &Arguments,
    sent: u64,
    took: Duration,
    cpu_ms: u64,
    memory: Memory,
    device: Option<(u64, u64)>,
    numbers: &BTreeMap<String, u64>,
) {
    let of = |name: &str| numbers.get(name).copied().unwrap_or(0);
    let each = |amount: u64| format!("{:.3}", amount as f64 / of("store_records_total").max(1) as f64);
    let broker = if arguments.broker_defaults { "its defaults" } else { "max_inflight_messages 5000" };
    say!("MQTT {}, mosquitto with {broker}, {} readings/s asked for", arguments.protocol, arguments.rate);
    say!("  sent and taken by the broker   {sent} in {:.1} s", took.as_secs_f64());
    say!("  received by the agent          {}", of("source_frames_total"));
    say!("  durable / delivered            {} / {}", of("store_records_total"), of("sink_records_total"));
    say!("  cpu per reading                {:.1} us", cpu_ms as f64 * 1000.0 / sent.max(1) as f64);
    say!("  commits, flushes               {}, {}", of("store_commits_total"), of("store_syncs_total"));
    say!("  flushes per 1000 readings      {}", each(of("store_syncs_total") * 1000));
    say!("  log bytes per reading          {}", each(of("store_written_bytes_total")));
    match device {
        Some((sectors, flushes)) => {
            say!("  device bytes per reading       {}", each(sectors * 512));
            // The measurement lasts three seconds longer than the sending.
            let day = 86_400.0 / (took.as_secs_f64() + 3.0);
            say!(
                "  device a day                   {:.2} GB, {:.0} flushes",
                sectors as f64 * 512.0 * day / 1e9,
                flushes as f64 * day
            );
        }
        None => say!("  device bytes per reading       not measured: no --device"),
    }
    let wire = of("sink_wire_bytes_total") as f64 / of("sink_records_total").max(1) as f64;
    say!("  bytes per reading on the wire  {wire:.1}");
    say!(
        "  resident memory                {} kB now, {} kB of it anonymous, {} kB peak",
        memory.resident >> 10,
        memory.anonymous >> 10,
        memory.peak >> 10
    );
}

/// The numbers of the last status line in the agent's log.
fn numbers(log: &str) -> BTreeMap<String, u64> {
    let line = log.lines().rev().find(|line| line.contains("store_records_total=")).unwrap_or_default();
    let pairs = line.split_whitespace().filter_map(|word| word.split_once('='));
    pairs.filter_map(|(name, value)| Some((name.to_string(), value.parse().ok()?))).collect()
}

/// Sectors written to a block device and flushes done by it (kernel, Documentation/admin-guide/iostats.rst).
fn counters(device: Option<&str>) -> Option<(u64, u64)> {
    let device = device?;
    let stats = std::fs::read_to_string("/proc/diskstats").ok()?;
    let line = stats.lines().find(|line| line.split_whitespace().nth(2) == Some(device))?;
    let field = |at: usize| line.split_whitespace().nth(at)?.parse().ok();
    Some((field(9)?, field(18)?))
}
