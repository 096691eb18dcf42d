//! Assembly: turns a checked configuration into running parts. No data passes through here.
//!
//! A `part` is a source with its intake, or a sink with its courier. The `supervisor` keeps all parts running. A
//! change of the configuration (`plan`) touches only the parts that changed. Upstream and downstream meet only in
//! the store. At a stop the sources end first, and the data that they handed over is committed. Then the sinks get
//! a short time for the records that are left.

mod observe;
mod part;
mod place;
mod plan;
mod supervisor;
mod watch;

use observe::Observer;
use plan::parts_of;
pub use plan::{Plan, plan};
pub use supervisor::PartId;

use crate::config::{Config, Sink};
use crate::flow::health::{Health, Status};
use crate::flow::pulse::{Pulses, Work};
use crate::intake;
use crate::monitor::Look;
use crate::monitor::view::{Kind, PartView, View, Waits};
use crate::platform::clock::Clock;
use crate::store::{Backlog, Finding, OpenError, Options, Store};
use crate::telemetry::people;
use crate::telemetry::{Event, Metric, Metrics, event};
use std::sync::Arc;
use std::time::Duration;
use supervisor::Supervisor;
use watch::Watcher;

/// The labels of metrics that belong to a source or a sink.
const SOURCE: &str = Kind::Source.label();
const SINK: &str = Kind::Sink.label();
const PAGE: &str = "page";
const MONITOR: &str = "monitor";
/// The interval at which all metrics are logged.
pub const STATUS: Duration = Duration::from_secs(60);
/// The time that sources have at a stop to end the connections to their peers.
const SOURCES: Duration = Duration::from_secs(5);
/// The time that sinks have at a stop for a batch in flight, and for closing their files and connections.
const SINKS: Duration = Duration::from_secs(20);
/// The interval of the check whether everything was delivered.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    config: Config,
    around: Around,
    supervisor: Supervisor,
    watcher: Watcher,
    observer: Arc<Observer>,
}

/// What every part is given.
#[derive(Debug, Clone)]
struct Around {
    store: Store,
    clock: Clock,
    metrics: Arc<Metrics>,
    pulses: Pulses,
    /// The memory that the agent may take, in bytes.
    memory: u64,
    /// Changes while the agent takes more memory.
    short_of_memory: tokio::sync::watch::Receiver<u64>,
}

impl Around {
    /// Reports an event of a part to the user.
    fn tell(&self, id: &PartId, event: &Event) {
        let (kind, name) = id.label();
        self.store.tell(event, &self.metrics.part(kind, name));
    }
}

/// The state that an agent leaves when it has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// The undelivered records of the sink that is furthest behind.
    pub backlog: Backlog,
    /// The number of records that became durable while the agent ran.
    pub durable: u64,
    /// The number of records that were delivered while the agent ran.
    pub delivered: u64,
    /// Whether the store wrote everything that it was given, to the end.
    pub is_sound: bool,
}

impl Agent {
    /// Starts all parts.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub async fn start(config: Config) -> Result<(Self, Vec<Finding>), OpenError> {
        let clock = Clock::system();
        let metrics = Metrics::new();
        let pulses = Pulses::default();
        let pulse = pulses.add("store", "a write to the disk", Work::Apart);
        let options = Options { pulse, ..options(&config, &clock, &metrics) };
        let readers = config.readers();
        let state = config.state.clone();
        place::before(&state);
        let opened = tokio::task::spawn_blocking(move || Store::open(&state, &options, readers)).await;
        let (store, findings) = opened.map_err(|error| OpenError::Io(std::io::Error::other(error)))??;
        place::after(&config.state, config.store.cap);
        tell_store(&config, &store);
        let memory = config.memory_max.unwrap_or_else(watch::usual_memory);
        let (short, short_of_memory) = tokio::sync::watch::channel(0);
        let around = Around { store, clock, metrics, pulses, memory, short_of_memory };
        let mut supervisor = Supervisor::new(around.clone());
        let observer = Observer::new(around.clone(), supervisor.board().clone(), &config);
        for id in parts_of(&config) {
            part::begin(&mut supervisor, &id, &config, &around, &observer);
        }
        end_old_spans(&config, &around);
        let watcher = Watcher::start(around.clone(), short)?;
        let (sources, sinks) = (config.sources.len(), config.sinks.len());
        let id = around.store.id();
        tracing::info!(event = event::STARTED, device = config.device, sources, sinks, store = id, "running");
        Ok((Self { config, around, supervisor, watcher, observer }, findings))
    }

    /// Changes to another configuration. Parts that changed are stopped in order and started again; all other parts
    /// keep running.
    ///
    /// # Errors
    /// The keys that can only change at a restart; nothing was changed then.
    pub async fn apply(&mut self, mut config: Config) -> Result<Plan, Vec<&'static str>> {
        let plan = plan(&self.config, &config)?;
        if plan.is_empty() {
            config.generation = self.config.generation;
        }
        self.stop_parts(|id| plan.stop.contains(id) && matches!(id, PartId::Source(_)), SOURCES).await;
        self.stop_parts(|id| plan.stop.contains(id), SINKS).await;
        // The store knows the new readers before anything is written for them.
        let readers = config.readers();
        self.around.store.configure(readers, options(&config, &self.around.clock, &self.around.metrics).rules());
        self.config = config;
        self.observer.changed(&self.config);
        for part in plan.stop.iter().filter(|part| !plan.start.contains(part)) {
            let (kind, name) = part.label();
            self.around.metrics.forget(kind, name);
        }
        for id in &plan.start {
            if let PartId::Sink(name) = id
                && let Some(sink) = self.config.sink(name)
            {
                tell_sink(sink, &self.around.store);
            }
            part::begin(&mut self.supervisor, id, &self.config, &self.around, &self.observer);
        }
        end_old_spans(&self.config, &self.around);
        Ok(plan)
    }

    /// The health of each part, as the part itself reports it. The monitor, which nobody configured, is among them only
    /// when it does not work.
    #[must_use]
    pub fn health(&self) -> Vec<(PartId, Status)> {
        let mut status = self.supervisor.board().status();
        status.retain(|(id, status)| *id != PartId::Monitor || !matches!(status.health, Health::Up | Health::Starting));
        status
    }

    /// Logs all metrics: those of the agent, and those of each part with its health and its backlog.
    pub fn log_status(&self) {
        tracing::info!(event = event::STATUS, "{}", self.around.metrics.line());
        let view = self.observer.view();
        self.observer.note(&view);
        for part in &view.parts {
            let PartView { kind, name, state: health, since_s, waits, .. } = part;
            let since = people::span(since_s * 1000);
            let numbers = self.around.metrics.part(kind.label(), name).line();
            let part_name = format!("{}.{name}", kind.label());
            let ago = |at: i64| people::age(view.now_ms.saturating_sub(at));
            if *kind == Kind::Source {
                let last = part.last_frame_ms.map_or_else(|| "none".into(), ago);
                tracing::info!(
                    event = event::STATUS,
                    part = part_name,
                    health,
                    since,
                    last_reading = last,
                    "{numbers}"
                );
            } else {
                let records = part.records();
                let bytes = people::size(waits.iter().map(|waits| waits.bytes).sum());
                let oldest = waits.iter().filter_map(|waits| waits.oldest_ms).min().map(ago).unwrap_or_default();
                let stream = |waits: &Waits| format!("{}: {}", waits.stream, waits.records);
                let streams: Vec<String> = waits.iter().filter(|waits| waits.records > 0).map(stream).collect();
                // One stream says nothing that is not in `records`.
                let streams = (streams.len() > 1).then(|| streams.join(", "));
                tracing::info!(
                    event = event::STATUS,
                    part = part_name,
                    health,
                    since,
                    records,
                    waits = bytes,
                    oldest,
                    streams,
                    "{numbers}"
                );
            }
        }
    }

    /// Tells the user of an event: log line, count, and a record in `forebay.events`.
    pub fn tell(&self, event: &Event) {
        self.around.store.tell(event, &self.around.metrics);
    }

    /// The agent at this moment.
    #[must_use]
    pub fn view(&self) -> View {
        self.observer.view()
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns when nothing can be stored any more. The process must then end and be started again.
    pub async fn failed(&self) {
        self.around.store.failed().await;
    }

    /// Whether a task hangs so that only a new start of the agent helps.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.watcher.is_stuck()
    }

    /// The metrics of the agent.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.around.metrics
    }

    /// The records that the slowest sink has not delivered.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        slowest(&self.config, &self.around.store)
    }

    /// Stops the sources, waits at most `drain` for deliveries, stops the sinks and closes the store.
    pub async fn stop(mut self, drain: Duration) -> Left {
        tracing::info!(event = event::STOPPING, "stopping");
        self.log_status();
        self.stop_parts(|id| matches!(id, PartId::Source(_)), SOURCES).await;
        let _ = tokio::time::timeout(drain, async {
            while self.backlog().records > 0 {
                tokio::time::sleep(DRAIN_POLL).await;
            }
        })
        .await;
        self.stop_parts(|_| true, SINKS).await;
        let backlog = self.backlog();
        drop(self.watcher);
        let Around { store, metrics, .. } = self.around;
        let closed = tokio::task::spawn_blocking(move || {
            store.close();
            !store.has_failed()
        });
        let is_sound = closed.await.unwrap_or(false);
        if !is_sound {
            tracing::warn!(event = event::STOPPED, "the store was not closed in order");
        }
        let (durable, delivered) = (metrics.get(Metric::StoreRecords), metrics.get(Metric::SinkRecords));
        tracing::info!(event = event::STATUS, "{}", metrics.line());
        metrics.forget_parts();
        let left = backlog.records;
        if left == 0 {
            tracing::info!(event = event::STOPPED, left, "stopped; all that was stored is delivered");
        } else {
            tracing::info!(event = event::STOPPED, left, "stopped; what is left waits on disk");
        }
        Left { backlog, durable, delivered, is_sound }
    }

    async fn stop_parts(&mut self, is_meant: impl Fn(&PartId) -> bool, patience: Duration) {
        for part in self.supervisor.stop(is_meant, patience).await {
            tracing::warn!(
                event = event::STOPPING,
                %part,
                "did not end in time; a source's readings that were not told safe come again"
            );
        }
    }
}

/// Logs which store was opened, and the backlog of each sink.
fn tell_store(config: &Config, store: &Store) {
    let state = config.state.display().to_string();
    let kind = if store.is_new() { "a new store" } else { "a store that was there" };
    tracing::info!(event = event::STORE_OPENED, state, store = store.id(), "{kind}");
    if store.is_new() {
        return;
    }
    for sink in &config.sinks {
        tell_sink(sink, store);
    }
}

/// Logs the backlog of a sink. Warns when the sink is new and the store already has records for it.
fn tell_sink(sink: &Sink, store: &Store) {
    let reader = store.reader(&sink.name);
    let Backlog { records, bytes, .. } = reader.backlog();
    let waits = people::size(bytes);
    tracing::info!(event = event::STORE_OPENED, sink = sink.name, records, waits, "waits for delivery");
    let streams = reader.streams();
    let is_known = streams.iter().any(|(stream, _)| reader.saved_position(*stream).is_some());
    if !is_known && records > 0 {
        let unknown = store.unknown_readers().join(", ");
        tracing::warn!(
            event = event::STORE_OPENED,
            sink = sink.name,
            records,
            unknown,
            "this sink has no place in the store yet: all that is kept goes to it. If it was renamed, that was \
             delivered under its old name"
        );
    }
}

/// The undelivered records of the sink that is furthest behind.
fn slowest(config: &Config, store: &Store) -> Backlog {
    let all = config.sinks.iter().map(|sink| store.reader(&sink.name).backlog());
    all.max_by_key(|backlog| backlog.records).unwrap_or_default()
}

fn options(config: &Config, clock: &Clock, metrics: &Arc<Metrics>) -> Options {
    Options {
        cap: config.store.cap,
        reserve: config.store.reserve,
        linger_ms: u64::try_from(config.store.linger.as_millis()).unwrap_or(u64::MAX),
        max_commits_per_second: config.store.max_commits_per_second,
        streams: config.store.streams.clone(),
        when_full: config.store.when_full,
        clock: clock.clone(),
        metrics: metrics.clone(),
        ..Options::default()
    }
}

/// Sources that are gone cannot end their spans.
fn end_old_spans(config: &Config, around: &Around) {
    let sources: Vec<&str> = config.sources.iter().map(|source| source.name.as_str()).collect();
    intake::end_spans_of_others(&sources, config.generation, &around.store, &around.metrics);
}
