//! Looking at a store without opening it for writing: `forebay buffer`.
//!
//! Reads the log only, so it works beside a running agent: frames that appear or segments that
//! are freed while it looks are no damage.

use super::log::body::{self, Commit, CursorEntry};
use super::log::layout::{FRAME_HEADER, Kind, checksum};
use super::log::recover::{Finding, Remembered, Scan, scan};
use super::log::section::{Records, decompress};
use super::log::segment::Folders;
use super::log::walk::{Step, Walk};
use crate::platform::disk::{Disk, DiskFile, Mode, RealDisk};
use std::fmt::Write;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// One stream of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamView {
    /// Its name.
    pub name: String,
    /// The first sequence that is there, if any.
    pub first: u64,
    /// The last sequence that was given out; 0 for none.
    pub last: u64,
    /// Stored bytes.
    pub bytes: u64,
    /// The oldest arrival, milliseconds since the Unix epoch.
    pub oldest_ms: Option<i64>,
    /// Its readers' cursors.
    pub cursors: Vec<CursorEntry>,
}

/// A store as it is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Its id.
    pub id: [u8; 16],
    /// The epoch in force.
    pub epoch: u64,
    /// Segments in use.
    pub segments: usize,
    /// Bytes of their files.
    pub segment_bytes: u64,
    /// Files that wait for use.
    pub spares: usize,
    /// Whether it was closed in order.
    pub clean: bool,
    /// Its streams.
    pub streams: Vec<StreamView>,
    /// Source, part of the source, bytes of the position.
    pub positions: Vec<(String, String, usize)>,
    /// What the look found to be wrong.
    pub findings: Vec<Finding>,
}

/// What a full read found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// Records that were read back.
    pub records: u64,
    /// Sections that were read back.
    pub sections: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// What is wrong.
    pub problems: Vec<String>,
}

/// Looks at a store; `None` when there is none.
///
/// # Errors
/// When the folder cannot be read.
pub fn view(dir: &Path) -> io::Result<Option<View>> {
    let folders = Folders::of(dir);
    let Some(scan) = scan(&RealDisk, &folders, &Remembered::default())? else {
        return Ok(None);
    };
    let streams = scan.state.streams.values().map(|stream| stream_view(&scan, stream)).collect();
    let positions = scan.state.positions.iter();
    Ok(Some(View {
        id: scan.store,
        epoch: scan.state.epoch,
        segments: scan.segments.len(),
        segment_bytes: scan.segments.values().map(|segment| segment.summary.size).sum(),
        spares: RealDisk.list(&folders.spare)?.len(),
        clean: scan.tail.is_some_and(|tail| tail.clean),
        streams,
        positions: positions.map(|((source, part), value)| (source.clone(), part.clone(), value.len())).collect(),
        findings: scan.findings,
    }))
}

fn stream_view(scan: &Scan, stream: &body::StreamState) -> StreamView {
    let holdings = || scan.segments.values().filter_map(|segment| segment.summary.of(stream.id));
    let live = || holdings().filter(|holding| holding.last >= stream.floor);
    StreamView {
        name: stream.name.clone(),
        first: live().map(|holding| holding.first).min().unwrap_or(stream.next).max(stream.floor),
        last: stream.next - 1,
        bytes: live().map(|holding| holding.bytes).sum(),
        oldest_ms: live().map(|holding| holding.arrival_min).min(),
        cursors: scan.state.cursors.values().filter(|cursor| cursor.stream == stream.id).cloned().collect(),
    }
}

/// Reads every frame and every record back.
///
/// # Errors
/// When the folder cannot be read.
pub fn verify(dir: &Path) -> io::Result<Option<Verified>> {
    let folders = Folders::of(dir);
    let Some(scan) = scan(&RealDisk, &folders, &Remembered::default())? else {
        return Ok(None);
    };
    let mut verified =
        Verified { problems: scan.findings.iter().map(ToString::to_string).collect(), ..Verified::default() };
    for segment in scan.segments.values() {
        let file = match RealDisk.open(&segment.path, Mode::Read) {
            Ok(file) => file,
            // Freed by a running agent since the scan.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let (number, end) = (segment.summary.number, segment.summary.end);
        let mut found = verify_segment(&scan.store, &file, number, end)?;
        if !found.problems.is_empty() && !segment.path.exists() {
            continue;
        }
        verified.records += found.records;
        verified.sections += found.sections;
        verified.bytes += found.bytes;
        // The newest segment's damage is among the findings already.
        found.problems.retain(|problem| !verified.problems.iter().any(|known| known.contains(problem.as_str())));
        verified.problems.extend(found.problems);
    }
    Ok(Some(verified))
}

fn verify_segment(store: &[u8; 16], file: &Arc<dyn DiskFile>, number: u64, end: u64) -> io::Result<Verified> {
    let mut verified = Verified::default();
    let mut walk = Walk::new(*store, file.clone(), number, 0, end, true);
    loop {
        match walk.step()? {
            Step::Frame(found) => {
                verified.bytes += found.header.span();
                if !found.whole {
                    verified.problems.push(format!("segment {number}: the frame at {} has bad bytes", found.offset));
                }
                if !matches!(found.header.kind, Kind::Commit | Kind::Carry) {
                    continue;
                }
                match body::decode::<Commit>(store, &found.body) {
                    Some((commit, at)) => verify_sections(store, &found.body, &commit, at, number, &mut verified),
                    None => verified.problems.push(format!(
                        "segment {number}: the directory at {} does not decode",
                        found.offset + FRAME_HEADER as u64
                    )),
                }
            }
            Step::Damage { from, to } => verified.problems.push(format!("damaged bytes {from} to {to}")),
            Step::End { at, .. } => {
                if at < end {
                    verified.problems.push(format!("segment {number}: no frame from {at} to its end at {end}"));
                }
                return Ok(verified);
            }
        }
    }
}

fn verify_sections(store: &[u8; 16], body: &[u8], commit: &Commit, start: usize, number: u64, out: &mut Verified) {
    let mut at = start;
    for head in &commit.sections {
        let length = usize::try_from(head.length).unwrap_or(usize::MAX);
        let stored = body.get(at..at.saturating_add(length)).unwrap_or_default();
        at = at.saturating_add(length);
        let good = checksum(store, stored) == head.crc && stored.len() == length;
        let records = decompress(head.codec, stored, head.raw).filter(|_| good).map(|raw| Records::new(&raw).count());
        if records == usize::try_from(head.count).ok() {
            out.sections += 1;
            out.records += u64::from(head.count);
        } else {
            let (first, last) = (head.first, head.last());
            out.problems
                .push(format!("segment {number}: stream {}, sequences {first} to {last} do not read", head.stream));
        }
    }
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing into a string does not fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}
