//! Segment files: finding them, creating them, giving them back.

use super::body::Summary;
use super::layout::{FORMAT, SEGMENT_HEADER, SegmentHeader, newer_format};
use crate::platform::disk::{Disk, DiskFile, Mode};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folders of a store.
#[derive(Debug, Clone)]
pub struct Folders {
    /// The folder of the store.
    pub root: PathBuf,
    /// The folder of the segments in use.
    pub log: PathBuf,
    /// The folder of the spare files that wait for use.
    pub spare: PathBuf,
    /// The folder of damaged bytes and files.
    pub damaged: PathBuf,
}

impl Folders {
    /// The folders of a store, below its root.
    #[must_use]
    pub fn of(root: &Path) -> Self {
        Self { root: root.into(), log: root.join("log"), spare: root.join("spare"), damaged: root.join("damaged") }
    }

    /// Creates the folders, durably.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn create(&self, disk: &dyn Disk) -> io::Result<()> {
        for dir in [&self.root, &self.log, &self.spare, &self.damaged] {
            disk.create_dir(dir)?;
        }
        // The folder above may be shared with other programs, so its access is not changed.
        for dir in [&self.log, &self.spare, &self.damaged] {
            disk.close_to_others(dir);
        }
        if let Some(parent) = self.root.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            // The parent may belong to another user; then it existed before the store.
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
    /// The path of the segment's file.
    pub path: PathBuf,
    /// What the segment holds, and where it ends.
    pub summary: Summary,
}

/// A file in `log/`, as its header describes it.
#[derive(Debug, Clone)]
pub struct OnDisk {
    /// The path of the file.
    pub path: PathBuf,
    /// The number of the segment: from the header, or from the file's name when the header is bad.
    pub number: u64,
    /// The header, if it is good.
    pub header: Option<SegmentHeader>,
    /// The size of the file, in bytes.
    pub size: u64,
}

/// Every segment in `log/`, by number.
///
/// # Errors
/// When the folder or a file cannot be read, or a newer version has written it.
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
        if let Some(newer) = newer_format(&bytes[..n]) {
            // To read it as damaged would put everything aside that waits in it.
            return Err(io::Error::other(format!(
                "{} has format {newer}, of a newer Forebay; this version knows format {FORMAT}. Nothing was changed. \
                 Install the newer version again: it delivers what waits",
                path.display()
            )));
        }
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
    /// The file that was given back first is used first: readers may still have the others open.
    paths: VecDeque<PathBuf>,
    /// The number of the last spare file's name; each new name gets the next one.
    number: u64,
}

impl Spares {
    /// Loads the files in `spare/`; files of another size are removed.
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
                // A half-made spare file is of no use; another is made below.
                let _ = disk.remove(&path);
            }
        }
        Ok(Self { paths, number })
    }

    /// The number of files that wait.
    #[must_use]
    pub fn count(&self) -> usize {
        self.paths.len()
    }

    /// Creates files until `count` files wait.
    ///
    /// # Errors
    /// When the disk is full (ENOSPC) or fails; the files made so far stay.
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

    /// Takes a spare file for use; creates one if there is none.
    ///
    /// # Errors
    /// When the disk is full (ENOSPC) or fails.
    pub fn take(&mut self, disk: &dyn Disk, folders: &Folders, size: u64) -> io::Result<(PathBuf, Arc<dyn DiskFile>)> {
        if self.paths.is_empty() {
            self.fill(disk, folders, size, 1)?;
        }
        let path = self.paths.pop_front().ok_or(io::ErrorKind::NotFound)?;
        let file = disk.open(&path, Mode::Write)?;
        Ok((path, file))
    }

    /// Keeps the file of a freed segment as a spare, or removes it when `count` files wait already.
    ///
    /// The rename need not be durable: a segment that comes back after a power cut lies below every floor.
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
