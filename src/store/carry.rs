//! Copying the live sections of a segment that is mostly dead into a cold segment.
//!
//! Sections are copied verbatim, with their identity. A section whose CRC is wrong is not copied:
//! it stays missing, as it was. The old segment is freed only when the copy is durable.

use super::log::body::{self, Commit, Stamp, StreamId};
use super::log::cold::Cold;
use super::log::layout::{FRAME_HEADER, Kind, checksum};
use super::log::section::CODEC_DROPPED;
use super::log::segment::{Folders, Segment};
use super::log::walk::{Found, Step, Walk, read_past_damage};
use super::log::writer::Writer;
use crate::platform::disk::{Disk, DiskFile, Mode};
use std::io;
use std::sync::Arc;

/// A carry frame is closed when its sections have so many bytes.
const FRAME_BYTES: usize = 256 << 10;

/// Copies what lies above the floors.
///
/// # Errors
/// When the disk fails or is full; the old segment is as it was.
pub(super) fn carry(
    disk: &dyn Disk,
    folders: &Folders,
    writer: &mut Writer,
    old: &Segment,
    stamp: Stamp,
    floor: impl Fn(StreamId) -> u64,
) -> io::Result<Segment> {
    let store = writer.store();
    let file = disk.open(&old.path, Mode::Read)?;
    let mut copy = Copy { cold: writer.cold()?, commit: Commit { stamp, ..Commit::default() }, bytes: Vec::new() };
    let mut walk = Walk::new(store, file.clone(), old.summary.number, 0, old.summary.end, false);
    let mut run = || -> io::Result<()> {
        loop {
            match walk.step()? {
                Step::Frame(found) if matches!(found.header.kind, Kind::Commit | Kind::Carry) => {
                    copy.frame(&store, &file, &found, &floor)?;
                }
                Step::Frame(_) | Step::Damage { .. } => {}
                Step::End { .. } => return copy.flush(),
            }
        }
    };
    match run() {
        Ok(()) => copy.cold.finish(disk, folders),
        Err(error) => {
            copy.cold.discard(disk);
            Err(error)
        }
    }
}

struct Copy {
    cold: Cold,
    commit: Commit,
    bytes: Vec<Vec<u8>>,
}

impl Copy {
    fn frame(
        &mut self,
        store: &[u8; 16],
        file: &Arc<dyn DiskFile>,
        found: &Found,
        floor: &impl Fn(StreamId) -> u64,
    ) -> io::Result<()> {
        let Some((commit, mut at)) = body::decode::<Commit>(store, &found.body) else {
            return Ok(());
        };
        for head in commit.sections {
            let offset = found.offset + (FRAME_HEADER + at) as u64;
            let length = usize::try_from(head.length).map_err(io::Error::other)?;
            at += length;
            if head.last() < floor(head.stream) {
                continue;
            }
            let mut stored = vec![0; length];
            let n = read_past_damage(&**file, &mut stored, offset)?;
            if n == length && (head.codec == CODEC_DROPPED || checksum(store, &stored) == head.crc) {
                self.commit.sections.push(head);
                self.bytes.push(stored);
            }
            if self.bytes.iter().map(Vec::len).sum::<usize>() >= FRAME_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.commit.sections.is_empty() {
            return Ok(());
        }
        let parts: Vec<&[u8]> = self.bytes.iter().map(Vec::as_slice).collect();
        self.cold.append(&self.commit, &parts)?;
        self.commit.sections.clear();
        self.bytes.clear();
        Ok(())
    }
}
