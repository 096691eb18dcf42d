//! Keeps the parts running, with one mechanism for every source and sink.
//!
//! Invariants: a part that ends or panics without being asked is started again, each time after a longer wait;
//! every change of a part shows in its health; a waiting restart never delays a stop.

use super::{Around, MONITOR, PAGE, SINK, SOURCE};
use crate::flow::health::{Health, Reporter, Status};
use crate::flow::stop::{Stop, StopSender, reason, stop};
use crate::platform::random;
use crate::telemetry::{Event, Metrics};
use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The upper limit of the first wait before a failed part starts again, in milliseconds. It doubles with each
/// failure up to `RESTART_LIMIT_MS`.
const RESTART_MS: u64 = 1000;
const RESTART_LIMIT_MS: u64 = 60_000;
/// The longest wait for the end of tasks that were aborted.
const GONE: Duration = Duration::from_secs(2);
/// A part that ran for this long starts again after the shortest wait.
const STEADY: Duration = Duration::from_secs(60);

/// A source or a sink.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartId {
    /// The source of this name.
    Source(String),
    /// The sink of this name.
    Sink(String),
    /// The page and the local API.
    Page,
    /// Alerts, heartbeats and OTLP.
    Monitor,
}

impl PartId {
    /// The label of the part's metrics and its value: `source` and the source's name, for example.
    pub(super) fn label(&self) -> (&'static str, &str) {
        match self {
            Self::Source(name) => (SOURCE, name),
            Self::Sink(name) => (SINK, name),
            Self::Page => (PAGE, ""),
            Self::Monitor => (MONITOR, ""),
        }
    }
}

impl fmt::Display for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.label() {
            (kind, "") => f.write_str(kind),
            (kind, name) => write!(f, "{kind}.{name}"),
        }
    }
}

/// One run of a part. It ends when it is asked to, or returns the reason of its failure.
pub(super) type Attempt = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
/// Begins a run of a part.
pub(super) type Begin = Arc<dyn Fn(Stop, Reporter) -> Attempt + Send + Sync>;

/// A part that is kept running.
#[derive(Debug)]
struct Part {
    stop: StopSender,
    task: JoinSet<()>,
    status: watch::Receiver<Status>,
}

/// The health of all parts, for whoever looks; clones show the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Board(Arc<Mutex<BTreeMap<PartId, watch::Receiver<Status>>>>);

impl Board {
    fn parts(&self) -> MutexGuard<'_, BTreeMap<PartId, watch::Receiver<Status>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The health of each part.
    pub fn status(&self) -> Vec<(PartId, Status)> {
        self.parts().iter().map(|(id, status)| (id.clone(), status.borrow().clone())).collect()
    }
}

/// All parts.
#[derive(Debug, Default)]
pub(super) struct Supervisor {
    parts: BTreeMap<PartId, Part>,
    board: Board,
    /// The store and the metrics for reports of failures. Without them, failures are only in the log.
    around: Option<Around>,
}

impl Supervisor {
    /// A supervisor without parts. It reports failures to the user of this agent.
    pub fn new(around: Around) -> Self {
        Self { around: Some(around), ..Self::default() }
    }

    /// Starts a part and keeps it running.
    pub fn start(&mut self, id: PartId, begin: Begin) {
        let (sender, stop) = stop();
        let pulses = self.around.as_ref().map(|around| around.pulses.clone()).unwrap_or_default();
        let reporter = Reporter::new(&id.to_string(), pulses);
        let status = reporter.watch();
        let mut task = JoinSet::new();
        task.spawn(keep_running(id.clone(), begin, stop, reporter, self.around.clone()));
        self.board.parts().insert(id.clone(), status.clone());
        self.parts.insert(id, Part { stop: sender, task, status });
    }

    /// Asks parts to stop and waits for them. Returns the parts that did not end within `patience`.
    pub async fn stop(&mut self, is_meant: impl Fn(&PartId) -> bool, patience: Duration) -> Vec<PartId> {
        let meant: Vec<PartId> = self.parts.keys().filter(|id| is_meant(id)).cloned().collect();
        let mut stopping: Vec<(PartId, Part)> =
            meant.into_iter().filter_map(|id| self.parts.remove(&id).map(|part| (id, part))).collect();
        self.board.parts().retain(|id, _| self.parts.contains_key(id));
        for (_, part) in &stopping {
            part.stop.stop();
        }
        let until = tokio::time::Instant::now() + patience;
        let mut late = Vec::new();
        for (id, part) in &mut stopping {
            let ended = async { while part.task.join_next().await.is_some() {} };
            let in_time = tokio::time::timeout_at(until, ended).await.is_ok();
            if !in_time {
                part.task.shutdown().await;
                // The tasks of a part are gone when nobody holds a reporter of the part any more.
                let gone = async { while part.status.changed().await.is_ok() {} };
                let _ = tokio::time::timeout(GONE, gone).await;
                late.push(id.clone());
            }
        }
        late
    }

    /// Shows the health of each part.
    pub fn board(&self) -> &Board {
        &self.board
    }
}

async fn keep_running(id: PartId, begin: Begin, mut stop: Stop, reporter: Reporter, around: Option<Around>) {
    let mut failures = 0;
    loop {
        let started = Instant::now();
        // The task of this run is aborted together with this task when a stop takes too long.
        let mut attempt = JoinSet::new();
        // `begin` is called inside the task, so that its panic is reported like any other end.
        let (begin, stop_it, health) = (begin.clone(), stop.clone(), reporter.clone());
        attempt.spawn(async move { begin(stop_it, health).await });
        let ended = attempt.join_next().await;
        if stop.is_requested() {
            return;
        }
        let why = match ended {
            Some(Ok(Err(why))) => why,
            Some(Err(error)) => reason(error),
            Some(Ok(Ok(()))) | None => "it ended by itself".into(),
        };
        if started.elapsed() >= STEADY {
            failures = 0;
        }
        let wait = random::backoff(RESTART_MS, RESTART_LIMIT_MS, failures);
        failures += 1;
        let again_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let event = Event::PartFailed { part: id.to_string(), why: why.clone(), again_ms };
        match &around {
            Some(around) => around.tell(&id, &event),
            None => event.log(&Metrics::new()),
        }
        reporter.set(Health::Failed(why, wait));
        if stop.pause(wait).await.is_err() {
            return;
        }
        reporter.set(Health::Starting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    fn id(name: &str) -> PartId {
        PartId::Source(name.into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_panics_or_ends_is_started_again_later_each_time() {
        let mut supervisor = Supervisor::default();
        let runs = Arc::new(AtomicU32::new(0));
        let counted = runs.clone();
        let begin: Begin = Arc::new(move |mut stop, reporter| {
            let run = counted.fetch_add(1, SeqCst);
            assert!(run > 0, "before there is a future");
            Box::pin(async move {
                match run {
                    1 => panic!("the first time"),
                    2 => Ok(()),
                    3 => Err("the third time".into()),
                    _ => {
                        reporter.up();
                        stop.requested().await;
                        Ok(())
                    }
                }
            })
        });
        supervisor.start(id("a"), begin);
        let mut seen = Vec::new();
        let mut status = supervisor.parts[&id("a")].status.clone();
        while seen.len() < 5 {
            status.changed().await.unwrap();
            match status.borrow_and_update().health.clone() {
                Health::Failed(why, wait) => seen.push((why, wait.as_millis())),
                Health::Up => seen.push(("up".into(), 0)),
                _ => {}
            }
        }
        let words: Vec<&str> = seen.iter().map(|(why, _)| why.as_str()).collect();
        let expected = ["before there is a future", "the first time", "it ended by itself", "the third time", "up"];
        assert_eq!(words, expected);
        assert!((500..=1000).contains(&seen[0].1) && (4000..=8000).contains(&seen[3].1), "{seen:?}");
        assert!(supervisor.stop(|_| true, STEADY).await.is_empty());
        assert_eq!(runs.load(SeqCst), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_restart_that_waits_delays_no_stop_and_one_that_never_ends_is_cut_off() {
        let mut supervisor = Supervisor::default();
        supervisor.start(id("fails"), Arc::new(|_, _| Box::pin(async { Err("always".into()) })));
        supervisor.start(id("hangs"), Arc::new(|_, _| Box::pin(std::future::pending())));
        let mut status = supervisor.parts[&id("fails")].status.clone();
        let half = Duration::from_secs(30);
        let waits_long = |status: &Status| matches!(&status.health, Health::Failed(_, wait) if *wait >= half);
        status.wait_for(waits_long).await.unwrap();
        let asked = tokio::time::Instant::now();
        assert!(supervisor.stop(|part| *part == id("fails"), STEADY).await.is_empty());
        assert_eq!(asked.elapsed(), Duration::ZERO, "the wait of up to a minute was not waited for");
        assert_eq!(supervisor.stop(|_| true, Duration::from_secs(5)).await, [id("hangs")]);
        assert!(supervisor.board().status().is_empty());
    }
}
