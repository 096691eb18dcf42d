//! The encoding of the records of a section: postcard, one record after another, then zstd level 1.
//!
//! A key (topic, path) is written in full at its first use in a section, and by its number afterwards. Payload
//! bytes are verbatim.

use crate::flow::record::{PayloadKind, Record, RecordRef};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// The section is stored without compression.
pub const CODEC_NONE: u8 = 0;
/// The section is compressed with zstd.
pub const CODEC_ZSTD: u8 = 1;
const ZSTD_LEVEL: i32 = 1;
/// Nothing is stored: the sequences were given up before they were written.
pub const CODEC_DROPPED: u8 = 2;
/// The largest section before compression, in bytes.
pub const MAX_RAW: u32 = 8 << 20;

#[derive(Serialize, Deserialize)]
enum KeyRef<'a> {
    New(&'a str),
    Seen(u32),
}

#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    arrival_delta: i64,
    device_time_us: Option<i64>,
    #[serde(borrow)]
    key: KeyRef<'a>,
    flags: u8,
    #[serde(borrow)]
    attributes: Vec<(&'a str, &'a str)>,
    kind: PayloadKind,
    #[serde(with = "serde_bytes")]
    payload: &'a [u8],
}

/// Collects the records of one section.
#[derive(Debug, Default)]
pub struct Builder {
    raw: Vec<u8>,
    keys: HashMap<Arc<str>, u32>,
    /// The key of the previous record: most often it comes again.
    latest: Option<(Arc<str>, u32)>,
    count: u32,
    arrival_min: i64,
    arrival_max: i64,
    previous: i64,
}

impl Builder {
    /// Reserves memory for this many more bytes.
    pub fn reserve(&mut self, bytes: usize) {
        self.raw.reserve(bytes);
    }

    /// Adds a record.
    ///
    /// # Errors
    /// When the record cannot be encoded; the section is then as it was before.
    pub fn push(&mut self, record: &Record) -> Result<(), postcard::Error> {
        let before = self.raw.len();
        let latest = self.latest.as_ref().filter(|(key, _)| Arc::ptr_eq(key, &record.key) || *key == record.key);
        let key = match latest.map(|(_, number)| number).or_else(|| self.keys.get(&record.key)) {
            Some(number) => KeyRef::Seen(*number),
            None => KeyRef::New(&record.key),
        };
        let seen = if let KeyRef::Seen(number) = key { Some(number) } else { None };
        let stored = Stored {
            arrival_delta: record.arrival_ms.wrapping_sub(self.previous),
            device_time_us: record.device_time_us,
            key,
            flags: record.flags,
            attributes: record.attributes.iter().map(|(name, value)| (&**name, &**value)).collect(),
            kind: record.kind,
            payload: &record.payload,
        };
        let mut raw = std::mem::take(&mut self.raw);
        match postcard::to_io(&stored, &mut raw) {
            Ok(_) => self.raw = raw,
            Err(error) => {
                raw.truncate(before);
                self.raw = raw;
                return Err(error);
            }
        }
        let number = seen.unwrap_or_else(|| {
            let number = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
            self.keys.insert(record.key.clone(), number);
            number
        });
        if self.latest.as_ref().is_none_or(|(_, latest)| *latest != number) {
            self.latest = Some((record.key.clone(), number));
        }
        self.previous = record.arrival_ms;
        if self.count == 0 {
            (self.arrival_min, self.arrival_max) = (record.arrival_ms, record.arrival_ms);
        }
        self.arrival_min = self.arrival_min.min(record.arrival_ms);
        self.arrival_max = self.arrival_max.max(record.arrival_ms);
        self.count += 1;
        Ok(())
    }

    /// The bytes of the section before compression.
    #[must_use]
    pub fn raw_bytes(&self) -> usize {
        self.raw.len()
    }

    /// The number of records.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The earliest and the latest arrival, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn arrivals(&self) -> (i64, i64) {
        (self.arrival_min, self.arrival_max)
    }

    /// The section as stored, and its codec. Data that does not get smaller is stored without compression.
    pub fn compress(&self, compressor: &mut Compressor) -> (Vec<u8>, u8) {
        match compressor.0.compress(&self.raw) {
            Ok(small) if small.len() < self.raw.len() => (small, CODEC_ZSTD),
            _ => (self.raw.clone(), CODEC_NONE),
        }
    }
}

/// A compression context that is used again for each section.
pub struct Compressor(zstd::bulk::Compressor<'static>);

impl Compressor {
    /// A context with the compression level of stored sections.
    ///
    /// # Errors
    /// When memory is short.
    pub fn new() -> std::io::Result<Self> {
        zstd::bulk::Compressor::new(ZSTD_LEVEL).map(Self)
    }
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Compressor")
    }
}

/// Undoes `compress`; `None` when the bytes do not give exactly `raw` bytes.
#[must_use]
pub fn decompress(codec: u8, stored: &[u8], raw: u32) -> Option<Vec<u8>> {
    if raw > MAX_RAW {
        return None;
    }
    let raw = usize::try_from(raw).ok()?;
    let out = match codec {
        CODEC_NONE => stored.to_vec(),
        CODEC_ZSTD => zstd::bulk::decompress(stored, raw).ok()?,
        _ => return None,
    };
    (out.len() == raw).then_some(out)
}

/// Reads the records of a decompressed section in order; ends early on bad bytes.
#[derive(Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    keys: Vec<&'a str>,
    previous: i64,
}

impl<'a> Records<'a> {
    /// Reads the bytes of one section.
    #[must_use]
    pub fn new(raw: &'a [u8]) -> Self {
        Self { rest: raw, keys: Vec::new(), previous: 0 }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = RecordRef<'a>;

    fn next(&mut self) -> Option<RecordRef<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let (stored, rest) = postcard::take_from_bytes::<Stored<'a>>(self.rest).ok()?;
        self.rest = rest;
        let key = match stored.key {
            KeyRef::New(key) => {
                self.keys.push(key);
                key
            }
            KeyRef::Seen(number) => self.keys.get(usize::try_from(number).ok()?)?,
        };
        self.previous = self.previous.wrapping_add(stored.arrival_delta);
        Some(RecordRef {
            arrival_ms: self.previous,
            device_time_us: stored.device_time_us,
            key,
            flags: stored.flags,
            attributes: stored.attributes,
            kind: stored.kind,
            payload: stored.payload,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn record() -> impl Strategy<Value = Record> {
        let kind = prop_oneof![Just(PayloadKind::Json), Just(PayloadKind::Text), Just(PayloadKind::Bytes)];
        let attributes = proptest::collection::vec(("[a-z]{0,4}", ".{0,6}"), 0..3);
        let payload = proptest::collection::vec(any::<u8>(), 0..200);
        (any::<i64>(), any::<Option<i64>>(), "[a-c/]{0,3}", any::<u8>(), attributes, kind, payload).prop_map(
            |(arrival_ms, device_time_us, key, flags, attributes, kind, payload)| Record {
                arrival_ms,
                device_time_us,
                key: key.into(),
                flags,
                attributes: attributes.into_iter().map(|(n, v)| (n.into(), v.into())).collect(),
                kind,
                payload: Bytes::from(payload),
            },
        )
    }

    proptest! {
        #[test]
        fn records_come_back_verbatim(records in proptest::collection::vec(record(), 1..40)) {
            let mut builder = Builder::default();
            for record in &records {
                builder.push(record).unwrap();
            }
            let (stored, codec) = builder.compress(&mut Compressor::new().unwrap());
            let raw = decompress(codec, &stored, u32::try_from(builder.raw_bytes()).unwrap()).unwrap();
            let back: Vec<Record> = Records::new(&raw).map(|record| record.to_record()).collect();
            prop_assert_eq!(back, records);
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), raw in 0u32..1000) {
            let _ = Records::new(&bytes).count();
            let _ = decompress(CODEC_ZSTD, &bytes, raw);
        }
    }
}
