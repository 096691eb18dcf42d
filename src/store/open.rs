//! Opening a store for writing.
//!
//! Order: take the lock, scan (reads only), set damaged bytes and foreign files aside, write the `open` frame with
//! a new epoch. The sync of the `open` frame also covers a tail that a killed process left in the page cache: no
//! reader sees a recovered frame before that sync.

use super::commit::Committer;
use super::damaged::copy_out;
use super::group::Group;
use super::index::Index;
use super::lock::{Lock, LockError};
use super::log::body::{self, Commit, Open, Reason, SectionHead, Stamp, Summary};
use super::log::layout::{FRAME_HEADER, FrameHeader, Heat, Kind};
use super::log::recover::{Finding, Remembered, Scan, Tail, scan};
use super::log::segment::{self, Folders, Segment, Spares};
use super::log::writer::{Current, Writer};
use super::mark::Mark;
use super::report::Reports;
use super::shared::{Inner, Shared};
use super::state::State;
use super::{Options, ReaderRule, Role};
use crate::flow::receipt::Durable;
use crate::platform::disk::{Disk, Mode};
use crate::platform::traffic::CountedDisk;
use crate::platform::{machine, random};
use crate::telemetry::{Cause, Metric, event};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use tokio::sync::watch;

/// Why a store did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the store open.
    #[error(transparent)]
    Locked(#[from] LockError),
    /// The folder cannot be read or written.
    #[error("cannot open the store: {0}")]
    Io(#[from] io::Error),
}

pub(super) struct Opened {
    pub inner: Arc<Inner>,
    pub committer: Committer,
    pub findings: Vec<Finding>,
}

pub(super) fn open(dir: &Path, options: &Options, readers: Vec<ReaderRule>) -> Result<Opened, OpenError> {
    let folders = Folders::of(dir);
    let (disk, traffic) = CountedDisk::around(options.disk.clone());
    let options = &Options { disk: disk.clone(), ..options.clone() };
    folders.create(&*disk)?;
    // The simulated disk has no real folder to lock, and no second process.
    let lock = dir.is_dir().then(|| Lock::take(dir)).transpose()?;
    // An earlier process may have renamed files without a sync of the folder. Those renames are made durable before
    // anything builds on them.
    disk.sync_dir(&folders.log)?;
    // A store of a newer version is refused before anything of it is changed, also its index.
    segment::list(&*disk, &folders)?;
    let mut findings = Vec::new();
    let (index, remembered) = open_index(&*disk, &folders, &mut findings);
    let remembered = remembered.with(Mark::read(&*disk, &folders));
    let found = scan(&*disk, &folders, &remembered)?;
    let fresh = found.is_none();
    let scan = found.unwrap_or_else(|| Scan {
        store: random::bytes(),
        state: State { machine: machine::machine_id(), ..State::default() },
        segments: BTreeMap::new(),
        tail: None,
        highest: 0,
        findings: Vec::new(),
        lost_end: false,
    });
    findings.extend(scan.findings.iter().cloned());
    if fresh {
        // A new store has no index yet, so none was lost.
        findings.retain(|finding| *finding != Finding::IndexRebuilt);
    }
    set_aside(&*disk, &folders, &findings);
    if scan.state.machine != machine::machine_id() {
        findings.push(Finding::Moved);
    } else if !fresh && lock.as_ref().is_some_and(Lock::is_copy) {
        findings.push(Finding::Copied);
    }
    let mut writer =
        writer(options, &folders, &scan, options.spares(readers.iter().any(|rule| rule.role == Role::Query)))?;
    let mut state = scan.state;
    state.epoch = next_epoch(state.epoch);
    let mut segments = scan.segments;
    open_frame(options, &mut writer, &mut state, &mut segments, scan.tail.filter(|tail| !tail.clean))?;
    let now = options.clock.now();
    let mut reports = Reports::default();
    for finding in &findings {
        reports.finding(finding, &options.metrics, now);
    }
    let mut shared = Shared {
        state,
        segments,
        readers,
        rules: options.rules(),
        retry: false,
        cursors: BTreeMap::new(),
        new_streams: BTreeMap::new(),
        pending: Group::new(1),
        steps: Group::new(1),
        writers: BTreeMap::new(),
        begun: BTreeMap::new(),
        refused: false,
        full: BTreeMap::new(),
        not_worth_copying: BTreeMap::new(),
        reports,
        closing: false,
        abandoned: false,
    };
    let at_times = shared.place_readers(now.wall_ms);
    if findings.iter().any(Finding::is_loss) {
        shared.lift_cursors();
    }
    if scan.tail.is_some_and(|tail| !tail.clean) {
        tell_drops(&mut shared, options, now.monotonic_ms);
    }
    options.metrics.set(Metric::StoreSegments, shared.segments.len() as u64);
    let inner = Arc::new(Inner {
        is_new: fresh,
        id: scan.store,
        options: options.clone(),
        traffic,
        folders: folders.clone(),
        shared: Mutex::new(shared),
        wake: Condvar::new(),
        durable: watch::Sender::new(Durable::synced(0)),
        stepped: watch::Sender::new(Durable::synced(0)),
        room: watch::Sender::new(0),
        saved: watch::Sender::new(0),
        failed: watch::Sender::new(false),
    });
    inner.begin_at_times(at_times);
    let committer = Committer::new(inner.clone(), folders, writer, index, lock)?;
    Ok(Opened { inner, committer, findings })
}

fn open_index(disk: &dyn Disk, folders: &Folders, findings: &mut Vec<Finding>) -> (Option<Index>, Remembered) {
    let existed = disk.open(&folders.root.join("index.redb"), Mode::Read).is_ok();
    let first = Index::open(disk, folders).and_then(|index| index.load().map(|remembered| (index, remembered)));
    match first {
        Ok((index, remembered)) => {
            if !existed {
                findings.push(Finding::IndexRebuilt);
            }
            return (Some(index), remembered);
        }
        Err(error) => tracing::warn!(event = event::STORE_INDEX, %error, "the index is set aside"),
    }
    findings.push(Finding::IndexRebuilt);
    let again = Index::set_aside(disk, folders).map_err(|e| e.to_string());
    let again = again.and_then(|()| Index::open(disk, folders).map_err(|e| e.to_string()));
    match again {
        Ok(index) => (Some(index), Remembered::default()),
        Err(error) => {
            tracing::warn!(event = event::STORE_INDEX, error, "going on without an index");
            (None, Remembered::default())
        }
    }
}

/// Copies damaged bytes to `damaged/` and moves files there that have no place in the log.
fn set_aside(disk: &dyn Disk, folders: &Folders, findings: &[Finding]) {
    for finding in findings {
        let done = match finding {
            Finding::Damage { path, segment, from, to } => {
                disk.open(path, Mode::Read).and_then(|file| copy_out(disk, folders, &*file, *segment, (*from, *to)))
            }
            Finding::SetAside { path } => {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("file");
                disk.rename(path, &folders.damaged.join(format!("{name}-{:08x}", random::u32())))
            }
            _ => Ok(()),
        };
        if let Err(error) = done {
            tracing::warn!(event = event::STORE_FINDING, %error, %finding, "cannot be set aside");
        }
    }
}

fn writer(options: &Options, folders: &Folders, scan: &Scan, wanted: usize) -> io::Result<Writer> {
    let disk = &options.disk;
    let mut spares = Spares::load(&**disk, folders, options.segment)?;
    if let Err(error) = spares.fill(&**disk, folders, options.segment, wanted) {
        tracing::warn!(event = event::STORE_FINDING, %error, "the reserve could not be allocated; going on with less");
    }
    let tail = scan.tail;
    let current = tail.and_then(|tail| {
        let segment = scan.segments.get(&tail.segment)?;
        let file = disk.open(&segment.path, Mode::Write);
        // A tail that cannot be read or opened, or that has lost its end, stays as it is: writing goes on in a new
        // segment.
        let failed = tail.unreadable || scan.lost_end || file.is_err();
        let file = file.or_else(|_| disk.open(&segment.path, Mode::Read)).ok()?;
        Some(Current { path: segment.path.clone(), file, summary: segment.summary.clone(), failed })
    });
    let last = tail.map_or((0, 0), |tail| (tail.lsn, tail.crc));
    Ok(Writer::new(disk.clone(), folders.clone(), scan.store, options.segment, spares, scan.highest, current, last))
}

/// The upper half, a counter, goes up by one. The lower half is random, so that a restored copy of a store never
/// repeats an identity.
fn next_epoch(highest: u64) -> u64 {
    ((highest >> 32) + 1) << 32 | u64::from(random::u32())
}

fn open_frame(
    options: &Options,
    writer: &mut Writer,
    state: &mut State,
    segments: &mut BTreeMap<u64, Segment>,
    unclean: Option<Tail>,
) -> io::Result<()> {
    let now = options.clock.now();
    let stamp =
        Stamp { boot: machine::boot_id(), monotonic_ms: now.monotonic_ms, wall_ms: now.wall_ms, trusted: now.trusted };
    let open = Open { stamp, machine: machine::machine_id(), epoch: state.epoch };
    let store = writer.store();
    let bytes = body::encode(&store, &open, &[]).map_err(io::Error::other)?;
    // The last frame of a killed process may have failed its sync: its pages then look written and are not. The
    // frame is therefore written once more, with a sync of its own. In one sync with the open frame, a power cut
    // could keep the open frame alone. Then a frame that was never settled would look damaged.
    let last = unclean.and_then(|tail| last_frames(writer, tail));
    let fits = writer.fits(bytes.len(), true);
    let rewritten = match &writer.current {
        Some(current) if current.failed => Err(io::Error::other("the newest segment cannot be written")),
        _ => last.iter().try_for_each(|(at, frame)| writer.write_at(frame, *at)),
    };
    let opened = rewritten.is_ok() && fits && writer.append(Kind::Open, &bytes).is_ok();
    if !opened {
        // At its old place the last frame may not be durable. So the frame moves to the new segment, and the old
        // segment ends before it.
        let moved = last.filter(|_| rewritten.is_err()).and_then(|(at, frame)| Moved::of(&store, at, &frame));
        if let (Some(moved), Some(current)) = (&moved, &mut writer.current) {
            moved.leave(&mut current.summary);
        }
        let sealed = writer.current.as_ref().map(|current| current.summary.clone());
        let body = moved.as_ref().map(|moved| &*moved.body);
        let old = writer.roll_with(&state.checkpoint(stamp, sealed), Heat::Hot, body)?;
        if let Some(old) = old {
            segments.insert(old.summary.number, old);
        }
        if let (Some(moved), Some(current)) = (moved, &mut writer.current) {
            moved.sections.iter().for_each(|head| current.summary.add(head));
        }
        writer.append(Kind::Open, &bytes)?;
    }
    if let Some(current) = &writer.current {
        let segment = Segment { path: current.path.clone(), summary: current.summary.clone() };
        segments.insert(current.summary.number, segment);
    }
    Ok(())
}

/// The bytes of the log's last frames, and their offset.
fn last_frames(writer: &Writer, tail: Tail) -> Option<(u64, Vec<u8>)> {
    let current = writer.current.as_ref()?;
    let mut bytes = vec![0; usize::try_from(current.summary.end.checked_sub(tail.at)?).ok()?];
    let n = current.file.read_at(&mut bytes, tail.at).ok()?;
    (n == bytes.len()).then_some((tail.at, bytes))
}

/// A commit frame that goes from the end of one segment to the beginning of the next.
struct Moved {
    /// The offset of the frame in the old segment.
    at: u64,
    body: Vec<u8>,
    sections: Vec<SectionHead>,
}

impl Moved {
    /// The first of these frames, if it is a whole commit frame.
    fn of(store: &[u8; 16], at: u64, frames: &[u8]) -> Option<Self> {
        let header = FrameHeader::decode(store, frames).filter(|header| header.kind == Kind::Commit)?;
        let end = FRAME_HEADER.checked_add(usize::try_from(header.length).ok()?)?;
        let body = frames.get(FRAME_HEADER..end)?;
        let (commit, _) = body::decode::<Commit>(store, body)?;
        Some(Self { at, body: body.to_vec(), sections: commit.sections })
    }

    /// Removes the frame from the summary of the old segment, which now ends before it. The frame was the last one
    /// there, so each stream keeps its earlier records.
    fn leave(&self, old: &mut Summary) {
        old.end = self.at;
        for head in self.sections.iter().rev() {
            if let Some(holding) = old.holdings.iter_mut().find(|holding| holding.stream == head.stream) {
                holding.last = head.first.saturating_sub(1);
                holding.bytes = holding.bytes.saturating_sub(u64::from(head.length));
            }
        }
        old.holdings.retain(|holding| holding.first <= holding.last);
    }
}

/// Reports records that the last floors took away from readers: a killed process may not have reported them.
fn tell_drops(shared: &mut Shared, options: &Options, now_ms: u64) {
    let dropped = shared.state.streams.values().filter(|stream| stream.reason == Reason::Drop);
    let dropped: Vec<_> = dropped.map(|stream| (stream.id, stream.name.clone(), stream.floor)).collect();
    for (id, name, floor) in dropped {
        // From a stream without a saved cursor, nothing was ever delivered.
        let cursors = shared.state.cursors.values().filter(|cursor| cursor.stream == id);
        let next = cursors.map(|cursor| cursor.next).min().unwrap_or(1);
        if next < floor {
            shared.reports.given_up((id, &name), (next, floor - 1), Cause::DropOldest, &options.metrics, now_ms);
        }
    }
}
