//! Work that a person asks for on a store that no agent has open: `forebay buffer repair`, `trim` and `forget`.

use super::{Committer, Own};
use crate::platform::disk::Mode;
use crate::store::damaged::copy_out;
use crate::store::inspect::verify_segment;
use crate::store::log::body::{FloorEntry, Reason, Summary};
use crate::store::log::segment::Segment;
use crate::store::space::Floors;
use crate::telemetry::Cause;
use std::io;

/// The result of a repair.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repaired {
    /// Segments that had bad bytes and were written anew without them.
    pub rewritten: usize,
    /// The problems that were found.
    pub problems: Vec<String>,
}

impl Committer {
    /// Writes every segment with bad bytes anew, without those bytes. The bad bytes are kept in `damaged/`, and the
    /// index is made again.
    pub fn repair(&mut self) -> io::Result<Repaired> {
        let mut repaired = Repaired::default();
        // The newest segment is sealed, so that it can be rewritten like any other.
        self.roll()?;
        let current = self.current();
        let segments: Vec<Segment> = self.inner.lock().segments.values().cloned().collect();
        for segment in segments.iter().filter(|segment| segment.summary.number != current) {
            let number = segment.summary.number;
            let disk = self.inner.options.disk.clone();
            let file = disk.open(&segment.path, Mode::Read)?;
            let verified = verify_segment(&self.inner.id, &file, number, segment.summary.end)?;
            if verified.problems.is_empty() {
                continue;
            }
            for range in verified.bad {
                copy_out(&*disk, &self.folders, &*file, number, range)?;
            }
            repaired.problems.extend(verified.problems);
            self.copy_out(number, true)?;
            repaired.rewritten += 1;
        }
        let sealed: Vec<Summary> = {
            let shared = self.inner.lock();
            shared.segments.values().map(|segment| segment.summary.clone()).filter(|s| s.number != current).collect()
        };
        self.save_index(&sealed, &[]);
        self.close();
        Ok(repaired)
    }

    /// Forgets the cursors of a reader. Returns the number of streams in which the reader had a cursor.
    pub fn forget(&mut self, reader: &str) -> io::Result<usize> {
        let forgotten = {
            let mut shared = self.inner.lock();
            let before = shared.state.cursors.len();
            shared.state.cursors.retain(|(name, _), _| name != reader);
            shared.cursors.retain(|(name, _), _| name != reader);
            shared.state.forget_state(reader);
            before - shared.state.cursors.len()
        };
        // A start reads the checkpoint at the beginning of the newest segment, so a new segment makes the change
        // durable.
        self.roll()?;
        self.close();
        Ok(forgotten)
    }

    /// Gives up a stream's records below a sequence. Returns how many of them no reader had released.
    pub fn trim(&mut self, stream: &str, floor: u64) -> io::Result<u64> {
        let now = self.inner.options.clock.monotonic_ms();
        let (entry, lost) = {
            let mut shared = self.inner.lock();
            let Some(id) = shared.state.find(stream) else {
                return Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no stream `{stream}`")));
            };
            let state = &shared.state.streams[&id];
            let (first, floor) = (state.floor, floor.min(state.next));
            let cursors = shared.state.cursors.values().filter(|cursor| cursor.stream == id).map(|cursor| cursor.next);
            let lowest = cursors.min().unwrap_or(first).max(first);
            if lowest < floor {
                let metrics = self.inner.options.metrics.clone();
                shared.reports.given_up((id, stream), (lowest, floor - 1), Cause::Trimmed, &metrics, now);
            }
            (FloorEntry { stream: id, floor, reason: Reason::Drop }, floor.saturating_sub(lowest))
        };
        let now = self.inner.options.clock.now();
        let reports = self.inner.lock().reports.take(now, &self.inner.options.metrics, true);
        self.has_reported_drops = true;
        let done = self.write_own(Own { floors: Floors::from([(entry.stream, entry)]), reports, ..Own::default() });
        self.close();
        done.map(|()| lost)
    }
}
