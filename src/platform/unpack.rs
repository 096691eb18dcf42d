//! Unpacks gzip, zlib, zstd and Snappy within a limit.

use bytes::Bytes;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use std::io::{self, Read};

/// The largest zstd window that is accepted is 8 MiB, as levels up to 19 use. This bounds the memory for unpacking.
pub const ZSTD_WINDOW_LOG: u32 = 23;

/// A way of packing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// gzip (RFC 1952), also several members one behind another.
    Gzip,
    /// zlib (RFC 1950).
    Zlib,
    /// Zstandard (RFC 8878).
    Zstd,
    /// A block of Snappy, as Prometheus sends it. It has no beginning to know it by.
    Snappy,
}

/// Why something cannot be unpacked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// It has more bytes unpacked than allowed.
    #[error("more than {0} bytes unpacked")]
    TooLarge(usize),
    /// It is damaged, or ends early.
    #[error("cannot be unpacked: {0}")]
    Bad(String),
}

impl Packing {
    /// How bytes seem to be packed, by how they begin. Text may begin like zlib.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x1f, 0x8b, 0x08, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            // The first two bytes are a multiple of 31; the usual window is 32 KiB (RFC 1950, section 2.2).
            [0x78, second, ..] if (0x7800 + u16::from(*second)).is_multiple_of(31) => Some(Self::Zlib),
            _ => None,
        }
    }

    /// Unpacks to at most `most` bytes.
    ///
    /// # Errors
    /// The bytes are damaged, or would be more than `most`.
    pub fn unpack(self, packed: &[u8], most: usize) -> Result<Bytes, UnpackError> {
        match self {
            Self::Gzip => bounded(MultiGzDecoder::new(packed), most),
            Self::Zlib => bounded(ZlibDecoder::new(packed), most),
            Self::Zstd => {
                let reader = || {
                    let mut reader = zstd::stream::read::Decoder::new(packed)?;
                    reader.window_log_max(ZSTD_WINDOW_LOG)?;
                    Ok(reader)
                };
                bounded(reader().map_err(bad)?, most)
            }
            Self::Snappy => {
                let bad = |error: snap::Error| UnpackError::Bad(error.to_string());
                // The length stands at the beginning, so nothing is unpacked in vain.
                if snap::raw::decompress_len(packed).map_err(bad)? > most {
                    return Err(UnpackError::TooLarge(most));
                }
                Ok(snap::raw::Decoder::new().decompress_vec(packed).map_err(bad)?.into())
            }
        }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "as `map_err` wants it")]
fn bad(error: io::Error) -> UnpackError {
    UnpackError::Bad(error.to_string())
}

fn bounded(reader: impl Read, most: usize) -> Result<Bytes, UnpackError> {
    let mut out = Vec::new();
    reader.take(most as u64 + 1).read_to_end(&mut out).map_err(bad)?;
    if out.len() > most { Err(UnpackError::TooLarge(most)) } else { Ok(out.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use std::io::Write;

    #[test]
    fn what_is_packed_is_known_by_its_beginning_and_unpacked_within_the_limit() {
        let text = [b'x'; 1000];
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&text).unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(&text).unwrap();
        let zstd = zstd::encode_all(&text[..], 1).unwrap();
        let all =
            [(Packing::Gzip, gzip.finish().unwrap()), (Packing::Zlib, zlib.finish().unwrap()), (Packing::Zstd, zstd)];
        for (packing, packed) in all {
            assert_eq!(Packing::of(&packed), Some(packing));
            assert_eq!(packing.unpack(&packed, 1000).unwrap(), text[..]);
            assert_eq!(packing.unpack(&packed, 999), Err(UnpackError::TooLarge(999)), "a bomb is defused");
            assert!(matches!(packing.unpack(&packed[..packed.len() / 2], 1000), Err(UnpackError::Bad(_))));
        }
        let snappy = snap::raw::Encoder::new().compress_vec(&text).unwrap();
        assert_eq!(Packing::Snappy.unpack(&snappy, 1000).unwrap(), text[..]);
        assert_eq!(Packing::Snappy.unpack(&snappy, 999), Err(UnpackError::TooLarge(999)));
        assert!(Packing::Snappy.unpack(&snappy[..snappy.len() - 1], 1000).is_err());
        assert_eq!((Packing::of(b"{}"), Packing::of(b"x=1"), Packing::of(b"")), (None, None, None));
    }
}
