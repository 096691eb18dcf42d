//! Checks whether a file is the file that is being read.

use super::{FINGERPRINT, FileId, Fingerprint, Track, opened, read_at};
use std::fs::{File, Metadata};
use std::io;
use std::path::Path;

impl Track {
    /// Whether this file begins with the whole content of another file, as far as that file's beginning and end
    /// show.
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
        // This file was cut since the last look: the next look finds the copy by the old beginning of this file.
        let cut = || self.fingerprint.matches(other) && !self.fingerprint.matches(file);
        alike().unwrap_or(false) || self.fingerprint.length > 0 && cut()
    }

    /// Whether the file at `path`, with the same device and inode, is this file. Once this file was closed,
    /// another file may have got its inode.
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

    /// Whether the file was closed, and is no longer at its path.
    pub fn is_lost(&self) -> bool {
        self.file.is_none()
            && match std::fs::metadata(&self.path) {
                Ok(meta) => FileId::of(&meta) != self.part.id,
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            }
    }

    /// Whether the file has not changed since it was last read, and is still at its path.
    pub fn is_unchanged(&self) -> bool {
        let same = |meta: Metadata| {
            FileId::of(&meta) == self.part.id && meta.len() == self.size && meta.modified().ok() == self.modified
        };
        std::fs::metadata(&self.path).is_ok_and(same)
    }
}
