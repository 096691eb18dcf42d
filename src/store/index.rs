//! The index: redb holds only facts that the log can give back.
//!
//! The index holds the summaries of the sealed segments (their streams, sequences and times), so that a start need
//! not open each segment. It also holds the last frame at the time of writing, so that a start notices when the
//! device has lost settled data.
//!
//! redb does not check its pages on ordinary reads, and may panic on rotten bytes. So every call runs under
//! `catch_unwind`, and any failure sets the file aside.

use super::log::body::Summary;
use super::log::recover::Remembered;
use super::log::segment::Folders;
use crate::platform::disk::{Disk, DiskFile, Mode};
use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

const SEGMENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("segments");
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
const STORE_ID: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("store");
const CACHE_BYTES: usize = 1 << 20;

/// Why the index cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// redb returned an error.
    #[error("{0}")]
    Redb(Box<redb::Error>),
    /// redb panicked.
    #[error("the index file made its library panic")]
    Panic,
    /// An entry does not decode.
    #[error("an entry of the index does not decode")]
    Entry,
}

impl<E: Into<redb::Error>> From<E> for IndexError {
    fn from(error: E) -> Self {
        Self::Redb(Box::new(error.into()))
    }
}

/// The open index.
#[derive(Debug)]
pub struct Index {
    /// The database; present until the index is dropped.
    database: Option<Database>,
}

impl Drop for Index {
    fn drop(&mut self) {
        let database = self.database.take();
        // Closing the database writes, and may panic on rotten bytes like every other call.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
    }
}

/// The changes that are written at a segment roll and at a clean stop.
#[derive(Debug)]
pub struct Update<'a> {
    /// The store's id.
    pub store: &'a [u8; 16],
    /// The lsn of the last durable frame.
    pub lsn: u64,
    /// The segments that were newly sealed.
    pub sealed: &'a [Summary],
    /// The numbers of the segments that were freed.
    pub freed: &'a [u64],
}

impl Index {
    /// Opens the index file; creates it if there is none.
    ///
    /// # Errors
    /// When the file cannot be opened; the caller may then set it aside.
    pub fn open(disk: &dyn Disk, folders: &Folders) -> Result<Self, IndexError> {
        guarded(|| {
            let path = folders.root.join("index.redb");
            let file = disk.open(&path, Mode::Create).map_err(redb::Error::from)?;
            let database = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(Backend(file))?;
            Ok(Self { database: Some(database) })
        })
    }

    /// Moves the file to `damaged/`.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn set_aside(disk: &dyn Disk, folders: &Folders) -> io::Result<()> {
        let to = folders.damaged.join(format!("index-{:08x}.redb", crate::platform::random::u32()));
        disk.rename(&folders.root.join("index.redb"), &to)
    }

    /// Reads the whole index.
    ///
    /// # Errors
    /// When any entry is bad.
    pub fn load(&self) -> Result<Remembered, IndexError> {
        guarded(|| {
            let read = self.database.as_ref().ok_or(IndexError::Panic)?.begin_read()?;
            let mut remembered = Remembered::default();
            if let Some(table) = present(read.open_table(STORE_ID))?
                && let Some(id) = table.get("id")?
            {
                remembered.store = Some(id.value().try_into().map_err(|_| IndexError::Entry)?);
            }
            if let Some(table) = present(read.open_table(NUMBERS))?
                && let Some(lsn) = table.get("lsn")?
            {
                (remembered.lsn, remembered.index_lsn) = (lsn.value(), lsn.value());
            }
            if let Some(table) = present(read.open_table(SEGMENTS))? {
                for entry in table.iter()? {
                    let (number, bytes) = entry?;
                    let summary = unpack(bytes.value()).filter(|summary| summary.number == number.value());
                    remembered.summaries.insert(number.value(), summary.ok_or(IndexError::Entry)?);
                }
            }
            Ok(remembered)
        })
    }

    /// Writes the changes.
    ///
    /// # Errors
    /// When the disk is full, or redb fails otherwise; redb must then be opened again.
    pub fn save(&self, update: &Update<'_>) -> Result<(), IndexError> {
        guarded(|| {
            let mut write = self.database.as_ref().ok_or(IndexError::Panic)?.begin_write()?;
            write.set_quick_repair(true);
            {
                write.open_table(STORE_ID)?.insert("id", update.store.as_slice())?;
                write.open_table(NUMBERS)?.insert("lsn", update.lsn)?;
                let mut segments = write.open_table(SEGMENTS)?;
                for summary in update.sealed {
                    segments.insert(summary.number, pack(summary)?.as_slice())?;
                }
                for number in update.freed {
                    segments.remove(number)?;
                }
            }
            write.commit()?;
            Ok(())
        })
    }
}

/// Encodes a summary. redb returns a flipped bit as a value, so every entry carries its own CRC.
fn pack(summary: &Summary) -> Result<Vec<u8>, IndexError> {
    let mut bytes = postcard::to_allocvec(summary).map_err(|_| IndexError::Entry)?;
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    Ok(bytes)
}

fn unpack(bytes: &[u8]) -> Option<Summary> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    (crc32c::crc32c(body) == u32::from_le_bytes(*crc)).then(|| postcard::from_bytes(body).ok())?
}

fn present<T>(table: Result<T, redb::TableError>) -> Result<Option<T>, IndexError> {
    match table {
        Ok(table) => Ok(Some(table)),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn guarded<T>(run: impl FnOnce() -> Result<T, IndexError>) -> Result<T, IndexError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(IndexError::Panic))
}

/// redb's storage on Forebay's `DiskFile`. The store's own lock keeps a second writer out.
#[derive(Debug)]
struct Backend(Arc<dyn DiskFile>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.0.read_at(out, offset)? < out.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_size(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(data, offset)
    }
}
