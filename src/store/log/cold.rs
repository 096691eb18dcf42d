//! Cold segments: copies of the live sections of old segments.
//!
//! A cold segment is complete before it has a name in `log/`. The order is: write the carry frames, cut the file to
//! their size, sync, write the header, sync, rename, sync the folder. It is never appended to. It has a chain of
//! lsn of its own, so that the chain of the log goes on in the hot segments only. Records keep their identity.
//! While both the original and the copy are there, readers take the copy.

use super::body::{self, Commit, Summary};
use super::frame::frame;
use super::layout::{Heat, Kind, SEGMENT_HEADER, SegmentHeader};
use super::segment::{Folders, Segment};
use crate::platform::disk::{Disk, DiskFile};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// A cold segment that is being written.
#[derive(Debug)]
pub struct Cold {
    store: [u8; 16],
    from: PathBuf,
    to: PathBuf,
    file: Arc<dyn DiskFile>,
    room: u64,
    lsn: u64,
    crc: u32,
    summary: Summary,
}

impl Cold {
    /// A new cold segment in a spare file.
    #[must_use]
    pub fn new(store: [u8; 16], number: u64, room: u64, from: PathBuf, to: PathBuf, file: Arc<dyn DiskFile>) -> Self {
        let end = SEGMENT_HEADER as u64;
        let summary = Summary { number, heat: Heat::Cold, size: end, end, holdings: Vec::new() };
        Self { store, from, to, file, room, lsn: 0, crc: 0, summary }
    }

    /// Appends a frame. The frame is durable only after `finish`.
    ///
    /// # Errors
    /// When the frame does not fit, or when the disk fails.
    pub fn append(&mut self, commit: &Commit, sections: &[&[u8]]) -> io::Result<()> {
        let bytes = body::encode(&self.store, commit, sections).map_err(io::Error::other)?;
        let (header, frame) = frame(&self.store, Kind::Carry, self.summary.number, (self.lsn + 1, self.crc), &bytes)?;
        if self.summary.end + header.span() > self.room {
            return Err(io::Error::other("what is to be carried does not fit in one segment"));
        }
        self.file.write_at(&frame, self.summary.end)?;
        (self.lsn, self.crc) = (header.lsn, header.crc(&self.store));
        self.summary.end += header.span();
        commit.sections.iter().for_each(|head| self.summary.add(head));
        Ok(())
    }

    /// Makes the segment durable under its name in `log/`.
    ///
    /// # Errors
    /// When the disk fails: the file is then gone, or holds copies only.
    pub fn finish(mut self, disk: &dyn Disk, folders: &Folders) -> io::Result<Segment> {
        self.summary.size = self.summary.end;
        let header = SegmentHeader {
            store: self.store,
            number: self.summary.number,
            heat: Heat::Cold,
            size: self.summary.size,
            first_lsn: 1,
            previous: 0,
            previous_end: 0,
            previous_crc: 0,
        };
        // The frames are durable before the header says that they are here. After a crash the file may still have
        // the name in `log/` of its earlier life.
        let done = self
            .file
            .set_size(self.summary.size)
            .and_then(|()| self.file.sync())
            .and_then(|()| self.file.write_at(&header.encode(), 0))
            .and_then(|()| self.file.sync())
            .and_then(|()| disk.rename(&self.from, &self.to))
            .and_then(|()| disk.sync_dir(&folders.log));
        if let Err(error) = done {
            let _ = disk.remove(&self.to);
            self.discard(disk);
            return Err(error);
        }
        Ok(Segment { path: self.to, summary: self.summary })
    }

    /// Removes the unfinished file.
    pub fn discard(self, disk: &dyn Disk) {
        // If the file stays in `spare/`, its size is wrong, and the next start removes it.
        let _ = disk.remove(&self.from);
    }
}
