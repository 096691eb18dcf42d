//! Records: decoded readings, and the names of Forebay's own streams.

use bytes::Bytes;
use std::sync::Arc;

/// The largest payload of one record, in bytes (`docs/design/format.md`).
pub const MAX_RECORD: usize = 1 << 20;

/// A dead letter keeps at most this much of its payload, in bytes.
pub const DEAD_LETTER_KEEP: usize = 64 << 10;

/// The stream of dead letters: messages that could not be decoded or delivered.
pub const DEAD_LETTERS: &str = "forebay.dead-letters";

/// The stream of Forebay's own events.
pub const EVENTS: &str = "forebay.events";

/// True for the streams that Forebay writes about itself.
#[must_use]
pub fn is_own_stream(name: &str) -> bool {
    name.starts_with("forebay.")
}

/// The kind of a payload. The store keeps the number of the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[repr(u8)]
pub enum PayloadKind {
    /// One JSON value, verbatim.
    Json,
    /// UTF-8 text.
    Text,
    /// Any bytes.
    Bytes,
}

/// The kind and the bytes of a dead letter's payload. UTF-8 is kept as text, so that people can read it. A
/// character that was cut off at the end is left out.
#[must_use]
pub fn readable(mut payload: Bytes) -> (PayloadKind, Bytes) {
    match std::str::from_utf8(&payload) {
        Ok(_) => (PayloadKind::Text, payload),
        Err(error) if error.error_len().is_none() && payload.len() >= DEAD_LETTER_KEEP => {
            payload.truncate(error.valid_up_to());
            (PayloadKind::Text, payload)
        }
        Err(_) => (PayloadKind::Bytes, payload),
    }
}

/// Flag: the source may have handed this record over before (MQTT `dup`).
pub const REDELIVERED: u8 = 1;
/// Flag: the broker kept this message from before the subscription (MQTT `retain`).
pub const RETAINED: u8 = 2;

/// Flag: nobody had set the clock when the record arrived. See the attributes `clock`, `boot`, `monotonic_ms`.
pub const CLOCK_UNSET: u8 = 4;

/// One reading, as it is stored and forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The time of arrival, in milliseconds since the Unix epoch.
    pub arrival_ms: i64,
    /// The time that the device gave, in microseconds since the Unix epoch; `None` when the device gave none.
    pub device_time_us: Option<i64>,
    /// The key: an MQTT topic, a file path or another name.
    pub key: Arc<str>,
    /// The sum of the flags `REDELIVERED`, `RETAINED` and `CLOCK_UNSET` that apply.
    pub flags: u8,
    /// The attributes: names and values beside the payload.
    pub attributes: Vec<(Box<str>, Box<str>)>,
    /// How to read the payload.
    pub kind: PayloadKind,
    /// The payload, verbatim; at most `MAX_RECORD` bytes.
    pub payload: Bytes,
}

/// A record that lies in a larger piece of memory, such as a section of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// The time of arrival, in milliseconds since the Unix epoch.
    pub arrival_ms: i64,
    /// The time that the device gave, in microseconds since the Unix epoch; `None` when the device gave none.
    pub device_time_us: Option<i64>,
    /// The key: an MQTT topic, a file path or another name.
    pub key: &'a str,
    /// The sum of the flags `REDELIVERED`, `RETAINED` and `CLOCK_UNSET` that apply.
    pub flags: u8,
    /// The attributes: names and values beside the payload.
    pub attributes: Vec<(&'a str, &'a str)>,
    /// How to read the payload.
    pub kind: PayloadKind,
    /// The payload, verbatim.
    pub payload: &'a [u8],
}

impl Record {
    /// A record without payload, attributes and times.
    #[must_use]
    pub fn empty(key: &str) -> Self {
        let (kind, payload) = (PayloadKind::Bytes, Bytes::new());
        Self { arrival_ms: 0, device_time_us: None, key: key.into(), flags: 0, attributes: Vec::new(), kind, payload }
    }

    /// A borrowed view of the record.
    #[must_use]
    pub fn as_ref(&self) -> RecordRef<'_> {
        let Self { arrival_ms, device_time_us, flags, kind, .. } = *self;
        let attributes = self.attributes.iter().map(|(name, value)| (&**name, &**value)).collect();
        RecordRef { arrival_ms, device_time_us, key: &self.key, flags, attributes, kind, payload: &self.payload }
    }
}

impl RecordRef<'_> {
    /// The value of an attribute.
    #[must_use]
    pub fn attribute(&self, wanted: &str) -> Option<&str> {
        self.attributes.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value)
    }

    /// A record with its own copy of the data.
    #[must_use]
    pub fn to_record(&self) -> Record {
        let Self { arrival_ms, device_time_us, flags, kind, .. } = *self;
        let attributes = self.attributes.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let payload = Bytes::copy_from_slice(self.payload);
        Record { arrival_ms, device_time_us, key: self.key.into(), flags, attributes, kind, payload }
    }
}
