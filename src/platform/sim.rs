//! A disk in memory that loses power, for tests.
//!
//! What was written and not synced is lost in part: of every file's unsynced sectors an arbitrary
//! subset survives, of the unsynced directory changes an arbitrary prefix. After the cut every
//! call fails until `reboot`.

#![allow(clippy::cast_possible_truncation)]

use super::disk::{Disk, DiskFile, Mode};
use std::collections::BTreeMap;
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
    Put(PathBuf, usize),
    Remove(PathBuf),
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
    alternate: u32,
    random: u64,
}

/// The disk; clones share it.
#[derive(Debug, Clone)]
pub struct SimDisk(Arc<Mutex<World>>);

impl SimDisk {
    /// Empty; the seed decides what survives a cut.
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
        self.world().fail_syncs = count;
    }

    /// Of the next syncs of files, the first, third and so on fail with EIO.
    pub fn fail_every_other_sync(&self, count: u32) {
        self.world().alternate = count;
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
        let survive = if world.changes.is_empty() { 0 } else { world.roll() as usize % (world.changes.len() + 1) };
        let changes = std::mem::take(&mut world.changes);
        for change in &changes[..survive] {
            apply(&mut world.durable_names, change);
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

    /// Changes a file behind everybody's back.
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
        Change::Put(path, inode) => {
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

    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(io::Error::other("no power")) } else { Ok(()) }
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        let mut world = self.world();
        world.alive()?;
        let known = world.names.get(path).copied();
        let inode = match known {
            Some(inode) => inode,
            None if mode == Mode::Create => {
                world.operate()?;
                world.inodes.push(Inode::default());
                let inode = world.inodes.len() - 1;
                let change = Change::Put(path.into(), inode);
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

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.operate()?;
        let inode = *world.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        let change = Change::Put(to.into(), inode);
        apply(&mut world.names, &change);
        world.changes.push(change);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.operate()?;
        world.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        world.changes.push(Change::Remove(path.into()));
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.operate()?;
        if world.honest {
            // A journal commits the changes of every directory together.
            world.durable_names = world.names.clone();
            world.changes.clear();
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
        let world = self.disk.world();
        world.alive()?;
        let bytes = &world.inodes[self.inode].now;
        let start = (offset as usize).min(bytes.len());
        let n = buffer.len().min(bytes.len() - start);
        buffer[..n].copy_from_slice(&bytes[start..start + n]);
        Ok(n)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut world = self.disk.world();
        // The write at which the power goes may leave any of its sectors.
        let done = world.operate();
        let inode = &mut world.inodes[self.inode];
        let start = offset as usize;
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
        if world.alternate > 0 {
            world.alternate -= 1;
            if world.alternate.is_multiple_of(2) {
                return Err(io::Error::other("injected EIO"));
            }
        }
        if world.fail_syncs > 0 {
            world.fail_syncs -= 1;
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
        world.operate()?;
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

    fn set_size(&self, length: u64) -> io::Result<()> {
        let mut world = self.disk.world();
        world.operate()?;
        world.inodes[self.inode].now.resize(length as usize, 0);
        Ok(())
    }
}
