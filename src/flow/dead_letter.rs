//! Dead letters: records that cannot be decoded or delivered, with the reason. One place makes them.

use super::record::{DEAD_LETTER_KEEP, Record, readable};
use serde::Serialize;

/// The attributes that every dead letter has.
const OWN: [&str; 3] = ["reason", "length", "crc32c"];
/// A dead letter keeps this many bytes of its record's attributes, in their order.
const ATTRIBUTES_BYTES: usize = 8 << 10;

/// Makes a dead letter of a record. It keeps the time and key of the record, 8 KiB of its attributes, and the first
/// 64 KiB of its payload. The attributes in `by` name the part that set the record aside. `whole` is the length and
/// the CRC32C of the full payload, when the record has only its beginning.
#[must_use]
pub fn dead_letter(record: Record, by: &[(&str, &str)], reason: &str, whole: Option<(u64, u32)>) -> Record {
    let Record { mut attributes, payload, .. } = record;
    let (length, crc) = whole.unwrap_or_else(|| (payload.len() as u64, crc32c::crc32c(&payload)));
    let (length, crc) = (length.to_string(), format!("{crc:08x}"));
    // One object has each name once, and a record that is too large for its attributes makes no letter of that size.
    attributes.retain(|(name, _)| !OWN.contains(&&**name) && by.iter().all(|(own, _)| *own != &**name));
    let mut bytes = 0;
    attributes.retain(|(name, value)| {
        bytes += name.len() + value.len();
        bytes <= ATTRIBUTES_BYTES
    });
    let more = [("reason", reason), ("length", &*length), ("crc32c", &*crc)];
    attributes.extend(by.iter().chain(&more).map(|(name, value)| ((*name).into(), (*value).into())));
    let (kind, payload) = readable(payload.slice(..payload.len().min(DEAD_LETTER_KEEP)));
    Record { attributes, kind, payload, ..record }
}

/// What is to become of dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// They are read again, or go to their sink again.
    Replay,
    /// They count as seen.
    Discard,
}

/// What became of dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// The number that became records again.
    pub replayed: u64,
    /// The number that are dead letters again: their source still cannot read them.
    pub again: u64,
    /// The number that cannot be replayed: of sources that are gone or have several routes to the
    /// stream, or longer than what a dead letter keeps.
    pub left: u64,
    /// The number that were discarded.
    pub discarded: u64,
    /// All dead letters up to this sequence are taken. A call takes a limited number: ask again for the others.
    pub upto: u64,
}

/// A dead letter taken apart again.
#[derive(Debug, PartialEq, Eq)]
pub struct Undone {
    /// `source` or `sink`.
    pub by: &'static str,
    /// The name of the part that set the record aside.
    pub name: Box<str>,
    /// The stream that the record was in, or would have gone to.
    pub stream: Option<Box<str>>,
    /// The record as it was before, as far as a dead letter keeps it.
    pub record: Record,
}

/// Takes a dead letter apart; `None` when it does not have its whole payload, or is no dead letter.
#[must_use]
pub fn undone(letter: Record) -> Option<Undone> {
    let find =
        |wanted: &str| letter.attributes.iter().rfind(|(name, _)| &**name == wanted).map(|(_, value)| value.clone());
    if find("length")?.parse() != Ok(letter.payload.len()) {
        return None;
    }
    let (by, name) = ["sink", "source"].into_iter().find_map(|by| Some((by, find(by)?)))?;
    let stream = find("stream");
    let mut record = letter;
    let own = [by, "stream", if by == "sink" { "sequence" } else { "stream" }];
    record.attributes.retain(|(name, _)| !OWN.contains(&&**name) && !own.contains(&&**name));
    Some(Undone { by, name, stream, record })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::record::PayloadKind;
    use bytes::Bytes;

    #[test]
    fn a_dead_letter_has_each_name_once_and_is_never_large() {
        let attribute = |name: &str, value: &str| (name.into(), value.into());
        let attributes = vec![
            attribute("line", "7"),
            attribute("reason", "of the device"),
            attribute("stream", "of the device"),
            attribute("large", &"x".repeat(9 << 10)),
        ];
        let record = Record {
            arrival_ms: 1,
            device_time_us: None,
            key: "k".into(),
            flags: 0,
            attributes,
            kind: PayloadKind::Json,
            payload: Bytes::from(vec![b'1'; 100 << 10]),
        };
        let letter = dead_letter(record, &[("sink", "hub"), ("stream", "readings")], "too large", None);
        let names: Vec<(&str, &str)> = letter.attributes.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(names[..4], [("line", "7"), ("sink", "hub"), ("stream", "readings"), ("reason", "too large")]);
        assert_eq!((names[4].1, names.len(), letter.payload.len()), ("102400", 6, DEAD_LETTER_KEEP));
        assert_eq!((letter.arrival_ms, &*letter.key), (1, "k"));
        assert_eq!(undone(letter), None, "its payload was cut");
    }

    #[test]
    fn a_dead_letter_can_be_undone() {
        let record = Record {
            attributes: vec![("line".into(), "7".into())],
            payload: Bytes::from("{\"t\":1}"),
            kind: PayloadKind::Json,
            ..Record::empty("k")
        };
        for (by, of) in [
            (vec![("source", "mqtt"), ("stream", "readings")], "source"),
            (vec![("sink", "hub"), ("stream", "readings"), ("sequence", "9")], "sink"),
        ] {
            let undone = undone(dead_letter(record.clone(), &by, "why", None)).unwrap();
            assert_eq!((undone.by, &*undone.name, undone.stream.as_deref()), (of, by[0].1, Some("readings")));
            assert_eq!(
                (undone.record.attributes, undone.record.payload),
                (record.attributes.clone(), record.payload.clone())
            );
        }
        assert_eq!(undone(record), None);
    }
}
