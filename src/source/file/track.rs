//! One file: what it is, where we are in it, what comes next.

use super::rules::{Rules, trimmed};
use super::saved::{FINGERPRINT, FileId, Fingerprint, Saved, line_at, read_at};
use crate::flow::frame::{Frame, Payload, Position};
use crate::flow::record::DEAD_LETTER_KEEP;
use bytes::Bytes;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A frame holds about this much, in bytes.
const BLOCK: usize = 64 << 10;
/// The records of a frame weigh at most this much besides their bytes; an atom's limit is 2 MiB.
const FRAME_WEIGHT: usize = 1 << 20;
/// What is reckoned for a line besides its bytes and key: as a dead letter it has attributes.
const RECORD_WEIGHT: usize = 256;

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
    modified: Option<SystemTime>,
    changed: Instant,
    too_long: Option<TooLong>,
    rules: Arc<Rules>,
    /// The line that names the columns, and where it is.
    header: Option<(u64, Arc<str>)>,
}

impl Track {
    /// Opens a file; `saved` says where it was left.
    pub fn open(path: &Path, saved: Option<&Saved>, from_end: bool, rules: Arc<Rules>) -> io::Result<Self> {
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
        // Read from its end or from where it was left, a file has its header before that.
        let header_at = known.and_then(|saved| saved.header_at).or((offset > 0).then_some(0));
        let header = match header_at.filter(|_| rules.header.is_some()) {
            Some(at) => line_at(&file, at)?.map(|line| (at, line)),
            None => None,
        };
        Ok(Self {
            id,
            path: path.into(),
            gone: false,
            key: path.to_string_lossy().into(),
            file,
            offset,
            fingerprint,
            size: meta.len(),
            modified: meta.modified().ok(),
            changed: Instant::now(),
            too_long: None,
            rules,
            header,
        })
    }

    /// What is saved of it: with it, a copy of this file is read on from here.
    pub fn saved(&self) -> Saved {
        let header_at = self.header.as_ref().map(|(at, _)| *at);
        Saved { id: self.id, path: self.path.clone(), offset: self.offset, fingerprint: self.fingerprint, header_at }
    }

    /// Whether another file is the same as this one up to its own end: its beginning and its end are.
    pub fn holds(&self, other: &File) -> bool {
        let alike = || {
            let length = other.metadata()?.len();
            let head = usize::try_from(length).unwrap_or(FINGERPRINT).min(FINGERPRINT);
            let at = length - head as u64;
            let (mut mine, mut its) = (vec![0; head], vec![0; head]);
            let same = read_at(&self.file, &mut mine, at)? == read_at(other, &mut its, at)? && mine == its;
            let begins = Fingerprint::of(other, head)? == Fingerprint::of(&self.file, head)?;
            Ok::<_, io::Error>(length > 0 && length <= self.file.metadata()?.len() && same && begins)
        };
        // Cut since we looked last: the next look finds the copy by how this one began.
        let cut = || self.fingerprint.matches(other) && !self.fingerprint.matches(&self.file);
        alike().unwrap_or(false) || self.fingerprint.length > 0 && cut()
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
        let meta = self.file.metadata()?;
        let (size, modified) = (meta.len(), meta.modified().ok());
        if size == self.size && modified == self.modified && (size == 0 || self.fingerprint.length > 0) {
            return Ok(false);
        }
        let restarted = size < self.offset || !self.fingerprint.matches(&self.file);
        if restarted {
            self.offset = 0;
            self.too_long = None;
            self.header = None;
        }
        (self.size, self.modified) = (size, modified);
        self.changed = Instant::now();
        self.fingerprint = Fingerprint::of(&self.file, FINGERPRINT)?;
        Ok(restarted)
    }

    /// The next whole lines, or nothing. With `rest`, a last line without newline is taken too.
    pub fn next(&mut self, rest: bool) -> io::Result<Option<Frame>> {
        let max_line = self.rules.max_line;
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
                    let whole = n == want && want < left;
                    match self.messages(block, whole, rest, n > max_line) {
                        Some(frame) => return Ok(Some(frame)),
                        None if whole && n <= max_line => {
                            want = (want * 2).min(left);
                            continue;
                        }
                        None => return Ok(None),
                    }
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
                    return Ok(if rest && n > 0 { self.messages(block, false, true, true) } else { None });
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

    /// A frame of whole lines; `None` when a message is not known to be over. `more` says that more
    /// of the file is there, `rest` that what is there is all, `enough` that the longest is reached.
    fn messages(&mut self, mut block: Vec<u8>, more: bool, rest: bool, enough: bool) -> Option<Frame> {
        if self.rules.header.is_some() {
            let first = block.iter().position(|byte| *byte == b'\n').map_or(block.len(), |at| at + 1);
            let begins = self.header.as_ref().is_none_or(|(_, header)| self.rules.is_header(header, &block[..first]));
            if begins {
                let line = String::from_utf8_lossy(trimmed(&block[..first])).into();
                self.header = Some((self.offset, line));
                self.offset += first as u64;
                return Some(self.frame(Payload::Nothing));
            }
            if let Some((_, header)) = &self.header {
                // Up to the next header, which begins a frame of its own.
                let mut at = first;
                while at < block.len() {
                    let end = block[at..].iter().position(|byte| *byte == b'\n').map_or(block.len(), |n| at + n + 1);
                    if self.rules.is_header(header, &block[at..end]) {
                        block.truncate(at);
                    }
                    at = end;
                }
            }
        }
        let Some(start) = &self.rules.message_start else {
            self.offset += block.len() as u64;
            return Some(self.frame(Payload::Lines(Bytes::from(block))));
        };
        // Where messages begin; what comes before the first is one of its own.
        let (mut starts, mut at) = (vec![0], 0);
        while at < block.len() {
            let end = block[at..].iter().position(|byte| *byte == b'\n').map_or(block.len(), |n| at + n + 1);
            if at > 0 && std::str::from_utf8(trimmed(&block[at..end])).is_ok_and(|line| start.is_match(line)) {
                starts.push(at);
            }
            at = end;
        }
        // The last one may go on.
        let all = rest && !more || enough && starts.len() == 1;
        let end = if all { block.len() } else { starts.pop().unwrap_or(0) };
        if end == 0 {
            return None;
        }
        block.truncate(end);
        self.offset += end as u64;
        let block = Bytes::from(block);
        let ends = starts.iter().skip(1).copied().chain([end]);
        let list = starts.iter().zip(ends).map(|(from, to)| block.slice_ref(trimmed(&block[*from..to]))).collect();
        Some(self.frame(Payload::Messages(list)))
    }

    fn frame(&self, payload: Payload) -> Frame {
        let header = self.header.as_ref().map(|(_, line)| line.clone());
        Frame { position: Some(self.position()), header, ..Frame::new(self.key.clone(), payload) }
    }

    fn position(&self) -> Position {
        let saved = self.saved();
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
