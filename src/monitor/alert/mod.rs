//! Alerts: rules over the agent's own numbers, and over fields of the records that pass.
//!
//! Invariants: each beginning and each end is told once, in the log, in `forebay.events`, and in the stream of
//! `[alerts]`; a target that is away hears the state when it is back, not a storm of what has passed.
//!
//! How it works: a query of the store (`store::Step`) reads the watched streams. One commit has its cursors, the records
//! of the alerts' stream and the alerts that are active, so that a restart at any moment neither loses nor repeats a
//! record. Without `[alerts]` and `[alert.NAME]` only the metrics are watched, and nothing is kept.

mod engine;
mod rule;
mod settings;
mod tell;
mod usual;

pub use engine::{Change, Id, State};
pub use rule::Severity;
pub use settings::{Alert, Alerts, What};

use super::Around;
use super::view::{AlertView, View};
use crate::flow::receipt::{Durable, Ticket};
use crate::flow::record::{CLOCK_UNSET, PayloadKind, Record};
use crate::flow::stop::Stop;
use crate::platform::clock;
use crate::store::{
    Begin, Item, Kept, Part, Place, Reader, ReaderHandle, ReaderRule, Role, Selection, Step, StepError, StreamId,
};
use crate::telemetry::{Event, event};
use bytes::Bytes;
use engine::{Engine, Moment};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tell::Told;
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;

/// The reader's name in the store.
const READER: &str = "forebay.alerts";
/// The interval at which metrics are judged.
const LOOK: Duration = Duration::from_secs(10);
/// An agent that runs for fewer seconds has only begun: nobody has watched its counters before.
const NEW_S: u64 = 15;
/// Records that arrive are judged together after this time.
const GATHER: Duration = Duration::from_secs(1);
/// At the stop, a step has this much time to become durable.
const LAST: Duration = Duration::from_secs(5);
/// The most records of a step.
const STEP: usize = 2000;
/// The most changes that wait for a place in the alerts' stream.
const WAITING: usize = 1000;

/// The rule of the reader, if these alerts need one.
#[must_use]
pub fn reader(alerts: &Alerts) -> Option<ReaderRule> {
    alerts.is_kept.then(|| ReaderRule {
        name: READER.into(),
        streams: Selection::Named(alerts.streams()),
        begin: Begin::Newest,
        role: Role::Query,
    })
}

/// What is kept over restarts.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Memory {
    active: Vec<AlertView>,
    /// The keys whose silence is watched.
    #[serde(default)]
    keys: Vec<Id>,
    /// What each target was told, and when.
    told: BTreeMap<String, Told>,
}

/// Watches until the stop.
pub(super) async fn run(alerts: Alerts, around: Around, mut stop: Stop) {
    let reader = around.store.reader(READER);
    let memory = remembered(&alerts, &reader);
    let told = Arc::new(Mutex::new(memory.told.clone()));
    let news = Arc::<Notify>::default();
    let mut watch = Watch {
        engine: Engine::new(alerts.rules.clone(), memory.active.clone(), &memory.keys, moment()),
        targets: tell::start(&alerts, memory.active.clone(), &told, &news, &stop, &around),
        readers: BTreeMap::new(),
        inputs: BTreeMap::new(),
        waiting: VecDeque::new(),
        pending: None,
        kept: memory,
        told,
        is_over: false,
        reader,
        around,
        alerts,
    };
    watch.show();
    let mut durable = watch.around.store.durable();
    let mut stepped = watch.around.store.stepped();
    let has_streams = !watch.alerts.streams().is_empty();
    let mut look = tokio::time::interval_at(tokio::time::Instant::now() + LOOK, LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = look.tick() => watch.metrics(),
            changed = durable.changed(), if has_streams => {
                if changed.is_err() || stop.pause(GATHER).await.is_err() {
                    break;
                }
            }
            // A disk that takes nothing holds up no alert: the disk itself is one.
            is_open = settled(&mut stepped, watch.pending.as_ref()) => {
                if !is_open {
                    return;
                }
                watch.kept = watch.pending.take().map(|(_, memory)| memory).unwrap_or_default();
            }
            () = news.notified() => {}
            () = stop.requested() => break,
        }
        durable.mark_unchanged();
        while watch.records() {
            if watch.commit().is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        if watch.commit().is_err() {
            return;
        }
    }
    // Whoever watches next reads what was kept last.
    if watch.pending.is_none() {
        return;
    }
    let _ = tokio::time::timeout(LAST, settled(&mut stepped, watch.pending.as_ref())).await;
}

/// Returns when a step is durable; false when the store is closed. Without a step, it never returns.
async fn settled(stepped: &mut watch::Receiver<Durable>, pending: Option<&(Ticket, Memory)>) -> bool {
    match pending {
        Some((ticket, _)) => stepped.wait_for(|durable| durable.covers(*ticket)).await.is_ok(),
        None => std::future::pending().await,
    }
}

/// The store is closed.
struct Closed;

struct Watch {
    alerts: Alerts,
    around: Around,
    engine: Engine,
    targets: watch::Sender<Vec<AlertView>>,
    reader: ReaderHandle,
    readers: BTreeMap<StreamId, (String, Reader)>,
    /// What was read and is not in the log as read.
    inputs: BTreeMap<StreamId, u64>,
    /// Records that wait for their place in the alerts' stream.
    waiting: VecDeque<Record>,
    /// A step that is not durable yet, and what it keeps.
    pending: Option<(Ticket, Memory)>,
    kept: Memory,
    told: Arc<Mutex<BTreeMap<String, Told>>>,
    /// It was told that an alert watches as many keys as it may.
    is_over: bool,
}

impl Watch {
    fn metrics(&mut self) {
        let view = self.around.agent.view();
        let fill = full_at(&view);
        if !self.is_over && self.engine.left_out() > 0 {
            self.is_over = true;
            tracing::warn!(
                event = event::ALERTS_NOT_KEPT,
                "an alert watches 1000 keys, and no further ones: name fewer in its `key`"
            );
        }
        let is_new = view.uptime_s < NEW_S;
        let families = self.around.agent.families(&view);
        let changes = self.engine.metrics(&families, fill.as_deref(), is_new, moment());
        self.tell(&changes);
    }

    /// Judges the records that are new, up to the bound of a step. Returns whether there may be more.
    fn records(&mut self) -> bool {
        // What cannot be written yet must not push out what was found before.
        if self.waiting.len() >= WAITING / 2 {
            return false;
        }
        for (stream, name) in self.reader.streams() {
            let open = || (name.clone(), self.reader.open(stream));
            self.readers.entry(stream).or_insert_with(open);
        }
        let mut changes = Vec::new();
        let (now, mut left) = (moment(), STEP);
        for (stream, (name, reader)) in &mut self.readers {
            while left > 0 {
                let item = match reader.read() {
                    Ok(Some(item)) => item,
                    Ok(None) => break,
                    Err(error) => {
                        tracing::warn!(event = event::ALERTS_NOT_KEPT, stream = name, %error, "cannot read the stream");
                        break;
                    }
                };
                if let Item::Span(span) = item {
                    for (_, record) in span.records() {
                        // Before the clock was set, the time of arrival says nothing.
                        let is_dated = record.flags & CLOCK_UNSET == 0;
                        let age = if is_dated { now.wall_ms.saturating_sub(record.arrival_ms).max(0) } else { 0 };
                        let age = age.unsigned_abs();
                        let at = Moment { at_ms: now.at_ms.saturating_sub(age), wall_ms: record.arrival_ms };
                        changes.extend(self.engine.record(name, record.key, record.payload, at));
                        left = left.saturating_sub(1);
                    }
                }
                self.inputs.insert(*stream, reader.next_sequence());
            }
        }
        self.tell(&changes);
        left == 0
    }

    fn tell(&mut self, changes: &[Change]) {
        for change in changes {
            let Change { alert: AlertView { name, about, severity, message, since_ms }, state, at_ms } = change.clone();
            let event = match state {
                State::Begins => Event::AlertBegins { alert: name, about, severity: severity.word(), reason: message },
                State::Ended => Event::AlertEnded {
                    alert: name,
                    about,
                    seconds: at_ms.saturating_sub(since_ms).max(0).unsigned_abs() / 1000,
                },
            };
            self.around.store.tell(&event, self.around.agent.metrics());
            if self.alerts.stream.is_some() {
                self.waiting.extend(record(change));
                if self.waiting.len() > WAITING {
                    self.waiting.pop_front();
                    tracing::warn!(
                        event = event::ALERTS_NOT_KEPT,
                        "the store takes nothing: a change of an alert is in the log only"
                    );
                }
            }
        }
        if !changes.is_empty() {
            self.show();
        }
    }

    fn show(&self) {
        let active = self.engine.active();
        self.targets.send_replace(active.clone());
        self.around.agent.alerts(active);
    }

    /// Gives what has changed to the store, if it takes it at the moment: one step at a time.
    fn commit(&mut self) -> Result<(), Closed> {
        if !self.alerts.is_kept || self.pending.is_some() {
            return Ok(());
        }
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let memory = Memory { active: self.engine.active(), keys: self.engine.keys(), told };
        if self.inputs.is_empty() && self.waiting.is_empty() && memory == self.kept {
            return Ok(());
        }
        let output = match &self.alerts.stream {
            Some(stream) if !self.waiting.is_empty() => vec![Part {
                stream: self.around.store.stream(stream),
                generation: self.around.generation,
                in_flight: false,
                records: self.waiting.iter().cloned().collect(),
            }],
            _ => Vec::new(),
        };
        let kept = if memory == self.kept {
            Kept::Nothing
        } else {
            // Text that was made of text.
            let piece = Bytes::from(serde_json::to_vec(&memory).unwrap_or_default());
            Kept::Snapshot { piece, place: Place::Whole }
        };
        let inputs = self.inputs.iter().map(|(stream, next)| (*stream, *next)).collect();
        let step = Step { inputs, output, kept };
        // What the store never takes must not hold up the rest: first the memory is left out, then the records.
        let without_memory = Step { kept: Kept::Nothing, ..step.clone() };
        let bare = Step { output: Vec::new(), ..without_memory.clone() };
        for step in [step, without_memory, bare] {
            match self.reader.commit(step) {
                Ok(ticket) => {
                    self.inputs.clear();
                    self.waiting.clear();
                    self.pending = Some((ticket, memory));
                    return Ok(());
                }
                // The next look tries again.
                Err(StepError::Full(_)) => return Ok(()),
                Err(StepError::Closed) => return Err(Closed),
                Err(error) => {
                    tracing::warn!(event = event::ALERTS_NOT_KEPT, %error, "the alerts cannot be stored");
                }
            }
        }
        Ok(())
    }
}

fn moment() -> Moment {
    Moment { at_ms: clock::boot_ms(), wall_ms: clock::wall_ms() }
}

/// What was kept before the restart. What cannot be read is begun anew.
fn remembered(alerts: &Alerts, reader: &ReaderHandle) -> Memory {
    if !alerts.is_kept {
        return Memory::default();
    }
    let memory = reader.memory().ok().filter(|memory| !memory.is_damaged);
    let snapshot = memory.and_then(|memory| memory.snapshot.into_iter().next());
    snapshot.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// The record of a change, for the alerts' stream.
fn record(change: &Change) -> Option<Record> {
    let payload = serde_json::to_vec(change).ok()?;
    let flags = if clock::is_credible(change.at_ms) { 0 } else { CLOCK_UNSET };
    Some(Record {
        arrival_ms: change.at_ms,
        flags,
        kind: PayloadKind::Json,
        payload: payload.into(),
        ..Record::empty(&change.alert.name)
    })
}

/// When the store will be full, in words.
fn full_at(view: &View) -> Option<String> {
    let ms = i64::try_from(view.fill.full_in_s?.saturating_mul(1000)).ok()?;
    let at =
        if view.clock_is_set { clock::utc(view.now_ms.saturating_add(ms)) } else { String::from("an unknown time") };
    Some(format!(", and will be full at {at}"))
}
