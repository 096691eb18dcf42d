//! The state that the committer, the offering sources and the readers share.

use super::claim::{Claim, ClaimError, Writer};
use super::group::{Atom, Group};
use super::log::body::{CursorEntry, FloorEntry, Holding, StreamId, StreamName, StreamState};
use super::log::layout::Heat;
use super::log::segment::{Folders, Segment};
use super::options::{Options, ReaderRule, Role, Rules};
use super::position::Backlog;
use super::report::Reports;
use super::space::{Hold, Snapshot, StreamRule, WhenFull};
use super::state::{State, new_stream};
use super::{GROUP_BYTES, MAX_ATOM, OfferError};
use crate::flow::receipt::{Durable, Ticket};
use crate::platform::clock;
use crate::platform::traffic::Traffic;
use crate::telemetry::{Cause, Event, Metrics};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// A cursor as it is now, with the progress that is not saved yet.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub entry: CursorEntry,
    /// Bytes that would be sent again after a crash.
    pub unsaved: u64,
    /// The part of `unsaved` that the frame now being written saves.
    pub saving: u64,
    pub since_ms: Option<u64>,
    /// Somebody waits until the cursor is saved.
    pub urgent: bool,
}

#[derive(Debug)]
pub(super) struct Shared {
    /// The state of the store, as durable.
    pub state: State,
    /// The segments, as durable. The last one is appended to.
    pub segments: BTreeMap<u64, Segment>,
    pub readers: Vec<ReaderRule>,
    pub rules: Rules,
    /// The rules have changed: a group that had no room is tried again.
    pub retry: bool,
    pub cursors: BTreeMap<(String, StreamId), Live>,
    /// Streams that have a number and no record yet.
    pub new_streams: BTreeMap<StreamId, String>,
    /// The pending group of the atoms that sources offered.
    pub pending: Group,
    /// The pending group of the steps that queries committed.
    pub steps: Group,
    /// The kind of writer of each stream to which somebody has written since the start.
    pub writers: BTreeMap<StreamId, Claim>,
    /// The bytes of snapshots of queries that are not complete, by the stream of the state.
    pub begun: BTreeMap<StreamId, usize>,
    /// An offer was refused since there was room last.
    pub refused: bool,
    /// Streams that are over their own cap and whose rule does not drop their oldest records.
    pub full: BTreeMap<StreamId, WhenFull>,
    /// Segments that were not worth copying, each with the sum of the floors of its streams at that time.
    pub not_worth_copying: BTreeMap<u64, u64>,
    pub reports: Reports,
    pub closing: bool,
    pub abandoned: bool,
}

#[derive(Debug)]
pub(super) struct Inner {
    /// This start created the store.
    pub is_new: bool,
    pub id: [u8; 16],
    pub options: Options,
    pub traffic: Arc<Traffic>,
    pub folders: Folders,
    pub shared: Mutex<Shared>,
    /// Wakes the committer.
    pub wake: Condvar,
    pub durable: watch::Sender<Durable>,
    /// Follows the groups of query steps, which have numbers of their own.
    pub stepped: watch::Sender<Durable>,
    pub room: watch::Sender<u64>,
    pub saved: watch::Sender<u64>,
    /// The committer has failed.
    pub failed: watch::Sender<bool>,
}

impl Inner {
    pub fn lock(&self) -> MutexGuard<'_, Shared> {
        // No code that holds the lock leaves the state half changed, so a panic elsewhere does not matter.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn stream(&self, name: &str) -> StreamId {
        let mut shared = self.lock();
        let new = shared.new_streams.iter().find(|(_, n)| *n == name).map(|(id, _)| *id);
        if let Some(id) = shared.state.find(name).or(new) {
            return id;
        }
        let highest = shared.state.streams.keys().chain(shared.new_streams.keys()).max().copied().unwrap_or(0);
        shared.new_streams.insert(highest + 1, name.to_string());
        highest + 1
    }

    pub fn offer(&self, atom: Atom) -> Result<Ticket, OfferError> {
        let weight = atom.weight();
        if weight > MAX_ATOM {
            return Err(OfferError::TooLarge(weight));
        }
        let mut shared = self.lock();
        if shared.closing {
            return Err(OfferError::Closed);
        }
        let capped = |part: &super::Part| shared.full.get(&part.stream) == Some(&WhenFull::Block);
        if shared.pending.weight >= self.options.pending_limit() || atom.parts.iter().any(capped) {
            shared.refused = true;
            return Err(OfferError::Full(Box::new(atom)));
        }
        let written = atom.parts.iter().filter(|part| !part.records.is_empty()).map(|part| part.stream);
        match self.claim(&mut shared, written, Writer::Sources) {
            Ok(()) => {}
            Err(ClaimError::Other(other)) => return Err(other.into()),
            Err(ClaimError::Wait) => {
                shared.refused = true;
                return Err(OfferError::Full(Box::new(atom)));
            }
        }
        let before = shared.pending.weight;
        let first = shared.pending.is_empty();
        shared.pending.push(atom, self.options.clock.monotonic_ms());
        let ticket = Ticket::new(shared.pending.number);
        if first || (before < GROUP_BYTES && shared.pending.weight >= GROUP_BYTES) {
            self.wake.notify_one();
        }
        Ok(ticket)
    }

    pub fn hurry(&self) {
        let mut shared = self.lock();
        if !shared.pending.is_empty() && !shared.pending.urgent {
            shared.pending.urgent = true;
            self.wake.notify_one();
        }
    }

    /// The ticket of the last group for which an atom was offered.
    pub fn last_offered(&self) -> Ticket {
        let pending = &self.lock().pending;
        Ticket::new(if pending.is_empty() { pending.number - 1 } else { pending.number })
    }

    pub fn position_owners(&self) -> Vec<String> {
        let mut owners: Vec<String> = self.lock().state.positions.keys().map(|(source, _)| source.clone()).collect();
        owners.dedup();
        owners
    }

    pub fn positions(&self, source: &str) -> Vec<(String, Vec<u8>)> {
        let shared = self.lock();
        let own = shared.state.positions.iter().filter(|((name, _), _)| name == source);
        own.map(|((_, part), value)| (part.clone(), value.clone())).collect()
    }

    pub fn streams_of(&self, reader: &str) -> Vec<(StreamId, String)> {
        let shared = self.lock();
        let Some(rule) = shared.readers.iter().find(|rule| rule.name == reader) else {
            return Vec::new();
        };
        let streams = shared.state.streams.values().filter(|stream| rule.reads(&stream.name));
        streams.map(|stream| (stream.id, stream.name.clone())).collect()
    }

    /// What a reader has not released, by the name of the stream.
    pub fn backlog(&self, reader: &str) -> Vec<(String, Backlog)> {
        let shared = self.lock();
        let Some(rule) = shared.readers.iter().find(|rule| rule.name == reader) else {
            return Vec::new();
        };
        let streams = shared.state.streams.values().filter(|stream| rule.reads(&stream.name));
        streams.map(|stream| (stream.name.clone(), shared.backlog_of(reader, stream))).collect()
    }

    /// Reports sequences that a reader found unreadable. A range is reported once, however often it is read again.
    pub fn damaged(&self, stream: StreamId, (from, to): (u64, u64)) {
        let now = self.options.clock.now();
        let mut shared = self.lock();
        let name = shared.name(stream);
        if shared.reports.gap((stream, &name), (from, to), &self.options.metrics, now) {
            self.wake.notify_one();
        }
    }

    /// Tells the user of an event; `metrics` are those of the part that it is about.
    pub fn tell(&self, event: &Event, metrics: &Metrics) {
        // The log may be slow: it does not hold up whoever needs the lock.
        event.log(metrics);
        let now = self.options.clock.now();
        self.lock().reports.push(event, &self.options.metrics, now);
        self.wake.notify_one();
    }

    /// Reports that the clock was set by this many milliseconds. The ages of cursors stay what they were.
    pub fn clock_set(&self, by_ms: i64) {
        let now = self.options.clock.now();
        let mut shared = self.lock();
        let (boot, time) = (clock::boot(), clock::utc(now.wall_ms));
        let (monotonic_ms, wall_ms) = (now.monotonic_ms, now.wall_ms);
        let event = Event::ClockSet { boot, monotonic_ms, wall_ms, by_ms, now: time };
        shared.reports.tell(&event, &self.options.metrics, now);
        if now.trusted && clock::is_credible(now.wall_ms.saturating_sub(by_ms)) {
            shared.state.cursors.values_mut().for_each(|cursor| cursor.seen_ms = cursor.seen_ms.saturating_add(by_ms));
        }
        self.wake.notify_one();
    }

    /// The rule of a stream that may have no record yet.
    pub fn rule_of_new(&self, stream: StreamId) -> StreamRule {
        let shared = self.lock();
        shared.rules.rule(&shared.name(stream))
    }

    pub fn configure(self: &Arc<Self>, readers: Vec<ReaderRule>, rules: Rules) {
        let now = self.options.clock.now();
        let mut shared = self.lock();
        (shared.readers, shared.rules) = (readers, rules);
        shared.retry = true;
        shared.writers.values_mut().for_each(|claim| claim.is_former = true);
        let at_times = shared.place_readers(now.wall_ms);
        shared.refresh_full();
        drop(shared);
        self.begin_at_times(at_times);
        // Sources that waited for room may have it now, and data that was to be freed may be wanted.
        self.room.send_modify(|n| *n += 1);
        self.wake.notify_all();
    }

    pub fn ask_to_close(&self, abandon: bool) {
        let mut shared = self.lock();
        shared.closing = true;
        shared.abandoned |= abandon;
        self.wake.notify_all();
    }
}

impl Shared {
    /// Whether a query reads the store. Sources then leave room for the query's results.
    pub fn has_queries(&self) -> bool {
        self.readers.iter().any(|rule| rule.role == Role::Query)
    }

    /// Who holds a stream back.
    pub fn hold(&self, stream: StreamId) -> Hold {
        let Some(state) = self.state.streams.get(&stream) else {
            return Hold::Nobody;
        };
        let readers = self.readers.iter().filter(|rule| rule.holds(&state.name));
        readers.map(|rule| self.cursor(&rule.name, stream)).min().map_or(Hold::Nobody, Hold::Cursor)
    }

    /// All that decisions about space depend on.
    pub fn snapshot(&self, current: u64) -> Snapshot<'_> {
        let streams = || self.state.streams.values();
        Snapshot {
            state: &self.state,
            segments: &self.segments,
            current,
            holds: streams().map(|stream| (stream.id, self.hold(stream.id))).collect(),
            rules: streams().map(|stream| (stream.id, self.rules.rule(&stream.name))).collect(),
            not_worth_copying: self
                .not_worth_copying
                .iter()
                .filter(|(n, floors)| self.floors_of(**n) == **floors)
                .map(|(n, _)| *n)
                .collect(),
        }
    }

    /// The sum of the floors of all streams in a segment. Floors only rise, so an equal sum means equal floors.
    pub fn floors_of(&self, segment: u64) -> u64 {
        let holdings = self.segments.get(&segment).map(|segment| &segment.summary.holdings[..]).unwrap_or_default();
        holdings.iter().filter_map(|holding| self.state.streams.get(&holding.stream)).map(|stream| stream.floor).sum()
    }

    /// Determines which streams are over their own cap. Returns whether the set has changed.
    pub fn refresh_full(&mut self) -> bool {
        let full = self.snapshot(0).full_streams();
        let changed = full != self.full;
        self.full = full;
        changed
    }

    /// What a reader has not released of a stream.
    fn backlog_of(&self, reader: &str, stream: &StreamState) -> Backlog {
        let next = self.cursor(reader, stream.id).max(stream.floor);
        let records = stream.next.saturating_sub(next) - self.delivered_ahead(reader, stream.id, next);
        let holdings = self.segments.values().filter_map(|segment| segment.summary.of(stream.id));
        let waiting: Vec<&Holding> = holdings.filter(|holding| holding.last >= next).collect();
        Backlog {
            records,
            bytes: waiting.iter().map(|holding| holding.bytes_from(next)).sum(),
            oldest_ms: waiting.iter().map(|holding| holding.arrival_of(next)).min(),
        }
    }

    /// A stream's name.
    pub fn name(&self, stream: StreamId) -> String {
        let known = self.state.streams.get(&stream).map(|stream| &stream.name);
        known.or_else(|| self.new_streams.get(&stream)).cloned().unwrap_or_else(|| format!("#{stream}"))
    }

    /// Counts and reports the records that a floor takes away and that a reader has not released.
    pub fn report_dropped(&mut self, floor: &FloorEntry, cause: Cause, metrics: &Metrics, now_ms: u64) {
        let Some(stream) = self.state.streams.get(&floor.stream) else { return };
        let from = match self.hold(floor.stream) {
            Hold::Cursor(next) => next.max(stream.floor),
            Hold::Nobody => stream.floor,
        };
        let name = stream.name.clone();
        if from < floor.floor {
            self.reports.given_up((floor.stream, &name), (from, floor.floor - 1), cause, metrics, now_ms);
        }
    }

    /// The numbers and names of streams. Every frame names the streams of its sections, so that a lost frame does
    /// not take a stream's name with it.
    pub fn names(&self, mut ids: Vec<StreamId>) -> Vec<StreamName> {
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().map(|id| StreamName { id, name: self.name(id) }).collect()
    }

    /// Notes that a stream has its first record in the log.
    pub fn take_in_stream(&mut self, id: StreamId, name: &str) {
        self.new_streams.remove(&id);
        self.state.streams.entry(id).or_insert_with(|| new_stream(id, name.to_string()));
    }

    /// The segment in which a stream goes on at `next`.
    pub fn locate(&self, stream: StreamId, next: u64) -> Option<&Segment> {
        let holds = |segment: &&Segment| segment.summary.of(stream).is_some_and(|holding| holding.last >= next);
        let first = |segment: &&Segment| segment.summary.of(stream).map_or(u64::MAX, |holding| holding.first.max(next));
        // With equal sequences the copy comes before the original, because the original's file may be in use again.
        self.segments.values().filter(holds).min_by_key(|segment| (first(segment), segment.summary.heat == Heat::Hot))
    }
}
