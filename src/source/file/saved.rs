//! What a file is known by, and what is saved of it with every commit.

use super::rules::trimmed;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

/// The longest header of columns, in bytes.
const HEADER: usize = 64 << 10;
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

/// The beginning of a file: files that are only appended to keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Bytes looked at, `FINGERPRINT` at most.
    pub length: u32,
    /// Their CRC32C.
    pub crc: u32,
}

impl Fingerprint {
    /// Of a file's first `length` bytes at most.
    pub fn of(file: &File, length: usize) -> io::Result<Self> {
        let mut bytes = vec![0; length.min(FINGERPRINT)];
        let n = read_at(file, &mut bytes, 0)?;
        Ok(Self { length: u32::try_from(n).unwrap_or(0), crc: crc32c::crc32c(&bytes[..n]) })
    }

    /// Whether a file still begins like this.
    pub fn matches(self, file: &File) -> bool {
        Self::of(file, usize::try_from(self.length).unwrap_or(0)).is_ok_and(|now| now == self)
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
    /// The part of the source that it is saved under.
    pub fn part(id: FileId) -> String {
        format!("{:x}:{:x}", id.device, id.inode)
    }

    /// From a position.
    pub fn decode(value: &[u8]) -> Option<Self> {
        let before = || {
            let SavedBefore { id, path, offset, fingerprint } = postcard::from_bytes(value).ok()?;
            Some(Self { id, path, offset, fingerprint, header_at: None })
        };
        postcard::from_bytes(value).ok().or_else(before)
    }
}

/// The line that begins at an offset, without its end.
pub fn line_at(file: &File, offset: u64) -> io::Result<Option<Arc<str>>> {
    let mut block = vec![0; HEADER];
    let n = read_at(file, &mut block, offset)?;
    let end = block[..n].iter().position(|byte| *byte == b'\n');
    Ok(end.map(|end| String::from_utf8_lossy(trimmed(&block[..end])).into()))
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
