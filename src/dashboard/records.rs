//! A look at the records of a stream, for a person: a few at a time, each cut to a bearable length.

use crate::flow::record::{PayloadKind, RecordRef};
use crate::store::{Item, Store};
use serde::Serialize;
use std::collections::BTreeMap;

/// The most records of an answer.
const MOST: u64 = 200;
/// The longest payload that is shown, in bytes.
const LONGEST: usize = 2000;

/// A record as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    sequence: u64,
    arrival_ms: i64,
    device_time_us: Option<i64>,
    key: String,
    attributes: BTreeMap<String, String>,
    /// `json`, `text` or `bytes`; bytes are shown as hex.
    kind: &'static str,
    payload: String,
    /// Whether the payload is longer than what is shown.
    cut: bool,
}

/// What is asked for: the first sequence, and how many records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    from: u64,
    limit: u64,
}

impl Wanted {
    /// Reads a query such as `from=1&limit=50`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn read(query: &str) -> Result<Self, String> {
        let mut wanted = Self { from: 1, limit: 50 };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let number = || value.parse::<u64>().map_err(|_| format!("`{name}` is a whole number, not `{value}`"));
            match &*name {
                "from" => wanted.from = number()?,
                "limit" => wanted.limit = number()?.min(MOST),
                _ => return Err(format!("there is no `{name}`: use `from` and `limit`")),
            }
        }
        Ok(wanted)
    }
}

/// The records of a stream as JSON; `None` when there is no such stream.
///
/// # Errors
/// The store cannot be read.
pub fn of(store: &Store, stream: &str, wanted: Wanted) -> Result<Option<Vec<u8>>, String> {
    let contents = store.contents();
    let Some(known) = contents.iter().find(|known| known.name == stream) else { return Ok(None) };
    let mut reader = store.reader_at(store.stream(stream), wanted.from.clamp(known.first, known.last.max(known.first)));
    let mut shown = Vec::new();
    let limit = usize::try_from(wanted.limit).unwrap_or(usize::MAX);
    while shown.len() < limit {
        match reader.read().map_err(|error| error.to_string())? {
            Some(Item::Span(span)) => {
                let left = limit - shown.len();
                shown.extend(span.records().filter(|(sequence, _)| *sequence >= wanted.from).take(left).map(show));
            }
            Some(Item::Gap(_)) => {}
            None => break,
        }
    }
    serde_json::to_vec(&shown).map(Some).map_err(|error| error.to_string())
}

fn show((sequence, record): (u64, RecordRef<'_>)) -> Shown {
    // Only what is shown is copied.
    let text = |text: &str| {
        let end = (0..=LONGEST.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text[..end].to_string()
    };
    let (kind, payload, most) = match (record.kind, std::str::from_utf8(record.payload)) {
        (PayloadKind::Json, Ok(json)) => ("json", text(json), LONGEST),
        (PayloadKind::Text, Ok(plain)) => ("text", text(plain), LONGEST),
        (_, _) => {
            let bytes = &record.payload[..record.payload.len().min(LONGEST / 3)];
            ("bytes", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "), LONGEST / 3)
        }
    };
    let cut = record.payload.len() > most;
    let attributes = record.attributes.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let (arrival_ms, device_time_us) = (record.arrival_ms, record.device_time_us);
    Shown { sequence, arrival_ms, device_time_us, key: record.key.into(), attributes, kind, payload, cut }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_or_refused_with_words() {
        assert_eq!(Wanted::read(""), Ok(Wanted { from: 1, limit: 50 }));
        assert_eq!(Wanted::read("from=7&limit=9999"), Ok(Wanted { from: 7, limit: MOST }));
        assert!(Wanted::read("from=-1").unwrap_err().contains("whole number"));
        assert!(Wanted::read("form=1").unwrap_err().contains("there is no `form`"));
    }

    #[test]
    fn a_payload_is_shown_up_to_a_length_and_says_so() {
        use crate::flow::record::Record;
        let shown = |kind, payload: Vec<u8>| {
            let record = Record { kind, payload: payload.into(), ..Record::empty("k") };
            let Shown { payload, cut, .. } = show((1, record.as_ref()));
            (payload.len(), cut)
        };
        assert_eq!(shown(PayloadKind::Text, vec![b'a'; LONGEST]), (LONGEST, false));
        let umlauts = "\u{fc}".repeat(LONGEST) + "x";
        assert_eq!(
            shown(PayloadKind::Text, format!("x{umlauts}").into_bytes()),
            (LONGEST - 1, true),
            "no half character"
        );
        assert_eq!(shown(PayloadKind::Bytes, vec![0xff; LONGEST / 3]), (LONGEST / 3 * 3 - 1, false));
        assert_eq!(shown(PayloadKind::Bytes, vec![0xff; LONGEST / 3 + 1]), (LONGEST / 3 * 3 - 1, true));
    }
}
