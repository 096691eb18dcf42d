//! Looking at a store without opening it for writing: `forebay buffer`.
//!
//! This module only reads the log, so it works beside a running agent. Frames that appear and segments that are
//! freed during the read are not damage.

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
    /// The name of the stream.
    pub name: String,
    /// The first sequence that is there; the next one to be given out when there is none.
    pub first: u64,
    /// The last sequence that was given out; 0 for none.
    pub last: u64,
    /// The stored bytes of the stream.
    pub bytes: u64,
    /// When the oldest record arrived, in milliseconds since the Unix epoch; none without records.
    pub oldest_ms: Option<i64>,
    /// The readers of the stream.
    pub readers: Vec<ReaderView>,
}

/// A reader of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderView {
    /// The name of the reader.
    pub name: String,
    /// The next sequence that the reader has not delivered.
    pub next: u64,
    /// The reader was configured when the store was last in use. A reader that was not holds nothing back.
    pub is_configured: bool,
    /// The reader has delivered records, or was told where to begin.
    pub has_begun: bool,
}

/// A store as it is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The store's id.
    pub id: [u8; 16],
    /// The epoch in force.
    pub epoch: u64,
    /// The number of segments in use.
    pub segments: usize,
    /// The bytes of the segments' files.
    pub segment_bytes: u64,
    /// The number of spare files that wait for use.
    pub spares: usize,
    /// The number of files with damaged bytes, kept so that somebody can examine them.
    pub damaged: usize,
    /// Whether the store was closed in order.
    pub clean: bool,
    /// The streams of the store.
    pub streams: Vec<StreamView>,
    /// The positions: source, part of the source, and the length of the position in bytes.
    pub positions: Vec<(String, String, usize)>,
    /// The problems that were found.
    pub findings: Vec<Finding>,
}

/// Reads the state of a store; `None` when there is none.
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

/// The present and former readers of a stream. `known` are the readers that were configured, if that is known.
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
