//! Places for frames: rolling to a new segment, and making room when the store is full.

use super::build::Built;
use super::{Class, Committer, Own};
use crate::store::Options;
use crate::store::carry::Carry;
use crate::store::log::body::{Reason, StreamId, Summary};
use crate::store::log::layout::Heat;
use crate::store::log::segment::Segment;
use crate::store::options::LEAST_SPARES;
use crate::store::shared::Shared;
use crate::store::space::{Room, StreamRule, WhenFull};
use crate::telemetry::{Metric, event};
use std::collections::BTreeMap;
use std::io;

impl Committer {
    /// Makes sure that the current segment has room for a frame; false when the store is full.
    pub(super) fn place(&mut self, length: usize, class: Class) -> io::Result<bool> {
        let options = &self.inner.options;
        let (room, spares) = {
            let shared = self.inner.lock();
            let leaves_one = class == Class::Data && shared.has_queries();
            (room(&shared, options, class), LEAST_SPARES + usize::from(leaves_one))
        };
        let (used, cap) = room;
        let is_own = class == Class::Own;
        // Bytes of a segment that is already in use cost nothing. Only data is kept out of a store that is above
        // its cap.
        if self.writer.fits(length, is_own) && (class != Class::Data || used <= cap) {
            return Ok(true);
        }
        let failed = self.writer.current.as_ref().is_some_and(|current| current.failed);
        if !is_own && !failed {
            if used + options.segment > cap {
                return Ok(false);
            }
            self.writer.spares.fill(&*options.disk, &self.folders, options.segment, spares)?;
        }
        self.roll()?;
        Ok(true)
    }

    /// Whether a group that did not fit may fit now; `length` is the length of its frame at the last try.
    pub(super) fn has_place(&self, shared: &Shared, class: Class, length: usize) -> bool {
        let (used, cap) = room(shared, &self.inner.options, class);
        used + self.inner.options.segment <= cap
            || self.writer.fits(length, false) && (class != Class::Data || used <= cap)
    }

    /// Seals the current segment and starts the next.
    pub(super) fn roll(&mut self) -> io::Result<()> {
        let sealed: Option<Summary> = self.writer.current.as_ref().map(|current| current.summary.clone());
        let stamp = self.stamp();
        let checkpoint = {
            let mut shared = self.inner.lock();
            shared.tend_cursors(stamp);
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

    /// Takes one step towards room for a group; false when there is no such step.
    pub(super) fn make_room(&mut self, built: &mut Built) -> io::Result<bool> {
        let (room, rules, cursors) = {
            let mut shared = self.inner.lock();
            let snapshot = shared.snapshot(self.current());
            let (room, rules) = (snapshot.room(), snapshot.rules);
            // The cursors are written with the floors, because a floor must never stand above the cursor that it
            // follows.
            (room, rules, shared.dirty())
        };
        match room {
            Room::Raise(floors) => {
                let dropped = floors.values().filter(|floor| floor.reason == Reason::Drop);
                let lowest = dropped.filter_map(|floor| rules.get(&floor.stream)).map(|rule| rule.priority).min();
                // Arriving records give way before stored records, unless the arriving ones have a higher priority.
                if lowest.is_some_and(|lowest| self.give_up_newest(built, &rules, lowest)) {
                    return Ok(true);
                }
                self.write_own(Own { cursors, floors, ..Own::default() })?;
                Ok(true)
            }
            Room::Copy(number) => {
                if !self.copy_out(number, false)? {
                    // The segment is not tried again before a floor of one of its streams has risen.
                    let mut shared = self.inner.lock();
                    let floors = shared.floors_of(number);
                    shared.not_worth_copying.insert(number, floors);
                }
                Ok(true)
            }
            Room::Seal(floors) => {
                self.write_own(Own { cursors, floors, ..Own::default() })?;
                self.roll()?;
                self.free();
                Ok(true)
            }
            Room::None => Ok(self.give_up_newest(built, &rules, u8::MAX)),
        }
    }

    /// Whether there is a step that `make_room` could take.
    pub(super) fn room_now(&self) -> bool {
        self.inner.lock().snapshot(self.current()).room() != Room::None
    }

    fn give_up_newest(&self, built: &mut Built, rules: &BTreeMap<StreamId, StreamRule>, up_to: u8) -> bool {
        let heads = built.give_up(|stream| {
            // A stream that is not in the log yet has its rule by name.
            let rule = rules.get(&stream).copied().unwrap_or_else(|| self.inner.rule_of_new(stream));
            rule.when_full == WhenFull::DropNewest && rule.priority <= up_to
        });
        self.report_given_up(&heads);
        !heads.is_empty()
    }

    /// Copies the live sections of a segment into a cold segment, and gives its file back. Returns false when the
    /// segment stays as it is. That is so when the sections, which are copied whole, are not small enough, or when
    /// bad bytes are among them.
    pub(super) fn copy_out(&mut self, number: u64, mends: bool) -> io::Result<bool> {
        let stamp = self.stamp();
        let (old, floors) = {
            let shared = self.inner.lock();
            let floors: BTreeMap<StreamId, u64> =
                shared.state.streams.values().map(|stream| (stream.id, stream.floor)).collect();
            (shared.segments.get(&number).cloned(), floors)
        };
        let Some(old) = old else {
            return Err(io::ErrorKind::NotFound.into());
        };
        // The data of an unknown stream is wanted.
        let floor = |stream: StreamId| floors.get(&stream).copied().unwrap_or(0);
        let disk = self.inner.options.disk.clone();
        let carry = Carry { old: &old, floor: &floor, stamp, mends };
        let small = |bytes: u64| bytes * 4 <= old.summary.size * 3;
        if !mends && !carry.weigh(&*disk, self.inner.id)?.is_some_and(small) {
            return Ok(false);
        }
        if old.summary.heat == Heat::Cold {
            // The file of a cold segment cannot be used again, so the copy must not take the last spare file.
            self.writer.spares.fill(&*disk, &self.folders, self.inner.options.segment, LEAST_SPARES)?;
        }
        let Some(cold) = carry.copy(&*disk, &self.folders, &mut self.writer)? else {
            return Ok(false);
        };
        let metrics = &self.inner.options.metrics;
        metrics.add(Metric::StoreCarriedBytes, cold.summary.size);
        tracing::debug!(
            event = event::STORE_CARRIED,
            from = number,
            to = cold.summary.number,
            bytes = cold.summary.size
        );
        let summary = cold.summary.clone();
        {
            let mut shared = self.inner.lock();
            shared.segments.remove(&number);
            shared.segments.insert(summary.number, cold);
        }
        self.give_back(&[old]);
        self.save_index(&[summary], &[number]);
        self.count();
        Ok(true)
    }

    /// Frees the segments that lie below every floor, and gives their files back.
    pub(super) fn free(&mut self) {
        let inner = self.inner.clone();
        let mut shared = inner.lock();
        let snapshot = shared.snapshot(self.current());
        let freed = snapshot.freeable(&BTreeMap::new());
        let files: Vec<Segment> = freed.iter().filter_map(|number| shared.segments.remove(number)).collect();
        let segments = std::mem::take(&mut shared.not_worth_copying);
        shared.not_worth_copying =
            segments.into_iter().filter(|(number, _)| shared.segments.contains_key(number)).collect();
        if shared.refresh_full() {
            inner.room.send_modify(|n| *n += 1);
        }
        inner.options.metrics.set(Metric::StoreSegments, shared.segments.len() as u64);
        drop(shared);
        if !files.is_empty() {
            self.give_back(&files);
            self.save_index(&[], &freed);
        }
    }

    fn give_back(&mut self, files: &[Segment]) {
        let options = &self.inner.options;
        let keep = options.spares(self.inner.lock().has_queries());
        for segment in files {
            let sound = self.writer.forget(segment.summary.number);
            // The file of a cold segment is cut short, so it cannot be used for another segment.
            let keep = if sound && segment.summary.size == options.segment { keep } else { 0 };
            let back = self.writer.spares.give_back(&*options.disk, &self.folders, &segment.path, keep);
            if let Err(error) = back {
                // The segment lies below every floor, so the next start frees it again.
                tracing::warn!(event = event::STORE_FINDING, %error, path = %segment.path.display(), "a freed segment stays");
            }
        }
    }
}

/// The bytes of all segments, and the cap that applies to a class. Sources leave one segment of the cap to queries.
/// Queries may go one segment beyond the cap, for cursors and copies may have taken that one. Otherwise a store
/// full of records that only a query reads would never get empty.
fn room(shared: &Shared, options: &Options, class: Class) -> (u64, u64) {
    let used = shared.segments.values().map(|segment| segment.summary.size).sum();
    let cap = shared.rules.cap.max(options.segment * 4);
    let cap = match class {
        Class::Data if shared.has_queries() => cap - options.segment,
        Class::Steps => cap + options.segment,
        Class::Data | Class::Own => cap,
    };
    (used, cap)
}
