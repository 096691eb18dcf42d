//! Sections where they lie: the directory of a frame says what follows it, in order.

use super::body::{self, Commit, SectionHead, StreamName};
use super::layout::{FRAME_HEADER, checksum};
use super::section::{CODEC_DROPPED, Records, decompress};
use super::walk::{Found, read_past_damage};
use crate::platform::disk::DiskFile;
use std::io;

/// A section and its place in the file.
#[derive(Debug, Clone)]
pub struct Placed {
    /// What the directory says of it.
    pub head: SectionHead,
    /// Where its bytes are.
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
    /// Whether its records were given up before they were stored.
    #[must_use]
    pub fn is_dropped(&self) -> bool {
        self.head.codec == CODEC_DROPPED
    }

    /// The byte behind it.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.head.length)
    }

    /// Its bytes as stored, none where they were given up; `None` when they are bad.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn stored(&self, store: &[u8; 16], file: &dyn DiskFile) -> io::Result<Option<Vec<u8>>> {
        if self.is_dropped() {
            return Ok(Some(Vec::new()));
        }
        let mut stored = vec![0; usize::try_from(self.head.length).map_err(io::Error::other)?];
        let n = read_past_damage(file, &mut stored, self.offset)?;
        Ok((n == stored.len() && checksum(store, &stored) == self.head.crc).then_some(stored))
    }

    /// Its records, if all of them are good.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn records(&self, store: &[u8; 16], file: &dyn DiskFile) -> io::Result<Option<Vec<u8>>> {
        let stored = self.stored(store, file)?;
        let raw = stored.and_then(|stored| decompress(self.head.codec, &stored, self.head.raw));
        Ok(raw.filter(|raw| Records::new(raw).count() == usize::try_from(self.head.count).unwrap_or(usize::MAX)))
    }
}
