//! Segment files: finding them, making them, giving them back.

use super::body::Summary;
use super::layout::{SEGMENT_HEADER, SegmentHeader};
use crate::platform::disk::{Disk, DiskFile, Mode};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folders of a store.
#[derive(Debug, Clone)]
pub struct Folders {
    /// The store.
    pub root: PathBuf,
    /// Live segments.
    pub log: PathBuf,
    /// Files kept for reuse.
    pub spare: PathBuf,
    /// Bytes set aside.
    pub damaged: PathBuf,
}

impl Folders {
    /// Below a store's folder.
    #[must_use]
    pub fn of(root: &Path) -> Self {
        Self { root: root.into(), log: root.join("log"), spare: root.join("spare"), damaged: root.join("damaged") }
    }

    /// Makes them, durably.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn create(&self, disk: &dyn Disk) -> io::Result<()> {
        for dir in [&self.root, &self.log, &self.spare, &self.damaged] {
            disk.create_dir(dir)?;
        }
        // The folder above may be shared with other programs.
        for dir in [&self.log, &self.spare, &self.damaged] {
            disk.close_to_others(dir);
        }
        if let Some(parent) = self.root.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            // The parent may belong to somebody else; then it was there before us.
            let _ = disk.sync_dir(parent);
        }
        disk.sync_dir(&self.root)
    }

    /// A live segment's usual path.
    #[must_use]
    pub fn segment(&self, number: u64) -> PathBuf {
        self.log.join(format!("{number:012}.seg"))
    }
}

/// A segment that is in use.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Its file.
    pub path: PathBuf,
    /// What it holds and where it ends.
    pub summary: Summary,
}

/// A file in `log/` as its header tells it.
#[derive(Debug, Clone)]
pub struct OnDisk {
    /// Its file.
    pub path: PathBuf,
    /// Its number, from the header, or from the name when the header is bad.
    pub number: u64,
    /// The header when it is good.
    pub header: Option<SegmentHeader>,
    /// The size of the file.
    pub size: u64,
}

/// Every segment in `log/`, by number.
///
/// # Errors
/// When the folder or a file cannot be read.
pub fn list(disk: &dyn Disk, folders: &Folders) -> io::Result<Vec<OnDisk>> {
    let mut found = Vec::new();
    for path in disk.list(&folders.log)? {
        let named = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        let file = match disk.open(&path, Mode::Read) {
            Ok(file) => file,
            // A reader beside a running agent sees files go.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let mut bytes = [0; SEGMENT_HEADER];
        let n = file.read_at(&mut bytes, 0).unwrap_or(0);
        let header = SegmentHeader::decode(&bytes[..n]);
        if let Some(number) = header.map(|header| header.number).or(named) {
            found.push(OnDisk { path, number, header, size: file.size()? });
        }
    }
    found.sort_by_key(|segment| (segment.number, segment.header.is_none()));
    Ok(found)
}

/// Files that were allocated before and wait for use.
#[derive(Debug, Default)]
pub struct Spares {
    /// The one that was given back first is used first: readers may still be busy with the others.
    paths: VecDeque<PathBuf>,
    /// For names: rises by one with each.
    number: u64,
}

impl Spares {
    /// What is in `spare/`; files of another size are removed.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn load(disk: &dyn Disk, folders: &Folders, size: u64) -> io::Result<Self> {
        let mut paths = VecDeque::new();
        let mut number = 0;
        for path in disk.list(&folders.spare)? {
            let named = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            number = named.unwrap_or(0).max(number);
            let fits = disk.open(&path, Mode::Read).and_then(|file| file.size()).is_ok_and(|bytes| bytes == size);
            if fits {
                paths.push_back(path);
            } else {
                // A half-made spare: of no use, and made again below.
                let _ = disk.remove(&path);
            }
        }
        Ok(Self { paths, number })
    }

    /// How many wait.
    #[must_use]
    pub fn count(&self) -> usize {
        self.paths.len()
    }

    /// Makes files until `count` wait.
    ///
    /// # Errors
    /// ENOSPC among others; what was made stays.
    pub fn fill(&mut self, disk: &dyn Disk, folders: &Folders, size: u64, count: usize) -> io::Result<()> {
        while self.paths.len() < count {
            let path = self.name(folders);
            let made = disk.open(&path, Mode::Create).and_then(|file| file.allocate(size));
            if let Err(error) = made {
                let _ = disk.remove(&path);
                return Err(error);
            }
            self.paths.push_back(path);
        }
        Ok(())
    }

    /// Takes one for use, or makes one.
    ///
    /// # Errors
    /// ENOSPC among others.
    pub fn take(&mut self, disk: &dyn Disk, folders: &Folders, size: u64) -> io::Result<(PathBuf, Arc<dyn DiskFile>)> {
        if self.paths.is_empty() {
            self.fill(disk, folders, size, 1)?;
        }
        let path = self.paths.pop_front().ok_or(io::ErrorKind::NotFound)?;
        let file = disk.open(&path, Mode::Write)?;
        Ok((path, file))
    }

    /// Puts a freed segment's file here, or removes it when `count` wait already.
    ///
    /// The rename need not be durable: a segment that comes back lies below every floor.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn give_back(&mut self, disk: &dyn Disk, folders: &Folders, path: &Path, count: usize) -> io::Result<()> {
        if self.paths.len() >= count {
            return disk.remove(path);
        }
        let to = self.name(folders);
        disk.rename(path, &to)?;
        self.paths.push_back(to);
        Ok(())
    }

    fn name(&mut self, folders: &Folders) -> PathBuf {
        self.number += 1;
        folders.spare.join(format!("{:012}.seg", self.number))
    }
}
