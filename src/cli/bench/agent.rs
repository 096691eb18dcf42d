//! `forebay bench agent`: the agent as a process of its own, between a real mosquitto and the hub.

use super::load;
use crate::cli::runtime;
use crate::hub::{Hub, Settings};
use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// For mosquitto and the agent to come up, and for the last readings to arrive.
const PATIENCE: Duration = Duration::from_secs(120);
/// SUBSCRIBE follows the connection.
const SUBSCRIBE: Duration = Duration::from_millis(500);

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

/// A child that ends with us.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), String> {
    let dir = std::env::temp_dir().join(format!("forebay-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
    let runtime = runtime().map_err(|error| error.to_string())?;
    let done = runtime.block_on(bench(arguments, &dir));
    let _ = std::fs::remove_dir_all(&dir);
    done
}

async fn bench(arguments: &Arguments, dir: &Path) -> Result<(), String> {
    let port = free_port()?;
    let _broker = mosquitto(dir, port, arguments.broker_defaults)?;
    let settings = Settings { listen: "127.0.0.1:0".into(), retain: 8 << 20, ..Settings::default() };
    let hub = Hub::start(settings).await.map_err(|error| error.to_string())?;
    let log = dir.join("agent.out");
    let mut agent = agent(arguments, dir, port, &hub, &log)?;
    wait(|| std::fs::read_to_string(&log).unwrap_or_default().contains("source=\"plant\"")).await?;
    tokio::time::sleep(SUBSCRIBE).await;
    let pid = agent.0.id();
    let (cpu, before) = (cpu_ms(pid), counters(arguments.device.as_deref()));
    let started = Instant::now();
    let sent = load::publish(port, arguments.rate, Duration::from_secs(arguments.seconds)).await?;
    let took = started.elapsed();
    // One linger to commit, one to send.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (cpu, resident) = (cpu_ms(pid) - cpu, memory(pid));
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
    (rss, anonymous, peak): (u64, u64, u64),
    device: Option<(u64, u64)>,
    numbers: &BTreeMap<String, u64>,
) {
    let of = |name: &str| numbers.get(name).copied().unwrap_or(0);
    let each = |amount: u64| format!("{:.3}", amount as f64 / of("store_records_total").max(1) as f64);
    let broker = if arguments.broker_defaults { "its defaults" } else { "max_inflight_messages 5000" };
    println!("MQTT {}, mosquitto with {broker}, {} readings/s asked for", arguments.protocol, arguments.rate);
    println!("  sent and taken by the broker   {sent} in {:.1} s", took.as_secs_f64());
    println!("  received by the agent          {}", of("source_frames_total"));
    println!("  durable / delivered            {} / {}", of("store_records_total"), of("sink_records_total"));
    println!("  cpu per reading                {:.1} us", cpu_ms as f64 * 1000.0 / sent.max(1) as f64);
    println!("  commits, flushes               {}, {}", of("store_commits_total"), of("store_syncs_total"));
    println!("  flushes per 1000 readings      {}", each(of("store_syncs_total") * 1000));
    println!("  log bytes per reading          {}", each(of("store_written_bytes_total")));
    match device {
        Some((sectors, flushes)) => {
            println!("  device bytes per reading       {}", each(sectors * 512));
            // What is measured lasts three seconds longer than what is sent.
            let day = 86_400.0 / (took.as_secs_f64() + 3.0);
            println!(
                "  device a day                   {:.2} GB, {:.0} flushes",
                sectors as f64 * 512.0 * day / 1e9,
                flushes as f64 * day
            );
        }
        None => println!("  device bytes per reading       not measured: no --device"),
    }
    let wire = of("sink_wire_bytes_total") as f64 / of("sink_records_total").max(1) as f64;
    println!("  bytes per reading on the wire  {wire:.1}");
    println!("  resident memory                {rss} kB now, {anonymous} kB of it anonymous, {peak} kB peak");
}

fn mosquitto(dir: &Path, port: u16, defaults: bool) -> Result<Running, String> {
    let tuned = if defaults { "" } else { "max_inflight_messages 5000\nmax_queued_messages 0\n" };
    let data = dir.join("mosquitto");
    std::fs::create_dir_all(&data).map_err(|error| error.to_string())?;
    let text = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\npersistence_location {}/\n{tuned}",
        data.display()
    );
    let config = dir.join("mosquitto.conf");
    std::fs::write(&config, text).map_err(|error| error.to_string())?;
    let program = if Path::new("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" };
    let child = Command::new(program).arg("-c").arg(config).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let running = Running(child.map_err(|error| format!("mosquitto cannot be started: {error}"))?);
    let started = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if started.elapsed() > PATIENCE {
            return Err("mosquitto does not listen".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(running)
}

fn agent(arguments: &Arguments, dir: &Path, port: u16, hub: &Hub, log: &Path) -> Result<Running, String> {
    let text = |error: std::io::Error| error.to_string();
    let config = dir.join("forebay.toml");
    let written = format!(
        "device = \"bench\"\n[store]\ncap = \"64GiB\"\nlinger = \"{}\"\n\
         [source.plant]\nkind = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{port}\"\ntopics = [\"plant/#\"]\nprotocol = \"{}\"\n\
         [sink.hub]\nkind = \"eventhubs\"\nconnection = {{ env = \"EVENTHUB_CONNECTION\" }}\n",
        arguments.linger, arguments.protocol
    );
    std::fs::write(&config, written).map_err(text)?;
    let state = arguments.state.clone().unwrap_or_else(|| dir.join("state"));
    let child = Command::new(std::env::current_exe().map_err(text)?)
        .args(["run", "--config"])
        .arg(config)
        .arg("--state")
        .arg(state)
        .env("EVENTHUB_CONNECTION", hub.connection_string("readings"))
        .stderr(std::fs::File::create(log).map_err(text)?)
        .spawn()
        .map_err(text)?;
    Ok(Running(child))
}

async fn wait(so: impl Fn() -> bool) -> Result<(), String> {
    let started = Instant::now();
    while !so() {
        if started.elapsed() > PATIENCE {
            return Err("the agent does not come up".into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(|error| error.to_string())
}

/// The numbers of the last status line in the agent's log.
fn numbers(log: &str) -> BTreeMap<String, u64> {
    let line = log.lines().rev().find(|line| line.contains("store_records_total=")).unwrap_or_default();
    let pairs = line.split_whitespace().filter_map(|word| word.split_once('='));
    pairs.filter_map(|(name, value)| Some((name.to_string(), value.parse().ok()?))).collect()
}

fn cpu_ms(pid: u32) -> u64 {
    crate::platform::process::cpu_ms_of(&pid.to_string())
}

/// Resident, anonymous and highest resident memory in kB.
fn memory(pid: u32) -> (u64, u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0)
    };
    (field("VmRSS:"), field("RssAnon:"), field("VmHWM:"))
}

/// Sectors written to a block device and flushes done by it (kernel, Documentation/admin-guide/iostats.rst).
fn counters(device: Option<&str>) -> Option<(u64, u64)> {
    let device = device?;
    let stats = std::fs::read_to_string("/proc/diskstats").ok()?;
    let line = stats.lines().find(|line| line.split_whitespace().nth(2) == Some(device))?;
    let field = |at: usize| line.split_whitespace().nth(at)?.parse().ok();
    Some((field(9)?, field(18)?))
}
