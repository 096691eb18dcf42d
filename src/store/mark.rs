//! How far the log has come, in the file `mark` beside the log. When the end of the log is cut off or removed, the
//! mark says which sequences are gone.
//!
//! The mark is written in place after each commit, with one small write, and is never synced for its own sake.
//! After a kill it is up to date. After a power cut it may be older than the log, and then tells nothing new.
//!
//! Invariant: the mark names only frames that were synced. A file that does not pass its CRC is no mark.

use super::log::body::StreamId;
use super::log::layout::checksum;
use super::log::segment::Folders;
use crate::platform::disk::{Disk, DiskFile, Mode};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The largest size of a mark, in bytes. A longer file is no mark.
const MOST: usize = 1 << 20;
/// Bytes in front of the body: length and CRC.
const HEAD: usize = 8;

/// How far a stream had come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamMark {
    /// The number of the stream.
    pub id: StreamId,
    /// The name of the stream.
    pub name: String,
    /// The next sequence of the stream.
    pub next: u64,
}

/// A reader that was configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReaderMark {
    /// The name of the reader.
    pub name: String,
    /// The streams that the reader reads.
    pub streams: Vec<StreamId>,
}

/// The content of the file `mark`; see the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The store's id.
    pub store: [u8; 16],
    /// The lsn of the last frame that was synced.
    pub lsn: u64,
    /// All streams of the store.
    pub streams: Vec<StreamMark>,
    /// All configured readers, for tools that read the store without its configuration.
    pub readers: Vec<ReaderMark>,
}

impl Mark {
    /// Reads the mark; none when there is no file, or the file is torn.
    #[must_use]
    pub fn read(disk: &dyn Disk, folders: &Folders) -> Option<Self> {
        let file = disk.open(&folders.root.join("mark"), Mode::Read).ok()?;
        let size = usize::try_from(file.size().ok()?).ok().filter(|size| (HEAD..=MOST).contains(size))?;
        let mut bytes = vec![0; size];
        let n = file.read_at(&mut bytes, 0).ok()?;
        Self::decode(&bytes[..n])
    }

    /// Decodes a mark. Bytes behind its end are of an earlier, longer mark.
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

/// Writes the mark.
#[derive(Debug, Default)]
pub struct Marker(Option<Arc<dyn DiskFile>>);

impl Marker {
    /// Writes a mark over the one before. If this fails, only the information in the mark is lost.
    pub fn write(&mut self, disk: &dyn Disk, folders: &Folders, mark: &Mark) {
        let Some(bytes) = mark.encode() else { return };
        if self.0.is_none() {
            self.0 = disk.open(&folders.root.join("mark"), Mode::Create).ok();
        }
        if self.0.as_ref().is_some_and(|file| file.write_at(&bytes, 0).is_err()) {
            self.0 = None;
        }
    }

    /// Syncs the mark. This is done only at a stop, where a sync costs little.
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
        // The stored form: older versions of this file must stay readable for ever.
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
