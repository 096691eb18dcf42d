//! What a file is known by, and what is saved of it with every commit.

use crate::flow::frame::Frame;
use crate::platform::random;
use serde::{Deserialize, Serialize};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The longest header of columns, in bytes.
pub const HEADER: usize = 64 << 10;
/// How much of the beginning tells files apart, in bytes.
pub const FINGERPRINT: usize = 1024;
/// What a file is to the operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileId {
    /// The device.
    pub device: u64,
    /// The inode.
    pub inode: u64,
}

impl FileId {
    /// Of a file.
    pub fn of(meta: &Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino() }
    }
}

/// The part of a source that a file is: what its position is saved under. The number tells it from
/// files that got its inode after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Part {
    /// The file.
    pub id: FileId,
    /// By chance; 0 before version 0.2.
    pub number: u32,
}

impl Part {
    /// Of a file that is not known yet.
    pub fn new(id: FileId) -> Self {
        Self { id, number: random::u32() }
    }

    /// From its name.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split(':');
        let mut next = || parts.next().map(|part| u64::from_str_radix(part, 16));
        let (device, inode) = (next()?.ok()?, next()?.ok()?);
        let number = next().map_or(Some(0), |number| u32::try_from(number.ok()?).ok())?;
        Some(Self { id: FileId { device, inode }, number })
    }

    /// All parts that a file may be.
    pub fn all(id: FileId) -> std::ops::RangeInclusive<Self> {
        Self { id, number: 0 }..=Self { id, number: u32::MAX }
    }

    /// Takes back what was saved.
    pub fn farewell(self) -> Frame {
        Frame::position(self.to_string(), Vec::new())
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}:{:x}:{:x}", self.id.device, self.id.inode, self.number)
    }
}

/// A part of a file: its beginning, which files that are only appended to keep, or what is before a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Bytes looked at, `FINGERPRINT` at most.
    pub length: u32,
    /// Their CRC32C.
    pub crc: u32,
}

impl Fingerprint {
    /// Of a file's first `length` bytes at most, without NULs behind them: those may be written yet.
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

    /// Of a file's bytes before an offset; of none when they cannot be read.
    pub fn before(file: &File, offset: u64) -> Self {
        let length = usize::try_from(offset).unwrap_or(FINGERPRINT).min(FINGERPRINT);
        let mut bytes = vec![0; length];
        let n = read_at(file, &mut bytes, offset - length as u64);
        if n.is_ok_and(|n| n == length) { Self::over(&bytes) } else { Self::default() }
    }

    /// Whether there was nothing but NULs.
    pub fn is_nuls(self) -> bool {
        self == Self::over(&[0; FINGERPRINT][..usize::try_from(self.length).unwrap_or(0).min(FINGERPRINT)])
    }

    /// Whether a file still begins like this.
    pub fn matches(self, file: &File) -> bool {
        let bytes = Self::bytes(file, usize::try_from(self.length).unwrap_or(0));
        bytes.is_ok_and(|bytes| Self::over(&bytes) == self)
    }
}

/// What is saved with every commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The file.
    pub id: FileId,
    /// Where it was.
    pub path: PathBuf,
    /// The next byte.
    pub offset: u64,
    /// How it begins.
    pub fingerprint: Fingerprint,
    /// Where the line is that names the columns.
    pub header_at: Option<u64>,
    /// Its place in the order of files.
    pub turn: Turn,
    /// What is before the next byte; of length 0 where that is not known.
    pub tail: Fingerprint,
}

/// Which files are read before which: of those that began under one name, the one with the lower number
/// is read to its end first, whatever they are called later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// The path that the file, or the one that it is a copy of, began under.
    pub name: PathBuf,
    /// Rises with each file that a source finds.
    pub number: u64,
}

/// As this version of the source saved it before there were turns.
#[derive(Deserialize)]
struct SavedWithHeader {
    id: FileId,
    path: PathBuf,
    offset: u64,
    fingerprint: Fingerprint,
    header_at: Option<u64>,
}

/// As versions before 0.2 saved it.
#[derive(Deserialize)]
struct SavedBefore {
    id: FileId,
    path: PathBuf,
    offset: u64,
    fingerprint: Fingerprint,
}

impl Saved {
    /// Whether a file has all that was read of this one, as far as its beginning and its end show.
    pub fn is_within(&self, path: &Path) -> bool {
        let has_tail = |file: &File| match self.tail.length {
            // Nothing was read, or what was before the place is not known.
            0 => file.metadata().is_ok_and(|meta| self.offset <= meta.len()),
            _ => self.tail == Fingerprint::before(file, self.offset),
        };
        let is_within = |file: File| self.fingerprint.matches(&file) && has_tail(&file);
        self.fingerprint.length > 0 && File::open(path).is_ok_and(is_within)
    }

    /// Whether a file still begins as this one did.
    pub fn is_of(&self, path: &Path) -> bool {
        File::open(path).is_ok_and(|file| self.fingerprint.matches(&file))
    }

    /// From a position.
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
