//! Reads a whole store back: `forebay buffer verify`.

use crate::platform::disk::{Disk, DiskFile, Mode, RealDisk};
use crate::store::log::body::StreamId;
use crate::store::log::layout::{FRAME_HEADER, Kind};
use crate::store::log::place::{Placed, placed};
use crate::store::log::recover::{Remembered, Scan, scan};
use crate::store::log::segment::{Folders, Segment};
use crate::store::log::walk::{Step, Walk};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The result of a full read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// Records that were read back.
    pub records: u64,
    /// Sections that were read back.
    pub sections: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Records that were given up because there was no room: no fault.
    pub given_up: u64,
    /// The problems that were found.
    pub problems: Vec<String>,
    /// The stream, first and last sequence of ranges that should be there and cannot be read.
    pub missing: Vec<(String, u64, u64)>,
    /// The unreadable byte ranges of the segment; only `verify_segment` fills them.
    pub bad: Vec<(u64, u64)>,
    /// The runs of sequences that were read back, by stream.
    runs: BTreeMap<StreamId, Vec<(u64, u64)>>,
}

/// Reads every frame and every record back.
///
/// # Errors
/// When the folder cannot be read.
pub fn verify(dir: &Path) -> io::Result<Option<Verified>> {
    let folders = Folders::of(dir);
    let Some(before) = scan(&RealDisk, &folders, &Remembered::of_mark(&RealDisk, &folders))? else {
        return Ok(None);
    };
    let mut verified =
        Verified { problems: before.findings.iter().map(ToString::to_string).collect(), ..Verified::default() };
    let mut read = BTreeSet::new();
    verified.read(&before, &mut read)?;
    // While this reads, a running agent frees segments, and copies their live sections to other segments.
    let mut after = scan(&RealDisk, &folders, &Remembered::of_mark(&RealDisk, &folders))?;
    while let Some(now) = after.as_ref().filter(|now| now.segments.keys().any(|number| !read.contains(number))) {
        verified.read(now, &mut read)?;
        after = scan(&RealDisk, &folders, &Remembered::of_mark(&RealDisk, &folders))?;
    }
    verified.find_missing(&before, after.as_ref());
    Ok(Some(verified))
}

impl Verified {
    /// Reads the segments that were not read yet.
    fn read(&mut self, scan: &Scan, read: &mut BTreeSet<u64>) -> io::Result<()> {
        for Segment { path, summary } in scan.segments.values().filter(|segment| read.insert(segment.summary.number)) {
            let file = match RealDisk.open(path, Mode::Read) {
                Ok(file) => file,
                // A running agent has freed the segment since the scan.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let mut found = verify_segment(&scan.store, &file, summary.number, summary.end)?;
            if !found.problems.is_empty() && !path.exists() {
                continue;
            }
            // The newest segment's damage is among the findings already.
            found.problems.retain(|problem| !self.problems.iter().any(|known| known.contains(problem.as_str())));
            self.add(found);
        }
        Ok(())
    }

    fn add(&mut self, other: Self) {
        self.records += other.records;
        self.sections += other.sections;
        self.bytes += other.bytes;
        self.given_up += other.given_up;
        self.problems.extend(other.problems);
        for (stream, runs) in other.runs {
            self.runs.entry(stream).or_default().extend(runs);
        }
    }

    fn find_missing(&mut self, before: &Scan, after: Option<&Scan>) {
        for stream in before.state.streams.values() {
            let now = after.and_then(|after| after.state.streams.get(&stream.id)).map_or(0, |stream| stream.floor);
            let mut next = stream.floor.max(now);
            let mut runs = self.runs.remove(&stream.id).unwrap_or_default();
            runs.sort_unstable();
            runs.push((stream.next, stream.next));
            for (first, last) in runs {
                if first > next {
                    self.missing.push((stream.name.clone(), next, first - 1));
                }
                next = next.max(last + 1);
            }
        }
    }
}

/// Reads one segment back.
///
/// # Errors
/// When the device cannot be read any more.
pub(in crate::store) fn verify_segment(
    store: &[u8; 16],
    file: &Arc<dyn DiskFile>,
    number: u64,
    end: u64,
) -> io::Result<Verified> {
    let mut verified = Verified::default();
    let mut walk = Walk::new(*store, file.clone(), number, 0, end, true);
    loop {
        match walk.step()? {
            Step::Frame(found) => {
                verified.bytes += found.header.span();
                if !found.whole {
                    verified.problems.push(format!("segment {number}: the frame at {} has bad bytes", found.offset));
                    verified.bad.push((found.offset, found.offset + found.header.span()));
                }
                if !matches!(found.header.kind, Kind::Commit | Kind::Carry) {
                    continue;
                }
                match placed(store, &found) {
                    Some((_, sections)) => verify_sections(store, file, &sections, number, &mut verified)?,
                    None => verified.problems.push(format!(
                        "segment {number}: the directory at {} does not decode",
                        found.offset + FRAME_HEADER as u64
                    )),
                }
            }
            Step::Damage { from, to } => {
                verified.problems.push(format!("damaged bytes {from} to {to}"));
                verified.bad.push((from, to));
            }
            Step::End { at, torn } => {
                if at < end && torn.is_some() {
                    // The last frame of a sealed segment was settled, whatever has happened to its bytes since. So
                    // its readable sections count.
                    let mut last = Walk::new(*store, file.clone(), number, at, end, false);
                    if let Step::Frame(found) = last.step()? {
                        let to = at + found.header.span();
                        verified.problems.push(format!("segment {number}: the frame at {at} has bad bytes"));
                        verified.bad.push((at, to));
                        if let Some((_, sections)) = placed(store, &found) {
                            verify_sections(store, file, &sections, number, &mut verified)?;
                        }
                        if to >= end {
                            return Ok(verified);
                        }
                    }
                }
                if at < end {
                    verified.problems.push(format!("segment {number}: no frame from {at} to its end at {end}"));
                    verified.bad.push((at, end));
                }
                return Ok(verified);
            }
        }
    }
}

fn verify_sections(
    store: &[u8; 16],
    file: &Arc<dyn DiskFile>,
    sections: &[Placed],
    number: u64,
    out: &mut Verified,
) -> io::Result<()> {
    for section in sections {
        let head = &section.head;
        if section.is_dropped() {
            out.given_up += u64::from(head.count);
        } else if section.records(store, &**file)?.is_some() {
            out.sections += 1;
            out.records += u64::from(head.count);
        } else {
            let (first, last) = (head.first, head.last());
            out.problems
                .push(format!("segment {number}: stream {}, sequences {first} to {last} do not read", head.stream));
            continue;
        }
        out.runs.entry(head.stream).or_default().push((head.first, head.last()));
    }
    Ok(())
}
