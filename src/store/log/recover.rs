//! Finds out what a store holds, without writing to it.
//!
//! Invariants: only the newest segment is walked, at most 8 MiB; older ones only where a checkpoint or the index is
//! damaged. No code here refuses a store because bytes are bad.

use super::body::{self, Checkpoint, Close, Commit, Open, Summary};
use super::layout::{FrameHeader, Heat, Kind, SEGMENT_HEADER};
use super::segment::{self, Folders, OnDisk, Segment};
use super::walk::{Found, Step, Walk};
use crate::platform::disk::{Disk, Mode};
use crate::store::mark::{Mark, StreamMark};
use crate::store::state::{Missing, State};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

/// A finding that the user is told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Bytes between good frames are bad; they are copied to `damaged/`.
    Damage {
        /// The segment's file.
        path: PathBuf,
        /// The number of the segment.
        segment: u64,
        /// The first bad byte.
        from: u64,
        /// The byte behind the last bad byte.
        to: u64,
    },
    /// Sequences that must have been settled are not there.
    Missing {
        /// The stream's name.
        stream: String,
        /// The first missing sequence.
        from: u64,
        /// The last missing sequence.
        to: u64,
    },
    /// The end of the log is not a whole frame. After an unclean stop this is a write that was never acknowledged.
    /// A settled frame that has rotted looks the same, and cannot be ruled out.
    TailCut {
        /// The number of the newest segment.
        segment: u64,
        /// The offset at which the log now ends.
        at: u64,
        /// The stream, first and last sequence of each section of the cut frame, where readable.
        ranges: Vec<(String, u64, u64)>,
    },
    /// The index or the mark knows of later frames than the log has: the device lost settled data.
    LostSettled {
        /// The lsn of the last frame that the index or the mark knows.
        expected: u64,
        /// The lsn of the last frame that was found.
        found: u64,
    },
    /// A file of the log is shorter than it was created: its end was cut off.
    Shortened {
        /// The segment's file.
        path: PathBuf,
        /// The present size of the file, in bytes.
        size: u64,
        /// The size with which the file was created, in bytes.
        made: u64,
    },
    /// A file in `log/` is not of this store or has no good frame; it is moved to `damaged/`.
    SetAside {
        /// The file that is moved.
        path: PathBuf,
    },
    /// The store was made on another machine.
    Moved,
    /// The store is a copy, or was restored from one.
    Copied,
    /// The index was damaged or missing; it was made again from the log.
    IndexRebuilt,
}

impl Finding {
    /// Whether the finding says that settled data is gone, or may be gone.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        matches!(self, Self::Damage { .. } | Self::Missing { .. } | Self::LostSettled { .. } | Self::Shortened { .. })
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Damage { path, from, to, .. } => {
                write!(f, "damaged bytes {from} to {to} of {}, copied to damaged/", path.display())
            }
            Self::Missing { stream, from, to } => {
                write!(f, "stream {stream}: sequences {from} to {to} are missing ({} records)", to - from + 1)
            }
            Self::TailCut { segment, at, ranges } => {
                write!(f, "tail cut: segment {segment} ends at {at}; what followed was no whole frame")?;
                for (stream, first, last) in ranges {
                    write!(f, "; it held {stream} {first} to {last}")?;
                }
                Ok(())
            }
            Self::LostSettled { expected, found } => {
                write!(f, "the device lost settled data: frame {expected} was synced, the log ends at frame {found}")
            }
            Self::Shortened { path, size, made } => {
                write!(f, "{} has {size} bytes instead of {made}: its end was cut off", path.display())
            }
            Self::SetAside { path } => {
                write!(f, "{} has no good frame of this store, moved to damaged/", path.display())
            }
            Self::Moved => f.write_str(
                "store moved: it was made on another machine; what it holds is sent from here under its old identity",
            ),
            Self::Copied => f.write_str(
                "store copied: it is a copy, or was restored from one; what the original has sent is sent again, \
                 new records get identities of their own",
            ),
            Self::IndexRebuilt => f.write_str("the index was missing or damaged, and was made again from the log"),
        }
    }
}

/// The place where appending goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// The number of the newest segment.
    pub segment: u64,
    /// The lsn of the last good frame.
    pub lsn: u64,
    /// The header CRC of the last good frame.
    pub crc: u32,
    /// The offset of the last frame that is not an `open` frame. From there on a sync may have failed, in this
    /// start or in an earlier one.
    pub at: u64,
    /// The last frame says that the store was closed in order.
    pub clean: bool,
    /// The segment could not be read to its end: writing goes on in a new segment.
    pub unreadable: bool,
}

/// The content of a store, as found by a scan.
#[derive(Debug)]
pub struct Scan {
    /// The store's id.
    pub store: [u8; 16],
    /// The state that the frames add up to.
    pub state: State,
    /// Every segment, the newest last.
    pub segments: BTreeMap<u64, Segment>,
    /// The place where appending goes on; none when no frame is good.
    pub tail: Option<Tail>,
    /// The highest segment number that was ever used.
    pub highest: u64,
    /// The findings that the user is told of.
    pub findings: Vec<Finding>,
    /// The log has lost its end: nothing is written behind the present end.
    pub lost_end: bool,
}

/// What the index and the mark remember; each part may be missing.
#[derive(Debug, Default)]
pub struct Remembered {
    /// The store's id.
    pub store: Option<[u8; 16]>,
    /// The summaries of sealed segments, by number.
    pub summaries: BTreeMap<u64, Summary>,
    /// The lsn of the last frame that the index or the mark knows.
    pub lsn: u64,
    /// The lsn of the last frame that the index alone knows.
    pub index_lsn: u64,
    /// How far the streams had come, by the mark.
    pub streams: Vec<StreamMark>,
}

impl Remembered {
    /// Adds what the mark remembers; a mark of another store is ignored.
    #[must_use]
    pub fn with(mut self, mark: Option<Mark>) -> Self {
        if let Some(mark) = mark.filter(|mark| self.store.is_none_or(|store| store == mark.store)) {
            self.store = Some(mark.store);
            self.lsn = self.lsn.max(mark.lsn);
            self.streams = mark.streams;
        }
        self
    }

    /// What the mark alone remembers, for tools that read a store without its index.
    #[must_use]
    pub fn of_mark(disk: &dyn Disk, folders: &Folders) -> Self {
        Self::default().with(Mark::read(disk, folders))
    }
}

/// Reads what a store holds; `None` when there is no store yet.
///
/// # Errors
/// When the folder cannot be read.
pub fn scan(disk: &dyn Disk, folders: &Folders, remembered: &Remembered) -> io::Result<Option<Scan>> {
    let files = segment::list(disk, folders)?;
    // The segment headers say to which store the log belongs. If they differ, the id of most segments counts. The
    // index is asked only when no header is good.
    let mut ids: BTreeMap<[u8; 16], usize> = BTreeMap::new();
    for header in files.iter().filter_map(|file| file.header) {
        *ids.entry(header.store).or_default() += 1;
    }
    let most = ids.into_iter().max_by_key(|(_, count)| *count).map(|(id, _)| id);
    let Some(store) = most.or(remembered.store) else {
        return Ok(None);
    };
    let foreign = Remembered::default();
    let remembered = if remembered.store.is_none_or(|id| id == store) { remembered } else { &foreign };
    // Numbers of segments that are gone are not used again.
    let before = files.iter().filter_map(|file| Some(file.header?.previous));
    let indexed = remembered.summaries.keys().copied();
    let highest = files.iter().map(|file| file.number).chain(before).chain(indexed).max().unwrap_or(0);
    let mut scanner = Scanner { disk, store, findings: Vec::new(), state: State::default(), sealed: None };
    let (mut hot, mut cold) = (BTreeMap::new(), BTreeMap::new());
    let mut short = BTreeMap::new();
    for file in files {
        if let Some(made) = file.header.filter(|header| header.store == store && file.size < header.size) {
            short.insert(file.number, (file.path.clone(), file.size, made.size));
        }
        let foreign = file.header.is_some_and(|header| header.store != store);
        if foreign || hot.contains_key(&file.number) || cold.contains_key(&file.number) {
            scanner.findings.push(Finding::SetAside { path: file.path });
        } else if scanner.is_cold(&file) {
            cold.insert(file.number, file);
        } else {
            hot.insert(file.number, file);
        }
    }
    let (mut segments, tail) = scanner.newest(&mut hot);
    scanner.sealed(&hot, remembered, &mut segments)?;
    scanner.sealed(&cold, remembered, &mut segments)?;
    scanner.know_streams(&segments);
    if let Some(tail) = tail.filter(|tail| tail.lsn < remembered.lsn) {
        scanner.findings.push(Finding::LostSettled { expected: remembered.lsn, found: tail.lsn });
    }
    let mut lost_end = scanner.beyond_the_end(&remembered.streams);
    for (number, (path, size, made)) in short {
        // The bytes behind a clean close, or behind the end of a sealed segment, were never used.
        let is_newest = tail.is_some_and(|tail| tail.segment == number);
        let is_cut = match segments.get(&number) {
            _ if is_newest => tail.is_some_and(|tail| !tail.clean),
            Some(segment) => size < segment.summary.end,
            None => true,
        };
        lost_end |= is_newest && is_cut;
        if is_cut {
            scanner.findings.push(Finding::Shortened { path, size, made });
        }
    }
    let Scanner { state, findings, .. } = scanner;
    Ok(Some(Scan { store, state, segments, tail, highest, findings, lost_end }))
}

struct Scanner<'a> {
    disk: &'a dyn Disk,
    store: [u8; 16],
    findings: Vec<Finding>,
    state: State,
    /// How far the streams had come at the checkpoint with which the walk begins; none if no checkpoint is good.
    sealed: Option<BTreeMap<body::StreamId, u64>>,
}

impl Scanner<'_> {
    /// Walks from the newest segment with a good checkpoint to the end of the log.
    fn newest(&mut self, known: &mut BTreeMap<u64, OnDisk>) -> (BTreeMap<u64, Segment>, Option<Tail>) {
        while let Some((&last, _)) = known.last_key_value() {
            let checkpoints =
                || known.iter().rev().find_map(|(number, file)| Some((*number, self.checkpoint_of(file)?)));
            let (start, checkpoint) = checkpoints().unzip();
            let nexts =
                |checkpoint: Checkpoint| checkpoint.streams.iter().map(|stream| (stream.id, stream.next)).collect();
            self.sealed = checkpoint.map(nexts);
            let first = start.or_else(|| known.keys().next().copied()).unwrap_or(last);
            self.state = State::default();
            let mut segments = BTreeMap::new();
            let mut tail = None;
            for (number, file) in known.range(first..) {
                let next = known.range(number + 1..).next();
                let limit = next.and_then(|(_, next)| end_from(next, *number)).unwrap_or(file.size);
                let (segment, end) = self.walk(file, limit, *number == last);
                segments.insert(*number, segment);
                tail = end.or(tail);
            }
            if tail.is_some_and(|tail| tail.segment == last) {
                return (segments, tail);
            }
            // The newest file has no good frame at all. It is set aside, and the file before it is then the newest.
            if let Some(file) = known.remove(&last) {
                self.findings.push(Finding::SetAside { path: file.path });
            }
        }
        (BTreeMap::new(), None)
    }

    /// Finds sequences that were settled behind the present end of the log. They count as used up, and are
    /// reported.
    fn beyond_the_end(&mut self, marks: &[StreamMark]) -> bool {
        let mut is_lost = false;
        for mark in marks {
            let stream = self.state.streams.entry(mark.id).or_insert_with(|| body::StreamState {
                id: mark.id,
                name: mark.name.clone(),
                next: 1,
                floor: 1,
                reason: body::Reason::Trim,
            });
            if stream.next < mark.next {
                let (from, to) = (stream.next.max(stream.floor), mark.next - 1);
                stream.next = mark.next;
                self.findings.push(Finding::Missing { stream: stream.name.clone(), from, to });
                is_lost = true;
            }
        }
        is_lost
    }

    /// The summaries of all segments that were not walked.
    fn sealed(
        &mut self,
        known: &BTreeMap<u64, OnDisk>,
        remembered: &Remembered,
        segments: &mut BTreeMap<u64, Segment>,
    ) -> io::Result<()> {
        for (number, file) in known {
            if segments.contains_key(number) {
                continue;
            }
            let next = known.range(number + 1..).next().map(|(_, next)| next);
            let from_next = || next.and_then(|next| self.checkpoint_of(next)?.sealed).filter(|s| s.number == *number);
            let end = next.and_then(|next| end_from(next, *number));
            // The index may be older than the segment: after a roll that the index saw was taken back, the segment
            // went on. The header of the next segment says where this one ended. Without it, the index must have
            // seen the next segment.
            let follows = next.and_then(|next| next.header).map_or(0, |header| header.first_lsn);
            let says_so = next.is_none_or(|next| next.header.is_some());
            let is_current = |summary: &&Summary| match end {
                Some(end) => summary.end == end,
                None => summary.heat == Heat::Cold || (says_so && remembered.index_lsn >= follows),
            };
            let summary = remembered.summaries.get(number).filter(is_current).cloned().or_else(from_next);
            let summary = match summary {
                Some(summary) => summary,
                None => self.summarise(file, end.unwrap_or(file.size))?,
            };
            segments.insert(*number, Segment { path: file.path.clone(), summary });
        }
        Ok(())
    }

    /// Restores streams that were lost with a checkpoint. Segments still hold their records, so their sequences are
    /// used up. The names of the streams stand in the frames.
    fn know_streams(&mut self, segments: &BTreeMap<u64, Segment>) {
        for segment in segments.values() {
            let unknown =
                |state: &State| {
                    segment.summary.holdings.iter().any(|holding| {
                        state.streams.get(&holding.stream).is_none_or(|stream| stream.next <= holding.last)
                    })
                };
            let Some(file) = self.disk.open(&segment.path, Mode::Read).ok().filter(|_| unknown(&self.state)) else {
                continue;
            };
            let mut walk = Walk::new(self.store, file, segment.summary.number, 0, segment.summary.end, false);
            while let Ok(step) = walk.step() {
                match step {
                    Step::Frame(found) if matches!(found.header.kind, Kind::Commit | Kind::Carry) => {
                        if let Some((Commit { streams, sections, .. }, _)) = body::decode(&self.store, &found.body) {
                            // Only names and sequences are applied, not the positions and cursors of that time.
                            let known = Commit { streams, sections, ..Commit::default() };
                            self.state.apply(&known);
                        }
                    }
                    Step::Frame(_) | Step::Damage { .. } => {}
                    Step::End { .. } => break,
                }
            }
        }
    }

    /// Whether a file holds copies. If its header is bad, its first good frame decides.
    fn is_cold(&self, file: &OnDisk) -> bool {
        if let Some(header) = file.header {
            return header.heat == Heat::Cold;
        }
        let Ok(handle) = self.disk.open(&file.path, Mode::Read) else {
            return false;
        };
        let mut walk = Walk::new(self.store, handle, file.number, 0, file.size, false);
        loop {
            match walk.step() {
                Ok(Step::Frame(found)) => return found.header.kind == Kind::Carry,
                Ok(Step::Damage { .. }) => {}
                Ok(Step::End { .. }) | Err(_) => return false,
            }
        }
    }

    fn checkpoint_of(&self, file: &OnDisk) -> Option<Checkpoint> {
        let handle = self.disk.open(&file.path, Mode::Read).ok()?;
        let mut walk = Walk::new(self.store, handle, file.number, 0, file.size, true);
        if let Some(header) = file.header {
            walk = walk.after(header.first_lsn.saturating_sub(1), header.previous_crc);
        }
        match walk.step().ok()? {
            Step::Frame(found) if found.header.kind == Kind::Checkpoint && found.offset == SEGMENT_HEADER as u64 => {
                body::decode(&self.store, &found.body).map(|(checkpoint, _)| checkpoint)
            }
            _ => None,
        }
    }

    /// Makes the summary of a sealed segment that nothing remembers. The whole segment is read, because its end is
    /// not known either, and a frame that was never whole may lie there. A frame whose sync failed may look written
    /// all the same. Such a frame is left out: a later checkpoint does not know it.
    fn summarise(&self, file: &OnDisk, end: u64) -> io::Result<Summary> {
        let handle = self.disk.open(&file.path, Mode::Read)?;
        let mut summary = empty(file);
        let mut walk = Walk::new(self.store, handle, file.number, 0, end, true);
        // An unreadable rest is found again, and reported, when somebody reads the segment.
        summary.end = end;
        while let Ok(step) = walk.step() {
            match step {
                Step::Frame(found) if self.is_unsettled(&found) => {
                    summary.end = found.offset;
                    break;
                }
                Step::Frame(found) => self.note(&found, &mut summary),
                Step::Damage { .. } => {}
                Step::End { at, .. } => {
                    summary.end = at;
                    break;
                }
            }
        }
        Ok(summary)
    }

    /// Whether a frame of a segment before the walk has records that the checkpoint does not know.
    fn is_unsettled(&self, found: &Found) -> bool {
        let Some(sealed) = self.sealed.as_ref().filter(|_| found.header.kind == Kind::Commit) else {
            return false;
        };
        let commit = body::decode::<Commit>(&self.store, &found.body).map(|(commit, _)| commit).unwrap_or_default();
        commit.sections.iter().any(|head| sealed.get(&head.stream).is_none_or(|next| *next <= head.last()))
    }

    fn note(&self, found: &Found, summary: &mut Summary) {
        if matches!(found.header.kind, Kind::Commit | Kind::Carry)
            && let Some((commit, _)) = body::decode::<Commit>(&self.store, &found.body)
        {
            commit.sections.iter().for_each(|head| summary.add(head));
        }
    }

    /// Applies every frame of a segment. Returns the place of its last good frame, where the log may go on.
    fn walk(&mut self, file: &OnDisk, limit: u64, newest: bool) -> (Segment, Option<Tail>) {
        let mut summary = empty(file);
        let mut tail: Option<(u64, u32, u64)> = None;
        let mut clean = false;
        let mut unreadable = false;
        if let Ok(handle) = self.disk.open(&file.path, Mode::Read) {
            let mut walk = Walk::new(self.store, handle, file.number, 0, limit, true);
            if let Some(header) = file.header {
                walk = walk.after(header.first_lsn.saturating_sub(1), header.previous_crc);
            }
            loop {
                match walk.step() {
                    Ok(Step::Frame(found)) => {
                        summary.end = walk.offset();
                        clean = found.header.kind == Kind::Close;
                        let before = tail.map(|(.., at)| at).filter(|_| found.header.kind == Kind::Open);
                        let at = before.unwrap_or(found.offset);
                        tail = Some((found.header.lsn, found.header.crc(&self.store), at));
                        if !found.whole {
                            let to = found.offset + found.header.span();
                            self.damage(file, found.offset, to);
                        }
                        self.note(&found, &mut summary);
                        self.apply(&found);
                    }
                    Ok(Step::Damage { from, to }) => self.damage(file, from, to),
                    Ok(Step::End { at, torn }) => {
                        if let Some(header) = torn.filter(|_| newest) {
                            let ranges = self.torn_ranges(file, at, &header);
                            self.findings.push(Finding::TailCut { segment: file.number, at, ranges });
                        }
                        break;
                    }
                    Err(_) => {
                        unreadable = true;
                        break;
                    }
                }
            }
        }
        let tail = tail.map(|(lsn, crc, at)| Tail { segment: file.number, lsn, crc, at, clean, unreadable });
        (Segment { path: file.path.clone(), summary }, tail)
    }

    fn damage(&mut self, file: &OnDisk, from: u64, to: u64) {
        self.findings.push(Finding::Damage { path: file.path.clone(), segment: file.number, from, to });
    }

    fn apply(&mut self, found: &Found) {
        let bytes = &found.body;
        match found.header.kind {
            Kind::Checkpoint => {
                if let Some((checkpoint, _)) = body::decode::<Checkpoint>(&self.store, bytes) {
                    // Only the first checkpoint counts: later ones repeat the state that the frames add up to.
                    if self.state.streams.is_empty() && self.state.epoch == 0 {
                        self.state = State::from_checkpoint(&checkpoint);
                    }
                }
            }
            Kind::Open => {
                if let Some((open, _)) = body::decode::<Open>(&self.store, bytes) {
                    self.state.epoch = self.state.epoch.max(open.epoch);
                }
            }
            Kind::Commit => {
                if let Some((commit, _)) = body::decode::<Commit>(&self.store, bytes) {
                    let missing = self.state.apply(&commit);
                    self.findings.extend(missing.iter().map(|range| missing_finding(&self.state, range)));
                }
            }
            Kind::Carry => {}
            Kind::Close => {
                let _ = body::decode::<Close>(&self.store, bytes);
            }
        }
    }

    fn torn_ranges(&self, file: &OnDisk, at: u64, header: &FrameHeader) -> Vec<(String, u64, u64)> {
        let read = || {
            let handle = self.disk.open(&file.path, Mode::Read).ok()?;
            let mut bytes = vec![0; usize::try_from(header.length).ok()?];
            handle.read_at(&mut bytes, at + super::layout::FRAME_HEADER as u64).ok()?;
            body::decode::<Commit>(&self.store, &bytes).map(|(commit, _)| commit)
        };
        let commit = if header.kind == Kind::Commit { read() } else { None };
        let sections = commit.map(|commit| commit.sections).unwrap_or_default();
        sections.iter().map(|head| (stream_name(&self.state, head.stream), head.first, head.last())).collect()
    }
}

/// The finding for a missing range, with the name of the stream.
#[must_use]
pub fn missing_finding(state: &State, range: &Missing) -> Finding {
    Finding::Missing { stream: stream_name(state, range.stream), from: range.from, to: range.to }
}

fn stream_name(state: &State, id: body::StreamId) -> String {
    state.streams.get(&id).map_or_else(|| format!("#{id}"), |stream| stream.name.clone())
}

fn end_from(next: &OnDisk, number: u64) -> Option<u64> {
    next.header.filter(|header| header.previous == number).map(|header| header.previous_end)
}

fn empty(file: &OnDisk) -> Summary {
    Summary {
        number: file.number,
        heat: file.header.map_or(Heat::Hot, |header| header.heat),
        size: file.size,
        end: SEGMENT_HEADER as u64,
        holdings: Vec::new(),
    }
}
