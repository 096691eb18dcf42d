//! What an agent shows of itself: to the log once a minute, and to whoever asks the local API.

use super::Around;
use super::supervisor::{Board, PartId};
use crate::config::Config;
use crate::dashboard::Look;
use crate::dashboard::view::{Kind, PartView, View, Waits};
use crate::flow::health::Status;
use crate::telemetry::{Metric, Metrics};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Looks at an agent from outside.
#[derive(Debug)]
pub struct Observer {
    around: Around,
    board: Board,
    started: Instant,
    /// The device's name and the generation of the configuration in force.
    facts: Mutex<(String, u64)>,
}

impl Observer {
    pub fn new(around: Around, board: Board, config: &Config) -> Arc<Self> {
        let facts = Mutex::new((config.device.clone(), config.generation));
        Arc::new(Self { around, board, started: Instant::now(), facts })
    }

    fn facts(&self) -> MutexGuard<'_, (String, u64)> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another configuration is in force.
    pub fn changed(&self, config: &Config) {
        *self.facts() = (config.device.clone(), config.generation);
    }

    fn part(&self, id: &PartId, status: &Status) -> Option<PartView> {
        let (kind, name) = match id {
            PartId::Source(name) => (Kind::Source, name),
            PartId::Sink(name) => (Kind::Sink, name),
            PartId::Page => return None,
        };
        let last = || self.around.metrics.part(kind.label(), name).get(Metric::SourceLastFrame);
        let waits = || {
            let streams = self.around.store.reader(name).backlog_by_stream();
            streams.into_iter().map(|(stream, waits)| Waits {
                stream,
                records: waits.records,
                bytes: waits.bytes,
                oldest_ms: waits.oldest_ms,
            })
        };
        Some(PartView {
            kind,
            name: name.clone(),
            health: status.health.word().into(),
            is_good: status.health.is_good(),
            state: status.health.to_string(),
            since_s: status.since.elapsed().as_secs(),
            last_frame_ms: (kind == Kind::Source).then(last).filter(|at| *at > 0).and_then(|at| i64::try_from(at).ok()),
            waits: if kind == Kind::Sink { waits().collect() } else { Vec::new() },
        })
    }
}

impl Look for Observer {
    fn view(&self) -> View {
        let (device, generation) = self.facts().clone();
        let now = self.around.clock.now();
        View {
            version: env!("CARGO_PKG_VERSION").into(),
            device,
            generation,
            uptime_s: self.started.elapsed().as_secs(),
            now_ms: now.wall_ms,
            clock_is_set: now.trusted,
            parts: self.board.status().iter().filter_map(|(id, status)| self.part(id, status)).collect(),
        }
    }

    fn metrics(&self) -> &Arc<Metrics> {
        &self.around.metrics
    }
}
