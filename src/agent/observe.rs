//! What an agent shows of itself: to the log once a minute, to its alerts, and to whoever asks the local API.

use super::Around;
use super::supervisor::{Board, PartId};
use crate::config::{Config, Source};
use crate::flow::dead_letter::{Fate, Taken};
use crate::flow::health::Status;
use crate::intake::again::{self, Again};
use crate::monitor::history::{History, Point};
use crate::monitor::view::{AlertView, Ends, Fill, Kind, Numbers, PartView, StreamView, View, Waits};
use crate::monitor::{Answer, Look};
use crate::platform::{disk, tls};
use crate::section::Claim;
use crate::store::Contents;
use crate::telemetry::{METRICS, Metric, Metrics, event};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A certificate is read again after this time: it may have been renewed.
const RENEWED: Duration = Duration::from_secs(600);

/// Looks at an agent from outside.
#[derive(Debug)]
pub struct Observer {
    around: Around,
    board: Board,
    started: Instant,
    known: Mutex<Known>,
    /// One call at a time takes dead letters.
    taking: tokio::sync::Mutex<()>,
    /// The last dead letter that was offered as taken.
    taken: Arc<AtomicU64>,
}

/// What an observer knows besides what the parts say themselves.
#[derive(Debug, Default)]
struct Known {
    device: String,
    sources: Vec<Source>,
    generation: u64,
    /// When the agent was started, and whether the clock was set when that was found out.
    start: Option<(i64, bool)>,
    state: PathBuf,
    /// The streams that each source writes to.
    streams: BTreeMap<String, Vec<String>>,
    /// What the credentials of each part are.
    claims: BTreeMap<PartId, Vec<Claim>>,
    /// The ends of certificates, each with the time of the last look.
    certificates: BTreeMap<PathBuf, (Instant, Option<i64>)>,
    alerts: Vec<AlertView>,
    history: History,
}

impl Known {
    fn learn(&mut self, config: &Config) {
        let is_credential = |claim: &Claim| matches!(claim, Claim::Certificate(_) | Claim::Signature(_));
        let credentials = |claims: Vec<Claim>| claims.into_iter().filter(is_credential).collect::<Vec<_>>();
        let sources = config.sources.iter();
        let sources =
            sources.map(|source| (PartId::Source(source.name.clone()), credentials(source.settings.claims())));
        let sinks = config.sinks.iter();
        let sinks = sinks.map(|sink| (PartId::Sink(sink.name.clone()), credentials(sink.settings.claims())));
        self.claims = sources.chain(sinks).collect();
        self.certificates.clear();
        let streams = |source: &Source| {
            let streams: BTreeSet<&str> = source.routes.iter().map(|route| &*route.stream).collect();
            (source.name.clone(), streams.into_iter().map(String::from).collect())
        };
        self.streams = config.sources.iter().map(streams).collect();
        (self.device, self.generation) = (config.device.clone(), config.generation);
        self.state.clone_from(&config.state);
        self.sources.clone_from(&config.sources);
    }

    fn ends(&mut self, id: &PartId) -> Vec<Ends> {
        let mut ends = Vec::new();
        for claim in self.claims.get(id).into_iter().flatten() {
            let (what, at_ms) = match claim {
                Claim::Certificate(path) => {
                    let (looked, at) = self.certificates.entry(path.clone()).or_insert_with(|| read(path));
                    if looked.elapsed() > RENEWED {
                        (*looked, *at) = read(path);
                    }
                    (path.display().to_string(), *at)
                }
                Claim::Signature(at_s) => ("the signature".into(), Some(at_s.saturating_mul(1000))),
                _ => continue,
            };
            ends.extend(at_ms.map(|at_ms| Ends { what, at_ms }));
        }
        ends.sort_by_key(|ends| ends.at_ms);
        ends
    }
}

fn read(certificate: &Path) -> (Instant, Option<i64>) {
    (Instant::now(), tls::ends(certificate).ok())
}

impl Observer {
    pub fn new(around: Around, board: Board, config: &Config) -> Arc<Self> {
        let mut known = Known::default();
        known.learn(config);
        Arc::new(Self {
            around,
            board,
            started: Instant::now(),
            known: Mutex::new(known),
            taking: tokio::sync::Mutex::default(),
            taken: Arc::default(),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another configuration is in force.
    pub fn changed(&self, config: &Config) {
        self.known().learn(config);
    }

    /// A minute has passed.
    pub fn note(&self, view: &View) {
        self.known().history.add(view);
    }

    fn part(&self, id: &PartId, status: &Status) -> Option<PartView> {
        let (kind, name) = match id {
            PartId::Source(name) => (Kind::Source, name),
            PartId::Sink(name) => (Kind::Sink, name),
            PartId::Page | PartId::Monitor => return None,
        };
        let metrics = self.around.metrics.part(kind.label(), name);
        let last = metrics.get(Metric::SourceLastFrame);
        let waits = || {
            let streams = self.around.store.reader(name).backlog_by_stream();
            streams.into_iter().map(|(stream, waits)| Waits {
                stream,
                records: waits.records,
                bytes: waits.bytes,
                oldest_ms: waits.oldest_ms,
            })
        };
        let waits: Vec<Waits> = if kind == Kind::Sink { waits().collect() } else { Vec::new() };
        let streams = match kind {
            Kind::Source => self.known().streams.get(name).cloned().unwrap_or_default(),
            Kind::Sink => waits.iter().map(|waits| waits.stream.clone()).collect(),
        };
        Some(PartView {
            kind,
            name: name.clone(),
            health: status.health.word().into(),
            is_good: status.health.is_good(),
            state: status.health.to_string(),
            since_s: status.since.elapsed().as_secs(),
            last_frame_ms: i64::try_from(last).ok().filter(|at| kind == Kind::Source && *at > 0),
            streams,
            waits,
            numbers: numbers(&metrics),
            ends: self.known().ends(id),
        })
    }
}

/// The numbers that are not 0.
fn numbers(metrics: &Metrics) -> Numbers {
    let all = METRICS.iter().map(|(metric, .., name, _)| ((*name).into(), metrics.get(*metric)));
    all.filter(|(_, value)| *value > 0).collect()
}

impl Look for Observer {
    fn view(&self) -> View {
        let now = self.around.clock.now();
        let parts = self.board.status().iter().filter_map(|(id, status)| self.part(id, status)).collect();
        let contents = self.around.store.contents();
        let waits = contents.iter().map(|stream| stream.waits).sum();
        let mut known = self.known();
        let uptime_ms = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        // It stays what it was, whatever the clock does later: counters count from it.
        let (started_ms, _) = match known.start {
            Some((at, is_trusted)) if is_trusted || !now.trusted => (at, is_trusted),
            _ => *known.start.insert((now.wall_ms.saturating_sub(uptime_ms), now.trusted)),
        };
        // What waits takes a part of the disk already.
        let free = disk::free(&known.state).map_or(u64::MAX, |free| free.saturating_add(waits));
        let room = self.around.store.cap().min(free);
        let stream = |stream: Contents| {
            let Contents { name, first, last, bytes, .. } = stream;
            StreamView { name, first, last, bytes }
        };
        View {
            version: env!("CARGO_PKG_VERSION").into(),
            device: known.device.clone(),
            generation: known.generation,
            uptime_s: self.started.elapsed().as_secs(),
            started_ms,
            now_ms: now.wall_ms,
            clock_is_set: now.trusted,
            numbers: numbers(&self.around.metrics),
            parts,
            streams: contents.into_iter().map(stream).collect(),
            fill: Fill { waits, room, full_in_s: known.history.full_in_s(waits, room) },
            alerts: known.alerts.clone(),
            open_dead_letters_from: again::first_open(&self.around.store),
        }
    }

    fn take_dead_letters(&self, fate: Fate, upto: u64) -> Answer<'_, Result<Taken, String>> {
        Box::pin(async move {
            let _alone = self.taking.lock().await;
            let again = {
                let known = self.known();
                let rule = |source: &Source| source.rule(known.generation);
                let (rules, generation) = (known.sources.iter().map(rule).collect(), known.generation);
                let Around { store, clock, metrics, .. } = self.around.clone();
                Again { store, rules, generation, clock, metrics, offered: self.taken.clone() }
            };
            let taken = again.take(fate, upto).await?;
            let Taken { replayed, again, left, discarded, upto } = taken;
            tracing::info!(
                event = event::DEAD_LETTERS_TAKEN,
                replayed,
                again,
                left,
                discarded,
                upto,
                "dead letters were taken"
            );
            Ok(taken)
        })
    }

    fn metrics(&self) -> &Arc<Metrics> {
        &self.around.metrics
    }

    fn alerts(&self, active: Vec<AlertView>) {
        self.known().alerts = active;
    }

    fn state(&self) -> PathBuf {
        self.known().state.clone()
    }

    fn history(&self) -> Vec<Point> {
        self.known().history.points()
    }
}
