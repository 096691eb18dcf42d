//! The identity of a file, and the state of it that every commit saves.

use crate::flow::frame::Frame;
use crate::platform::random;
use serde::{Deserialize, Serialize};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The longest header of columns, in bytes.
pub const HEADER: usize = 64 << 10;
/// Files are compared by at most this many bytes of their beginning.
pub const FINGERPRINT: usize = 1024;
/// The identity of a file for the operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileId {
    /// The number of the device that holds the file.
    pub device: u64,
    /// The inode number of the file.
    pub inode: u64,
}

impl FileId {
    /// The identity of the file with this metadata.
    pub fn of(meta: &Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino() }
    }
}

/// The part of a source that stands for one file: its position is saved under this name. The number
/// distinguishes the file from later files with the same inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Part {
    /// The device and inode of the file.
    pub id: FileId,
    /// A random number; 0 in positions that a version before 0.2 saved.
    pub number: u32,
}

impl Part {
    /// A new part, for a file that is not known yet.
    pub fn new(id: FileId) -> Self {
        Self { id, number: random::u32() }
    }

    /// Reads a part from the name under which it was saved.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split(':');
        let mut next = || parts.next().map(|part| u64::from_str_radix(part, 16));
        let (device, inode) = (next()?.ok()?, next()?.ok()?);
        let number = next().map_or(Some(0), |number| u32::try_from(number.ok()?).ok())?;
        Some(Self { id: FileId { device, inode }, number })
    }

    /// All parts with this device and inode.
    pub fn all(id: FileId) -> std::ops::RangeInclusive<Self> {
        Self { id, number: 0 }..=Self { id, number: u32::MAX }
    }

    /// A frame that removes the saved position of the file.
    pub fn farewell(self) -> Frame {
        Frame::position(self.to_string(), Vec::new())
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}:{:x}:{:x}", self.id.device, self.id.inode, self.number)
    }
}

/// A checksum of some bytes of a file: of its beginning, which appending does not change, or of the bytes
/// before an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The number of bytes in the checksum, at most `FINGERPRINT`.
    pub length: u32,
    /// The CRC32C of these bytes.
    pub crc: u32,
}

impl Fingerprint {
    /// The fingerprint of a file's first `length` bytes at most. NULs at their end are left out, because the
    /// file may still be written there.
    pub fn of(file: &File, length: usize) -> io::Result<Self> {
        let bytes = Self::bytes(file, length)?;
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(bytes.len(), |at| at + 1);
        Ok(Self::over(&bytes[..end]))
    }

    fn bytes(file: &File, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length.min(FINGERPRINT)];
        let n = read_at(file, &mut bytes, 0)?;
        bytes.truncate(n);
        Ok(bytes)
    }

    fn over(bytes: &[u8]) -> Self {
        Self { length: u32::try_from(bytes.len()).unwrap_or(0), crc: crc32c::crc32c(bytes) }
    }

    /// The fingerprint of the bytes before an offset; empty if they cannot be read.
    pub fn before(file: &File, offset: u64) -> Self {
        let length = usize::try_from(offset).unwrap_or(FINGERPRINT).min(FINGERPRINT);
        let mut bytes = vec![0; length];
        let n = read_at(file, &mut bytes, offset - length as u64);
        if n.is_ok_and(|n| n == length) { Self::over(&bytes) } else { Self::default() }
    }

    /// Whether all these bytes were NULs.
    pub fn is_nuls(self) -> bool {
        self == Self::over(&[0; FINGERPRINT][..usize::try_from(self.length).unwrap_or(0).min(FINGERPRINT)])
    }

    /// Whether a file still begins like this.
    pub fn matches(self, file: &File) -> bool {
        let bytes = Self::bytes(file, usize::try_from(self.length).unwrap_or(0));
        bytes.is_ok_and(|bytes| Self::over(&bytes) == self)
    }
}

/// The state of a file that every commit saves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The device and inode of the file.
    pub id: FileId,
    /// The path of the file at that time.
    pub path: PathBuf,
    /// The offset of the next byte to read.
    pub offset: u64,
    /// The fingerprint of the beginning of the file.
    pub fingerprint: Fingerprint,
    /// The offset of the line that names the columns.
    pub header_at: Option<u64>,
    /// The place of the file in the order of reading.
    pub turn: Turn,
    /// The fingerprint of the bytes before `offset`; of length 0 if it is not known.
    pub tail: Fingerprint,
}

/// The order in which files are read. Of the files that began under one name, the file with the lower number is
/// read to its end first. Later names of the files do not matter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// The path under which the file began. For a copy, the path under which its original began.
    pub name: PathBuf,
    /// The number of the file; it rises with each file that a source finds.
    pub number: u64,
}

/// The saved state of a file before it had a turn and a tail.
#[derive(Deserialize)]
struct SavedWithHeader {
    id: FileId,
    path: PathBuf,
    offset: u64,
    fingerprint: Fingerprint,
    header_at: Option<u64>,
}

/// The saved state of a file in versions before 0.2.
#[derive(Deserialize)]
struct SavedBefore {
    id: FileId,
    path: PathBuf,
    offset: u64,
    fingerprint: Fingerprint,
}

impl Saved {
    /// Whether the file at `path` contains everything that was read of this file, as far as the beginning and
    /// the last bytes show.
    pub fn is_within(&self, path: &Path) -> bool {
        let has_tail = |file: &File| match self.tail.length {
            // Nothing was read, or the bytes before the offset are not known.
            0 => file.metadata().is_ok_and(|meta| self.offset <= meta.len()),
            _ => self.tail == Fingerprint::before(file, self.offset),
        };
        let is_within = |file: File| self.fingerprint.matches(&file) && has_tail(&file);
        self.fingerprint.length > 0 && File::open(path).is_ok_and(is_within)
    }

    /// Whether the file at `path` still begins like this file.
    pub fn is_of(&self, path: &Path) -> bool {
        File::open(path).is_ok_and(|file| self.fingerprint.matches(&file))
    }

    /// Reads the state from a saved position, also from one of an earlier version.
    pub fn decode(value: &[u8]) -> Option<Self> {
        let turn = |path: &Path| Turn { name: path.into(), number: 0 };
        let with_header = || {
            let SavedWithHeader { id, path, offset, fingerprint, header_at } = postcard::from_bytes(value).ok()?;
            Some(Self { turn: turn(&path), id, path, offset, fingerprint, header_at, tail: Fingerprint::default() })
        };
        let before = || {
            let SavedBefore { id, path, offset, fingerprint } = postcard::from_bytes(value).ok()?;
            Some(Self {
                turn: turn(&path),
                id,
                path,
                offset,
                fingerprint,
                header_at: None,
                tail: Fingerprint::default(),
            })
        };
        postcard::from_bytes(value).ok().or_else(with_header).or_else(before)
    }
}

/// The folder of a path or pattern.
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether a file's folder is there, on the file's device.
pub fn has_folder(path: &Path, id: FileId) -> bool {
    std::fs::metadata(folder(path)).is_ok_and(|meta| meta.dev() == id.device)
}

/// Reads until the buffer is full or the file ends.
pub fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_of_earlier_versions_are_read() {
        let (id, path) = (FileId { device: 1, inode: 2 }, PathBuf::from("/a.log"));
        let fingerprint = Fingerprint { length: 3, crc: 4 };
        let turn = Turn { name: path.clone(), number: 0 };
        let (turn, tail) = (|| turn.clone(), Fingerprint::default());
        let saved = |header_at| Saved { id, path: path.clone(), offset: 5, fingerprint, header_at, turn: turn(), tail };
        let first = postcard::to_allocvec(&(id, &path, 5_u64, fingerprint)).unwrap();
        assert_eq!(Saved::decode(&first), Some(saved(None)));
        let second = postcard::to_allocvec(&(id, &path, 5_u64, fingerprint, Some(6_u64))).unwrap();
        assert_eq!(Saved::decode(&second), Some(saved(Some(6))));
        let tail = Fingerprint { length: 5, crc: 9 };
        let now = Saved { turn: Turn { name: "/b.log".into(), number: 7 }, tail, ..saved(Some(6)) };
        assert_eq!(Saved::decode(&postcard::to_allocvec(&now).unwrap()), Some(now));
    }

    #[test]
    fn a_bare_name_is_in_the_folder_where_we_are() {
        for (path, expected) in [("a.log", "."), ("in/a.log", "in"), ("/a.log", "/"), ("in/*/a.log", "in/*")] {
            assert_eq!(folder(Path::new(path)), Path::new(expected));
        }
        assert!(has_folder(Path::new("a.log"), FileId::of(&std::fs::metadata(".").unwrap())));
    }
}
