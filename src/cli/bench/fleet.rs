//! `forebay bench fleet`: thousands of agents in one process whose hub vanishes and returns.
//!
//! The way of each agent to the hub is real: link, pace, sender, and a socket of its own. Its sources and its store
//! are only a number of waiting events. The hub is a process of its own.

use super::rig::Running;
use crate::cli::runtime;
use crate::courier::dispatch::{Dispatcher, Outcome};
use crate::flow::batch::{Batch, Envelope, Event};
use crate::flow::stop::{Stop, stop};
use crate::hub::{Hub, Settings, fault};
use crate::platform::clock::Clock;
use crate::platform::random;
use crate::sink::SinkSettings;
use crate::sink::eventhubs::{ConnectionString, Settings as EventHubs, Target, Transport};
use crate::sink::pace::Rate;
use crate::sink::pace::cost_us;
use crate::telemetry::Metrics;
use bytes::Bytes;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of an event's body.
const BODY: usize = 900;
/// The most events that an agent sends at once.
const BATCH: u64 = 500;
/// The time over which the agents start. Each agent has its own phase.
const START: Duration = Duration::from_secs(40);
/// The time of normal work before the hub goes away.
const BEFORE: Duration = Duration::from_secs(20);
/// The time of observation after the backlog is gone.
const AFTER: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Agents
    #[arg(long, default_value_t = 10_000)]
    agents: u32,
    /// An agent has an event this often
    #[arg(long, value_parser = fault::duration, default_value = "10s")]
    every: Duration,
    /// How long the hub is gone
    #[arg(long, value_parser = fault::duration, default_value = "300s")]
    outage: Duration,
    /// The hub's throughput units; each agent has an equal share of them as its `throughput_units`
    #[arg(long, default_value_t = 4.0)]
    units: f64,
    /// A line a second goes to this file: benches/fleet/picture makes a picture of it
    #[arg(long)]
    csv: Option<PathBuf>,
    /// Be the hub
    #[arg(long, hide = true)]
    hub: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), String> {
    let runtime = runtime().map_err(|error| error.to_string())?;
    runtime.block_on(async { if arguments.hub { be_hub(arguments.units).await } else { bench(arguments).await } })
}

/// Prints the connection string, then the counters of each second. Reads `cut` and `back` from standard input.
async fn be_hub(units: f64) -> Result<(), String> {
    let listen = "127.0.0.1:0".into();
    let settings = Settings { listen, retain: 1 << 20, throughput_units: Some(units), ..Settings::default() };
    let hub = Arc::new(Hub::start(settings).await.map_err(|error| error.to_string())?);
    say!("{}", hub.connection_string("readings"));
    let own = hub.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            own.cut(line.is_ok_and(|line| line == "cut"));
        }
        // The measuring process is gone.
        std::process::exit(0);
    });
    let mut ticks = tokio::time::interval(SECOND);
    loop {
        ticks.tick().await;
        say!("{} {} {}", hub.attempts(), hub.stored().0, hub.throttled());
    }
}

/// The numbers of the hub, since its start.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    attempts: u64,
    stored: u64,
    throttled: u64,
}

/// The hub as a process of its own.
struct FarHub {
    running: Running,
    connection: ConnectionString,
    seen: Arc<Mutex<Seen>>,
}

impl FarHub {
    fn start(units: f64) -> Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        let mut child = Command::new(std::env::current_exe().map_err(text)?)
            .args(["bench", "fleet", "--hub", "--units", &units.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(text)?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("the hub says nothing")?).lines();
        let first = lines.next().ok_or("the hub does not start")?.map_err(text)?;
        let connection = ConnectionString::parse(&first).map_err(|error| error.to_string())?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = seen.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let numbers: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
                if let [attempts, stored, throttled] = numbers[..] {
                    *shared.lock().unwrap_or_else(PoisonError::into_inner) = Seen { attempts, stored, throttled };
                }
            }
        });
        Ok(Self { running: Running(child), connection, seen })
    }

    fn tell(&mut self, what: &str) -> Result<(), String> {
        let input = self.running.0.stdin.as_mut().ok_or("the hub does not listen")?;
        writeln!(input, "{what}").map_err(|error| format!("the hub is gone: {error}"))
    }

    fn seen(&self) -> Seen {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state that the agents share.
struct Fleet {
    every: Duration,
    began: Instant,
    /// The time of each agent's first event, after the start.
    phases: Vec<Duration>,
    delivered: AtomicU64,
    body: Bytes,
}

impl Fleet {
    /// Events that an agent has had so far.
    fn made(&self, phase: Duration) -> u64 {
        match self.began.elapsed().checked_sub(phase) {
            Some(since) => u64::try_from(since.as_millis() / self.every.as_millis().max(1)).unwrap_or(0) + 1,
            None => 0,
        }
    }

    /// Events that were not delivered yet.
    fn waiting(&self) -> u64 {
        let made: u64 = self.phases.iter().map(|phase| self.made(*phase)).sum();
        made.saturating_sub(self.delivered.load(Relaxed))
    }
}

/// Runs one agent: it gets an event each `every`, and delivers the waiting events.
async fn agent(number: usize, dispatcher: Dispatcher, fleet: Arc<Fleet>, mut stop: Stop) {
    let phase = fleet.phases[number];
    let name: Arc<str> = format!("gateway-{number}").into();
    let mut delivered = 0;
    while !stop.is_requested() {
        let made = fleet.made(phase);
        if made == delivered {
            let next = phase + fleet.every.saturating_mul(u32::try_from(made).unwrap_or(u32::MAX));
            tokio::select! {
                () = tokio::time::sleep(next.saturating_sub(fleet.began.elapsed())) => {}
                () = stop.requested() => {}
            }
            continue;
        }
        let until = made.min(delivered + BATCH);
        let event =
            |sequence: u64| Event { envelope: envelope(&name, sequence), body: fleet.body.clone(), arrival_ms: None };
        let events = (delivered + 1..=until).map(event).collect();
        let batch = Batch { key: Some(name.to_string()), channel: name.clone(), events };
        if let Ok(Outcome::Accepted(_)) = dispatcher.deliver(&batch, || true, &mut stop).await {
            fleet.delivered.fetch_add(until - delivered, Relaxed);
            delivered = until;
        }
    }
    dispatcher.sink().close().await;
}

fn envelope(device: &Arc<str>, sequence: u64) -> Envelope {
    Envelope {
        device: device.clone(),
        store: "0000000000000000".into(),
        stream: "readings".into(),
        epoch: 1,
        lane: crate::flow::lane::LaneId::WHOLE,
        first: sequence,
        last: sequence,
        count: 1,
        after: sequence - 1,
        generation: 1,
        in_flight: false,
        unset: None,
        content_type: "application/x-ndjson",
        content_encoding: None,
    }
}

/// The counters of one second.
#[derive(Debug, Clone, Copy)]
struct Row {
    attempts: u64,
    delivered: u64,
    waiting: u64,
}

async fn bench(arguments: &Arguments) -> Result<(), String> {
    let mut hub = FarHub::start(arguments.units)?;
    let spread = u64::try_from(START.as_millis()).unwrap_or(u64::MAX);
    let fleet = Arc::new(Fleet {
        every: arguments.every,
        began: Instant::now(),
        phases: (0..arguments.agents).map(|_| Duration::from_millis(random::below(spread))).collect(),
        delivered: AtomicU64::new(0),
        body: Bytes::from(vec![b'x'; BODY]),
    });
    let (asking, stop) = stop();
    let metrics = Metrics::new();
    let rate = Rate::throughput_units(arguments.units / f64::from(arguments.agents.max(1)));
    let mut agents = tokio::task::JoinSet::new();
    for number in 0..fleet.phases.len() {
        let settings = settings(&hub.connection, number);
        let sink = settings.open(metrics.clone());
        let dispatcher = Dispatcher::new("hub".into(), sink, Some(rate), None, Clock::system(), metrics.clone());
        agents.spawn(agent(number, dispatcher, fleet.clone(), stop.clone()));
    }
    let mut watch = Watch { rows: Vec::new(), last: Seen::default(), delivered: 0 };
    watch.for_seconds((START + BEFORE).as_secs(), &hub, &fleet).await;
    let gone = watch.rows.len();
    hub.tell("cut")?;
    watch.for_seconds(arguments.outage.as_secs(), &hub, &fleet).await;
    hub.tell("back")?;
    let back = watch.rows.len();
    let (backlog, throttled) = (watch.rows.last().map_or(0, |row| row.waiting), hub.seen().throttled);
    // An event waits for its turn and for the way to the hub. Only more than the events of two seconds is a
    // backlog.
    // The cost is computed for many events at once, because a microsecond is too coarse for one event.
    let many = 1_000_000;
    let allowed = many as f64 * 1e6 / cost_us(Rate::throughput_units(arguments.units), many * BODY as u64, many) as f64;
    let new = f64::from(arguments.agents) / arguments.every.as_secs_f64();
    while watch.rows.last().is_some_and(|row| row.waiting as f64 > 2.0 * new) {
        watch.for_seconds(1, &hub, &fleet).await;
        if watch.rows.len() - back > 3600 {
            return Err("the backlog does not go down".into());
        }
    }
    let drained = watch.rows.len();
    watch.for_seconds(AFTER.as_secs(), &hub, &fleet).await;
    asking.stop();
    while agents.join_next().await.is_some() {}
    // The last numbers of the hub are a second old at most.
    tokio::time::sleep(2 * SECOND).await;
    let (delivered, stored) = (fleet.delivered.load(Relaxed), hub.seen().stored);
    if let Some(path) = &arguments.csv {
        std::fs::write(path, watch.csv(gone, back, allowed, new))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let peak = |rows: &[Row]| rows.iter().map(|row| row.attempts).max().unwrap_or(0);
    let mean = |rows: &[Row]| rows.iter().map(|row| row.attempts).sum::<u64>() as f64 / rows.len().max(1) as f64;
    let rows = &watch.rows;
    let late = gone + (back - gone) / 2;
    say!("{} agents, an event each {:?}, the hub gone for {:?}", arguments.agents, arguments.every, arguments.outage);
    say!("  connection attempts a second, hub there    at most {}", peak(&rows[..gone]));
    say!("  hub gone                                   at most {}", peak(&rows[gone..back]));
    say!(
        "  second half of the outage                  at most {}, {:.0} on average",
        peak(&rows[late..back]),
        mean(&rows[late..back])
    );
    say!("  hub back                                   at most {}", peak(&rows[back..]));
    say!("  waiting when the hub came back             {backlog} events");
    let tenth = rows[back..].iter().position(|row| row.waiting * 10 < backlog).unwrap_or_default();
    say!("  until nine tenths of them were there       {tenth} s");
    say!(
        "  until they were there                      {} s; at best {:.0} s ({allowed:.0} events/s, of which {new:.0} are new)",
        drained - back,
        backlog as f64 / (allowed - new)
    );
    say!("  batches throttled                          {}", hub.seen().throttled - throttled);
    say!("  delivered, stored                          {delivered}, {stored}");
    Ok(())
}

/// A line for each second.
struct Watch {
    rows: Vec<Row>,
    last: Seen,
    delivered: u64,
}

impl Watch {
    async fn for_seconds(&mut self, seconds: u64, hub: &FarHub, fleet: &Fleet) {
        for _ in 0..seconds {
            tokio::time::sleep(SECOND).await;
            let seen = hub.seen();
            let delivered = fleet.delivered.load(Relaxed);
            self.rows.push(Row {
                attempts: seen.attempts - self.last.attempts,
                delivered: delivered - self.delivered,
                waiting: fleet.waiting(),
            });
            (self.last, self.delivered) = (seen, delivered);
        }
    }

    fn csv(&self, gone: usize, back: usize, allowed: f64, new: f64) -> String {
        let mut text = format!(
            "# gone {gone}\n# back {back}\n# allowed {allowed}\n# new {new}\nsecond,attempts,delivered,waiting\n"
        );
        for (second, row) in self.rows.iter().enumerate() {
            // Into memory: it does not fail.
            let _ = writeln!(text, "{second},{},{},{}", row.attempts, row.delivered, row.waiting);
        }
        text
    }
}

fn settings(connection: &ConnectionString, number: usize) -> EventHubs {
    EventHubs {
        entity: connection.entity.clone().unwrap_or_default(),
        target: Target::Hub,
        device: format!("gateway-{number}"),
        transport: Transport::Amqp,
        port: connection.endpoint.port,
        ca: None,
        pins: Vec::new(),
        proxy: None,
        connection: connection.clone(),
    }
}
