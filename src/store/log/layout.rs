//! Segment and frame headers, byte by byte (`docs/design/format.md`). All numbers are little-endian.

/// Frames start on multiples of this many bytes; the device is assumed not to tear a sector of this size.
pub const ALIGN: u64 = 512;
/// The bytes of a segment header; the first frame starts behind it.
pub const SEGMENT_HEADER: usize = 512;
/// Bytes of a frame header.
pub const FRAME_HEADER: usize = 48;
/// The largest frame body, in bytes.
pub const MAX_BODY: u32 = 4 << 20;
/// The size of a segment file, in bytes, unless a test asks for another.
pub const SEGMENT_BYTES: u64 = 8 << 20;
/// The bytes at the end of every segment that are kept for cursors, floors and Forebay's own events.
pub const TAIL_RESERVE: u64 = 64 << 10;

const SEGMENT_MAGIC: [u8; 8] = *b"FOREBAY\n";
const FRAME_MAGIC: u32 = 0x4d52_4642; // "BFRM"
/// The version of the format of segments and frames.
pub const FORMAT: u8 = 1;

/// Rounds up to the next frame boundary.
#[must_use]
pub const fn aligned(offset: u64) -> u64 {
    offset.div_ceil(ALIGN) * ALIGN
}

/// CRC32C seeded with the store's id, so that another store's bytes never pass.
#[must_use]
pub fn checksum(store: &[u8; 16], bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(store), bytes)
}

/// Whether a segment's records are in order of arrival, or were copied together from old segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Heat {
    /// The segment was written by commits.
    Hot,
    /// The segment was written by copying live sections out of old segments.
    Cold,
}

/// The first 512 bytes of a segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The id of the store that the segment belongs to.
    pub store: [u8; 16],
    /// The number of the segment, never used twice.
    pub number: u64,
    /// Whether the segment is hot or cold.
    pub heat: Heat,
    /// The size of the file, in bytes.
    pub size: u64,
    /// The lsn of the segment's first frame.
    pub first_lsn: u64,
    /// The number of the segment before this one; 0 for none.
    pub previous: u64,
    /// The offset at which the previous segment ends.
    pub previous_end: u64,
    /// The header CRC of the previous segment's last frame.
    pub previous_crc: u32,
}

impl SegmentHeader {
    /// The header as stored.
    #[must_use]
    pub fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut out = [0; SEGMENT_HEADER];
        out[0..8].copy_from_slice(&SEGMENT_MAGIC);
        out[8] = FORMAT;
        out[9] = match self.heat {
            Heat::Hot => 0,
            Heat::Cold => 1,
        };
        out[16..32].copy_from_slice(&self.store);
        out[32..40].copy_from_slice(&self.number.to_le_bytes());
        out[40..48].copy_from_slice(&self.size.to_le_bytes());
        out[48..56].copy_from_slice(&self.first_lsn.to_le_bytes());
        out[56..64].copy_from_slice(&self.previous.to_le_bytes());
        out[64..72].copy_from_slice(&self.previous_end.to_le_bytes());
        out[72..76].copy_from_slice(&self.previous_crc.to_le_bytes());
        let crc = checksum(&self.store, &out[..SEGMENT_HEADER - 4]);
        out[SEGMENT_HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Decodes the first bytes of a file; `None` when they are not a header of this format.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..SEGMENT_HEADER)?;
        if bytes[0..8] != SEGMENT_MAGIC || bytes[8] != FORMAT {
            return None;
        }
        let store: [u8; 16] = bytes[16..32].try_into().ok()?;
        if checksum(&store, &bytes[..SEGMENT_HEADER - 4]) != u32_at(bytes, SEGMENT_HEADER - 4)? {
            return None;
        }
        Some(Self {
            store,
            number: u64_at(bytes, 32)?,
            heat: match bytes[9] {
                0 => Heat::Hot,
                1 => Heat::Cold,
                _ => return None,
            },
            size: u64_at(bytes, 40)?,
            first_lsn: u64_at(bytes, 48)?,
            previous: u64_at(bytes, 56)?,
            previous_end: u64_at(bytes, 64)?,
            previous_crc: u32_at(bytes, 72)?,
        })
    }
}

/// The format of a segment that a newer Forebay has written, by the first bytes of its file. Every format keeps the
/// places of the magic, the version, the store's id and the checksum.
#[must_use]
pub fn newer_format(bytes: &[u8]) -> Option<u8> {
    let bytes = bytes.get(..SEGMENT_HEADER).filter(|bytes| bytes[0..8] == SEGMENT_MAGIC && bytes[8] > FORMAT)?;
    let store: [u8; 16] = bytes[16..32].try_into().ok()?;
    let is_whole = checksum(&store, &bytes[..SEGMENT_HEADER - 4]) == u32_at(bytes, SEGMENT_HEADER - 4)?;
    is_whole.then_some(bytes[8])
}

/// The purpose of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Records, positions, cursors and floors.
    Commit,
    /// All state that a start needs; the first frame of every hot segment.
    Checkpoint,
    /// The store was opened for writing: a new epoch.
    Open,
    /// The store was closed in order.
    Close,
    /// Sections copied out of an old segment.
    Carry,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Commit, Self::Checkpoint, Self::Open, Self::Close, Self::Carry];

    fn number(self) -> u8 {
        match self {
            Self::Commit => 1,
            Self::Checkpoint => 2,
            Self::Open => 3,
            Self::Close => 4,
            Self::Carry => 5,
        }
    }
}

/// The 48 bytes in front of every frame body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// The purpose of the frame.
    pub kind: Kind,
    /// The number of the segment that the frame was written to.
    pub segment: u64,
    /// The number of the frame: one more than that of the frame before it.
    pub lsn: u64,
    /// The header CRC of the frame before it.
    pub previous: u32,
    /// The bytes of the body.
    pub length: u32,
    /// CRC of the body.
    pub body: u32,
}

impl FrameHeader {
    /// The header as stored.
    #[must_use]
    pub fn encode(&self, store: &[u8; 16]) -> [u8; FRAME_HEADER] {
        let mut out = [0; FRAME_HEADER];
        out[0..4].copy_from_slice(&FRAME_MAGIC.to_le_bytes());
        out[4] = FORMAT;
        out[5] = self.kind.number();
        out[8..16].copy_from_slice(&self.segment.to_le_bytes());
        out[16..24].copy_from_slice(&self.lsn.to_le_bytes());
        out[24..28].copy_from_slice(&self.previous.to_le_bytes());
        out[28..32].copy_from_slice(&self.length.to_le_bytes());
        out[32..36].copy_from_slice(&self.body.to_le_bytes());
        let crc = checksum(store, &out[..FRAME_HEADER - 4]);
        out[FRAME_HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Decodes a frame header; `None` when the bytes are not a header of this store and format.
    #[must_use]
    pub fn decode(store: &[u8; 16], bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..FRAME_HEADER)?;
        if u32_at(bytes, 0)? != FRAME_MAGIC || bytes[4] != FORMAT {
            return None;
        }
        if checksum(store, &bytes[..FRAME_HEADER - 4]) != u32_at(bytes, FRAME_HEADER - 4)? {
            return None;
        }
        let length = u32_at(bytes, 28)?;
        (length <= MAX_BODY).then_some(Self {
            kind: *Kind::ALL.iter().find(|kind| kind.number() == bytes[5])?,
            segment: u64_at(bytes, 8)?,
            lsn: u64_at(bytes, 16)?,
            previous: u32_at(bytes, 24)?,
            length,
            body: u32_at(bytes, 32)?,
        })
    }

    /// The CRC of this header; the next frame carries it.
    #[must_use]
    pub fn crc(&self, store: &[u8; 16]) -> u32 {
        let bytes = self.encode(store);
        u32_at(&bytes, FRAME_HEADER - 4).unwrap_or(0)
    }

    /// Bytes from this frame's start to the next.
    #[must_use]
    pub fn span(&self) -> u64 {
        aligned(FRAME_HEADER as u64 + u64::from(self.length))
    }
}

/// A little-endian u32 at an offset.
#[must_use]
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: [u8; 16] = [7; 16];

    #[test]
    fn headers_come_back_and_every_flipped_bit_is_noticed() {
        let segment = SegmentHeader {
            store: STORE,
            number: 3,
            heat: Heat::Cold,
            size: SEGMENT_BYTES,
            first_lsn: 99,
            previous: 2,
            previous_end: 4096,
            previous_crc: 0xdead_beef,
        };
        let frame = FrameHeader { kind: Kind::Carry, segment: 3, lsn: 99, previous: 1, length: 10, body: 5 };
        assert_eq!(SegmentHeader::decode(&segment.encode()), Some(segment));
        assert_eq!(FrameHeader::decode(&STORE, &frame.encode(&STORE)), Some(frame));
        assert_eq!(FrameHeader::decode(&[8; 16], &frame.encode(&STORE)), None, "another store's frame");
        for bit in 0..SEGMENT_HEADER * 8 {
            let mut bytes = segment.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bytes), None, "bit {bit}");
        }
        for bit in 0..FRAME_HEADER * 8 {
            let mut bytes = frame.encode(&STORE);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHeader::decode(&STORE, &bytes), None, "bit {bit}");
        }
    }

    #[test]
    fn a_frame_is_padded_to_whole_sectors() {
        let frame =
            |length| FrameHeader { kind: Kind::Commit, segment: 1, lsn: 1, previous: 0, length, body: 0 }.span();
        assert_eq!((frame(0), frame(464), frame(465)), (512, 512, 1024));
    }
}
