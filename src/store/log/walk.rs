//! Reading frames in order, and getting past damage.
//!
//! Where a frame does not pass its checks, the walk searches every later 512-byte boundary, up to `end`. It looks
//! for a good header of the same segment with a higher lsn. If there is one, the bytes in between are damage. If
//! there is none, the log ends here.

use super::body;
use super::layout::{ALIGN, FRAME_HEADER, FrameHeader, SEGMENT_HEADER, checksum};
use crate::platform::disk::DiskFile;
use std::io;
use std::sync::Arc;

/// Bytes that are read at once for a frame's header and, mostly, its whole directory.
const FIRST_READ: usize = 4096;
/// `ALIGN` as a length of slices, in bytes.
const SECTOR: usize = 512;
/// Bytes that are read at once in the search for the next good header.
const SCAN_READ: usize = 64 << 10;

/// Reads past bad sectors: sectors that the device cannot read come as zeros, which pass no check.
///
/// # Errors
/// When not even the segment's first sector can be read. Then the device is gone, and no bytes may be taken for
/// damaged.
pub fn read_past_damage(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let error = match file.read_at(buffer, offset) {
        Ok(n) => return Ok(n),
        Err(error) => error,
    };
    if file.read_at(&mut [0; SECTOR], 0).is_err() {
        return Err(error);
    }
    let mut done = 0;
    for (at, sector) in (offset..).step_by(SECTOR).zip(buffer.chunks_mut(SECTOR)) {
        match file.read_at(sector, at) {
            Ok(n) => {
                done += n;
                if n < sector.len() {
                    break;
                }
            }
            Err(_) => {
                sector.fill(0);
                done += sector.len();
            }
        }
    }
    Ok(done)
}

/// A frame that passed its checks.
#[derive(Debug, Clone)]
pub struct Found {
    /// The offset at which the frame starts.
    pub offset: u64,
    /// The header of the frame.
    pub header: FrameHeader,
    /// The first bytes of the body: at least the directory, as far as it could be read.
    pub body: Vec<u8>,
    /// False when the body's CRC is wrong although later frames are good; only with `bodies`.
    pub whole: bool,
}

/// The next item of a walk.
#[derive(Debug)]
pub enum Step {
    /// A frame that passed its checks.
    Frame(Found),
    /// Bytes between frames that are not a frame.
    Damage {
        /// The first bad byte.
        from: u64,
        /// The offset of the next good frame.
        to: u64,
    },
    /// No frame follows.
    End {
        /// The offset at which the next frame would go.
        at: u64,
        /// The header of a frame at this offset whose body is torn, if there is one.
        torn: Option<FrameHeader>,
    },
}

/// Reads the frames of one segment, in order.
#[derive(Debug)]
pub struct Walk {
    store: [u8; 16],
    file: Arc<dyn DiskFile>,
    segment: u64,
    at: u64,
    end: u64,
    bodies: bool,
    last: Option<(u64, u32)>,
}

impl Walk {
    /// A walk from an offset to `end`; with `bodies`, every body is read and checked.
    #[must_use]
    pub fn new(store: [u8; 16], file: Arc<dyn DiskFile>, segment: u64, at: u64, end: u64, bodies: bool) -> Self {
        Self { store, file, segment, at: at.max(SEGMENT_HEADER as u64), end, bodies, last: None }
    }

    /// Requires that the next frame follows the frame with this lsn and header CRC.
    #[must_use]
    pub fn after(mut self, lsn: u64, crc: u32) -> Self {
        self.last = Some((lsn, crc));
        self
    }

    /// The offset at which the next step looks.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.at
    }

    /// The lsn and header CRC of the last good frame.
    #[must_use]
    pub fn last(&self) -> Option<(u64, u32)> {
        self.last
    }

    /// Reads the next item.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn step(&mut self) -> io::Result<Step> {
        let (header, follows) = match self.header_at(self.at)? {
            Some(header) => (Some(header), self.follows(&header)),
            None => (None, false),
        };
        if let Some(header) = header.filter(|_| follows) {
            let (body, whole) = self.body_of(&header)?;
            if whole {
                return Ok(Step::Frame(self.take(header, body, true)));
            }
            // Later frames prove that this frame was synced once; its directory may still be usable.
            if self.find_after(self.at + ALIGN, header.lsn)?.is_some() && body::directory_length(&body).is_some() {
                return Ok(Step::Frame(self.take(header, body, false)));
            }
            return Ok(Step::End { at: self.at, torn: Some(header) });
        }
        let lsn = self.last.map_or(0, |(lsn, _)| lsn);
        match self.find_after(self.at + ALIGN, lsn)? {
            Some(to) => {
                let from = std::mem::replace(&mut self.at, to);
                self.last = None;
                Ok(Step::Damage { from, to })
            }
            None => Ok(Step::End { at: self.at, torn: None }),
        }
    }

    fn take(&mut self, header: FrameHeader, body: Vec<u8>, whole: bool) -> Found {
        let offset = self.at;
        self.at += header.span();
        self.last = Some((header.lsn, header.crc(&self.store)));
        Found { offset, header, body, whole }
    }

    fn follows(&self, header: &FrameHeader) -> bool {
        self.last.is_none_or(|(lsn, crc)| header.lsn == lsn + 1 && header.previous == crc)
    }

    fn header_at(&self, offset: u64) -> io::Result<Option<FrameHeader>> {
        if offset + FRAME_HEADER as u64 > self.end {
            return Ok(None);
        }
        let mut bytes = [0; FRAME_HEADER];
        let n = read_past_damage(&*self.file, &mut bytes, offset)?;
        Ok(FrameHeader::decode(&self.store, &bytes[..n])
            .filter(|header| header.segment == self.segment && offset + header.span() <= self.end))
    }

    /// The body, or only its directory; and whether the bytes that were asked for are good.
    fn body_of(&self, header: &FrameHeader) -> io::Result<(Vec<u8>, bool)> {
        let start = self.at + FRAME_HEADER as u64;
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        if self.bodies {
            let mut bytes = vec![0; length];
            let n = read_past_damage(&*self.file, &mut bytes, start)?;
            let whole = n == length && checksum(&self.store, &bytes) == header.body;
            return Ok((bytes, whole));
        }
        let mut bytes = vec![0; length.min(FIRST_READ)];
        let n = read_past_damage(&*self.file, &mut bytes, start)?;
        bytes.truncate(n);
        let need = body::directory_length(&bytes).map_or(0, |n| n.saturating_add(body::PREFIX)).min(length);
        if need > bytes.len() {
            bytes = vec![0; need];
            let n = read_past_damage(&*self.file, &mut bytes, start)?;
            bytes.truncate(n);
        }
        // A directory with a wrong CRC is noticed when it is decoded.
        Ok((bytes, true))
    }

    /// The first boundary at or behind `from` with a good header of this segment above `lsn`.
    fn find_after(&self, from: u64, lsn: u64) -> io::Result<Option<u64>> {
        let mut buffer = vec![0; SCAN_READ];
        let mut at = from;
        while at < self.end {
            let n = read_past_damage(&*self.file, &mut buffer, at)?;
            if n == 0 {
                break;
            }
            for (offset, sector) in (at..).step_by(SECTOR).zip(buffer[..n].chunks(SECTOR)) {
                let good = FrameHeader::decode(&self.store, sector)
                    .is_some_and(|h| h.segment == self.segment && h.lsn > lsn && offset + h.span() <= self.end);
                if good {
                    return Ok(Some(offset));
                }
            }
            at += SCAN_READ as u64;
        }
        Ok(None)
    }
}
