//! The body of a request: read, bounded, decompressed.

use crate::platform::unpack::{Packing, UnpackError};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Why a body cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub enum BodyError {
    /// The body has more bytes than allowed, packed or unpacked.
    TooLarge,
    /// The body ended early, or cannot be unpacked.
    Bad(String),
    /// The content coding is not supported.
    Coding(String),
    /// Other requests take so much memory that there is none for this body.
    NoRoom,
}

/// Reads and unpacks a body. Its memory is taken from `room`, and given back with the permit. `unpackers`
/// limits the number of bodies that are unpacked at a time.
///
/// # Errors
/// When the body is too large, broken, or packed in a way that is not known; when there is no room.
pub async fn read(
    mut body: Incoming,
    coding: Option<&str>,
    most: usize,
    room: &Arc<Semaphore>,
    unpackers: &Semaphore,
) -> Result<(Bytes, OwnedSemaphorePermit), BodyError> {
    let take = |bytes: usize| {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        room.clone().try_acquire_many_owned(bytes).map_err(|_| BodyError::NoRoom)
    };
    // A body that is announced as too large need not be read.
    if body.size_hint().lower() > most as u64 {
        return Err(BodyError::TooLarge);
    }
    let (mut packed, mut permit) = (Vec::new(), take(0)?);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| BodyError::Bad(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if packed.len() + data.len() > most {
            return Err(BodyError::TooLarge);
        }
        permit.merge(take(data.len())?);
        packed.extend_from_slice(&data);
    }
    let is_packed = coding.is_some_and(|coding| !matches!(coding.trim(), "" | "identity"));
    if !is_packed {
        return Ok((packed.into(), permit));
    }
    let length = packed.len();
    let body = {
        // A request that holds this place waits for nothing.
        let _place = unpackers.acquire().await.map_err(|_| BodyError::NoRoom)?;
        unpack(packed.into(), coding, most)?
    };
    permit.merge(take(body.len().saturating_sub(length))?);
    Ok((body, permit))
}

/// Unpacks a body to at most `most` bytes.
///
/// # Errors
/// As `read`.
pub fn unpack(packed: Bytes, coding: Option<&str>, most: usize) -> Result<Bytes, BodyError> {
    let packing = match coding.map(str::trim) {
        None | Some("" | "identity") => return Ok(packed),
        Some("gzip" | "x-gzip") => Packing::Gzip,
        Some("deflate") => Packing::Zlib,
        Some("zstd") => Packing::Zstd,
        Some("snappy") => Packing::Snappy,
        Some(other) => return Err(BodyError::Coding(other.into())),
    };
    packing.unpack(&packed, most).map_err(|error| match error {
        UnpackError::TooLarge(_) => BodyError::TooLarge,
        UnpackError::Bad(why) => BodyError::Bad(why),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    #[test]
    fn bodies_are_unpacked_within_their_limit() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&[b'x'; 1000]).unwrap();
        let gzip = Bytes::from(gzip.finish().unwrap());
        let zstd = Bytes::from(zstd::encode_all(&[b'x'; 1000][..], 1).unwrap());
        for (packed, coding) in [(&gzip, "gzip"), (&zstd, "zstd")] {
            assert_eq!(unpack(packed.clone(), Some(coding), 1000).unwrap().len(), 1000);
            assert_eq!(unpack(packed.clone(), Some(coding), 999), Err(BodyError::TooLarge), "a bomb is defused");
            assert!(matches!(unpack(packed.slice(..12), Some(coding), 1000), Err(BodyError::Bad(_))));
        }
        assert_eq!(unpack(Bytes::from("a"), Some("br"), 9), Err(BodyError::Coding("br".into())));
        assert_eq!(unpack(Bytes::from("a"), None, 9), Ok(Bytes::from("a")));
    }
}
