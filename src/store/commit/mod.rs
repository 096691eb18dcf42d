//! The committer: the one thread that writes.
//!
//! Invariants: one frame of the log is unsynced at most; a `Durable` is sent only after the
//! frame's `fdatasync` returned, or when the user's own rule gave the records up; a frame that
//! could not be written keeps its sequences and goes to the next segment; cursors, floors and
//! Forebay's own events always find room, so that a full store drains by itself.
//!
//! `decide` says what is due, `work` does it: `build` makes sections of groups, `room` makes room.

mod build;
mod mend;
mod room;
mod scrub;

pub use mend::Repaired;

use super::ReaderRule;
use super::group::Group;
use super::index::{Index, Update};
use super::lock::Lock;
use super::log::body::{
    self, Close, Commit, CursorEntry, Reason, SectionHead, Stamp, StreamName, StreamState, Summary,
};
use super::log::layout::Kind;
use super::log::section::{Builder, Compressor};
use super::log::segment::{Folders, Segment};
use super::log::writer::Writer;
use super::mark::{Mark, Marker, ReaderMark, StreamMark};
use super::report::Cause;
use super::shared::{Inner, Shared, reads};
use super::space::{Floors, Room};
use crate::flow::receipt::Durable;
use crate::flow::record::{EVENTS, Record};
use crate::platform::disk::is_out_of_inodes;
use crate::platform::machine;
use crate::telemetry::seldom::Seldom;
use crate::telemetry::{Metric, event};
use build::{Built, Owed};
use scrub::Scrub;
use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Troubles of the disk that come and go are told of so often.
const TOLD: Duration = Duration::from_secs(60);
/// A failed write is tried again after this many milliseconds, doubled up to the limit.
const RETRY_MS: u64 = 1000;
const RETRY_LIMIT_MS: u64 = 30_000;
/// The same for Forebay's own frames: a crash repeats what cursors do not say.
const OWN_RETRY_LIMIT_MS: u64 = 5000;
/// What was given up before it was written is in the log after this many milliseconds.
const OWED_MS: u64 = 60_000;

/// What goes along with a group, or into a frame of its own.
#[derive(Debug, Default)]
struct Own {
    cursors: Vec<CursorEntry>,
    floors: Floors,
    reports: Vec<Record>,
}

/// What to do next.
#[derive(Debug)]
struct Turn {
    /// Data is tried: this group, or the one that could not be written before.
    data: bool,
    group: Option<(Group, Vec<StreamName>)>,
    own: Own,
    closing: bool,
}

/// What is due.
enum Next {
    Work(Box<Turn>),
    /// Nothing is due but a look at what is sealed.
    Scrub,
    Sleep(Option<u64>),
    Abandon,
}

/// How a write went.
enum Outcome {
    Durable,
    /// No room within the cap, or none on the device.
    Full(Option<io::Error>),
    Failed(io::Error),
}

/// When something that failed is tried again.
#[derive(Debug, Default)]
struct Retry {
    at: Option<u64>,
    failures: u32,
}

impl Retry {
    fn failed(&mut self, now: u64, limit: u64) {
        self.at = Some(now + (RETRY_MS << self.failures.min(10)).min(limit));
        self.failures += 1;
    }
}

/// See the module.
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
    stuck: Option<Built>,
    owed: Owed,
    blocked: Option<&'static str>,
    /// What was told of blocks; those that come and go are summed up.
    told: Seldom,
    block_told: BTreeSet<&'static str>,
    /// When, and after how long, data that could not be written is tried again. Forebay's own frames
    /// have a time of their own: on a full disk they have room where data has none.
    data_retry: Retry,
    own_retry: Retry,
    committed_at: Option<u64>,
    scrub: Scrub,
    /// What floors take away was reported already.
    told_drops: bool,
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
            stuck: None,
            owed: Owed::default(),
            blocked: None,
            told: Seldom::new(TOLD),
            block_told: BTreeSet::new(),
            data_retry: Retry::default(),
            own_retry: Retry::default(),
            committed_at: None,
            scrub: Scrub::new(now),
            told_drops: false,
        };
        // A process that was killed may not have come to it.
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
                    if !self.work(turn) {
                        return;
                    }
                    shared = inner.lock();
                }
                Next::Scrub => {
                    drop(shared);
                    self.scrub();
                    shared = inner.lock();
                }
                Next::Sleep(Some(at)) => {
                    let wait = Duration::from_millis(at.saturating_sub(inner.options.clock.monotonic_ms()));
                    shared = inner.wake.wait_timeout(shared, wait).unwrap_or_else(PoisonError::into_inner).0;
                }
                Next::Sleep(None) => shared = inner.wake.wait(shared).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Does all that is due now, without sleeping; when the next is due, or false at the end.
    #[cfg(test)]
    pub fn run_until_idle(&mut self) -> Result<Option<u64>, ()> {
        let inner = self.inner.clone();
        loop {
            let next = self.decide(&mut inner.lock());
            match next {
                Next::Abandon => return Err(()),
                Next::Work(turn) => {
                    if !self.work(turn) {
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
        let now = self.inner.options.clock.monotonic_ms();
        let snapshot = shared.snapshot(self.current());
        let mut floors = snapshot.released();
        if snapshot.freeable(&floors).is_empty() {
            floors.clear();
        }
        let room = self.stuck.is_some() && snapshot.room() != Room::None;
        // After a failure nothing is tried before its time, or the disk would be hammered.
        let is_changed = std::mem::take(&mut shared.retry) && self.stuck.is_some();
        let data = self.group_due(shared).or(self.data_retry.at).or((room || is_changed).then_some(now));
        let owed = self.owed.since_ms().map(|since| since + OWED_MS);
        let own = [shared.cursors_due(), shared.reports.due(), owed, (!floors.is_empty()).then_some(now)];
        let own = own.into_iter().flatten().min().map(|at| at.max(self.own_retry.at.unwrap_or(0)));
        let is_due = |at: Option<u64>| shared.closing || at.is_some_and(|at| at <= now);
        match (is_due(data), is_due(own)) {
            (false, false) if self.scrub.due_ms() <= now => Next::Scrub,
            (false, false) => Next::Sleep(data.into_iter().chain(own).chain([self.scrub.due_ms()]).min()),
            (data, _) => Next::Work(Box::new(self.turn(shared, floors, data))),
        }
    }

    /// When the pending group is to be written, monotonic milliseconds.
    fn group_due(&self, shared: &Shared) -> Option<u64> {
        let since = shared.pending.since_ms.filter(|_| self.stuck.is_none())?;
        if shared.pending.weight >= super::GROUP_BYTES {
            return Some(since);
        }
        let lingered = since + shared.rules.linger_ms;
        if !shared.pending.urgent {
            return Some(lingered);
        }
        let gap = 1000 / u64::from(shared.rules.max_commits_per_second.max(1));
        Some(lingered.min(self.committed_at.map_or(since, |at| at + gap)))
    }

    fn turn(&self, shared: &mut Shared, mut floors: Floors, data: bool) -> Turn {
        let now = self.inner.options.clock.now();
        let due = self.group_due(shared).is_some_and(|at| at <= now.monotonic_ms || shared.closing);
        let group = (data && due).then(|| {
            let next = Group::new(shared.pending.number + 1);
            std::mem::replace(&mut shared.pending, next)
        });
        if group.is_some() && std::mem::take(&mut shared.refused) {
            self.inner.room.send_modify(|n| *n += 1);
        }
        // A stream over its own cap loses its oldest with a frame that is written anyway.
        floors.extend(shared.snapshot(self.current()).over_cap());
        let reports = shared.reports.take(now, shared.closing);
        let group = group.map(|group| {
            let streams = group.sections.iter().map(|section| section.stream).collect();
            (group, shared.names(streams))
        });
        Turn { data, group, own: Own { cursors: shared.dirty(), floors, reports }, closing: shared.closing }
    }

    /// Does what is due; false at the end.
    fn work(&mut self, turn: Box<Turn>) -> bool {
        let Turn { data, group, mut own, closing } = *turn;
        if let Some((group, names)) = group {
            self.stuck = Some(self.build(group, names));
        }
        if let Some(built) = self.stuck.take_if(|_| data) {
            self.data_retry.at = None;
            self.commit(built, &mut own);
        }
        let now = self.inner.options.clock.monotonic_ms();
        let owed = self.owed.since_ms().is_some_and(|since| closing || since + OWED_MS <= now);
        if !closing && self.own_retry.at.is_some_and(|at| at > now) {
            self.put_back(own.reports);
        } else if owed || !own.cursors.is_empty() || !own.floors.is_empty() || !own.reports.is_empty() {
            match self.write_own(own) {
                Err(error) => {
                    self.complain(&error);
                    self.own_retry.failed(now, OWN_RETRY_LIMIT_MS);
                }
                Ok(()) => {
                    self.own_retry = Retry::default();
                    // What was freed may be room for the group that waits.
                    if self.stuck.is_some() && self.room_now() {
                        self.data_retry.at = Some(now);
                    }
                }
            }
        }
        if closing {
            self.close();
        }
        !closing
    }

    /// Writes a group, making room for it as far as the rules allow.
    fn commit(&mut self, mut built: Built, own: &mut Own) {
        loop {
            let mut directory = built.directory.clone();
            self.owed.add_to(&mut directory);
            directory.stamp = self.stamp();
            directory.cursors.extend(own.cursors.iter().cloned());
            directory.floors.extend(own.floors.values());
            let error = match self.write(&directory, &built.sections, true) {
                Outcome::Durable => {
                    self.owed = Owed::default();
                    (own.cursors, own.floors) = (Vec::new(), Floors::new());
                    self.settled(&built, &directory);
                    return;
                }
                Outcome::Full(error) => error,
                Outcome::Failed(error) => {
                    self.stuck = Some(built);
                    self.fail(&error);
                    return;
                }
            };
            match self.make_room(&mut built) {
                Ok(true) if built.is_given_up() => {
                    self.given_up(built);
                    return;
                }
                Ok(true) => {}
                Ok(false) => {
                    self.stuck = Some(built);
                    match error {
                        Some(error) => self.fail(&error),
                        None => self.block("the store is full", None),
                    }
                    return;
                }
                Err(error) => {
                    self.stuck = Some(built);
                    self.fail(&error);
                    return;
                }
            }
        }
    }

    fn settled(&mut self, built: &Built, directory: &Commit) {
        let metrics = &self.inner.options.metrics;
        metrics.add(Metric::StoreRecords, built.records);
        metrics.add(Metric::StorePayloadBytes, built.payload);
        metrics.add(Metric::StoreCommits, 1);
        self.apply(directory);
        self.mark();
        self.unblock(Durable::synced(built.number));
    }

    /// Nothing of a group is stored: its sources go on.
    fn given_up(&mut self, built: Built) {
        let now = self.inner.options.clock.monotonic_ms();
        self.owed.take_in(built.directory, now);
        self.unblock(Durable::given_up(built.number));
    }

    fn unblock(&mut self, proof: Durable) {
        self.committed_at = Some(self.inner.options.clock.monotonic_ms());
        self.inner.durable.send_replace(proof);
        self.inner.room.send_modify(|n| *n += 1);
        if let Some(why) = self.blocked.take()
            && self.block_told.remove(why)
        {
            tracing::info!(event = event::STORE_UNBLOCKED, "the store takes data again");
        }
        self.data_retry = Retry::default();
    }

    /// Writes cursors, floors and Forebay's own events in a frame of their own.
    fn write_own(&mut self, own: Own) -> io::Result<()> {
        let mut directory = Commit { stamp: self.stamp(), cursors: own.cursors, ..Commit::default() };
        directory.floors = own.floors.into_values().collect();
        let mut sections = Vec::new();
        self.owed.add_to(&mut directory);
        if !own.reports.is_empty() {
            let (names, head, stored) = self.events(&own.reports);
            directory.streams.extend(names);
            directory.sections.push(head);
            sections.push(stored);
        }
        match self.write(&directory, &sections, false) {
            Outcome::Durable => {
                self.owed = Owed::default();
                self.apply(&directory);
                self.mark();
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

    /// A section of Forebay's own stream.
    fn events(&mut self, reports: &[Record]) -> (Vec<StreamName>, SectionHead, Vec<u8>) {
        let stream = self.inner.stream(EVENTS);
        let (names, first) = {
            let shared = self.inner.lock();
            (shared.names(vec![stream]), shared.state.streams.get(&stream).map_or(1, |stream| stream.next))
        };
        let mut builder = Builder::default();
        for report in reports {
            // Encoding into memory has no failure that so small a record can cause.
            let _ = builder.push(report);
        }
        let (head, stored) = self.section(stream, first, &builder);
        (names, head, stored)
    }

    fn write(&mut self, directory: &Commit, sections: &[Vec<u8>], data: bool) -> Outcome {
        let parts: Vec<&[u8]> = sections.iter().map(Vec::as_slice).collect();
        let bytes = match body::encode(&self.inner.id, directory, &parts) {
            Ok(bytes) => bytes,
            Err(error) => return Outcome::Failed(io::Error::other(error)),
        };
        let first = match self.place(bytes.len(), data) {
            Ok(true) => self.writer.append(Kind::Commit, &bytes),
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
        // The failed segment takes nothing more, so this starts a new one.
        let again = match self.place(bytes.len(), data) {
            Ok(true) => self.writer.append(Kind::Commit, &bytes).map(|_| ()),
            Ok(false) => Err(error),
            Err(error) => Err(error),
        };
        self.count();
        match again {
            Ok(()) => Outcome::Durable,
            Err(error) => {
                // A segment that never took a frame is taken back, or retries would fill the disk.
                if let Some(number) = self.writer.take_back() {
                    self.inner.lock().segments.remove(&number);
                    // The index took the one before it for sealed: it goes on after a restart.
                    self.save_index(&[], &[self.current()]);
                }
                Outcome::Failed(error)
            }
        }
    }

    /// The frame is durable: everybody may know, and what it freed is given back.
    fn apply(&mut self, directory: &Commit) {
        let inner = self.inner.clone();
        let mut shared = inner.lock();
        let now = inner.options.clock.monotonic_ms();
        for stream in &directory.streams {
            shared.born(stream.id, &stream.name);
        }
        let drops = directory.floors.iter().filter(|floor| floor.reason == Reason::Drop && !self.told_drops);
        for floor in drops {
            shared.report_dropped(floor, Cause::DropOldest, &inner.options.metrics, now);
        }
        // Ranges can only be missing where something was lost; what we just wrote follows on.
        let _ = shared.state.apply(directory);
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
        if self.stuck.is_some() {
            tracing::warn!(
                event = event::STORE_BLOCKED,
                "closing with data that could not be written; it was never told safe"
            );
        }
        // What the last frames gave up is told too.
        let now = self.inner.options.clock.now();
        let reports = self.inner.lock().reports.take(now, true);
        if !reports.is_empty()
            && let Err(error) = self.write_own(Own { reports, ..Own::default() })
        {
            tracing::warn!(event = event::STORE_BLOCKED, %error, "the last events could not be stored");
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

    /// Notes how far the log has come.
    fn mark(&mut self) {
        let mark = {
            let shared = self.inner.lock();
            let states = || shared.state.streams.values();
            let stream = |state: &StreamState| StreamMark { id: state.id, name: state.name.clone(), next: state.next };
            let reader = |rule: &ReaderRule| ReaderMark {
                name: rule.name.clone(),
                streams: states().filter(|state| reads(rule, &state.name)).map(|state| state.id).collect(),
            };
            let mut readers: Vec<ReaderMark> = shared.readers.iter().map(reader).collect();
            if readers.is_empty() {
                // A person mends the store: those of the configuration stay known.
                let before = Mark::read(&*self.inner.options.disk, &self.folders);
                readers = before.map(|mark| mark.readers).unwrap_or_default();
            }
            Mark { store: self.inner.id, lsn: self.writer.lsn(), streams: states().map(stream).collect(), readers }
        };
        self.marker.write(&*self.inner.options.disk, &self.folders, &mark);
    }

    /// The index is made again from the log when it fails; it is never worth a stop.
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

    /// Data could not be written: it is tried again later, and later each time.
    fn fail(&mut self, error: &io::Error) {
        self.complain(error);
        self.data_retry.failed(self.inner.options.clock.monotonic_ms(), RETRY_LIMIT_MS);
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

    /// Says that something cannot be written; what comes and goes is summed up.
    fn block(&mut self, why: &'static str, error: Option<&io::Error>) {
        if self.blocked.replace(why) == Some(why) {
            return;
        }
        if error.is_none_or(|error| error.kind() == io::ErrorKind::StorageFull) {
            self.inner.options.metrics.add(Metric::StoreFull, 1);
        }
        let Some(times) = self.told.tell(why) else { return };
        self.block_told.insert(why);
        let detail = error.map(ToString::to_string).unwrap_or_default();
        // Readings wait, or only what the store notes for itself, such as how far sinks have come.
        if self.stuck.is_some() {
            tracing::warn!(
                event = event::STORE_BLOCKED,
                detail,
                times,
                "{why}: sources wait; what was acknowledged is on disk, what comes now is not acknowledged"
            );
        } else {
            tracing::warn!(
                event = event::STORE_BLOCKED,
                detail,
                times,
                "{why}: what the store notes for itself is tried again"
            );
        }
    }

    /// Tells the metrics what the disk was asked to do.
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
