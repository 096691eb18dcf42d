//! One writer per store: `flock` on the file `lock`, which also says which process holds it.
//!
//! The file's second line is its own inode number. A copied or restored store has the line of the original and
//! another inode: this is how a copy is noticed. Two kinds of copy are not noticed: one without `lock`, and an
//! image of the whole device. `Finding::Moved` is for the image.

use crate::platform::disk::about;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Held while the store is open for writing.
#[derive(Debug)]
pub struct Lock {
    _file: File,
    copy: bool,
}

/// Why the lock could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds the lock.
    #[error("the store is in use by process {pid}; stop that one first, or give this one another state directory")]
    Held {
        /// The id of the process that holds the lock.
        pid: String,
    },
    /// The file cannot be opened or locked.
    #[error("cannot lock the store: {0}")]
    Io(#[from] io::Error),
}

impl Lock {
    /// Takes the lock without waiting.
    ///
    /// # Errors
    /// When another process holds it or the file cannot be opened.
    pub fn take(root: &Path) -> Result<Self, LockError> {
        let path = root.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(about(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid)?;
                return Err(LockError::Held { pid: pid.lines().next().unwrap_or_default().to_string() });
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let inode = file.metadata()?.ino();
        let mut before = String::new();
        // The content of the file is only a hint.
        let _ = file.read_to_string(&mut before);
        let known = before.lines().nth(1).and_then(|line| line.parse::<u64>().ok());
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}\n{inode}", std::process::id())?;
        Ok(Self { _file: file, copy: known.is_some_and(|known| known != inode) })
    }

    /// Whether the lock file is a copy: it names another inode than its own.
    #[must_use]
    pub fn is_copy(&self) -> bool {
        self.copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_is_told_the_first_ones_pid() {
        let dir = tempfile::tempdir().unwrap();
        let held = Lock::take(dir.path()).unwrap();
        let refused = Lock::take(dir.path()).unwrap_err().to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(held);
        assert!(!Lock::take(dir.path()).unwrap().is_copy());
    }

    #[test]
    fn a_copied_folder_is_noticed_once() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        drop(Lock::take(first.path()).unwrap());
        std::fs::copy(first.path().join("lock"), second.path().join("lock")).unwrap();
        assert!(Lock::take(second.path()).unwrap().is_copy());
        assert!(!Lock::take(second.path()).unwrap().is_copy());
    }
}
