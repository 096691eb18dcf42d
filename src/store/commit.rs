//! The committer: the one thread that writes.
//!
//! Invariants: one frame is unsynced at most; a `Durable` is sent only after the frame's
//! `fdatasync` returned; a frame that could not be written keeps its sequences and goes to the
//! next segment; cursors, floors and Forebay's own frames always find room, so that a full
//! store drains by itself.

use super::group::Group;
use super::index::{Index, Update};
use super::lock::Lock;
use super::log::body::{self, Close, Commit, CursorEntry, FloorEntry, SectionHead, Stamp, StreamName, Summary};
use super::log::layout::{Heat, Kind, checksum};
use super::log::section::Compressor;
use super::log::segment::{Folders, Segment};
use super::log::writer::{Writer, Written};
use super::shared::{Inner, Shared};
use super::space;
use crate::flow::receipt::Durable;
use crate::platform::machine;
use crate::telemetry::{Metric, event};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// A failed write is tried again after this many milliseconds, doubled up to the limit.
const RETRY_MS: u64 = 1000;
const RETRY_LIMIT_MS: u64 = 30_000;

/// A group in the form in which it is written; kept until it is durable.
#[derive(Debug)]
struct Built {
    number: u64,
    directory: Commit,
    sections: Vec<Vec<u8>>,
    records: u64,
    payload: u64,
}

/// What to do next.
#[derive(Debug)]
struct Turn {
    group: Option<Group>,
    births: Vec<StreamName>,
    cursors: Vec<CursorEntry>,
    floors: Vec<FloorEntry>,
    closing: bool,
}

/// How a write went.
enum Outcome {
    Durable,
    Full,
    Failed(io::Error),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Committer {
    inner: Arc<Inner>,
    folders: Folders,
    writer: Writer,
    index: Option<Index>,
    boot: [u8; 16],
    compressor: Compressor,
    _lock: Option<Lock>,
    stuck: Option<Built>,
    blocked: Option<&'static str>,
    retry_at: Option<u64>,
    retry_ms: u64,
    committed_at: Option<u64>,
    counted: Written,
}

impl Committer {
    pub fn new(
        inner: Arc<Inner>,
        folders: Folders,
        writer: Writer,
        index: Option<Index>,
        lock: Option<Lock>,
    ) -> io::Result<Self> {
        Ok(Self {
            inner,
            folders,
            writer,
            index,
            boot: machine::boot_id(),
            compressor: Compressor::new()?,
            _lock: lock,
            stuck: None,
            blocked: None,
            retry_at: None,
            retry_ms: RETRY_MS,
            committed_at: None,
            counted: Written::default(),
        })
    }

    pub fn run(mut self) {
        // A process that was killed may not have come to it.
        self.free();
        while let Some(turn) = self.wait() {
            let closing = turn.closing;
            self.work(turn);
            if closing {
                self.close();
                return;
            }
        }
    }

    /// Sleeps until there is something to write; `None` when the process is to end at once.
    fn wait(&mut self) -> Option<Turn> {
        let inner = self.inner.clone();
        let mut shared = inner.lock();
        loop {
            if shared.abandoned {
                return None;
            }
            let now = inner.options.clock.monotonic_ms();
            let floors = self.floors_worth_a_frame(&shared);
            let mut due = [self.group_due(&shared), shared.cursors_due()].into_iter().flatten().min();
            if !floors.is_empty() {
                due = Some(now);
            }
            // After a failure nothing is tried before its time, or the disk would be hammered.
            due = self.retry_at.or(due);
            if shared.closing {
                due = Some(now);
            }
            match due {
                Some(at) if at <= now => return Some(self.turn(&mut shared, floors)),
                Some(at) => {
                    let wait = inner.wake.wait_timeout(shared, Duration::from_millis(at - now));
                    shared = wait.unwrap_or_else(PoisonError::into_inner).0;
                }
                None => shared = inner.wake.wait(shared).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// When the pending group is to be written, monotonic milliseconds.
    fn group_due(&self, shared: &Shared) -> Option<u64> {
        let options = &self.inner.options;
        let since = shared.pending.since_ms.filter(|_| self.stuck.is_none())?;
        if shared.pending.weight >= super::GROUP_BYTES {
            return Some(since);
        }
        let lingered = since + options.linger_ms;
        if !shared.pending.urgent {
            return Some(lingered);
        }
        let gap = 1000 / u64::from(options.max_commits_per_second.max(1));
        Some(lingered.min(self.committed_at.map_or(since, |at| at + gap)))
    }

    /// Floors, if writing them would free a segment.
    fn floors_worth_a_frame(&self, shared: &Shared) -> Vec<FloorEntry> {
        let short = self.stuck.is_some();
        let keep = |stream| shared.keep(stream, &self.inner.options.keep);
        let floors = space::floors(&shared.state, &shared.segments, |stream| shared.hold(stream), keep, short);
        if space::freeable(&shared.state, &shared.segments, &floors).is_empty() { Vec::new() } else { floors }
    }

    fn turn(&self, shared: &mut Shared, floors: Vec<FloorEntry>) -> Turn {
        let now = self.inner.options.clock.monotonic_ms();
        let due = self.group_due(shared).is_some_and(|at| at <= now || shared.closing);
        let group = due.then(|| {
            let next = Group::new(shared.pending.number + 1);
            std::mem::replace(&mut shared.pending, next)
        });
        let births = group.iter().flat_map(|group| &group.sections).map(|section| section.stream).collect::<Vec<_>>();
        let refused = std::mem::take(&mut shared.refused);
        if refused && group.is_some() {
            self.inner.room.send_modify(|n| *n += 1);
        } else {
            shared.refused = refused;
        }
        Turn { births: shared.births(&births), group, cursors: shared.dirty(), floors, closing: shared.closing }
    }

    fn work(&mut self, turn: Turn) {
        self.retry_at = None;
        if let Some(group) = turn.group {
            self.stuck = Some(self.build(group, turn.births));
        }
        if let Some(built) = self.stuck.take() {
            let mut directory = built.directory.clone();
            directory.stamp = self.stamp();
            directory.cursors.extend(turn.cursors.iter().cloned());
            directory.floors.clone_from(&turn.floors);
            match self.write(&directory, &built.sections, true) {
                Outcome::Durable => {
                    self.settled(&built, &directory);
                    return;
                }
                Outcome::Full => self.block("the store is full", None),
                Outcome::Failed(error) => {
                    self.stuck = Some(built);
                    self.fail(&error);
                    return;
                }
            }
            self.stuck = Some(built);
        }
        if turn.cursors.is_empty() && turn.floors.is_empty() {
            return;
        }
        let directory = Commit { stamp: self.stamp(), cursors: turn.cursors, floors: turn.floors, ..Commit::default() };
        match self.write(&directory, &[], false) {
            Outcome::Durable => {
                self.apply(&directory);
                // What was freed may be room for the group that waits.
                if self.stuck.is_some() {
                    self.retry_at = Some(self.inner.options.clock.monotonic_ms());
                }
            }
            Outcome::Full => {}
            Outcome::Failed(error) => self.fail(&error),
        }
    }

    fn settled(&mut self, built: &Built, directory: &Commit) {
        let metrics = &self.inner.options.metrics;
        metrics.add(Metric::StoreRecords, built.records);
        metrics.add(Metric::StorePayloadBytes, built.payload);
        metrics.add(Metric::StoreCommits, 1);
        self.committed_at = Some(self.inner.options.clock.monotonic_ms());
        self.apply(directory);
        self.inner.durable.send_replace(Durable::synced(built.number));
        self.inner.room.send_modify(|n| *n += 1);
        if self.blocked.take().is_some() {
            tracing::info!(event = event::STORE_UNBLOCKED, "the store takes data again");
        }
        self.retry_ms = RETRY_MS;
    }

    /// Turns a group into sections; its records get their sequences here.
    fn build(&mut self, group: Group, births: Vec<StreamName>) -> Built {
        let inner = self.inner.clone();
        let (epoch, mut next) = {
            let shared = inner.lock();
            let next: BTreeMap<_, _> = shared.state.streams.values().map(|stream| (stream.id, stream.next)).collect();
            (shared.state.epoch, next)
        };
        let mut heads = Vec::new();
        let mut sections = Vec::new();
        let mut records = 0;
        for section in group.sections.iter().filter(|section| section.builder.count() > 0) {
            let (stored, codec) = section.builder.compress(&mut self.compressor);
            let first = next.entry(section.stream).or_insert(1);
            let (arrival_min, arrival_max) = section.builder.arrivals();
            heads.push(SectionHead {
                stream: section.stream,
                epoch,
                first: *first,
                count: section.builder.count(),
                generation: section.generation,
                in_flight: section.in_flight,
                lane: 0,
                arrival_min,
                arrival_max,
                codec,
                raw: u32::try_from(section.builder.raw_bytes()).unwrap_or(u32::MAX),
                length: u32::try_from(stored.len()).unwrap_or(u32::MAX),
                crc: checksum(&inner.id, &stored),
            });
            *first += u64::from(section.builder.count());
            records += u64::from(section.builder.count());
            sections.push(stored);
        }
        let positions = group.positions.into_iter();
        let directory = Commit {
            stamp: Stamp::default(),
            streams: births,
            sections: heads,
            positions: positions.map(|((source, part), value)| body::PositionEntry { source, part, value }).collect(),
            cursors: group.cursors,
            floors: Vec::new(),
            states: group.states,
        };
        Built { number: group.number, directory, sections, records, payload: group.payload }
    }

    fn write(&mut self, directory: &Commit, sections: &[Vec<u8>], data: bool) -> Outcome {
        let parts: Vec<&[u8]> = sections.iter().map(Vec::as_slice).collect();
        let bytes = match body::encode(&self.inner.id, directory, &parts) {
            Ok(bytes) => bytes,
            Err(error) => return Outcome::Failed(io::Error::other(error)),
        };
        match self.place(bytes.len(), data) {
            Ok(true) => {}
            Ok(false) => return Outcome::Full,
            Err(error) => return Outcome::Failed(error),
        }
        let first = self.writer.append(Kind::Commit, &bytes);
        self.count();
        let Err(error) = first else {
            return Outcome::Durable;
        };
        self.inner.options.metrics.add(Metric::StoreWriteErrors, 1);
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
                }
                Outcome::Failed(error)
            }
        }
    }

    /// Sees to it that a frame has a place; false when the store is full.
    fn place(&mut self, length: usize, data: bool) -> io::Result<bool> {
        let cap = (self.inner.options.cap / self.inner.options.segment).max(4);
        let used = self.inner.lock().segments.len() as u64;
        if self.writer.fits(length, !data) && (!data || used <= cap) {
            return Ok(true);
        }
        let failed = self.writer.current.as_ref().is_some_and(|current| current.failed);
        if data && used + 1 > cap && !failed {
            return Ok(false);
        }
        self.roll()?;
        Ok(true)
    }

    /// Seals the current segment and starts the next.
    fn roll(&mut self) -> io::Result<()> {
        let sealed: Option<Summary> = self.writer.current.as_ref().map(|current| current.summary.clone());
        let stamp = self.stamp();
        let checkpoint = {
            let mut shared = self.inner.lock();
            shared.touch_cursors(stamp.wall_ms);
            shared.state.checkpoint(stamp, sealed)
        };
        let old = self.writer.roll(&checkpoint, Heat::Hot)?;
        let mut shared = self.inner.lock();
        if let Some(old) = &old {
            shared.segments.insert(old.summary.number, old.clone());
        }
        if let Some(current) = &self.writer.current {
            let segment = Segment { path: current.path.clone(), summary: current.summary.clone() };
            shared.segments.insert(current.summary.number, segment);
        }
        drop(shared);
        let sealed: Vec<Summary> = old.into_iter().map(|old| old.summary).collect();
        self.save_index(&sealed, &[]);
        Ok(())
    }

    /// The frame is durable: everybody may know, and what it freed is given back.
    fn apply(&mut self, directory: &Commit) {
        let inner = self.inner.clone();
        let mut shared = inner.lock();
        for stream in &directory.streams {
            shared.born(stream.id, &stream.name);
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
        self.free();
    }

    /// Gives back the segments that lie below every floor.
    fn free(&mut self) {
        let inner = self.inner.clone();
        let mut shared = inner.lock();
        let freed = space::freeable(&shared.state, &shared.segments, &[]);
        let files: Vec<Segment> = freed.iter().filter_map(|number| shared.segments.remove(number)).collect();
        inner.options.metrics.set(Metric::StoreSegments, shared.segments.len() as u64);
        drop(shared);
        let keep = usize::try_from(inner.options.reserve / inner.options.segment).unwrap_or(usize::MAX).max(1);
        for segment in &files {
            let back = self.writer.spares.give_back(&*inner.options.disk, &self.folders, &segment.path, keep);
            if let Err(error) = back {
                // It lies below every floor: the next start frees it again.
                tracing::warn!(event = event::STORE_FINDING, %error, path = %segment.path.display(), "a freed segment stays");
            }
        }
        if !freed.is_empty() {
            self.save_index(&[], &freed);
        }
    }

    fn close(&mut self) {
        if self.stuck.is_some() {
            tracing::warn!(
                event = event::STORE_BLOCKED,
                "closing with data that could not be written; it was never told safe"
            );
        }
        let close = Close { stamp: self.stamp() };
        let done = body::encode(&self.inner.id, &close, &[]).map_err(io::Error::other).and_then(|bytes| {
            if !self.writer.fits(bytes.len(), true) {
                self.roll()?;
            }
            self.writer.append(Kind::Close, &bytes)
        });
        self.count();
        match done {
            Ok(_) => self.save_index(&[], &[]),
            Err(error) => tracing::warn!(event = event::STORE_BLOCKED, %error, "the store was not closed in order"),
        }
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

    fn fail(&mut self, error: &io::Error) {
        self.inner.options.metrics.add(Metric::StoreWriteErrors, 1);
        self.block("the store cannot be written", Some(error));
        self.retry_at = Some(self.inner.options.clock.monotonic_ms() + self.retry_ms);
        self.retry_ms = (self.retry_ms * 2).min(RETRY_LIMIT_MS);
    }

    /// Says once that sources are held back.
    fn block(&mut self, why: &'static str, error: Option<&io::Error>) {
        if self.blocked.replace(why) == Some(why) {
            return;
        }
        if error.is_none() {
            self.inner.options.metrics.add(Metric::StoreFull, 1);
        }
        let detail = error.map(ToString::to_string).unwrap_or_default();
        tracing::warn!(event = event::STORE_BLOCKED, detail, "{why}: sources wait, nothing is lost");
    }

    fn count(&mut self) {
        let written = self.writer.written;
        let metrics = &self.inner.options.metrics;
        metrics.add(Metric::StoreWrittenBytes, written.bytes - self.counted.bytes);
        metrics.add(Metric::StoreSyncs, written.syncs - self.counted.syncs);
        self.counted = written;
    }

    fn stamp(&self) -> Stamp {
        let now = self.inner.options.clock.now();
        Stamp { boot: self.boot, monotonic_ms: now.monotonic_ms, wall_ms: now.wall_ms, trusted: now.trusted }
    }
}
