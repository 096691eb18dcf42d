//! One file: its identity, and the position of the reader in it.

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

/// A line that is too long, as far as it was read.
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
    /// The identity of the file, under which its position is saved.
    pub part: Part,
    /// The path of the file now, or its last path.
    pub path: PathBuf,
    /// The pattern no longer matches any path of the file.
    pub gone: bool,
    /// The file is packed and ends too early.
    pub is_damaged: bool,
    /// The number of the last frame with content of this file.
    pub last_frame: u64,
    /// The place of the file in the order of reading.
    pub turn: Turn,
    /// The last attempt to read the file failed: no other file waits for it.
    pub has_failed: bool,
    key: Arc<str>,
    /// Closed while there is nothing to read and others need the room.
    file: Option<File>,
    /// `None` while the file has too few bytes to show its encoding.
    content: Option<Content>,
    offset: u64,
    /// The fingerprint of the bytes before the offset.
    tail: Fingerprint,
    fingerprint: Fingerprint,
    size: u64,
    modified: Option<SystemTime>,
    /// The last write came so shortly before the last look that one more write may get the same time.
    is_fresh: bool,
    changed: Instant,
    too_long: Option<TooLong>,
    /// NULs follow the last line, up to this offset.
    nuls_to: u64,
    /// The file was cut. NULs at its start are then a hole, left by a program that does not append.
    is_cut: bool,
    /// Nothing but NULs follows: space that may be written yet.
    is_reserved: bool,
    /// The log has already said that NULs of this file are skipped.
    has_reported_nuls: bool,
    /// The file has no more whole lines at the moment.
    pub is_drained: bool,
    /// Since this time, files that began later wait only for the end of this file's last line.
    pub awaited_since: Option<Instant>,
    rules: Arc<Rules>,
    /// The line that names the columns, and its offset.
    header: Option<(u64, Arc<[u8]>)>,
}

/// Returns the open file, or opens it. Another file under the same name is an error.
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

/// Whether one more write may leave the same time in the metadata: kernels count that time in ticks of up to 10 ms.
fn is_fresh(meta: &Metadata) -> bool {
    meta.modified().ok().and_then(|at| at.elapsed().ok()).is_none_or(|age| age < Duration::from_millis(50))
}

impl Track {
    /// Opens a file, as a known part or as a new one. `saved` is the last state of the file, or of the file
    /// that it is a copy of. The file takes the turn of that state. A new file has no state, only a turn.
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
                // If only the folder has another name now, nobody has rotated the file.
                let turn = &saved.turn;
                let name = if turn.name.file_name() == path.file_name() { path } else { &turn.name };
                (Some(saved), Turn { name: name.into(), number: turn.number })
            }
            Err(turn) => (None, turn),
        };
        let known = saved.filter(is_known);
        let offset = match known {
            // A file that is one message was read completely, or is read again as a whole.
            Some(_) if rules.whole && is_packed => u64::MAX,
            Some(saved) if rules.whole && saved.offset < meta.len() => 0,
            Some(saved) => saved.offset,
            // The end of a packed file is known only after unpacking.
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
        // A file that is read from its end, or from a saved offset, has its header before that offset.
        let start = track.start();
        if let Some(rule) = track.rules.clone().header.as_ref() {
            let saved = known.and_then(|saved| saved.header_at).map(|at| (at, 0));
            if let Some((at, before)) = saved.or((track.offset > start).then_some((start, rule.before))) {
                let text = track.read(at, HEADER, false)?.text;
                let line = rule.locate(&text, before).filter(|line| text[line.clone()].ends_with(b"\n"));
                track.header = line.map(|line| (at + track.width(&text[..line.start]), trimmed(&text[line]).into()));
            }
        }
        Ok(track)
    }

    /// The state to save. With this state, a copy of this file is read from the same offset.
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

    /// Whether the file is no longer at its first path: nobody is expected to write to it for long.
    pub fn is_rotated(&self) -> bool {
        self.gone || self.path != self.turn.name
    }

    /// The time since the last change of the file.
    pub fn quiet_for(&self) -> Duration {
        self.changed.elapsed()
    }

    /// Whether one more write may leave the same time as the last one.
    pub fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// Whether everything was read, a last line without newline included.
    pub fn is_finished(&self) -> bool {
        self.is_reserved || self.offset >= self.end()
    }

    /// Moves the reader to an offset.
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

    /// Whether the offset is above 0, so that there was something to read.
    pub fn has_begun(&self) -> bool {
        self.offset > 0
    }

    /// Whether the folder of the file exists. A missing folder says nothing about its files.
    pub fn has_folder(&self) -> bool {
        has_folder(&self.path, self.part.id)
    }

    /// Whether the file holds memory for unpacking.
    pub fn holds_decoder(&self) -> bool {
        self.content.as_ref().is_some_and(Content::holds_decoder)
    }

    /// Frees the memory for unpacking; the file stays open.
    pub fn rest(&mut self) {
        if let Some(content) = &mut self.content {
            content.close();
        }
    }

    /// Whether the file is packed, and not read to its end.
    pub fn is_unpacking(&self) -> bool {
        self.is_packed() && !self.is_finished()
    }

    /// Whether nothing of the file was read, and it is packed or not known to be plain.
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

    /// Whether the file has another size than at the last look.
    pub fn has_grown(&self) -> bool {
        self.look().is_ok_and(|meta| meta.len() != self.size)
    }

    /// Looks for changes of the file. If it was truncated or replaced in place, returns its state before that.
    pub fn refresh(&mut self) -> io::Result<Option<Saved>> {
        let meta = match self.look() {
            // The file is closed and no longer at its path: the search for files finds that out.
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
            // The file stays packed. Its offset counts unpacked bytes, and cannot be compared with the size of
            // the file.
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

    /// A frame that saves the start offset of a file that is not read from its start.
    pub fn bookmark(&self) -> Frame {
        self.frame(Payload::Nothing)
    }
}
