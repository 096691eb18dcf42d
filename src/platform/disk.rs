//! The interface to the disk: the few operations on which the store's promise of durability depends.
//!
//! Reads are `pread`, never `mmap` (32-bit address space, SIGBUS on rot). The device is assumed to honour a flush,
//! and not to tear a 512-byte sector.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// For reading; it must exist.
    Read,
    /// For reading and writing; it must exist.
    Write,
    /// For reading and writing; made if missing, kept as it is otherwise.
    Create,
}

/// A directory tree that can be made durable.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Opens a file.
    ///
    /// # Errors
    /// As the operating system says.
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>>;
    /// The names in a directory, sorted; empty when there is no such directory.
    ///
    /// # Errors
    /// As the operating system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
    /// Makes a directory and its parents.
    ///
    /// # Errors
    /// As the operating system says.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes away the permissions of other users for a directory of ours, if that can be done.
    fn close_to_others(&self, dir: &Path);
    /// Renames within one filesystem, replacing the target.
    ///
    /// # Errors
    /// As the operating system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// As the operating system says.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the entries of a directory durable.
    ///
    /// # Errors
    /// As the operating system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Reads at an offset. Fewer bytes than asked for are read only at the end of the file.
    ///
    /// # Errors
    /// As the operating system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all bytes at an offset.
    ///
    /// # Errors
    /// The error of the operating system. Some of the bytes may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes contents (and the size) durable: `fdatasync`.
    ///
    /// # Errors
    /// The error of the operating system. After an error this file must not be trusted to sync again.
    fn sync(&self) -> io::Result<()>;
    /// Reserves blocks and sets the size to at least `length`.
    ///
    /// # Errors
    /// The error of the operating system, which may be ENOSPC.
    fn allocate(&self, length: u64) -> io::Result<()>;
    /// The size in bytes.
    ///
    /// # Errors
    /// As the operating system says.
    fn size(&self) -> io::Result<u64>;
    /// Cuts or extends the file.
    ///
    /// # Errors
    /// As the operating system says.
    fn set_size(&self, length: u64) -> io::Result<()>;
    /// Whether a path leads to this file: somebody may have moved or removed it.
    fn is_at(&self, path: &Path) -> bool;
}

/// The disk of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        let write = mode != Mode::Read;
        // Readings are private: only our own user may read the files.
        let mut options = OpenOptions::new();
        options.read(true).write(write).create(mode == Mode::Create).truncate(false).mode(0o600);
        Ok(Arc::new(RealFile(options.open(path).map_err(about(path))?)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(about(dir)(error)),
        };
        let mut paths = entries.map(|entry| entry.map(|e| e.path())).collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        Ok(paths)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        if !dir.is_dir() {
            return DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(about(dir));
        }
        Ok(())
    }

    fn close_to_others(&self, dir: &Path) {
        // An earlier version left its directories open to everybody.
        if std::fs::metadata(dir).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0) {
            let _ = std::fs::set_permissions(dir, Permissions::from_mode(0o700));
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.0.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), 0, length) {
            Ok(()) => Ok(()),
            // On filesystems without `fallocate` the size is set, but the space is not reserved.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                if self.size()? < length {
                    self.0.set_len(length)?;
                }
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_size(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn is_at(&self, path: &Path) -> bool {
        is_at(&self.0, path)
    }
}

/// Whether a path leads to an open file: somebody may have moved or removed it.
#[must_use]
pub fn is_at(file: &File, path: &Path) -> bool {
    let id = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => id(ours) == id(there),
        _ => false,
    }
}

/// Adds the path to an error of the operating system, which does not name it.
pub fn about(path: &Path) -> impl FnOnce(io::Error) -> io::Error + '_ {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The name of a filesystem that is not suitable for a store, and a warning; `None` for a suitable one.
#[must_use]
pub fn filesystem(path: &Path) -> Option<(&'static str, &'static str)> {
    // Numbers as in statfs(2).
    let kind = rustix::fs::statfs(path).ok()?.f_type;
    Some(match u32::try_from(kind).ok()? {
        0x0102_1994 | 0x8584_58f6 => {
            ("tmpfs", "the state directory is in memory: all of it is gone with a restart of the machine")
        }
        0x794c_7630 => (
            "overlay",
            "the state directory is in a container's own layer: it is gone with the container; mount a volume",
        ),
        0x6969 => ("NFS", "the state directory is on a network filesystem: what it calls synced may not be on a disk"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => {
            ("SMB", "the state directory is on a network filesystem: what it calls synced may not be on a disk")
        }
        _ => return None,
    })
}

/// The size of the disk that a path is on, in bytes.
#[must_use]
pub fn room(path: &Path) -> Option<u64> {
    let about = rustix::fs::statvfs(path).ok()?;
    about.f_blocks.checked_mul(about.f_frsize)
}

/// The bytes that a program without special rights may still write to the disk of a path.
#[must_use]
pub fn free(path: &Path) -> Option<u64> {
    let about = rustix::fs::statvfs(path).ok()?;
    about.f_bavail.checked_mul(about.f_frsize)
}

/// Whether a filesystem has no inodes left. Then no file can be made, however many bytes are free.
#[must_use]
pub fn is_out_of_inodes(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|about| about.f_files > 0 && about.f_favail == 0)
}
