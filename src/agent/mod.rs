//! Assembly: a checked configuration becomes running parts. No data passes through here.
//!
//! Upstream and downstream meet only in the store. At stop the sources end first, then what they
//! handed over is committed, then the sinks get a short time for what is left.

mod place;

use crate::config::{Config, Sink, Source};
use crate::courier;
use crate::flow::handover::handover;
use crate::flow::stop::{Stop, StopSender, stop};
use crate::intake;
use crate::platform::clock::{self, Clock};
use crate::source;
use crate::store::{Backlog, Finding, OpenError, Options, Store};
use crate::telemetry::people;
use crate::telemetry::{Metric, Metrics, event};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How often all metrics are logged.
const STATUS: Duration = Duration::from_secs(60);
/// How often the machine's clock is looked at.
const CLOCK: Duration = Duration::from_secs(1);
/// A source that panicked starts again after this long.
const RESTART: Duration = Duration::from_secs(1);
/// Sources get this long to say good-bye to their peers.
const SOURCES: Duration = Duration::from_secs(5);
/// How often it is looked whether everything was delivered.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    config: Config,
    store: Store,
    metrics: Arc<Metrics>,
    upstream: (StopSender, JoinSet<()>),
    downstream: (StopSender, JoinSet<()>),
    /// What ends with the agent.
    status: [tokio::task::JoinHandle<()>; 2],
}

/// What is left when an agent has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// By the sink that is furthest behind.
    pub backlog: Backlog,
    /// Records that were made durable while it ran.
    pub durable: u64,
    /// Records that were delivered while it ran.
    pub delivered: u64,
}

impl Agent {
    /// Starts all parts.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub async fn start(config: Config) -> Result<(Self, Vec<Finding>), OpenError> {
        let clock = Clock::system();
        let metrics = Metrics::new();
        let options = options(&config, &clock, &metrics);
        let readers = config.sinks.iter().map(|sink| sink.reader.clone()).collect();
        let state = config.state.clone();
        place::before(&state);
        let opened = tokio::task::spawn_blocking(move || Store::open(&state, &options, readers)).await;
        let (store, findings) = opened.map_err(|error| OpenError::Io(std::io::Error::other(error)))??;
        place::after(&config.state, config.store.cap);
        tell_store(&config, &store);
        let (upstream_sender, upstream_stop) = stop();
        let (downstream_sender, downstream_stop) = stop();
        let mut upstream = JoinSet::new();
        for source in &config.sources {
            upstream.spawn(feed(
                source.clone(),
                &config,
                store.clone(),
                clock.clone(),
                metrics.clone(),
                upstream_stop.clone(),
            ));
        }
        let mut downstream = JoinSet::new();
        for sink in &config.sinks {
            downstream.spawn(deliver(
                sink,
                &config,
                store.clone(),
                clock.clone(),
                metrics.clone(),
                downstream_stop.clone(),
            ));
        }
        let status =
            [tokio::spawn(log_status(metrics.clone())), tokio::spawn(watch_clock(clock.clone(), store.clone()))];
        let (sources, sinks) = (config.sources.len(), config.sinks.len());
        tracing::info!(event = event::STARTED, device = config.device, sources, sinks, store = store.id(), "running");
        let upstream = (upstream_sender, upstream);
        let downstream = (downstream_sender, downstream);
        Ok((Self { config, store, metrics, upstream, downstream, status }, findings))
    }

    /// Its numbers.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// What its slowest sink has not delivered.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        slowest(&self.config, &self.store)
    }

    /// Stops in order: sources, store, sinks; what can be delivered in `drain` is delivered.
    pub async fn stop(self, drain: Duration) -> Left {
        tracing::info!(event = event::STOPPING, "stopping");
        let (sender, mut tasks) = self.upstream;
        sender.stop();
        let ended = tokio::time::timeout(SOURCES, async { while tasks.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            tracing::warn!(
                event = event::STOPPING,
                "a source did not end in time; what it had not told safe comes again"
            );
            tasks.shutdown().await;
        }
        let _ = tokio::time::timeout(drain, async {
            while slowest(&self.config, &self.store).records > 0 {
                tokio::time::sleep(DRAIN_POLL).await;
            }
        })
        .await;
        let (sender, mut tasks) = self.downstream;
        sender.stop();
        while tasks.join_next().await.is_some() {}
        self.status.iter().for_each(tokio::task::JoinHandle::abort);
        let backlog = slowest(&self.config, &self.store);
        let store = self.store;
        if tokio::task::spawn_blocking(move || store.close()).await.is_err() {
            tracing::warn!(event = event::STOPPED, "the store was not closed in order");
        }
        let (durable, delivered) = (self.metrics.get(Metric::StoreRecords), self.metrics.get(Metric::SinkRecords));
        tracing::info!(event = event::STATUS, "{}", self.metrics.line());
        let left = backlog.records;
        if left == 0 {
            tracing::info!(event = event::STOPPED, left, "stopped; all that was stored is delivered");
        } else {
            tracing::info!(event = event::STOPPED, left, "stopped; what is left waits on disk");
        }
        Left { backlog, durable, delivered }
    }
}

/// Says what the store is, and what waits in it.
fn tell_store(config: &Config, store: &Store) {
    let state = config.state.display().to_string();
    let kind = if store.is_new() { "a new store" } else { "a store that was there" };
    tracing::info!(event = event::STORE_OPENED, state, store = store.id(), "{kind}");
    if store.is_new() {
        return;
    }
    let unknown = store.unknown_readers();
    for sink in &config.sinks {
        let Backlog { records, bytes, .. } = store.backlog(&sink.name);
        let waits = people::size(bytes);
        tracing::info!(event = event::STORE_OPENED, sink = sink.name, records, waits, "waits for delivery");
        let streams = store.streams_of(&sink.name);
        let is_known = streams.iter().any(|(stream, _)| store.saved_position(&sink.name, *stream).is_some());
        if !is_known && records > 0 {
            let unknown = unknown.join(", ");
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
}

/// What the sink that is furthest behind has not delivered.
fn slowest(config: &Config, store: &Store) -> Backlog {
    let all = config.sinks.iter().map(|sink| store.backlog(&sink.name));
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

/// A source with its intake; both begin again after a panic of the source.
fn feed(
    source: Source,
    config: &Config,
    store: Store,
    clock: Clock,
    metrics: Arc<Metrics>,
    stop: Stop,
) -> impl Future<Output = ()> + Send + 'static {
    let rule = intake::Rule {
        source: source.name.as_str().into(),
        routes: source.routes.clone(),
        generation: config.generation,
        window: source.settings.window(),
    };
    async move {
        loop {
            let (giver, taker) = handover(source.held);
            let context = source::Context {
                name: source.name.as_str().into(),
                giver,
                positions: store.positions(&source.name),
                stop: stop.clone(),
                metrics: metrics.clone(),
            };
            let mut pair = JoinSet::new();
            pair.spawn(source.settings.run(context));
            pair.spawn(intake::run(rule.clone(), taker, store.clone(), clock.clone(), metrics.clone()));
            let mut failed = false;
            while let Some(ended) = pair.join_next().await {
                if let Err(error) = ended {
                    tracing::error!(event = event::SOURCE_DOWN, source = source.name, %error, "failed; starting again");
                    failed = true;
                }
            }
            if !failed || stop.is_requested() {
                return;
            }
            tokio::time::sleep(RESTART).await;
        }
    }
}

fn deliver(
    sink: &Sink,
    config: &Config,
    store: Store,
    clock: Clock,
    metrics: Arc<Metrics>,
    stop: Stop,
) -> impl Future<Output = ()> + Send + 'static {
    let rule =
        courier::Rule { name: sink.name.clone(), device: config.device.as_str().into(), sending: sink.sending.clone() };
    let target = sink.settings.open(metrics.clone());
    courier::run(rule, store, target, clock, metrics, stop)
}

/// Tells when the machine's clock is set.
async fn watch_clock(clock: Clock, store: Store) {
    let mut offset = clock.now().offset_ms();
    loop {
        tokio::time::sleep(CLOCK).await;
        let now = clock.now().offset_ms();
        if now.abs_diff(offset) >= clock::JUMP_MS {
            store.clock_set(now.saturating_sub(offset));
        }
        // What is less is how clocks are kept right: it adds up to nothing.
        offset = now;
    }
}

async fn log_status(metrics: Arc<Metrics>) {
    loop {
        tokio::time::sleep(STATUS).await;
        tracing::info!(event = event::STATUS, "{}", metrics.line());
    }
}
