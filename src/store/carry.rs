//! Copying the live sections of a segment that is mostly dead into a cold segment.
//!
//! Sections are copied verbatim, with their identity and the names of their streams. The old segment is freed only
//! when the copy is durable. A segment with bad bytes among its live sections stays as it is, unless a person asked
//! for a repair: then the bad records stay missing, as before.

use super::log::body::{Commit, Stamp, StreamId};
use super::log::cold::Cold;
use super::log::layout::Kind;
use super::log::place::placed;
use super::log::segment::{Folders, Segment};
use super::log::walk::{Found, Step, Walk};
use super::log::writer::Writer;
use crate::platform::disk::{Disk, DiskFile, Mode};
use std::io;
use std::sync::Arc;

/// A carry frame is closed when its sections have this many bytes.
const FRAME_BYTES: usize = 256 << 10;

/// A segment to copy, and the sections that are wanted.
pub(super) struct Carry<'a> {
    /// The segment whose live sections are copied.
    pub old: &'a Segment,
    /// The floor of each stream; sections that reach this floor are copied.
    pub floor: &'a dyn Fn(StreamId) -> u64,
    /// The stamp of the new frames.
    pub stamp: Stamp,
    /// A repair: bad bytes are left out of the copy. Otherwise bad bytes stop the copy.
    pub mends: bool,
}

impl Carry<'_> {
    /// Bytes of the sections that would be copied; `None` when bad bytes are in the way.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn weigh(&self, disk: &dyn Disk, store: [u8; 16]) -> io::Result<Option<u64>> {
        let file = disk.open(&self.old.path, Mode::Read)?;
        let mut bytes = 0;
        let whole = self.walk(store, &file, |found| {
            let Some((_, sections)) = placed(&store, found) else { return Ok(false) };
            let live = sections.iter().filter(|section| section.head.last() >= (self.floor)(section.head.stream));
            bytes += live.map(|section| u64::from(section.head.length)).sum::<u64>();
            Ok(true)
        })?;
        Ok((whole || self.mends).then_some(bytes))
    }

    /// Copies the sections that reach the floors; `None` when bad bytes are in the way.
    ///
    /// # Errors
    /// When the disk fails or is full. With every result the old segment stays as it was.
    pub fn copy(&self, disk: &dyn Disk, folders: &Folders, writer: &mut Writer) -> io::Result<Option<Segment>> {
        let store = writer.store();
        let file = disk.open(&self.old.path, Mode::Read)?;
        let commit = Commit { stamp: self.stamp, ..Commit::default() };
        let mut copy = Copy { cold: writer.cold()?, commit, bytes: Vec::new() };
        let done = self.walk(store, &file, |found| copy.frame(self, &store, &*file, found));
        let done = done.and_then(|whole| copy.flush().map(|()| whole));
        match done {
            Ok(true) => copy.cold.finish(disk, folders).map(Some),
            Ok(false) => {
                copy.cold.discard(disk);
                Ok(None)
            }
            Err(error) => {
                copy.cold.discard(disk);
                Err(error)
            }
        }
    }

    /// Shows every frame with sections. Returns false at the first bad bytes, unless a repair leaves them out.
    fn walk(
        &self,
        store: [u8; 16],
        file: &Arc<dyn DiskFile>,
        mut show: impl FnMut(&Found) -> io::Result<bool>,
    ) -> io::Result<bool> {
        let end = self.old.summary.end;
        let mut walk = Walk::new(store, file.clone(), self.old.summary.number, 0, end, false);
        loop {
            let good = match walk.step()? {
                Step::Frame(found) if matches!(found.header.kind, Kind::Commit | Kind::Carry) => show(&found)?,
                Step::Frame(_) => true,
                Step::Damage { .. } => false,
                Step::End { at, .. } => return Ok(at >= end || self.mends),
            };
            if !good && !self.mends {
                return Ok(false);
            }
        }
    }
}

struct Copy {
    cold: Cold,
    commit: Commit,
    bytes: Vec<Vec<u8>>,
}

impl Copy {
    fn frame(&mut self, carry: &Carry<'_>, store: &[u8; 16], file: &dyn DiskFile, found: &Found) -> io::Result<bool> {
        let Some((names, sections)) = placed(store, found) else {
            return Ok(false);
        };
        for section in sections {
            if section.head.last() < (carry.floor)(section.head.stream) {
                continue;
            }
            match section.stored(store, file)? {
                Some(stored) => self.bytes.push(stored),
                None if carry.mends => continue,
                None => return Ok(false),
            }
            let name = names.iter().find(|name| name.id == section.head.stream);
            if let Some(name) = name.filter(|name| !self.commit.streams.contains(name)) {
                self.commit.streams.push(name.clone());
            }
            self.commit.sections.push(section.head);
            if self.bytes.iter().map(Vec::len).sum::<usize>() >= FRAME_BYTES {
                self.flush()?;
            }
        }
        Ok(true)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.commit.sections.is_empty() {
            return Ok(());
        }
        let parts: Vec<&[u8]> = self.bytes.iter().map(Vec::as_slice).collect();
        self.cold.append(&self.commit, &parts)?;
        self.commit.streams.clear();
        self.commit.sections.clear();
        self.bytes.clear();
        Ok(())
    }
}
