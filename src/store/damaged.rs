//! Copies bad bytes to `damaged/`, so that somebody can examine them.
//!
//! The file's name says where the bytes were: `<segment>-<from>-<to>.bytes`. At most `LIMIT` bytes are kept; bad
//! bytes that are found after that are reported and not copied.

use super::log::segment::Folders;
use super::log::walk::read_past_damage;
use crate::platform::disk::{Disk, DiskFile, Mode};
use std::io;

/// `damaged/` grows no further than this, in bytes.
const LIMIT: u64 = 32 << 20;

/// Copies a range of a segment, unless it was copied before. Unreadable sectors are copied as zeros.
///
/// # Errors
/// When the disk is full, when `damaged/` is full, or when the disk fails.
pub(super) fn copy_out(
    disk: &dyn Disk,
    folders: &Folders,
    file: &dyn DiskFile,
    segment: u64,
    (from, to): (u64, u64),
) -> io::Result<()> {
    let name = folders.damaged.join(format!("{segment:012}-{from}-{to}.bytes"));
    let mut held = 0;
    for path in disk.list(&folders.damaged)? {
        if path == name {
            return Ok(());
        }
        held += disk.open(&path, Mode::Read).and_then(|file| file.size()).unwrap_or(0);
    }
    if held + (to - from) > LIMIT {
        return Err(io::Error::other("damaged/ is full; remove what is no longer needed"));
    }
    let mut bytes = vec![0; usize::try_from(to - from).map_err(io::Error::other)?];
    let n = read_past_damage(file, &mut bytes, from)?;
    let copy = disk.open(&name, Mode::Create)?;
    copy.write_at(&bytes[..n], 0)?;
    copy.sync()?;
    disk.sync_dir(&folders.damaged)
}
