//! Every section of a store, stream by stream, in order.

use crate::flow::record::RecordRef;
use crate::platform::disk::{Disk, Mode, RealDisk};
use crate::store::log::body::{SectionHead, StreamId};
use crate::store::log::layout::Kind;
use crate::store::log::place::placed;
use crate::store::log::recover::{Remembered, scan};
use crate::store::log::section::Records;
use crate::store::log::segment::{Folders, Segment};
use crate::store::log::walk::{Step, Walk};
use std::io;
use std::path::Path;

/// A section whose bytes are good.
#[derive(Debug)]
pub struct Section {
    /// The head of the section, as in the directory.
    pub head: SectionHead,
    from: u64,
    raw: Vec<u8>,
}

impl Section {
    /// Sequence and record, in order; each sequence comes once.
    pub fn records(&self) -> impl Iterator<Item = (u64, RecordRef<'_>)> {
        let numbered = (self.head.first..=self.head.last()).zip(Records::new(&self.raw));
        numbered.filter(|(sequence, _)| *sequence >= self.from)
    }
}

/// Gives every readable section of the wanted streams, from a sequence on, to `take` until `take` returns false.
/// Unreadable sections are passed over: `verify` reports them.
///
/// # Errors
/// When the folder cannot be read, or when `take` fails.
pub fn sections(
    dir: &Path,
    wanted: impl Fn(&str) -> bool,
    from: u64,
    mut take: impl FnMut(&str, Section) -> io::Result<bool>,
) -> io::Result<()> {
    let folders = Folders::of(dir);
    let Some(scan) = scan(&RealDisk, &folders, &Remembered::of_mark(&RealDisk, &folders))? else {
        return Ok(());
    };
    for stream in scan.state.streams.values().filter(|stream| wanted(&stream.name)) {
        let mut next = from.max(stream.floor);
        let mut segments: Vec<&Segment> =
            scan.segments.values().filter(|segment| segment.summary.of(stream.id).is_some()).collect();
        segments.sort_by_key(|segment| segment.summary.of(stream.id).map(|holding| holding.first));
        for segment in segments {
            let mut more = true;
            walk(&scan.store, segment, stream.id, |head, raw| {
                if more && head.last() >= next {
                    let start = std::mem::replace(&mut next, head.last() + 1);
                    more = take(&stream.name, Section { head, from: start, raw })?;
                }
                Ok(more)
            })?;
            if !more {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Gives the readable sections of one stream in a segment to `take`.
fn walk(
    store: &[u8; 16],
    segment: &Segment,
    stream: StreamId,
    mut take: impl FnMut(SectionHead, Vec<u8>) -> io::Result<bool>,
) -> io::Result<()> {
    let file = match RealDisk.open(&segment.path, Mode::Read) {
        Ok(file) => file,
        // A running agent has freed the segment since the scan.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut walk = Walk::new(*store, file.clone(), segment.summary.number, 0, segment.summary.end, false);
    loop {
        let found = match walk.step()? {
            Step::Frame(found) if matches!(found.header.kind, Kind::Commit | Kind::Carry) => found,
            Step::Frame(_) | Step::Damage { .. } => continue,
            Step::End { .. } => return Ok(()),
        };
        let Some((_, sections)) = placed(store, &found) else { continue };
        for section in sections.into_iter().filter(|section| section.head.stream == stream && !section.is_dropped()) {
            if let Some(raw) = section.records(store, &*file)?
                && !take(section.head, raw)?
            {
                return Ok(());
            }
        }
    }
}
