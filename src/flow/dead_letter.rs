//! Dead letters: records that cannot be decoded or delivered, with the reason. One place makes them.

use super::record::{DEAD_LETTER_KEEP, Record, readable};

/// Makes a dead letter of a record: its time, key and attributes stay, and the first 64 KiB of its payload. `by` says
/// who set it aside; `whole` are length and CRC32C of a payload of which the record has only the beginning.
#[must_use]
pub fn dead_letter(record: Record, by: &[(&str, &str)], reason: &str, whole: Option<(u64, u32)>) -> Record {
    let Record { mut attributes, payload, .. } = record;
    let (length, crc) = whole.unwrap_or_else(|| (payload.len() as u64, crc32c::crc32c(&payload)));
    let (length, crc) = (length.to_string(), format!("{crc:08x}"));
    let more = [("reason", reason), ("length", &*length), ("crc32c", &*crc)];
    attributes.extend(by.iter().chain(&more).map(|(name, value)| ((*name).into(), (*value).into())));
    let (kind, payload) = readable(payload.slice(..payload.len().min(DEAD_LETTER_KEEP)));
    Record { attributes, kind, payload, ..record }
}
