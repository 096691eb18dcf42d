//! One file that is being written.

use super::Settings;
use crate::platform::disk::is_at;
use flate2::bufread::GzDecoder;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The end of the name of a file that is being written.
pub const WRITING: &str = ".writing";

/// A file that is being written, with the facts that are needed to finish it.
#[derive(Debug)]
pub struct Written {
    file: File,
    /// The path of the file while it is written; without [`WRITING`] it is the final path.
    path: PathBuf,
    /// The epoch of its records.
    pub epoch: u64,
    /// The number of bytes that were written to the file.
    pub length: u64,
    /// The time when the file was made.
    pub since: Instant,
}

impl Written {
    /// Makes a file. Its final name is `stem` and `ending`, with a number between them if that name is taken.
    pub fn create(settings: &Settings, stem: &str, ending: &str, epoch: u64) -> io::Result<Self> {
        let taken = |path: &Path| path.exists() || writing(path).exists();
        let candidates = (0_u32..).map(|number| match number {
            0 => settings.path.join(format!("{stem}{ending}")),
            _ => settings.path.join(format!("{stem}.{number}{ending}")),
        });
        let free = candidates.take(10_000).find(|path| !taken(path));
        let Some(free) = free else {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("10000 files are named {stem}")));
        };
        let path = writing(&free);
        let file = OpenOptions::new().create_new(true).append(true).mode(settings.mode).open(&path)?;
        // The umask takes rights away that `mode` gives. An error does no harm: vfat, for example, has no rights.
        let _ = file.set_permissions(Permissions::from_mode(settings.mode));
        Ok(Self { file, path, epoch, length: 0, since: Instant::now() })
    }

    /// Whether the path still leads to this file, and nobody else wrote to the file.
    pub fn is_in_place(&self) -> bool {
        is_at(&self.file, &self.path) && self.file.metadata().is_ok_and(|ours| ours.len() == self.length)
    }

    /// Whether the file is being written at this path.
    pub fn is_at(&self, path: &Path) -> bool {
        self.path == path
    }

    /// Adds a body. After an error the file ends as before.
    pub fn append(&mut self, body: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(body) {
            // If the file cannot be cut either, its length shows that it has more bytes than were added.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += body.len() as u64;
        Ok(())
    }

    /// Makes the added bodies durable. The entry of a new file in the folder needs a sync of the folder as well.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Gives the file its final name; an empty file is removed.
    pub fn finish(self) -> io::Result<()> {
        if self.is_in_place() {
            // A file that a full disk left empty is of no use to anybody.
            return if self.length == 0 { std::fs::remove_file(&self.path) } else { finish(&self.path) };
        }
        if is_at(&self.file, &self.path) {
            // Somebody else wrote to the file, or the part of a batch that a full disk took could not be cut off.
            // That batch is written again in the next file.
            self.file.set_len(self.file.metadata()?.len().min(self.length))?;
            self.file.sync_all()?;
            return finish_left(&self.path);
        }
        // Somebody else took the file away: it is theirs.
        Ok(())
    }
}

fn writing(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(WRITING);
    name.into()
}

/// Renames a file to its final name, without [`WRITING`].
fn finish(path: &Path) -> io::Result<()> {
    let name = path.to_string_lossy();
    match name.strip_suffix(WRITING) {
        Some(last) => std::fs::rename(path, last),
        None => Ok(()),
    }
}

/// Finishes a file that a killed process left: cuts it to whole lines or gzip members, removes it if none is left.
pub fn finish_left(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let is_packed = path.to_string_lossy().ends_with(&format!(".gz{WRITING}"));
    let whole = if is_packed { whole_members(&mut file)? } else { whole_lines(&mut file)? };
    if whole == 0 {
        return std::fs::remove_file(path);
    }
    if whole < file.metadata()?.len() {
        file.set_len(whole)?;
        file.sync_all()?;
    }
    finish(path)
}

/// The offset of the end of the last whole line, in bytes.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let mut reader = BufReader::new(file);
    let (mut at, mut whole) = (0, 0);
    loop {
        let block = reader.fill_buf()?;
        if block.is_empty() {
            return Ok(whole);
        }
        if let Some(end) = block.iter().rposition(|byte| *byte == b'\n') {
            whole = at + end as u64 + 1;
        }
        let n = block.len();
        at += n as u64;
        reader.consume(n);
    }
}

/// The offset of the end of the last whole gzip member, in bytes.
fn whole_members(file: &mut File) -> io::Result<u64> {
    let mut reader = BufReader::new(file);
    let mut whole = 0;
    while !reader.fill_buf()?.is_empty() {
        let mut member = GzDecoder::new(&mut reader);
        let read = io::copy(&mut Read::by_ref(&mut member), &mut io::sink());
        match read {
            Ok(_) => whole = reader.stream_position()?,
            // An error of the disk says nothing about the content of the file.
            Err(error) if error.raw_os_error().is_some() => return Err(error),
            Err(_) => break,
        }
    }
    Ok(whole)
}
