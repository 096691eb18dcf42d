//! Events on disk, so that a hub that is started again still has them (`--data`).
//!
//! Each partition has one file: the length, time, key and message of each event, with a CRC32C of them. The files
//! are for development: nothing is synced, and a torn end is cut off.

use super::stored::Stored;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

/// The most bytes of an event. A larger length means that the file is damaged.
const MOST: usize = 32 << 20;
/// The bytes of the length and the checksum before each event.
const HEADER: usize = 8;

/// The time in milliseconds, the key and the message of an event.
pub type Event = (i64, Option<String>, Vec<u8>);

/// Reads the events of a partition, and opens its file for appending.
///
/// # Errors
/// The file cannot be opened, read or cut.
pub fn open(path: &Path) -> io::Result<(Vec<Event>, File)> {
    let mut bytes = Vec::new();
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    file.read_to_end(&mut bytes)?;
    let mut events = Vec::new();
    let mut at = 0;
    while let Some((event, next)) = event(&bytes, at) {
        events.push(event);
        at = next;
    }
    file.set_len(at as u64)?;
    Ok((events, file))
}

fn event(bytes: &[u8], at: usize) -> Option<(Event, usize)> {
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let length = usize::try_from(word(at)?).ok().filter(|length| *length <= MOST)?;
    let start = at + HEADER;
    let body = bytes.get(start..start + length)?;
    if crc32c::crc32c(body) != word(at + 4)? {
        return None;
    }
    let time = i64::from_le_bytes(body.get(..8)?.try_into().ok()?);
    let key_length = usize::from(u16::from_le_bytes(body.get(8..10)?.try_into().ok()?));
    let key = std::str::from_utf8(body.get(10..10 + key_length)?).ok()?;
    let key = (!key.is_empty()).then(|| key.to_string());
    Some(((time, key, body.get(10 + key_length..)?.to_vec()), start + length))
}

/// Appends events.
///
/// # Errors
/// As the operating system says.
pub fn append<'a>(file: &mut File, events: impl Iterator<Item = &'a Stored>) -> io::Result<()> {
    let mut out = Vec::new();
    for event in events {
        let key = event.key.as_deref().unwrap_or_default();
        let mut body = event.enqueued_ms.to_le_bytes().to_vec();
        body.extend(u16::try_from(key.len()).map_err(io::Error::other)?.to_le_bytes());
        body.extend(key.as_bytes());
        body.extend(&event.message);
        out.extend(u32::try_from(body.len()).map_err(io::Error::other)?.to_le_bytes());
        out.extend(crc32c::crc32c(&body).to_le_bytes());
        out.extend(body);
    }
    file.write_all(&out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const GOLDEN: &[u8] = b"\x0e\x00\x00\x00\xeb\x30\xb6\x92\x07\x00\x00\x00\x00\x00\x00\x00\x01\x00\x6b\x6f\x6e\x65\
                            \x0a\x00\x00\x00\xf2\x7f\xa6\x98\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00";

    #[test]
    fn events_come_back_and_a_torn_end_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("eh-0.events");
        let event = |key: Option<&str>, message: &[u8]| Stored {
            sequence: 0,
            offset: 0,
            enqueued_ms: 7,
            key: key.map(String::from),
            message: message.to_vec(),
        };
        let (found, mut file) = open(&path).unwrap();
        assert!(found.is_empty());
        append(&mut file, [event(Some("k"), b"one"), event(None, b"")].iter()).unwrap();
        // Files that were written before can be read (the checksums are those of another implementation).
        assert_eq!(fs::read(&path).unwrap(), GOLDEN);
        file.write_all(&[9, 0, 0, 0, 1]).unwrap();
        let expected = vec![(7, Some("k".to_string()), b"one".to_vec()), (7, None, Vec::new())];
        for _ in 0..2 {
            assert_eq!(open(&path).unwrap().0, expected);
        }
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(open(&path).unwrap().0, expected[..1]);
    }
}
