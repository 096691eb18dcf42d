//! Counts the operations on the disk, because they wear out flash, and for tests that limit them.

use super::disk::{Disk, DiskFile, Mode};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters that only rise.
#[derive(Debug, Default)]
pub struct Traffic {
    read: AtomicU64,
    written: AtomicU64,
    syncs: AtomicU64,
}

impl Traffic {
    /// Bytes read.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.read.load(Relaxed)
    }

    /// Bytes written.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Flushes of files and folders.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Relaxed)
    }
}

/// A disk whose traffic is counted.
#[derive(Debug)]
pub struct CountedDisk {
    disk: Arc<dyn Disk>,
    traffic: Arc<Traffic>,
}

impl CountedDisk {
    /// Puts counters around another disk.
    #[must_use]
    pub fn around(disk: Arc<dyn Disk>) -> (Arc<dyn Disk>, Arc<Traffic>) {
        let traffic = Arc::<Traffic>::default();
        (Arc::new(Self { disk, traffic: traffic.clone() }), traffic)
    }
}

impl Disk for CountedDisk {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, mode)?;
        Ok(Arc::new(CountedFile { file, traffic: self.traffic.clone() }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.disk.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir(dir)
    }

    fn close_to_others(&self, dir: &Path) {
        self.disk.close_to_others(dir);
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.traffic.syncs.fetch_add(1, Relaxed);
        self.disk.sync_dir(dir)
    }
}

#[derive(Debug)]
struct CountedFile {
    file: Arc<dyn DiskFile>,
    traffic: Arc<Traffic>,
}

impl DiskFile for CountedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let n = self.file.read_at(buffer, offset)?;
        self.traffic.read.fetch_add(n as u64, Relaxed);
        Ok(n)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.traffic.written.fetch_add(bytes.len() as u64, Relaxed);
        self.file.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.traffic.syncs.fetch_add(1, Relaxed);
        self.file.sync()
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn is_at(&self, path: &Path) -> bool {
        self.file.is_at(path)
    }

    fn set_size(&self, length: u64) -> io::Result<()> {
        self.file.set_size(length)
    }
}
