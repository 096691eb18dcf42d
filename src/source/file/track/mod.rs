//! One file: what it is, where we are in it.

mod identity;
mod read;

pub use read::End;

use super::content::{Content, unpacks_to};
use super::rules::{Rules, trimmed};
use super::saved::{FINGERPRINT, FileId, Fingerprint, HEADER, Part, Saved, Turn, has_folder, read_at};
use crate::flow::frame::{Frame, Payload, Position};
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

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
    pub part: Part,
    /// Where it is now, or was last.
    pub path: PathBuf,
    /// No path of ours leads to it any more.
    pub gone: bool,
    /// A packed file that ends too early.
    pub is_damaged: bool,
    /// The number of the last frame with something of it.
    pub last_frame: u64,
    /// Which files are read before it.
    pub turn: Turn,
    /// It could not be read when that was tried last: nothing waits for it.
    pub has_failed: bool,
    key: Arc<str>,
    /// Closed while there is nothing to read and others need the room.
    file: Option<File>,
    /// Not known while the file has too few bytes.
    content: Option<Content>,
    offset: u64,
    /// What is before the offset.
    tail: Fingerprint,
    fingerprint: Fingerprint,
    size: u64,
    modified: Option<SystemTime>,
    /// It was written to so shortly before the last look that one more write may have the same time.
    is_fresh: bool,
    changed: Instant,
    too_long: Option<TooLong>,
    /// Up to here there are NULs behind the last line.
    nuls_to: u64,
    /// It was cut: NULs at its start are a hole that a program which does not append has left.
    is_cut: bool,
    /// Nothing but NULs follows: space that may be written yet.
    is_reserved: bool,
    /// It was told that NULs are skipped.
    has_reported_nuls: bool,
    /// There is no whole line more in it.
    pub is_drained: bool,
    /// Since when files that began after it wait only for the end of its last line.
    pub awaited_since: Option<Instant>,
    rules: Arc<Rules>,
    /// The line that names the columns, and where it is.
    header: Option<(u64, Arc<[u8]>)>,
}

/// The file that is open, or opens it; another one under its name is not taken for it.
fn opened<'a>(file: &'a mut Option<File>, path: &Path, id: FileId) -> io::Result<&'a File> {
    let open = match file.take() {
        Some(open) => open,
        None => {
            let open = File::open(path)?;
            if FileId::of(&open.metadata()?) != id {
                return Err(io::Error::other("it was renamed while it was closed"));
            }
            open
        }
    };
    Ok(file.insert(open))
}

/// Whether another write may come that leaves the same time, which kernels count in ticks of up to 10 ms.
fn is_fresh(meta: &Metadata) -> bool {
    meta.modified().ok().and_then(|at| at.elapsed().ok()).is_none_or(|age| age < Duration::from_millis(50))
}

impl Track {
    /// Opens a file that is known as a part, or is new; `saved` says where it, or what it is a copy of,
    /// was left. Its turn is the one of what is saved.
    pub fn open(
        path: &Path,
        part: Option<Part>,
        saved: Result<&Saved, Turn>,
        from_end: bool,
        rules: Arc<Rules>,
    ) -> io::Result<Self> {
        let file = File::open(path)?;
        let meta = file.metadata()?;
        let content = Content::of(&file, false)?;
        let is_packed = matches!(content, Some(Content::Packed(_)));
        let is_known = |saved: &&Saved| {
            let same = saved.fingerprint.matches(&file);
            if is_packed { same || unpacks_to(&file, saved.fingerprint) } else { same && saved.offset <= meta.len() }
        };
        let (saved, turn) = match saved {
            Ok(saved) => {
                // Only its folder may be called otherwise now: nobody has rotated it.
                let turn = &saved.turn;
                let name = if turn.name.file_name() == path.file_name() { path } else { &turn.name };
                (Some(saved), Turn { name: name.into(), number: turn.number })
            }
            Err(turn) => (None, turn),
        };
        let known = saved.filter(is_known);
        let offset = match known {
            // A file that is a message was taken as it is, or is taken whole.
            Some(_) if rules.whole && is_packed => u64::MAX,
            Some(saved) if rules.whole && saved.offset < meta.len() => 0,
            Some(saved) => saved.offset,
            // The end of what is packed shows only when it is unpacked.
            None if from_end && is_packed => u64::MAX,
            None if from_end => meta.len(),
            None => 0,
        };
        let mut track = Self {
            part: part.unwrap_or_else(|| Part::new(FileId::of(&meta))),
            path: path.into(),
            gone: false,
            is_damaged: false,
            last_frame: 0,
            turn,
            has_failed: false,
            key: path.to_string_lossy().into(),
            offset: offset.max(content.as_ref().map_or(0, Content::start)),
            tail: Fingerprint::default(),
            fingerprint: Fingerprint::of(&file, FINGERPRINT)?,
            file: Some(file),
            content,
            size: meta.len(),
            modified: meta.modified().ok(),
            is_fresh: is_fresh(&meta),
            changed: Instant::now(),
            too_long: None,
            nuls_to: 0,
            is_cut: saved.is_some() && known.is_none(),
            is_reserved: false,
            has_reported_nuls: false,
            is_drained: false,
            awaited_since: None,
            rules,
            header: None,
        };
        track.go_to(track.offset);
        // Read from its end or from where it was left, a file has its header before that.
        let start = track.start();
        let header_at = known.and_then(|saved| saved.header_at).or((track.offset > start).then_some(start));
        if let Some(at) = header_at.filter(|_| track.rules.header.is_some()) {
            track.header = track.line_at(at)?.map(|line| (at, line));
        }
        Ok(track)
    }

    /// What is saved of it: with it, a copy of this file is read on from here.
    pub fn saved(&self) -> Saved {
        let header_at = self.header.as_ref().map(|(at, _)| *at);
        Saved {
            id: self.part.id,
            path: self.path.clone(),
            offset: self.offset,
            fingerprint: self.fingerprint,
            header_at,
            turn: self.turn.clone(),
            tail: self.tail,
        }
    }

    /// Whether it is not where it began: nobody is expected to write to it for long.
    pub fn is_rotated(&self) -> bool {
        self.gone || self.path != self.turn.name
    }

    /// How long nothing has changed.
    pub fn quiet_for(&self) -> Duration {
        self.changed.elapsed()
    }

    /// Whether another write may leave the time of the last one.
    pub fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// Whether everything was read, a last line without newline included.
    pub fn is_finished(&self) -> bool {
        self.is_reserved || self.offset >= self.end()
    }

    /// The next byte is at an offset.
    fn go_to(&mut self, offset: u64) {
        self.offset = offset;
        self.is_reserved = false;
        let file = self.file.as_ref().filter(|_| !self.is_packed());
        self.tail = file.map(|file| Fingerprint::before(file, offset)).unwrap_or_default();
    }

    fn start(&self) -> u64 {
        self.content.as_ref().map_or(0, Content::start)
    }

    fn end(&self) -> u64 {
        self.content.as_ref().map_or(self.size, |content| content.end(self.size))
    }

    /// Whether there was anything to read.
    pub fn has_begun(&self) -> bool {
        self.offset > 0
    }

    /// Whether its folder is there; one that is not says nothing of its files.
    pub fn has_folder(&self) -> bool {
        has_folder(&self.path, self.part.id)
    }

    /// Whether it holds memory for unpacking.
    pub fn holds_decoder(&self) -> bool {
        self.content.as_ref().is_some_and(Content::holds_decoder)
    }

    /// Gives back what unpacking took; the file stays open.
    pub fn rest(&mut self) {
        if let Some(content) = &mut self.content {
            content.close();
        }
    }

    /// Whether it is packed, and is not read to its end.
    pub fn is_unpacking(&self) -> bool {
        self.is_packed() && !self.is_finished()
    }

    /// Whether nothing of it was read, and it is packed or not known to be plain.
    pub fn is_unread(&self) -> bool {
        self.offset <= self.start() && !matches!(self.content, Some(Content::Plain(_)))
    }

    fn is_packed(&self) -> bool {
        matches!(self.content, Some(Content::Packed(_)))
    }

    /// Whether its file is open.
    pub fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Closes the file; it is opened again when there is something to read.
    pub fn close(&mut self) {
        self.file = None;
        self.rest();
    }

    fn look(&self) -> io::Result<Metadata> {
        match &self.file {
            Some(file) => file.metadata(),
            None => std::fs::metadata(&self.path),
        }
    }

    /// Whether there is more, or less, in it than when it was looked at last.
    pub fn has_grown(&self) -> bool {
        self.look().is_ok_and(|meta| meta.len() != self.size)
    }

    /// Looks at the size; what it was when it is found truncated or replaced in place.
    pub fn refresh(&mut self) -> io::Result<Option<Saved>> {
        let meta = match self.look() {
            // Closed, and not there any more: whoever looks for files finds that out.
            Err(error) if self.file.is_none() && error.kind() == io::ErrorKind::NotFound => return Ok(None),
            meta => meta?,
        };
        if FileId::of(&meta) != self.part.id {
            return Ok(None);
        }
        let (size, modified) = (meta.len(), meta.modified().ok());
        let is_same = size == self.size && modified == self.modified && (size == 0 || self.fingerprint.length > 0);
        if is_same && !self.is_fresh {
            return Ok(None);
        }
        self.is_fresh = is_fresh(&meta);
        let is_packed = self.is_packed();
        let file = opened(&mut self.file, &self.path, self.part.id)?;
        let is_begun = self.offset == 0 && self.fingerprint.is_nuls();
        let restarted = size < self.offset && !is_packed || !self.fingerprint.matches(file) && !is_begun;
        if is_same && !restarted {
            return Ok(None);
        }
        let fingerprint = Fingerprint::of(file, FINGERPRINT)?;
        let before = (restarted && !self.rules.whole).then(|| self.saved());
        self.fingerprint = fingerprint;
        // A file that is a message is another message after every change.
        if restarted || self.rules.whole {
            self.go_to(0);
            self.too_long = None;
            self.nuls_to = 0;
            self.is_cut = restarted;
            self.header = None;
        }
        if restarted || self.rules.whole {
            self.content = None;
        } else if let Some(content) = self.content.as_mut().filter(|_| is_packed) {
            // It stays packed: its offset counts unpacked bytes, and is no measure for the file's size.
            content.begin_again();
        }
        (self.is_damaged, self.is_reserved) = (false, false);
        (self.size, self.modified) = (size, modified);
        self.changed = Instant::now();
        Ok(before)
    }

    fn frame(&self, payload: Payload) -> Frame {
        let header = self.header.as_ref().map(|(_, line)| line.clone());
        Frame { position: Some(self.position()), header, ..Frame::new(self.key.clone(), payload) }
    }

    fn position(&self) -> Position {
        let saved = self.saved();
        // Encoding these few fields into memory cannot fail; empty would remove the position.
        Position { part: self.part.to_string(), value: postcard::to_allocvec(&saved).unwrap_or_default() }
    }

    /// Saves where a file is begun that is not read from its start.
    pub fn bookmark(&self) -> Frame {
        self.frame(Payload::Nothing)
    }

    /// The line that begins at an offset, without its end.
    fn line_at(&mut self, offset: u64) -> io::Result<Option<Arc<[u8]>>> {
        let text = self.read(offset, HEADER, false)?.text;
        let end = text.iter().position(|byte| *byte == b'\n');
        Ok(end.map(|end| trimmed(&text[..end]).into()))
    }
}
