//! Appends frames to the log.
//!
//! One frame is written with one `pwrite` and made durable with one `fdatasync`. A file whose write or sync failed
//! is never synced again: the next frame goes to a new segment, whose header says where the old segment ends.

use super::body::{self, Checkpoint, Summary};
use super::cold::Cold;
use super::frame::frame;
use super::layout::{FRAME_HEADER, FrameHeader, Heat, Kind, SEGMENT_HEADER, SegmentHeader, TAIL_RESERVE};
use super::segment::{Folders, Segment, Spares};
use crate::platform::disk::{Disk, DiskFile};
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The segment that is appended to.
#[derive(Debug)]
pub struct Current {
    /// The path of the segment's file.
    pub path: PathBuf,
    /// The open file of the segment.
    pub file: Arc<dyn DiskFile>,
    /// What the segment holds, and where it ends.
    pub summary: Summary,
    /// A write or sync failed: the segment takes no more frames.
    pub failed: bool,
}

/// Appends to the log.
#[derive(Debug)]
pub struct Writer {
    disk: Arc<dyn Disk>,
    folders: Folders,
    store: [u8; 16],
    size: u64,
    /// Files for the next segments.
    pub spares: Spares,
    /// The highest segment number that was ever used.
    pub highest: u64,
    /// The segment that is appended to; none in a new store.
    pub current: Option<Current>,
    lsn: u64,
    crc: u32,
    /// Segments whose file has failed; the file is not used again for another segment.
    failed: BTreeSet<u64>,
    /// The segment that the last roll sealed, with the lsn and CRC before the roll; kept until a frame follows.
    before: Option<(Current, u64, u32)>,
}

impl Writer {
    /// A writer that goes on behind the frame with this lsn and header CRC (`last`).
    #[must_use]
    pub fn new(
        disk: Arc<dyn Disk>,
        folders: Folders,
        store: [u8; 16],
        size: u64,
        spares: Spares,
        highest: u64,
        current: Option<Current>,
        last: (u64, u32),
    ) -> Self {
        let (lsn, crc) = last;
        Self { disk, folders, store, size, spares, highest, current, lsn, crc, failed: BTreeSet::new(), before: None }
    }

    /// The store's id.
    #[must_use]
    pub fn store(&self) -> [u8; 16] {
        self.store
    }

    /// The lsn of the last durable frame. A checkpoint counts only when a frame follows it, because its roll may be
    /// taken back until then.
    #[must_use]
    pub fn lsn(&self) -> u64 {
        self.before.as_ref().map_or(self.lsn, |(_, lsn, _)| *lsn)
    }

    /// Whether a body of this length fits in the current segment. Forebay's own frames may use the reserved end of
    /// the segment.
    #[must_use]
    pub fn fits(&self, length: usize, own: bool) -> bool {
        let reserve = if own { 0 } else { TAIL_RESERVE };
        self.current.as_ref().is_some_and(|current| {
            let need = super::layout::aligned((FRAME_HEADER + length) as u64);
            !current.failed && current.summary.end + need + reserve <= current.summary.size
        })
    }

    /// Writes a frame and syncs it.
    ///
    /// # Errors
    /// When the body is too large or does not fit, or when the disk fails. After a failure the frame is not
    /// durable, and the current segment takes no more frames.
    pub fn append(&mut self, kind: Kind, bytes: &[u8]) -> io::Result<u64> {
        let (header, frame) = self.frame(kind, self.segment_number()?, bytes)?;
        let current = self.current.as_ref().ok_or(io::ErrorKind::NotFound)?;
        if current.failed || current.summary.end + header.span() > current.summary.size {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let at = current.summary.end;
        self.write_at(&frame, at)?;
        let current = self.current.as_mut().ok_or(io::ErrorKind::NotFound)?;
        current.summary.end += header.span();
        self.before = None;
        self.lsn = header.lsn;
        self.crc = header.crc(&self.store);
        Ok(at)
    }

    /// Writes frames at this offset of the current segment, and syncs them.
    ///
    /// # Errors
    /// When the disk fails: the current segment then takes no more frames.
    pub fn write_at(&mut self, frames: &[u8], at: u64) -> io::Result<()> {
        let current = self.current.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let done = current.file.write_at(frames, at).and_then(|()| current.file.sync());
        // Bytes that are written to a removed file are lost when the last process closes it.
        let done =
            done.and_then(|()| if current.file.is_at(&current.path) { Ok(()) } else { Err(taken(&current.path)) });
        if done.is_err() {
            current.failed = true;
            self.failed.insert(current.summary.number);
        }
        done
    }

    /// Starts a new segment with a checkpoint. Returns the segment that this seals.
    ///
    /// The new file is complete and synced before its name appears in `log/`.
    ///
    /// # Errors
    /// When the disk fails: the current segment stays.
    pub fn roll(&mut self, checkpoint: &Checkpoint, heat: Heat) -> io::Result<Option<Segment>> {
        self.roll_with(checkpoint, heat, None)
    }

    /// Starts a new segment with a checkpoint and, if given, a commit frame with this body. The new segment has the
    /// commit frame from the first moment on, or there is no new segment.
    ///
    /// # Errors
    /// When the disk fails: the current segment stays.
    pub fn roll_with(
        &mut self,
        checkpoint: &Checkpoint,
        heat: Heat,
        commit: Option<&[u8]>,
    ) -> io::Result<Option<Segment>> {
        let number = self.highest + 1;
        let bytes = body::encode(&self.store, checkpoint, &[]).map_err(io::Error::other)?;
        let (frame_header, mut frames) = self.frame(Kind::Checkpoint, number, &bytes)?;
        let mut last = frame_header;
        if let Some(body) = commit {
            let follows = (last.lsn + 1, last.crc(&self.store));
            let (header, bytes) = frame(&self.store, Kind::Commit, number, follows, body)?;
            frames.extend_from_slice(&bytes);
            last = header;
        }
        let end = (SEGMENT_HEADER + frames.len()) as u64;
        if end + TAIL_RESERVE > self.size {
            return Err(io::Error::other(
                "the checkpoint does not fit in a segment: too many streams, cursors or positions",
            ));
        }
        let header = SegmentHeader {
            store: self.store,
            number,
            heat,
            size: self.size,
            first_lsn: frame_header.lsn,
            previous: self.current.as_ref().map_or(0, |current| current.summary.number),
            previous_end: self.current.as_ref().map_or(0, |current| current.summary.end),
            previous_crc: self.crc,
        };
        let (from, file) = self.spares.take(&*self.disk, &self.folders, self.size)?;
        let path = self.folders.segment(number);
        let mut start = header.encode().to_vec();
        start.extend_from_slice(&frames);
        let done = file
            .write_at(&start, 0)
            .and_then(|()| file.sync())
            .and_then(|()| self.disk.rename(&from, &path))
            .and_then(|()| self.disk.sync_dir(&self.folders.log));
        if let Err(error) = done {
            // The file is not used again, under whichever name it has now.
            let _ = self.disk.remove(&from);
            let _ = self.disk.remove(&path);
            return Err(error);
        }
        self.highest = number;
        let (lsn, crc) = (self.lsn, self.crc);
        self.lsn = last.lsn;
        self.crc = last.crc(&self.store);
        let summary = Summary { number, heat, size: self.size, end, holdings: Vec::new() };
        let old = self.current.replace(Current { path, file, summary, failed: false });
        let sealed = old.as_ref().map(|old| Segment { path: old.path.clone(), summary: old.summary.clone() });
        self.before = old.map(|old| (old, lsn, crc));
        Ok(sealed)
    }

    /// Takes back the last roll if the new segment failed before it took a frame. Returns the number of the removed
    /// segment.
    pub fn take_back(&mut self) -> Option<u64> {
        self.current.as_ref().filter(|current| current.failed)?;
        let (old, lsn, crc) = self.before.take()?;
        let gone = self.current.replace(old)?;
        (self.lsn, self.crc) = (lsn, crc);
        // If the removed segment came back after a power cut, its header would say where the segment before it
        // ends. Frames that follow there would be hidden. So unless the removal is certain, the segment before it
        // takes no more frames.
        let removed = self.disk.remove(&gone.path).and_then(|()| self.disk.sync_dir(&self.folders.log));
        if let (Err(_), Some(current)) = (removed, &mut self.current) {
            current.failed = true;
            self.failed.insert(current.summary.number);
        }
        Some(gone.summary.number)
    }

    /// Notes that a segment is given back: the roll that sealed it can no longer be taken back. Returns whether the
    /// segment's file may be used again.
    pub fn forget(&mut self, number: u64) -> bool {
        self.before.take_if(|(old, ..)| old.summary.number == number);
        !self.failed.remove(&number)
    }

    /// A new cold segment, for sections that are copied out of old ones; it takes the next number.
    ///
    /// # Errors
    /// When the disk is full (ENOSPC) or fails.
    pub fn cold(&mut self) -> io::Result<Cold> {
        let (from, file) = self.spares.take(&*self.disk, &self.folders, self.size)?;
        self.highest += 1;
        Ok(Cold::new(self.store, self.highest, self.size, from, self.folders.segment(self.highest), file))
    }

    fn segment_number(&self) -> io::Result<u64> {
        self.current.as_ref().map(|current| current.summary.number).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn frame(&self, kind: Kind, segment: u64, bytes: &[u8]) -> io::Result<(FrameHeader, Vec<u8>)> {
        frame(&self.store, kind, segment, (self.lsn + 1, self.crc), bytes)
    }
}

fn taken(path: &std::path::Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{} was removed or replaced by somebody", path.display()))
}
