//! The places of sections in a file: the directory of a frame lists the sections that follow it, in order.

use super::body::{self, Commit, SectionHead, StreamName};
use super::layout::{FRAME_HEADER, checksum};
use super::section::{CODEC_DROPPED, Records, decompress};
use super::walk::{Found, read_past_damage};
use crate::platform::disk::DiskFile;
use std::io;

/// A section and its place in the file.
#[derive(Debug, Clone)]
pub struct Placed {
    /// The head of the section, as in the directory.
    pub head: SectionHead,
    /// The offset of the section's bytes in the file.
    pub offset: u64,
}

/// The sections of a commit or carry frame, and the names of their streams; `None` when the
/// directory does not decode.
#[must_use]
pub fn placed(store: &[u8; 16], found: &Found) -> Option<(Vec<StreamName>, Vec<Placed>)> {
    let (commit, at) = body::decode::<Commit>(store, &found.body)?;
    let mut offset = found.offset + (FRAME_HEADER + at) as u64;
    let place = |head: SectionHead| {
        let here = offset;
        offset += u64::from(head.length);
        Placed { head, offset: here }
    };
    Some((commit.streams, commit.sections.into_iter().map(place).collect()))
}

impl Placed {
    /// Whether the records of the section were given up before they were stored.
    #[must_use]
    pub fn is_dropped(&self) -> bool {
        self.head.codec == CODEC_DROPPED
    }

    /// The offset of the first byte behind the section.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.head.length)
    }

    /// The section's bytes as stored, empty when the records were given up; `None` when the bytes are bad.
    ///
    /// # Errors
    /// When the device cannot be read any more.
    pub fn stored(&self, store: &[u8; 16], file: &dyn DiskFile) -> io::Result<Option<Vec<u8>>> {
        if self.is_dropped() {
            return Ok(Some(Vec::new()));
        }
        let mut stored = vec![0; usize::try_from(self.head.length).map_err(io::Error::other)?];
        let n = read_past_damage(file, &mut stored, self.offset)?;
        Ok((n == stored.len() && checksum(store, &stored) == self.head.crc).then_some(stored))
    }

    /// The decompressed records of the section; `None` unless all of them are good.
    ///
    /// # Errors
    /// When the device cannot be read any more.
    pub fn records(&self, store: &[u8; 16], file: &dyn DiskFile) -> io::Result<Option<Vec<u8>>> {
        let stored = self.stored(store, file)?;
        let raw = stored.and_then(|stored| decompress(self.head.codec, &stored, self.head.raw));
        Ok(raw.filter(|raw| Records::new(raw).count() == usize::try_from(self.head.count).unwrap_or(usize::MAX)))
    }
}
