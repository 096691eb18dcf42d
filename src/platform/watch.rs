//! Wakes a task when a folder changes: inotify, where that sees all changes.
//!
//! A wake-up is a hint, never the truth: the caller must look at the folder from time to time as well.

use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use rustix::fs::statfs;
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use tokio::io::unix::AsyncFd;

/// Filesystems whose files can change without the knowledge of this machine's kernel (linux/magic.h): NFS, SMB,
/// CIFS, SMB2, FUSE, 9p, Ceph, AFS.
const REMOTE: [i128; 8] =
    [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x6573_5546, 0x0102_1997, 0x00c3_6400, 0x5346_414f];

/// The most reads at a time, each of at least 15 changes (inotify(7): names have at most 255 bytes).
const MOST_READS: usize = 16;

/// Watches folders for changes.
#[derive(Debug)]
pub struct Watch(AsyncFd<OwnedFd>);

impl Watch {
    /// A watch without any folder yet.
    ///
    /// # Errors
    /// The kernel has no inotify, or this user has too many watches already.
    pub fn new() -> io::Result<Self> {
        let fd: OwnedFd = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        // The function that replaces this one is `unsafe`, for types whose number may come to mean another file. An
        // `OwnedFd` has its number for as long as it lives.
        #[expect(deprecated, reason = "sound for an OwnedFd, and this crate has no unsafe code")]
        Ok(Self(AsyncFd::new(fd)?))
    }

    /// Watches a folder; `false` when not all of its changes can be seen. A second call for a watched folder does
    /// nothing. If the folder was made anew, the call watches the new folder.
    #[must_use]
    pub fn folder(&self, path: &Path) -> bool {
        let of = WatchFlags::CREATE
            | WatchFlags::MODIFY
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::ONLYDIR;
        let is_local = statfs(path).is_ok_and(|found| !REMOTE.contains(&(i128::from(found.f_type) & 0xffff_ffff)));
        is_local && add_watch(self.0.get_ref(), path, of).is_ok()
    }

    /// Waits for a change since the last time. Cancel safe. It reads a limited number of changes, so that a folder
    /// where others write without a pause keeps no thread busy.
    ///
    /// # Errors
    /// The kernel fails. Then the caller can only look at the folder.
    pub async fn changed(&self) -> io::Result<()> {
        let mut events = [0; 4096];
        loop {
            let mut ready = self.0.readable().await?;
            let mut seen = false;
            for _ in 0..MOST_READS {
                match rustix::io::read(self.0.get_ref(), &mut events) {
                    Ok(0) | Err(Errno::AGAIN) => {
                        ready.clear_ready();
                        break;
                    }
                    Ok(_) => seen = true,
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if seen {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    #[tokio::test]
    async fn a_flood_of_changes_is_read_in_parts() {
        let dir = tempfile::tempdir().unwrap();
        let watch = Watch::new().unwrap();
        assert!(watch.folder(dir.path()));
        // Each makes an event of 32 bytes; equal ones in a row count once.
        for n in 0..3000 {
            std::fs::write(dir.path().join(format!("{n}")), "").unwrap();
        }
        watch.changed().await.unwrap();
        let more = pin!(watch.changed()).poll(&mut Context::from_waker(Waker::noop()));
        assert!(more.is_ready(), "what is left is read the next time");
    }

    #[tokio::test]
    async fn writes_new_files_and_renames_wake_and_silence_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let watch = Watch::new().unwrap();
        assert!(!watch.folder(&dir.path().join("missing")), "it is not there yet");
        assert!(!watch.folder(Path::new("/proc/self/exe")), "no folder");
        assert!(watch.folder(dir.path()) && watch.folder(dir.path()));
        let file = dir.path().join("a");
        for step in 0..3 {
            let waits = pin!(watch.changed()).poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(waits, Poll::Pending), "nothing has changed");
            match step {
                0 => std::fs::write(&file, "x").unwrap(),
                1 => std::fs::rename(&file, dir.path().join("b")).unwrap(),
                _ => std::fs::remove_file(dir.path().join("b")).unwrap(),
            }
            watch.changed().await.unwrap();
        }
    }
}
