//! How far the log had come, in a file beside it (`mark`): when the end of the log is cut off or removed,
//! it says what is gone. One small write in place after each commit, never synced for its own sake: after a
//! kill it is up to date, after a power cut it may be older than the log, and then says nothing new.
//!
//! Invariant: it claims only what was synced. What does not pass its CRC is no mark.

use super::log::body::StreamId;
use super::log::layout::checksum;
use super::log::segment::Folders;
use crate::platform::disk::{Disk, DiskFile, Mode};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A longer file is no mark, in bytes.
const MOST: usize = 1 << 20;
/// Length and CRC in front.
const HEAD: usize = 8;

/// How far a stream had come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamMark {
    /// Its number.
    pub id: StreamId,
    /// Its name.
    pub name: String,
    /// The next sequence.
    pub next: u64,
}

/// A reader that was configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReaderMark {
    /// Its name.
    pub name: String,
    /// The streams that it reads.
    pub streams: Vec<StreamId>,
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The store's id.
    pub store: [u8; 16],
    /// The last frame that was synced.
    pub lsn: u64,
    /// Every stream.
    pub streams: Vec<StreamMark>,
    /// Every reader, for whoever looks at the store without its configuration.
    pub readers: Vec<ReaderMark>,
}

impl Mark {
    /// What the file says; none when there is none, or it is torn.
    #[must_use]
    pub fn read(disk: &dyn Disk, folders: &Folders) -> Option<Self> {
        let file = disk.open(&folders.root.join("mark"), Mode::Read).ok()?;
        let size = usize::try_from(file.size().ok()?).ok().filter(|size| (HEAD..=MOST).contains(size))?;
        let mut bytes = vec![0; size];
        let n = file.read_at(&mut bytes, 0).ok()?;
        Self::decode(&bytes[..n])
    }

    /// From bytes; what stands behind it is of an earlier, longer one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (crc, rest) = rest.split_first_chunk::<4>()?;
        let body = rest.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        let mark: Self = postcard::from_bytes(body).ok()?;
        (checksum(&mark.store, body) == u32::from_le_bytes(*crc)).then_some(mark)
    }

    fn encode(&self) -> Option<Vec<u8>> {
        let body = postcard::to_allocvec(self).ok().filter(|body| body.len() + HEAD <= MOST)?;
        let length = u32::try_from(body.len()).ok()?.to_le_bytes();
        Some([&length[..], &checksum(&self.store, &body).to_le_bytes(), &body].concat())
    }
}

/// Writes it.
#[derive(Debug, Default)]
pub struct Marker(Option<Arc<dyn DiskFile>>);

impl Marker {
    /// Writes a mark over the one before. A failure costs what it would say, and nothing else.
    pub fn write(&mut self, disk: &dyn Disk, folders: &Folders, mark: &Mark) {
        let Some(bytes) = mark.encode() else { return };
        if self.0.is_none() {
            self.0 = disk.open(&folders.root.join("mark"), Mode::Create).ok();
        }
        if self.0.as_ref().is_some_and(|file| file.write_at(&bytes, 0).is_err()) {
            self.0 = None;
        }
    }

    /// Makes it durable, where that costs little: at a stop.
    pub fn sync(&self) {
        let _ = self.0.as_ref().map(|file| file.sync());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::sim::SimDisk;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_a_torn_one_is_none() {
        let disk = SimDisk::new(1);
        let folders = Folders::of(std::path::Path::new("/sim/store"));
        folders.create(&disk).unwrap();
        assert_eq!(Mark::read(&disk, &folders), None);
        let streams = vec![StreamMark { id: 3, name: "a long name of a stream".into(), next: 9 }];
        let readers = vec![ReaderMark { name: "hub".into(), streams: vec![3] }];
        let long = Mark { store: [7; 16], lsn: 4, streams, readers };
        let short = Mark { streams: Vec::new(), ..long.clone() };
        let mut marker = Marker::default();
        for mark in [&long, &short] {
            marker.write(&disk, &folders, mark);
            assert_eq!(Mark::read(&disk, &folders).as_ref(), Some(mark));
        }
        let bytes = long.encode().unwrap();
        // As stored: older versions of this file are read for ever.
        let golden = include_bytes!("../../tests/golden/mark-1");
        assert_eq!((&bytes[..], Mark::decode(golden)), (&golden[..], Some(long)));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert_eq!(Mark::decode(&bad), None, "{at}");
            assert_eq!(Mark::decode(&bytes[..at]), None);
        }
    }
}
