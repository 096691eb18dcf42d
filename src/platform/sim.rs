//! A disk in memory that loses power, for tests.
//!
//! Data that was written and not synced is lost in part. Of every file's unsynced sectors, an arbitrary subset
//! survives. Of the directory entries that were made, renamed or removed, an arbitrary subset survives too. A sync
//! of a directory settles its own entries only. A rename is one change (ext4, xfs, f2fs and btrfs keep that
//! promise). After the cut every call fails until `reboot`.
//!
//! The disk also simulates a size limit (ENOSPC), a read-only mount, failing writes and syncs, and unreadable
//! sectors.

#![allow(clippy::cast_possible_truncation)]

use super::disk::{Disk, DiskFile, Mode};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

const SECTOR: usize = 512;

#[derive(Debug, Default)]
struct Inode {
    durable: Vec<u8>,
    now: Vec<u8>,
    dirty: Vec<usize>,
    durable_size: usize,
}

#[derive(Debug, Clone)]
enum Change {
    /// A file is made or renamed: the name that it had, the name that it has.
    Put(Option<PathBuf>, PathBuf, usize),
    Remove(PathBuf),
}

impl Change {
    fn is_about(&self, later: &Self) -> bool {
        match (self, later) {
            (Self::Put(_, _, inode), Self::Put(_, _, other)) => inode == other,
            (Self::Put(_, to, _) | Self::Remove(to), Self::Remove(path) | Self::Put(_, path, _)) => to == path,
        }
    }

    fn touches(&self, dir: &Path) -> bool {
        let inside = |path: &PathBuf| path.parent() == Some(dir);
        match self {
            Self::Put(from, to, _) => inside(to) || from.as_ref().is_some_and(inside),
            Self::Remove(path) => inside(path),
        }
    }
}

#[derive(Debug, Default)]
struct World {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    changes: Vec<Change>,
    operations: u64,
    cut_at: Option<u64>,
    dead: bool,
    honest: bool,
    fail_syncs: u32,
    /// The number of syncs that pass before the failing ones.
    pass_syncs: u32,
    hook: Option<Hook>,
    /// Files whose sync has failed in this process.
    failed: BTreeSet<usize>,
    /// Files that were synced again although a sync had failed.
    synced_again: Vec<PathBuf>,
    fail_writes: u32,
    alternate: u32,
    read_only: bool,
    /// All files together may be no larger, in bytes.
    limit: Option<u64>,
    /// Sectors that cannot be read: inode, sector.
    unreadable: BTreeSet<(usize, usize)>,
    random: u64,
}

/// An action that runs before a later read.
struct Hook {
    reads: u32,
    run: Box<dyn FnOnce() + Send>,
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "at the read {} from now", self.reads)
    }
}

/// The disk; clones share it.
#[derive(Debug, Clone)]
pub struct SimDisk(Arc<Mutex<World>>);

impl SimDisk {
    /// An empty disk. The seed decides which data survives a cut.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self(Arc::new(Mutex::new(World { random, honest: true, ..World::default() })))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// Cuts the power at this many writes and syncs from now.
    pub fn cut_after(&self, operations: u64) {
        let mut world = self.world();
        world.cut_at = Some(world.operations + operations);
    }

    /// From now on a sync does nothing: the control run.
    pub fn ignore_syncs(&self) {
        self.world().honest = false;
    }

    /// The next syncs of files fail with EIO.
    pub fn fail_syncs(&self, count: u32) {
        self.fail_syncs_after(0, count);
    }

    /// Lets `pass` syncs of files pass, and then makes `count` syncs fail.
    pub fn fail_syncs_after(&self, pass: u32, count: u32) {
        let mut world = self.world();
        (world.pass_syncs, world.fail_syncs) = (pass, count);
    }

    /// Runs an action between two reads: right before the read that is `reads` reads from now.
    pub fn before_read(&self, reads: u32, run: impl FnOnce() + Send + 'static) {
        self.world().hook = Some(Hook { reads, run: Box::new(run) });
    }

    /// Whether the action of `before_read` has not run yet. The action is forgotten.
    #[must_use]
    pub fn take_hook(&self) -> bool {
        self.world().hook.take().is_some()
    }

    fn reading(&self) {
        let mut world = self.world();
        if let Some(hook) = &mut world.hook {
            hook.reads = hook.reads.saturating_sub(1);
        }
        let due = world.hook.take_if(|hook| hook.reads == 0);
        drop(world);
        if let Some(hook) = due {
            (hook.run)();
        }
    }

    /// Files that were synced again after a failed sync, by the same process.
    #[must_use]
    pub fn synced_again(&self) -> Vec<PathBuf> {
        self.world().synced_again.clone()
    }

    /// The process ends: the next one does not know which syncs failed.
    pub fn new_process(&self) {
        self.world().failed.clear();
    }

    /// Makes every other of the next `count` syncs of files fail with EIO. The last of them fails.
    pub fn fail_every_other_sync(&self, count: u32) {
        self.world().alternate = count;
    }

    /// The next writes fail with EIO, half done.
    pub fn fail_writes(&self, count: u32) {
        self.world().fail_writes = count;
    }

    /// A read-only mount, or its end.
    pub fn read_only(&self, on: bool) {
        self.world().read_only = on;
    }

    /// All files together may be no larger; `None` for no limit.
    pub fn limit(&self, bytes: Option<u64>) {
        self.world().limit = bytes;
    }

    /// Whether a later write or sync may fail.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        let world = self.world();
        world.fail_syncs > 0 || world.fail_writes > 0 || world.limit.is_some()
    }

    /// Bytes of all files that have a name.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.world().used()
    }

    /// A sector of a file cannot be read from now on.
    pub fn spoil(&self, path: &Path, sector: usize) {
        let mut world = self.world();
        let inode = world.names[path];
        world.unreadable.insert((inode, sector));
    }

    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.world().dead
    }

    /// Writes and syncs so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.world().operations
    }

    /// Power comes back: what was not synced is there in part.
    pub fn reboot(&self) {
        let mut world = self.world();
        for change in std::mem::take(&mut world.changes) {
            if world.roll().is_multiple_of(2) {
                apply(&mut world.durable_names, &change);
            }
        }
        world.names = world.durable_names.clone();
        let mut inodes = std::mem::take(&mut world.inodes);
        for inode in &mut inodes {
            let size = if world.roll().is_multiple_of(2) { inode.now.len() } else { inode.durable_size };
            inode.durable.resize(size.max(inode.durable.len()), 0);
            for sector in std::mem::take(&mut inode.dirty) {
                if world.roll().is_multiple_of(2) {
                    copy_sector(&inode.now, &mut inode.durable, sector);
                }
            }
            inode.durable.truncate(size);
            inode.now = inode.durable.clone();
            inode.durable_size = inode.now.len();
        }
        world.inodes = inodes;
        world.dead = false;
        world.cut_at = None;
    }

    /// Changes a file without the knowledge of its users.
    pub fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut world = self.world();
        let inode = world.names[path];
        let mut bytes = world.inodes[inode].now.clone();
        change(&mut bytes);
        world.inodes[inode].now = bytes.clone();
        world.inodes[inode].durable_size = bytes.len();
        world.inodes[inode].durable = bytes;
    }
}

fn apply(names: &mut BTreeMap<PathBuf, usize>, change: &Change) {
    match change {
        Change::Put(_, path, inode) => {
            names.retain(|_, other| other != inode);
            names.insert(path.clone(), *inode);
        }
        Change::Remove(path) => {
            names.remove(path);
        }
    }
}

fn copy_sector(from: &[u8], to: &mut Vec<u8>, sector: usize) {
    let start = sector * SECTOR;
    let end = (start + SECTOR).min(from.len());
    if start < end {
        if to.len() < end {
            to.resize(end, 0);
        }
        to[start..end].copy_from_slice(&from[start..end]);
    }
}

impl World {
    fn roll(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 11
    }

    /// Counts an operation that the power may be cut at.
    fn operate(&mut self) -> io::Result<()> {
        self.alive()?;
        self.operations += 1;
        if self.cut_at.is_some_and(|at| self.operations > at) {
            self.dead = true;
        }
        self.alive()
    }

    /// Like `operate`, for operations that change the disk.
    fn change(&mut self) -> io::Result<()> {
        self.operate()?;
        if self.read_only { Err(io::ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }

    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(io::Error::other("no power")) } else { Ok(()) }
    }

    fn used(&self) -> u64 {
        self.names.values().map(|inode| self.inodes[*inode].now.len() as u64).sum()
    }

    /// Whether a file may grow to this length.
    fn room(&self, inode: usize, length: usize) -> io::Result<()> {
        let more = length.saturating_sub(self.inodes[inode].now.len()) as u64;
        match self.limit {
            Some(limit) if more > 0 && self.used() + more > limit => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        self.reading();
        let mut world = self.world();
        world.alive()?;
        let known = world.names.get(path).copied();
        let inode = match known {
            Some(inode) => inode,
            None if mode == Mode::Create => {
                world.change()?;
                world.inodes.push(Inode::default());
                let inode = world.inodes.len() - 1;
                let change = Change::Put(None, path.into(), inode);
                apply(&mut world.names, &change);
                world.changes.push(change);
                inode
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let world = self.world();
        world.alive()?;
        Ok(world.names.keys().filter(|path| path.parent() == Some(dir)).cloned().collect())
    }

    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        self.world().alive()
    }

    fn close_to_others(&self, _dir: &Path) {}

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.change()?;
        let inode = *world.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        let change = Change::Put(Some(from.into()), to.into(), inode);
        apply(&mut world.names, &change);
        world.changes.push(change);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.change()?;
        world.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        world.changes.push(Change::Remove(path.into()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.operate()?;
        if world.honest {
            for change in std::mem::take(&mut world.changes) {
                if change.touches(dir) {
                    // Older changes of this file or name do not matter any more.
                    world.changes.retain(|older| !older.is_about(&change));
                    apply(&mut world.durable_names, &change);
                } else {
                    world.changes.push(change);
                }
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: usize,
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.reading();
        let world = self.disk.world();
        world.alive()?;
        let bytes = &world.inodes[self.inode].now;
        let start = (offset as usize).min(bytes.len());
        let n = buffer.len().min(bytes.len() - start);
        let sectors = (self.inode, start / SECTOR)..(self.inode, (start + n).div_ceil(SECTOR));
        if world.unreadable.range(sectors).next().is_some() {
            return Err(io::Error::other("injected EIO"));
        }
        buffer[..n].copy_from_slice(&bytes[start..start + n]);
        Ok(n)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut world = self.disk.world();
        world.alive()?;
        // The write at which the power goes may leave any of its sectors.
        let mut done = world.operate();
        let start = offset as usize;
        if world.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        world.room(self.inode, start + bytes.len())?;
        let mut bytes = bytes;
        if world.fail_writes > 0 {
            world.fail_writes -= 1;
            bytes = &bytes[..bytes.len() / 2];
            done = Err(io::Error::other("injected EIO"));
        }
        let inode = &mut world.inodes[self.inode];
        let end = start + bytes.len();
        if inode.now.len() < end {
            inode.now.resize(end, 0);
        }
        inode.now[start..end].copy_from_slice(bytes);
        inode.dirty.extend(start / SECTOR..end.div_ceil(SECTOR));
        done
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.disk.world();
        world.operate()?;
        if world.failed.contains(&self.inode) {
            let name = world.names.iter().find(|(_, inode)| **inode == self.inode).map(|(path, _)| path.clone());
            world.synced_again.push(name.unwrap_or_default());
        }
        let mut fails = world.pass_syncs == 0 && world.fail_syncs > 0;
        world.fail_syncs -= u32::from(fails);
        world.pass_syncs = world.pass_syncs.saturating_sub(1);
        if world.alternate > 0 {
            world.alternate -= 1;
            fails |= world.alternate.is_multiple_of(2);
        }
        if fails {
            // Like Linux: the pages count as written, although they are not.
            world.failed.insert(self.inode);
            world.inodes[self.inode].dirty.clear();
            return Err(io::Error::other("injected EIO"));
        }
        if world.honest {
            let inode = &mut world.inodes[self.inode];
            for sector in std::mem::take(&mut inode.dirty) {
                copy_sector(&inode.now, &mut inode.durable, sector);
            }
            inode.durable.resize(inode.now.len(), 0);
            inode.durable_size = inode.now.len();
        }
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut world = self.disk.world();
        world.change()?;
        world.room(self.inode, length as usize)?;
        let inode = &mut world.inodes[self.inode];
        let size = inode.now.len().max(length as usize);
        inode.now.resize(size, 0);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        let world = self.disk.world();
        world.alive()?;
        Ok(world.inodes[self.inode].now.len() as u64)
    }

    fn is_at(&self, path: &Path) -> bool {
        self.disk.world().names.get(path).is_some_and(|inode| *inode == self.inode)
    }

    fn set_size(&self, length: u64) -> io::Result<()> {
        let mut world = self.disk.world();
        world.change()?;
        world.room(self.inode, length as usize)?;
        world.inodes[self.inode].now.resize(length as usize, 0);
        Ok(())
    }
}
