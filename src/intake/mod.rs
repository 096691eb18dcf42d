//! The upstream loop: decodes the frames of one source, offers them to the store, and settles them in order.
//!
//! Invariants: a frame is reported as safe to its source only under a `Durable` that covers the frame. Frames
//! settle in the order of arrival, whatever stream or dead letters they went to. All records of a frame and its
//! position are one atom; only a frame that decoding made too large becomes several.

pub mod again;
mod atom;
mod doubt;
mod quality;
mod reader;
mod reduce;
mod rule;
mod stall;

use reduce::Span;
pub use reduce::{Deadband, Reduce, Take};
pub use rule::{Check, Quality, Route, Then};

use crate::flow::dead_letter::dead_letter;
use crate::flow::frame::Frame;
use crate::flow::handover::{Held, Taker};
use crate::flow::receipt::{Durable, Ticket};
use crate::flow::record::{DEAD_LETTERS, REDELIVERED, Record};
use crate::platform::clock::Clock;
use crate::store::{Atom, OfferError, Part, Store, StreamId};
use crate::telemetry::{Event, Histogram, Metric, Metrics, Reason, event};
use atom::{Builder, SPANS, atom_of_span, spans_of};
use quality::millis;
use stall::Stall;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// The interval of the search for devices that have become silent.
const STALE_LOOK: Duration = Duration::from_secs(1);

/// While atoms of so many bytes wait for room, no more frames are decoded: a packed message may have become large.
const MOST_WAITING: usize = 16 << 20;

/// A log line about dead letters with the same reason appears at most once in this time.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// The settings of a source that the intake needs.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The source's name.
    pub source: Arc<str>,
    /// The routes of the messages: their streams, decoders and checks.
    pub routes: Vec<Route>,
    /// The configuration's generation.
    pub generation: u64,
    /// The most unacknowledged messages that the source's peer allows, when the user sets it.
    pub window: Option<usize>,
}

impl Rule {
    /// The rule without `reduce`: each record counts.
    fn unreduced(self) -> Self {
        Self { routes: self.routes.into_iter().map(|route| Route { reduce: None, ..route }).collect(), ..self }
    }
}

/// Runs until the source has ended and everything that it handed over has settled, or until the
/// store is closed.
pub async fn run(rule: Rule, mut taker: Taker, store: Store, clock: Clock, metrics: Arc<Metrics>) {
    let mut durable = store.durable();
    let mut room = store.room();
    let window = rule.window;
    let mut builder = Builder::new(rule, store.stream(DEAD_LETTERS), metrics.clone(), |_, stream| store.stream(stream));
    let ended = builder.load(store.positions(&spans_of(&builder.source)));
    // They go before all frames: a new span must not take the place of a saved one that found no room.
    let ended = atoms_of_spans(&builder.source, builder.generation, ended, &store, &metrics);
    let has_spans = builder.lanes.iter().any(|lane| lane.reducer.has_spans());
    let mut stale = tokio::time::interval(STALE_LOOK);
    let watches = builder.lanes.iter().any(|lane| lane.checker.watches());
    let mut intake = Intake {
        stall: Stall::new(window),
        weight: ended.iter().map(Atom::weight).sum(),
        waiting: ended.into_iter().map(|atom| (atom, None)).collect(),
        offered: VecDeque::new(),
        hurry_upto: 0,
        taken: 0,
        builder,
        store,
        clock,
        metrics,
    };
    if !intake.offer() {
        return;
    }
    let (mut open, mut may_hurry) = (true, true);
    let mut hurry = taker.hurry();
    while open || !intake.is_idle() {
        let silence = if taker.is_empty() { intake.silence() } else { None };
        tokio::select! {
            held = taker.next(), if open && intake.weight < MOST_WAITING => match held {
                Some(held) => intake.take(held),
                None => {
                    open = false;
                    intake.store.hurry();
                }
            },
            changed = durable.changed() => {
                if changed.is_err() {
                    return;
                }
                let proof = *durable.borrow_and_update();
                intake.settle(proof, &taker);
            }
            _ = room.changed() => {}
            changed = hurry.changed(), if may_hurry => match changed {
                Ok(()) => intake.hurry_upto = *hurry.borrow_and_update(),
                Err(_) => may_hurry = false,
            },
            _ = stale.tick(), if (watches || has_spans) && open => {
                intake.tell_stale();
                intake.end_spans();
            }
            () = tokio::time::sleep(silence.unwrap_or_default()), if silence.is_some() => intake.hurry(),
        }
        if !intake.offer() {
            return;
        }
        intake.hurry_if_asked();
    }
}

/// The atoms that end the saved spans of `reduce` which nothing continues: each has a record for the span's stream.
fn atoms_of_spans(
    source: &str,
    generation: u64,
    saved: Vec<(String, Vec<u8>)>,
    store: &Store,
    metrics: &Metrics,
) -> Vec<Atom> {
    let atom = |(part, value): (String, Vec<u8>)| {
        if let Some(span) = Span::decode(&value) {
            let stream = store.stream(&span.stream);
            return atom_of_span(source, generation, stream, span.into_record(), part);
        }
        let reason = "an open span of `reduce` that this version cannot read";
        let value = Record { payload: value.into(), ..Record::empty(source) };
        let letter = dead_letter(value, &[("source", source)], reason, None);
        metrics.add_for(Reason::Undecoded, 1);
        tracing::warn!(event = event::DEAD_LETTER, source, part, "set aside: {reason}");
        atom_of_span(source, generation, store.stream(DEAD_LETTERS), letter, part)
    };
    saved.into_iter().map(atom).collect()
}

/// Ends the open spans of sources that are not configured any more. What finds no room stays saved, and is tried again
/// at the next start or reload.
pub fn end_spans_of_others(sources: &[&str], generation: u64, store: &Store, metrics: &Metrics) {
    for owner in store.position_owners() {
        if let Some(source) = owner.strip_suffix(SPANS).filter(|source| !sources.contains(source)) {
            for atom in atoms_of_spans(source, generation, store.positions(&owner), store, metrics) {
                if let Err(error) = store.offer(atom) {
                    tracing::warn!(event = event::SOURCE_NOTE, source, %error, "an open span of `reduce` stays saved");
                }
            }
        }
    }
}

/// Decodes and checks frames without a store, to show the records to a person. Nothing is left out by `reduce`.
#[derive(Debug)]
pub struct Preview {
    builder: Builder,
    streams: Vec<String>,
}

impl Preview {
    /// Creates a preview that follows the rule of a source.
    #[must_use]
    pub fn new(rule: Rule, metrics: Arc<Metrics>) -> Self {
        let mut streams: Vec<String> = rule.routes.iter().map(|route| route.stream.clone()).collect();
        streams.push(DEAD_LETTERS.into());
        let dead = u32::try_from(rule.routes.len()).unwrap_or(u32::MAX);
        let number = |route: usize, _: &str| u32::try_from(route).unwrap_or(u32::MAX);
        let builder = Builder::new(rule.unreduced(), dead, metrics, number);
        Self { builder, streams }
    }

    /// The records of a frame, with their streams.
    pub fn records(&mut self, frame: Frame, clock: &Clock) -> Vec<(&str, Record)> {
        let now = clock.now();
        let parts = self.builder.build(frame, now).into_iter().flat_map(|atom| atom.parts);
        let name = |stream: StreamId| usize::try_from(stream).ok().and_then(|at| self.streams.get(at));
        let named = |part: Part| {
            let stream = name(part.stream).map_or("", String::as_str);
            part.records.into_iter().map(move |record| (stream, record))
        };
        parts.flat_map(named).collect()
    }
}

struct Intake {
    builder: Builder,
    store: Store,
    clock: Clock,
    metrics: Arc<Metrics>,
    stall: Stall,
    /// Decoded atoms that the store has not taken yet. The last atom of a frame carries the frame's number and
    /// permit.
    waiting: VecDeque<(Atom, Option<Unsettled>)>,
    /// The bytes of the waiting atoms.
    weight: usize,
    /// Frames that the store has taken and will commit, with their tickets.
    offered: VecDeque<(Ticket, Unsettled)>,
    /// The source waits for all frames up to this number; 0 when it does not wait.
    hurry_upto: u64,
    /// The frame that was taken last.
    taken: u64,
}

/// A frame that has not settled yet.
#[derive(Debug)]
struct Unsettled {
    /// The number of the frame.
    id: u64,
    /// The time at which the intake took the frame, in monotonic milliseconds.
    since_ms: u64,
    /// The frame's share of the bytes that the source may have in flight. Dropping it gives the share back.
    _permit: OwnedSemaphorePermit,
}

impl Intake {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.offered.is_empty()
    }

    fn take(&mut self, held: Held) {
        let Held { id, frame, permit } = held;
        self.taken = id;
        let now = self.clock.now();
        self.count(&frame, now.wall_ms);
        let mut atoms = self.builder.build(frame, now);
        self.weight += atoms.iter().map(Atom::weight).sum::<usize>();
        let last = atoms.pop().unwrap_or_default();
        self.waiting.extend(atoms.into_iter().map(|atom| (atom, None)));
        let unsettled = Unsettled { id, since_ms: now.monotonic_ms, _permit: permit };
        self.waiting.push_back((last, Some(unsettled)));
        self.stall.arrived(now.monotonic_ms);
    }

    fn count(&self, frame: &Frame, wall_ms: i64) {
        self.metrics.set(Metric::SourceLastFrame, u64::try_from(wall_ms).unwrap_or(0));
        self.metrics.add(Metric::SourceFrames, 1);
        if frame.flags & REDELIVERED != 0 {
            self.metrics.add(Metric::SourceRedelivered, 1);
        }
        self.metrics.add(Metric::SourceBytes, frame.bytes());
    }

    /// Reports devices that have become silent, or that send again.
    fn tell_stale(&mut self) {
        let now = self.clock.now();
        let source = self.builder.source.clone();
        let changed: Vec<_> =
            self.builder.lanes.iter_mut().flat_map(|lane| lane.checker.stale(now.monotonic_ms)).collect();
        for (key, silent) in changed {
            let (source, key) = (source.to_string(), key.to_string());
            let event = match silent {
                Some(span) => Event::SensorStale { source, key, silent_ms: millis(span) },
                None => Event::SensorBack { source, key },
            };
            self.store.tell(&event, &self.metrics);
        }
    }

    /// Hands on the records of spans of `reduce` that have ended.
    fn end_spans(&mut self) {
        let ended = self.builder.ended(self.clock.now().wall_ms);
        self.weight += ended.iter().map(Atom::weight).sum::<usize>();
        self.waiting.extend(ended.into_iter().map(|atom| (atom, None)));
    }

    /// Offers the waiting atoms in order; `false` when the store is closed or belongs to another writer.
    fn offer(&mut self) -> bool {
        while let Some((atom, unsettled)) = self.waiting.pop_front() {
            self.weight = self.weight.saturating_sub(atom.weight());
            match self.store.offer(atom) {
                Ok(ticket) => self.offered.extend(unsettled.map(|unsettled| (ticket, unsettled))),
                Err(OfferError::Full(atom)) => {
                    self.weight += atom.weight();
                    self.waiting.push_front((*atom, unsettled));
                    return true;
                }
                Err(OfferError::Closed) => return false,
                Err(error @ OfferError::OtherWriter(_)) => {
                    tracing::error!(event = event::SOURCE_DOWN, source = %self.builder.source, %error, "cannot go on");
                    return false;
                }
                Err(error @ OfferError::TooLarge(_)) => {
                    // Sources cut their frames below the limit. This log line shows it if a source ever fails to do
                    // so.
                    self.metrics.add_for(Reason::TooLarge, 1);
                    tracing::error!(event = event::DEAD_LETTER, source = %self.builder.source, %error, "lost");
                }
            }
        }
        true
    }

    /// The time that the source must still stay silent before it is taken to be waiting.
    fn silence(&self) -> Option<Duration> {
        let due = self.stall.due(self.offered.len())?;
        Some(Duration::from_millis(due.saturating_sub(self.clock.monotonic_ms())))
    }

    /// Commits at once when the source asked for it and all frames that it waits for are here.
    fn hurry_if_asked(&mut self) {
        if self.hurry_upto > 0 && self.taken >= self.hurry_upto && self.waiting.is_empty() {
            self.hurry_upto = 0;
            if !self.offered.is_empty() {
                self.hurry();
            }
        }
    }

    fn hurry(&mut self) {
        self.stall.hurried();
        self.metrics.add(Metric::SourceStalls, 1);
        self.store.hurry();
    }

    fn settle(&mut self, proof: Durable, taker: &Taker) {
        let mut last = None;
        let mut count = 0;
        let now = self.clock.monotonic_ms();
        while self.offered.front().is_some_and(|(ticket, _)| proof.covers(*ticket)) {
            if let Some((_, unsettled)) = self.offered.pop_front() {
                self.metrics.observe(Histogram::SourceSettle, now.saturating_sub(unsettled.since_ms));
                last = Some(unsettled.id);
                count += 1;
            }
        }
        if let Some(id) = last {
            self.metrics.add(Metric::SourceSettled, count);
            self.stall.settled(self.is_idle(), self.clock.monotonic_ms());
            taker.settle(id);
        }
    }
}
