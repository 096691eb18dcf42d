//! Looking at a store without opening it for writing: `forebay buffer`.
//!
//! Reads the log only, so it works beside a running agent: frames that appear or segments that
//! are freed while it looks are no damage.

mod records;
mod verify;

pub use records::{Section, sections};
pub(super) use verify::verify_segment;
pub use verify::{Verified, verify};

use super::log::body::{self, CursorEntry};
use super::log::recover::{Finding, Remembered, Scan, scan};
use super::log::segment::Folders;
use super::mark::{Mark, ReaderMark};
use crate::platform::disk::{Disk, RealDisk};
use std::io;
use std::path::Path;

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
    /// Its readers.
    pub readers: Vec<ReaderView>,
}

/// A reader of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderView {
    /// Its name.
    pub name: String,
    /// The next sequence that it has not delivered.
    pub next: u64,
    /// It was configured when the store was in use last; it holds nothing back otherwise.
    pub is_configured: bool,
    /// It has delivered something, or was told where to begin.
    pub has_begun: bool,
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
    /// Files with damaged bytes, kept for whoever wants to look at them.
    pub damaged: usize,
    /// Whether it was closed in order.
    pub clean: bool,
    /// Its streams.
    pub streams: Vec<StreamView>,
    /// Source, part of the source, bytes of the position.
    pub positions: Vec<(String, String, usize)>,
    /// What the look found to be wrong.
    pub findings: Vec<Finding>,
}

/// Looks at a store; `None` when there is none.
///
/// # Errors
/// When the folder cannot be read.
pub fn view(dir: &Path) -> io::Result<Option<View>> {
    let folders = Folders::of(dir);
    let Some(scan) = scan(&RealDisk, &folders, &Remembered::of_mark(&RealDisk, &folders))? else {
        return Ok(None);
    };
    let mark = Mark::read(&RealDisk, &folders).filter(|mark| mark.store == scan.store);
    let readers = mark.map(|mark| mark.readers);
    let streams = scan.state.streams.values().map(|stream| stream_view(&scan, stream, readers.as_deref())).collect();
    let positions = scan.state.positions.iter();
    Ok(Some(View {
        id: scan.store,
        epoch: scan.state.epoch,
        segments: scan.segments.len(),
        segment_bytes: scan.segments.values().map(|segment| segment.summary.size).sum(),
        spares: RealDisk.list(&folders.spare)?.len(),
        damaged: RealDisk.list(&folders.damaged)?.len(),
        clean: scan.tail.is_some_and(|tail| tail.clean),
        streams,
        positions: positions.map(|((source, part), value)| (source.clone(), part.clone(), value.len())).collect(),
        findings: scan.findings,
    }))
}

fn stream_view(scan: &Scan, stream: &body::StreamState, known: Option<&[ReaderMark]>) -> StreamView {
    let holdings = || scan.segments.values().filter_map(|segment| segment.summary.of(stream.id));
    let live = || holdings().filter(|holding| holding.last >= stream.floor);
    StreamView {
        name: stream.name.clone(),
        first: live().map(|holding| holding.first).min().unwrap_or(stream.next).max(stream.floor),
        last: stream.next - 1,
        bytes: live().map(|holding| holding.bytes).sum(),
        oldest_ms: live().map(|holding| holding.arrival_min).min(),
        readers: readers(scan, stream, known),
    }
}

/// Everybody who reads a stream, or did; `known` are those that were configured, if that is known.
fn readers(scan: &Scan, stream: &body::StreamState, known: Option<&[ReaderMark]>) -> Vec<ReaderView> {
    let reads = |reader: &&ReaderMark| reader.streams.contains(&stream.id);
    let configured =
        |name: &str| known.is_none_or(|known| known.iter().filter(reads).any(|reader| reader.name == name));
    let view = |cursor: &CursorEntry| ReaderView {
        name: cursor.reader.clone(),
        next: cursor.next,
        is_configured: configured(&cursor.reader),
        has_begun: true,
    };
    let of_stream = || scan.state.cursors.values().filter(|cursor| cursor.stream == stream.id);
    let mut all: Vec<ReaderView> = of_stream().map(view).collect();
    for reader in known.into_iter().flatten().filter(reads) {
        if all.iter().all(|there| there.name != reader.name) {
            let (name, next) = (reader.name.clone(), stream.floor);
            all.push(ReaderView { name, next, is_configured: true, has_begun: false });
        }
    }
    all.sort_by(|one, two| one.name.cmp(&two.name));
    all
}
