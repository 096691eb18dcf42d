//! Whether a file is the one that is being read.

use super::{FINGERPRINT, FileId, Fingerprint, Track, opened, read_at};
use std::fs::{File, Metadata};
use std::io;
use std::path::Path;

impl Track {
    /// Whether another file is the same as this one up to its own end: its beginning and its end are.
    pub fn holds(&mut self, other: &File) -> bool {
        let Ok(file) = opened(&mut self.file, &self.path, self.part.id) else { return false };
        let alike = || {
            let length = other.metadata()?.len();
            let head = usize::try_from(length).unwrap_or(FINGERPRINT).min(FINGERPRINT);
            let at = length - head as u64;
            let (mut mine, mut its) = (vec![0; head], vec![0; head]);
            let same = read_at(file, &mut mine, at)? == read_at(other, &mut its, at)? && mine == its;
            let begins = Fingerprint::of(other, head)? == Fingerprint::of(file, head)?;
            Ok::<_, io::Error>(length > 0 && length <= file.metadata()?.len() && same && begins)
        };
        // Cut since we looked last: the next look finds the copy by how this one began.
        let cut = || self.fingerprint.matches(other) && !self.fingerprint.matches(file);
        alike().unwrap_or(false) || self.fingerprint.length > 0 && cut()
    }

    /// Whether a file with its device and inode is this one: once closed, another may have got them.
    pub fn is_it(&self, path: &Path) -> bool {
        self.is_open() || self.path == path || self.saved().is_of(path)
    }

    /// Whether the file was removed, or another one was renamed over it.
    pub fn is_unlinked(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        match &self.file {
            Some(file) => file.metadata().is_ok_and(|meta| meta.nlink() == 0),
            None => self.is_lost(),
        }
    }

    /// Whether it was closed, and is not where it was.
    pub fn is_lost(&self) -> bool {
        self.file.is_none()
            && match std::fs::metadata(&self.path) {
                Ok(meta) => FileId::of(&meta) != self.part.id,
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            }
    }

    /// Whether it is as it was when it was read last, and is still where it was.
    pub fn is_unchanged(&self) -> bool {
        let same = |meta: Metadata| {
            FileId::of(&meta) == self.part.id && meta.len() == self.size && meta.modified().ok() == self.modified
        };
        std::fs::metadata(&self.path).is_ok_and(same)
    }
}
