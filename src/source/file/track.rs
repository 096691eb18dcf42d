//! One file: what it is, where we are in it, what comes next.

use crate::flow::frame::{Frame, Payload, Position};
use crate::flow::record::DEAD_LETTER_KEEP;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How much of the beginning tells files apart, in bytes.
const FINGERPRINT: usize = 1024;
/// A frame holds about this much, in bytes.
const BLOCK: usize = 64 << 10;
/// The records of a frame weigh at most this much besides their bytes; an atom's limit is 2 MiB.
const FRAME_WEIGHT: usize = 1 << 20;
/// What is reckoned for a line besides its bytes and key: as a dead letter it has attributes.
const RECORD_WEIGHT: usize = 256;

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
}

impl Saved {
    /// The part of the source that it is saved under.
    pub fn part(id: FileId) -> String {
        format!("{:x}:{:x}", id.device, id.inode)
    }

    /// From a position.
    pub fn decode(value: &[u8]) -> Option<Self> {
        postcard::from_bytes(value).ok()
    }
}

/// A line that is too long, so far.
#[derive(Debug)]
struct TooLong {
    length: u64,
    crc: u32,
    head: Vec<u8>,
    at: u64,
}

/// A file that is being read.
#[derive(Debug)]
pub struct Track {
    /// What it is.
    pub id: FileId,
    /// Where it is now, or was last.
    pub path: PathBuf,
    /// No path of ours leads to it any more.
    pub gone: bool,
    key: Arc<str>,
    file: File,
    offset: u64,
    fingerprint: Fingerprint,
    size: u64,
    changed: Instant,
    too_long: Option<TooLong>,
}

impl Track {
    /// Opens a file; `saved` says where it was left.
    pub fn open(path: &Path, saved: Option<&Saved>, from_end: bool) -> io::Result<Self> {
        let file = File::open(path)?;
        let meta = file.metadata()?;
        let id = FileId { device: meta.dev(), inode: meta.ino() };
        let known = saved.filter(|saved| saved.offset <= meta.len() && saved.fingerprint.matches(&file));
        let offset = match known {
            Some(saved) => saved.offset,
            None if from_end => meta.len(),
            None => 0,
        };
        let fingerprint = Fingerprint::of(&file, FINGERPRINT)?;
        Ok(Self {
            id,
            path: path.into(),
            gone: false,
            key: path.to_string_lossy().into(),
            file,
            offset,
            fingerprint,
            size: meta.len(),
            changed: Instant::now(),
            too_long: None,
        })
    }

    /// How long nothing has changed.
    pub fn quiet_for(&self) -> Duration {
        self.changed.elapsed()
    }

    /// Whether everything was read, a last line without newline included.
    pub fn is_finished(&self) -> bool {
        self.offset >= self.size
    }

    /// Looks at the size; true when the file was found truncated or replaced in place.
    pub fn refresh(&mut self) -> io::Result<bool> {
        let size = self.file.metadata()?.len();
        if size == self.size && (size == 0 || self.fingerprint.length > 0) {
            return Ok(false);
        }
        let restarted = size < self.offset || !self.fingerprint.matches(&self.file);
        if restarted {
            self.offset = 0;
            self.too_long = None;
        }
        self.size = size;
        self.changed = Instant::now();
        self.fingerprint = Fingerprint::of(&self.file, FINGERPRINT)?;
        Ok(restarted)
    }

    /// The next whole lines, or nothing. With `rest`, a last line without newline is taken too.
    pub fn next(&mut self, max_line: usize, rest: bool) -> io::Result<Option<Frame>> {
        loop {
            let start = self.too_long.as_ref().map_or(self.offset, |line| line.at);
            let left = usize::try_from(self.size.saturating_sub(start)).unwrap_or(usize::MAX);
            if left == 0 && !(rest && self.too_long.is_some()) {
                return Ok(None);
            }
            if self.too_long.is_some() {
                match self.skip(left, rest)? {
                    Some(frame) => return Ok(Some(frame)),
                    None if left == 0 || self.too_long.is_none() => return Ok(None),
                    None => continue,
                }
            }
            // A block, or as much as the longest line needs.
            let mut want = BLOCK.min(left);
            loop {
                let mut block = vec![0; want];
                let n = read_at(&self.file, &mut block, self.offset)?;
                block.truncate(n);
                if let Some(end) = self.cut(&block) {
                    block.truncate(end + 1);
                    return Ok(Some(self.lines(block)));
                }
                if n > max_line {
                    let head = block[..DEAD_LETTER_KEEP.min(n)].to_vec();
                    self.too_long = Some(TooLong {
                        length: n as u64,
                        crc: crc32c::crc32c(&block),
                        head,
                        at: self.offset + n as u64,
                    });
                    break;
                }
                if n < want || want >= left {
                    return Ok((rest && n > 0).then(|| self.lines(block)));
                }
                want = (want * 2).min(left);
            }
        }
    }

    /// Goes on to the end of a line that is too long.
    fn skip(&mut self, left: usize, rest: bool) -> io::Result<Option<Frame>> {
        let Some(mut line) = self.too_long.take() else {
            return Ok(None);
        };
        let mut block = vec![0; BLOCK.min(left)];
        let n = read_at(&self.file, &mut block, line.at)?;
        block.truncate(n);
        if n == 0 && !rest {
            // The file has become shorter: the next look begins the line again.
            return Ok(None);
        }
        let newline = block.iter().position(|byte| *byte == b'\n');
        let part = &block[..newline.unwrap_or(n)];
        line.length += part.len() as u64;
        line.crc = crc32c::crc32c_append(line.crc, part);
        line.at += part.len() as u64 + u64::from(newline.is_some());
        if newline.is_none() && !(rest && n == left) {
            self.too_long = Some(line);
            return Ok(None);
        }
        self.offset = line.at;
        let payload = Payload::TooLarge { length: line.length, crc: line.crc, head: Bytes::from(line.head) };
        Ok(Some(self.frame(payload)))
    }

    /// The last newline of a block that still goes into one frame: short lines are many records.
    fn cut(&self, block: &[u8]) -> Option<usize> {
        let most = FRAME_WEIGHT / (RECORD_WEIGHT + self.key.len());
        let newlines = block.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
        newlines.take(most.max(1)).last()
    }

    fn lines(&mut self, block: Vec<u8>) -> Frame {
        self.offset += block.len() as u64;
        self.frame(Payload::Lines(Bytes::from(block)))
    }

    fn frame(&self, payload: Payload) -> Frame {
        Frame { position: Some(self.position()), ..Frame::new(self.key.clone(), payload) }
    }

    fn position(&self) -> Position {
        let saved = Saved { id: self.id, path: self.path.clone(), offset: self.offset, fingerprint: self.fingerprint };
        // Encoding these few fields into memory cannot fail; empty would remove the position.
        Position { part: Saved::part(self.id), value: postcard::to_allocvec(&saved).unwrap_or_default() }
    }

    /// Saves where a file is begun that is not read from its start.
    pub fn bookmark(&self) -> Frame {
        self.frame(Payload::Nothing)
    }

    /// Removes what was saved of a file that is gone.
    pub fn farewell(&self) -> Frame {
        Frame::position(Saved::part(self.id), Vec::new())
    }
}

fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
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
