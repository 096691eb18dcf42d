//! The committer: the only thread that writes to the log.
//!
//! Invariants: at most one frame of the log is unsynced. A `Durable` is sent only after the frame's `fdatasync` has
//! returned, or when the user's own rule gave the records up. A frame that could not be written keeps its sequences
//! and goes to the next segment. Cursors, floors and Forebay's own events always find room, so that a full store
//! drains by itself.
//!
//! `schedule` decides what is due, and `work` does it: `build` makes sections of groups, `room` makes room. Atoms
//! of sources and steps of queries wait in separate queues. Where a full store has no room for data, queries still
//! go on, because a query may release the records that fill the store.

mod build;
mod mend;
mod room;
mod schedule;
mod scrub;

pub use mend::Repaired;

use super::ReaderRule;
use super::group::Group;
use super::index::{Index, Update};
use super::lock::Lock;
use super::log::body::{
    self, Close, Commit, CursorEntry, Reason, SectionHead, Stamp, StreamId, StreamName, StreamState, Summary,
};
use super::log::layout::Kind;
use super::log::section::{Builder, Compressor};
use super::log::segment::{Folders, Segment};
use super::log::writer::Writer;
use super::mark::{Mark, Marker, ReaderMark, StreamMark};
use super::shared::{Inner, Shared};
use super::space::{Floors, Room};
use crate::flow::receipt::Durable;
use crate::flow::record::{EVENTS, Record};
use crate::platform::disk::is_out_of_inodes;
use crate::platform::machine;
use crate::telemetry::seldom::Seldom;
use crate::telemetry::{Cause, Histogram, Metric, event};
use build::{Built, Unlogged};
use schedule::{Moment, Pace, Retry, Waiting};
use scrub::Scrub;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How often troubles of the disk that come and go are reported.
const REPORT_EVERY: Duration = Duration::from_secs(60);
/// The longest wait before a failed write of data is tried again, in milliseconds.
const RETRY_LIMIT_MS: u64 = 30_000;
/// The longest wait for Forebay's own frames, in milliseconds. It is shorter, because a crash repeats every
/// delivery that no saved cursor covers.
const OWN_RETRY_LIMIT_MS: u64 = 5000;
/// A group of sources and a group of queries share a frame up to this many bytes together.
const MOST_TOGETHER: usize = 2 << 20;
/// Records that were given up before they were written are noted in the log after this many milliseconds.
const UNLOGGED_MS: u64 = 60_000;

/// Forebay's own entries: they go along with a group, or into a frame of their own.
#[derive(Debug, Default)]
struct Own {
    cursors: Vec<CursorEntry>,
    floors: Floors,
    reports: Vec<Record>,
}

/// The work of one turn of the committer.
#[derive(Debug)]
struct Turn {
    /// The data of sources is tried: a new group, or the group that could not be written before.
    data: bool,
    /// The steps of queries are tried, in the same way.
    steps: bool,
    groups: Vec<(Class, Group, Vec<StreamName>)>,
    own: Own,
    closing: bool,
}

/// The next thing that the committer does.
enum Next {
    Work(Box<Turn>),
    /// Nothing is due; one frame of a sealed segment is checked.
    Scrub,
    Sleep(u64),
    Abandon,
}

/// The owner of a frame, which decides how much room the frame may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// A frame of sources. Sources leave one segment of the cap to queries, if there are any.
    Data,
    /// A frame of queries.
    Steps,
    /// The store's own: cursors, floors and events always find room.
    Own,
}

/// The group that waits to be written for one kind of writer.
#[derive(Debug, Default)]
struct Queue {
    /// A group that could not be written yet.
    stuck: Option<Built>,
    /// The length of the group's frame at the last try, in bytes.
    length: usize,
    retry: Retry,
}

/// The result of a write.
enum Outcome {
    Durable,
    /// No room within the cap, or none on the device.
    Full(Option<io::Error>),
    Failed(io::Error),
}

/// The committer; see the module.
#[derive(Debug)]
pub(super) struct Committer {
    inner: Arc<Inner>,
    folders: Folders,
    writer: Writer,
    index: Option<Index>,
    marker: Marker,
    boot: [u8; 16],
    epoch: u64,
    compressor: Compressor,
    _lock: Option<Lock>,
    data: Queue,
    steps: Queue,
    /// The first sequences of snapshots of queries that are not complete yet, by the stream of the state.
    begun: BTreeMap<StreamId, u64>,
    unlogged: Unlogged,
    blocked: Option<&'static str>,
    /// Limits how often blocks are reported; blocks that come and go are summed up.
    seldom: Seldom,
    blocks_reported: BTreeSet<&'static str>,
    /// When Forebay's own frames are tried again, apart from data: on a full disk they have room where data has
    /// none.
    own_retry: Retry,
    committed_at: Option<u64>,
    scrub: Scrub,
    /// The records that floors take away were reported already.
    has_reported_drops: bool,
}

impl Committer {
    pub fn new(
        inner: Arc<Inner>,
        folders: Folders,
        writer: Writer,
        index: Option<Index>,
        lock: Option<Lock>,
    ) -> io::Result<Self> {
        let epoch = inner.lock().state.epoch;
        let now = inner.options.clock.monotonic_ms();
        let mut committer = Self {
            inner,
            folders,
            writer,
            index,
            marker: Marker::default(),
            boot: machine::boot_id(),
            epoch,
            compressor: Compressor::new()?,
            _lock: lock,
            data: Queue::default(),
            steps: Queue::default(),
            begun: BTreeMap::new(),
            unlogged: Unlogged::default(),
            blocked: None,
            seldom: Seldom::new(REPORT_EVERY),
            blocks_reported: BTreeSet::new(),
            own_retry: Retry::default(),
            committed_at: None,
            scrub: Scrub::new(now),
            has_reported_drops: false,
        };
        // A killed process may have left segments that lie below every floor.
        committer.free();
        committer.count();
        Ok(committer)
    }

    pub fn run(mut self) {
        let inner = self.inner.clone();
        let mut shared = inner.lock();
        loop {
            match self.decide(&mut shared) {
                Next::Abandon => return,
                Next::Work(turn) => {
                    drop(shared);
                    let busy = inner.options.pulse.begin();
                    if !self.work(*turn) {
                        return;
                    }
                    drop(busy);
                    shared = inner.lock();
                }
                Next::Scrub => {
                    drop(shared);
                    self.scrub();
                    shared = inner.lock();
                }
                Next::Sleep(at) => {
                    let wait = Duration::from_millis(at.saturating_sub(inner.options.clock.monotonic_ms()));
                    shared = inner.wake.wait_timeout(shared, wait).unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    /// Does all work that is due now, without sleeping. Returns the time of the next work, or an error at the end.
    #[cfg(test)]
    pub fn run_until_idle(&mut self) -> Result<u64, ()> {
        let inner = self.inner.clone();
        loop {
            let next = self.decide(&mut inner.lock());
            match next {
                Next::Abandon => return Err(()),
                Next::Work(turn) => {
                    if !self.work(*turn) {
                        return Err(());
                    }
                }
                Next::Scrub => self.scrub(),
                Next::Sleep(at) => return Ok(at),
            }
        }
    }

    fn decide(&self, shared: &mut Shared) -> Next {
        if shared.abandoned {
            return Next::Abandon;
        }
        let snapshot = shared.snapshot(self.current());
        let mut floors = snapshot.released();
        if snapshot.freeable(&floors).is_empty() {
            floors.clear();
        }
        let is_stuck = self.data.stuck.is_some() || self.steps.stuck.is_some();
        let room = is_stuck && snapshot.room() != Room::None;
        let is_changed = std::mem::take(&mut shared.retry);
        let now = self.inner.options.clock.monotonic_ms();
        let waiting = |class: Class, queue: &Queue, group: &Group| Waiting {
            since_ms: group.since_ms,
            weight: group.weight,
            is_urgent: group.urgent,
            is_stuck: queue.stuck.is_some(),
            retry_at: queue.retry.at,
            may_fit: queue.stuck.is_some() && (room || is_changed || self.has_place(shared, class, queue.length)),
        };
        let data = waiting(Class::Data, &self.data, &shared.pending);
        let steps = waiting(Class::Steps, &self.steps, &shared.steps);
        let unlogged = self.unlogged.since_ms().map(|since| since + UNLOGGED_MS);
        let own = [shared.cursors_due(), shared.reports.due(), unlogged, (!floors.is_empty()).then_some(now)];
        let moment = Moment {
            now,
            is_closing: shared.closing,
            pace: Pace {
                linger_ms: shared.rules.linger_ms,
                max_commits_per_second: shared.rules.max_commits_per_second,
                committed_at: self.committed_at,
            },
            data,
            steps,
            own: own.into_iter().flatten().min(),
            own_retry: self.own_retry.at,
            scrub: self.scrub.due_ms(),
        };
        match moment.next() {
            schedule::Next::Work { groups, data, steps } => {
                Next::Work(Box::new(self.turn(shared, floors, groups, (data, steps))))
            }
            schedule::Next::Scrub => Next::Scrub,
            schedule::Next::Sleep(at) => Next::Sleep(at),
        }
    }

    fn turn(&self, shared: &mut Shared, mut floors: Floors, groups: bool, (data, steps): (bool, bool)) -> Turn {
        let now = self.inner.options.clock.now();
        let mut taken = Vec::new();
        for class in [Class::Data, Class::Steps].into_iter().filter(|_| groups) {
            let (queue, pending) = match class {
                Class::Data => (&self.data, &mut shared.pending),
                _ => (&self.steps, &mut shared.steps),
            };
            if queue.stuck.is_none() && !pending.is_empty() {
                let next = Group::new(pending.number + 1);
                taken.push((class, std::mem::replace(pending, next)));
            }
        }
        if !taken.is_empty() && std::mem::take(&mut shared.refused) {
            self.inner.room.send_modify(|n| *n += 1);
        }
        // A stream over its own cap loses its oldest records with a frame that is written anyway.
        floors.extend(shared.snapshot(self.current()).over_cap());
        let reports = shared.reports.take(now, &self.inner.options.metrics, shared.closing);
        let names = |shared: &Shared, group: &Group| {
            shared.names(group.sections.iter().map(|section| section.stream).collect())
        };
        let groups = taken.into_iter().map(|(class, group)| {
            let names = names(shared, &group);
            (class, group, names)
        });
        let groups = groups.collect();
        Turn { data, steps, groups, own: Own { cursors: shared.dirty(), floors, reports }, closing: shared.closing }
    }

    /// Does the work of a turn; false at the end.
    fn work(&mut self, turn: Turn) -> bool {
        let Turn { data, steps, groups, mut own, closing } = turn;
        for (class, group, names) in groups {
            let built = self.build(group, names);
            self.queue(class).stuck = Some(built);
        }
        if data {
            self.commit(Class::Data, &mut own);
        }
        if steps {
            self.commit(Class::Steps, &mut own);
        }
        let now = self.inner.options.clock.monotonic_ms();
        let unlogged = self.unlogged.since_ms().is_some_and(|since| closing || since + UNLOGGED_MS <= now);
        if !closing && self.own_retry.at.is_some_and(|at| at > now) {
            self.put_back(own.reports);
        } else if unlogged || !own.cursors.is_empty() || !own.floors.is_empty() || !own.reports.is_empty() {
            match self.write_own(own) {
                Err(error) => {
                    self.complain(&error);
                    self.own_retry.failed(now, OWN_RETRY_LIMIT_MS);
                }
                Ok(()) => {
                    self.own_retry = Retry::default();
                    // The space that was freed may be room for the waiting group.
                    let room = self.room_now();
                    for queue in [&mut self.data, &mut self.steps] {
                        if room && queue.stuck.is_some() {
                            queue.retry.at = Some(now);
                        }
                    }
                }
            }
        }
        if closing {
            self.close();
        }
        !closing
    }

    fn queue(&mut self, class: Class) -> &mut Queue {
        match class {
            Class::Steps => &mut self.steps,
            _ => &mut self.data,
        }
    }

    /// The group of queries, if it can share the frame of a group of sources.
    fn companion(&mut self, built: &Built) -> Option<Built> {
        let is_small = |steps: &Built| built.bytes() + steps.bytes() <= MOST_TOGETHER;
        self.steps.stuck.take_if(|steps| is_small(steps))
    }

    /// Writes the waiting group, and makes room for it as far as the rules allow.
    fn commit(&mut self, class: Class, own: &mut Own) {
        let Some(mut built) = self.queue(class).stuck.take() else { return };
        self.queue(class).retry.at = None;
        let mut steps = if class == Class::Data { self.companion(&built) } else { None };
        loop {
            let mut directory = built.directory.clone();
            let mut sections: Vec<&[u8]> = built.sections.iter().map(Vec::as_slice).collect();
            if let Some(steps) = &steps {
                directory.streams.extend(steps.directory.streams.iter().cloned());
                directory.sections.extend(steps.directory.sections.iter().cloned());
                directory.cursors.extend(steps.directory.cursors.iter().cloned());
                sections.extend(steps.sections.iter().map(Vec::as_slice));
            }
            self.unlogged.add_to(&mut directory);
            directory.stamp = self.stamp();
            directory.cursors.extend(own.cursors.iter().cloned());
            directory.floors.extend(own.floors.values());
            let outcome = self.write(&directory, &sections, class);
            if !matches!(outcome, Outcome::Durable)
                && let Some(steps) = steps.take()
            {
                // The steps are tried alone: they may have room where data has none.
                self.steps.stuck = Some(steps);
                continue;
            }
            let error = match outcome {
                Outcome::Durable => {
                    self.unlogged = Unlogged::default();
                    (own.cursors, own.floors) = (Vec::new(), Floors::new());
                    self.inner.options.metrics.add(Metric::StoreCommits, 1);
                    self.apply(&directory);
                    self.mark();
                    self.settled(class, &built);
                    if let Some(steps) = steps {
                        self.settled(Class::Steps, &steps);
                    }
                    return;
                }
                Outcome::Full(error) => error,
                Outcome::Failed(error) => {
                    self.queue(class).stuck = Some(built);
                    self.fail(class, &error);
                    return;
                }
            };
            match self.make_room(&mut built) {
                Ok(true) if built.is_given_up() => {
                    self.given_up(class, built);
                    return;
                }
                Ok(true) => {}
                Ok(false) => {
                    self.queue(class).stuck = Some(built);
                    match error {
                        Some(error) => self.fail(class, &error),
                        None => self.block("the store is full", None),
                    }
                    return;
                }
                Err(error) => {
                    self.queue(class).stuck = Some(built);
                    self.fail(class, &error);
                    return;
                }
            }
        }
    }

    fn settled(&mut self, class: Class, built: &Built) {
        let metrics = &self.inner.options.metrics;
        metrics.add(Metric::StoreRecords, built.records);
        metrics.add(Metric::StorePayloadBytes, built.payload);
        self.unblock(class, Durable::synced(built.number));
    }

    /// Gives up a group of which no record is stored: its sources go on. A step of a query is never given up as a
    /// whole.
    fn given_up(&mut self, class: Class, built: Built) {
        let now = self.inner.options.clock.monotonic_ms();
        self.unlogged.take_in(built.directory, now);
        self.unblock(class, Durable::given_up(built.number));
    }

    fn unblock(&mut self, class: Class, proof: Durable) {
        self.committed_at = Some(self.inner.options.clock.monotonic_ms());
        if class == Class::Steps {
            self.inner.stepped.send_replace(proof);
            self.wake_readers();
        } else {
            self.inner.durable.send_replace(proof);
        }
        self.inner.room.send_modify(|n| *n += 1);
        self.queue(class).retry = Retry::default();
        if self.data.stuck.is_none()
            && self.steps.stuck.is_none()
            && let Some(why) = self.blocked.take()
            && self.blocks_reported.remove(why)
        {
            tracing::info!(event = event::STORE_UNBLOCKED, "the store takes data again");
        }
    }

    /// Wakes the readers for records that came from no source, and so have no proof in `durable`.
    fn wake_readers(&self) {
        self.inner.durable.send_modify(|_| ());
    }

    /// Writes cursors, floors and Forebay's own events in a frame of their own.
    fn write_own(&mut self, own: Own) -> io::Result<()> {
        let mut directory = Commit { stamp: self.stamp(), cursors: own.cursors, ..Commit::default() };
        directory.floors = own.floors.into_values().collect();
        let mut events = Vec::new();
        self.unlogged.add_to(&mut directory);
        if !own.reports.is_empty() {
            let (names, head, stored) = self.events(&own.reports);
            directory.streams.extend(names);
            directory.sections.push(head);
            events = stored;
        }
        match self.write(&directory, &[&events], Class::Own) {
            Outcome::Durable => {
                self.unlogged = Unlogged::default();
                self.apply(&directory);
                self.mark();
                if !directory.sections.is_empty() {
                    self.wake_readers();
                }
                Ok(())
            }
            Outcome::Full(error) => {
                self.put_back(own.reports);
                Err(error.unwrap_or_else(|| io::ErrorKind::StorageFull.into()))
            }
            Outcome::Failed(error) => {
                self.put_back(own.reports);
                Err(error)
            }
        }
    }

    fn put_back(&self, reports: Vec<Record>) {
        let now = self.inner.options.clock.monotonic_ms();
        self.inner.lock().reports.put_back(reports, now);
    }

    /// A section of Forebay's own stream, with these events.
    fn events(&mut self, reports: &[Record]) -> (Vec<StreamName>, SectionHead, Vec<u8>) {
        let stream = self.inner.stream(EVENTS);
        let (names, first) = {
            let shared = self.inner.lock();
            (shared.names(vec![stream]), shared.state.streams.get(&stream).map_or(1, |stream| stream.next))
        };
        let mut builder = Builder::default();
        for report in reports {
            // In memory, encoding so small a record cannot fail.
            let _ = builder.push(report);
        }
        let (head, stored) = self.section(stream, first, &builder);
        (names, head, stored)
    }

    /// Appends a commit frame; the time that it takes is measured.
    fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let began = self.inner.options.clock.monotonic_ms();
        let appended = self.writer.append(Kind::Commit, bytes);
        let took = self.inner.options.clock.monotonic_ms().saturating_sub(began);
        self.inner.options.metrics.observe(Histogram::StoreCommit, took);
        appended
    }

    fn write(&mut self, directory: &Commit, sections: &[&[u8]], class: Class) -> Outcome {
        let bytes = match body::encode(&self.inner.id, directory, sections) {
            Ok(bytes) => bytes,
            Err(error) => return Outcome::Failed(io::Error::other(error)),
        };
        if class != Class::Own {
            self.queue(class).length = bytes.len();
        }
        let first = match self.place(bytes.len(), class) {
            Ok(true) => self.append(&bytes),
            Ok(false) => return Outcome::Full(None),
            Err(error) => Err(error),
        };
        self.count();
        let Err(error) = first else {
            return Outcome::Durable;
        };
        if error.kind() == io::ErrorKind::StorageFull {
            return Outcome::Full(Some(error));
        }
        self.inner.options.metrics.add(Metric::StoreWriteErrors, 1);
        if !self.writer.current.as_ref().is_some_and(|current| current.failed) {
            return Outcome::Failed(error);
        }
        tracing::warn!(event = event::STORE_BLOCKED, %error, "the log cannot be written; going on in a new segment");
        // The failed segment takes no more frames, so this starts a new segment.
        let again = match self.place(bytes.len(), class) {
            Ok(true) => self.append(&bytes).map(|_| ()),
            Ok(false) => Err(error),
            Err(error) => Err(error),
        };
        self.count();
        match again {
            Ok(()) => Outcome::Durable,
            Err(error) => {
                // A new segment that never took a frame is removed again; otherwise retries would fill the disk.
                if let Some(number) = self.writer.take_back() {
                    self.inner.lock().segments.remove(&number);
                    // The index holds the segment before it as sealed, but that segment is appended to again, also
                    // after a restart.
                    self.save_index(&[], &[self.current()]);
                }
                Outcome::Failed(error)
            }
        }
    }

    /// Applies a durable frame: everybody may know of it, and the space that it freed is given back.
    fn apply(&mut self, directory: &Commit) {
        let inner = self.inner.clone();
        let mut shared = inner.lock();
        let now = inner.options.clock.monotonic_ms();
        for stream in &directory.streams {
            shared.take_in_stream(stream.id, &stream.name);
        }
        let drops = directory.floors.iter().filter(|floor| floor.reason == Reason::Drop && !self.has_reported_drops);
        for floor in drops {
            shared.report_dropped(floor, Cause::DropOldest, &inner.options.metrics, now);
        }
        shared.assert_floors(&directory.floors);
        // Sequences are missing only where data was lost; the sections just written follow on without a gap.
        let _ = shared.state.apply(directory);
        directory.cursors.iter().for_each(|cursor| shared.follow(cursor));
        shared.assert_cursors();
        shared.saved(&directory.cursors);
        if let Some(current) = &mut self.writer.current {
            directory.sections.iter().for_each(|head| current.summary.add(head));
            let segment = Segment { path: current.path.clone(), summary: current.summary.clone() };
            shared.segments.insert(current.summary.number, segment);
        }
        drop(shared);
        if !directory.cursors.is_empty() {
            self.inner.saved.send_modify(|n| *n += 1);
        }
        self.free();
    }

    fn report_given_up(&self, heads: &[SectionHead]) {
        let now = self.inner.options.clock.monotonic_ms();
        let mut shared = self.inner.lock();
        for head in heads {
            let name = shared.name(head.stream);
            let range = (head.first, head.last());
            shared.reports.given_up((head.stream, &name), range, Cause::DropNewest, &self.inner.options.metrics, now);
        }
    }

    fn close(&mut self) {
        if self.data.stuck.is_some() || self.steps.stuck.is_some() {
            tracing::warn!(
                event = event::STORE_BLOCKED,
                "closing with data that could not be written; it was never told safe"
            );
        }
        // Records that the last frames gave up are reported too.
        let now = self.inner.options.clock.now();
        loop {
            let reports = self.inner.lock().reports.take(now, &self.inner.options.metrics, true);
            if reports.is_empty() {
                break;
            }
            if let Err(error) = self.write_own(Own { reports, ..Own::default() }) {
                tracing::warn!(event = event::STORE_BLOCKED, %error, "the last events could not be stored");
                break;
            }
        }
        let close = Close { stamp: self.stamp() };
        let done = body::encode(&self.inner.id, &close, &[]).map_err(io::Error::other).and_then(|bytes| {
            if !self.writer.fits(bytes.len(), true) {
                self.roll()?;
            }
            self.writer.append(Kind::Close, &bytes)
        });
        match done {
            Ok(_) => {
                self.save_index(&[], &[]);
                self.mark();
                self.marker.sync();
            }
            Err(error) => tracing::warn!(event = event::STORE_BLOCKED, %error, "the store was not closed in order"),
        }
        self.count();
    }

    /// Writes to the mark how far the log has come.
    fn mark(&mut self) {
        let mark = {
            let shared = self.inner.lock();
            let states = || shared.state.streams.values();
            let stream = |state: &StreamState| StreamMark { id: state.id, name: state.name.clone(), next: state.next };
            let reader = |rule: &ReaderRule| ReaderMark {
                name: rule.name.clone(),
                streams: states().filter(|state| rule.reads(&state.name)).map(|state| state.id).collect(),
            };
            let mut readers: Vec<ReaderMark> = shared.readers.iter().map(reader).collect();
            if readers.is_empty() {
                // A person repairs the store, without a configuration: the readers of the last mark stay known.
                let before = Mark::read(&*self.inner.options.disk, &self.folders);
                readers = before.map(|mark| mark.readers).unwrap_or_default();
            }
            Mark { store: self.inner.id, lsn: self.writer.lsn(), streams: states().map(stream).collect(), readers }
        };
        self.marker.write(&*self.inner.options.disk, &self.folders, &mark);
    }

    /// Saves the index. If that fails, the next start makes the index again from the log; the committer goes on.
    fn save_index(&mut self, sealed: &[Summary], freed: &[u64]) {
        let update = Update { store: &self.inner.id, lsn: self.writer.lsn(), sealed, freed };
        let Some(Err(error)) = self.index.as_ref().map(|index| index.save(&update)) else {
            return;
        };
        tracing::warn!(event = event::STORE_INDEX, %error, "the index cannot be written; it will be made again at the next start");
        self.index = None;
        let disk = &*self.inner.options.disk;
        if let Err(error) = Index::set_aside(disk, &self.folders) {
            tracing::warn!(event = event::STORE_INDEX, %error, "the index cannot be set aside");
        }
    }

    /// Data could not be written: it is tried again later, each time after a longer wait.
    fn fail(&mut self, class: Class, error: &io::Error) {
        self.complain(error);
        let now = self.inner.options.clock.monotonic_ms();
        self.queue(class).retry.failed(now, RETRY_LIMIT_MS);
    }

    fn complain(&mut self, error: &io::Error) {
        self.inner.options.metrics.add(Metric::StoreWriteErrors, 1);
        let why = match error.kind() {
            io::ErrorKind::StorageFull if is_out_of_inodes(&self.folders.root) => "the disk has no inodes left",
            io::ErrorKind::StorageFull => "the disk is full",
            _ => "the store cannot be written",
        };
        self.block(why, Some(error));
    }

    /// Reports that something cannot be written; blocks that come and go are summed up.
    fn block(&mut self, why: &'static str, error: Option<&io::Error>) {
        if self.blocked.replace(why) == Some(why) {
            return;
        }
        if error.is_none_or(|error| error.kind() == io::ErrorKind::StorageFull) {
            self.inner.options.metrics.add(Metric::StoreFull, 1);
        }
        let Some(times) = self.seldom.report(why) else { return };
        self.blocks_reported.insert(why);
        let detail = error.map(ToString::to_string).unwrap_or_default();
        // What waits: readings, or results of queries, or only the store's own notes, such as how far sinks have
        // come.
        if self.data.stuck.is_some() {
            tracing::warn!(
                event = event::STORE_BLOCKED,
                detail,
                times,
                "{why}: sources wait; what was acknowledged is on disk, what comes now is not acknowledged"
            );
        } else if self.steps.stuck.is_some() {
            tracing::warn!(event = event::STORE_BLOCKED, detail, times, "{why}: queries wait");
        } else {
            tracing::warn!(
                event = event::STORE_BLOCKED,
                detail,
                times,
                "{why}: what the store notes for itself is tried again"
            );
        }
    }

    /// Updates the metrics of writes, reads and syncs of the disk.
    fn count(&mut self) {
        let Inner { options, traffic, .. } = &*self.inner;
        options.metrics.set(Metric::StoreWrittenBytes, traffic.written());
        options.metrics.set(Metric::StoreReadBytes, traffic.read());
        options.metrics.set(Metric::StoreSyncs, traffic.syncs());
        let records = options.metrics.get(Metric::StoreRecords);
        options.metrics.set(Metric::StoreWrittenPerRecord, traffic.written().checked_div(records).unwrap_or(0));
    }

    fn current(&self) -> u64 {
        self.writer.current.as_ref().map_or(0, |current| current.summary.number)
    }

    fn stamp(&self) -> Stamp {
        let now = self.inner.options.clock.now();
        Stamp { boot: self.boot, monotonic_ms: now.monotonic_ms, wall_ms: now.wall_ms, trusted: now.trusted }
    }
}
