//! A frame as it is written: header, body, padding.

use super::layout::{FrameHeader, Kind, MAX_BODY, checksum};
use std::io;

/// A frame with its padding. `place` is the lsn of the frame, and the header CRC of the frame before it.
///
/// # Errors
/// When the body is too large.
pub fn frame(
    store: &[u8; 16],
    kind: Kind,
    segment: u64,
    place: (u64, u32),
    bytes: &[u8],
) -> io::Result<(FrameHeader, Vec<u8>)> {
    let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= MAX_BODY);
    let length = length.ok_or_else(|| io::Error::other("a frame of more than 4 MiB"))?;
    let (lsn, previous) = place;
    let header = FrameHeader { kind, segment, lsn, previous, length, body: checksum(store, bytes) };
    let span = usize::try_from(header.span()).unwrap_or(usize::MAX);
    let mut out = Vec::with_capacity(span);
    out.extend_from_slice(&header.encode(store));
    out.extend_from_slice(bytes);
    out.resize(span, 0);
    Ok((header, out))
}
