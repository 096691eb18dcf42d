//! Write requests of Prometheus, version 1: protobuf, whose Snappy packing is undone before
//! (<https://prometheus.io/docs/specs/prw/remote_write_spec/>).
//!
//! Only three messages are read, so a reader of protobuf's fields is enough.

use super::members::{Members, is_number};
use super::split::MOST_RECORDS;
use super::{About, Content, DecodeError, Format, Kind, split};

/// The row of this format in the table of decoders.
pub const KIND: Kind = Kind::without_keys::<Prometheus>(
    "prometheus",
    "Write requests of Prometheus (remote write 1.0): a record for each sample, with `name`, `labels`, `value`.",
);

/// The label that has the metric's name.
const NAME: &str = "__name__";

/// The decoder of write requests.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Prometheus;

impl Format for Prometheus {
    fn name(&self) -> &'static str {
        KIND.name
    }

    fn is_by_line(&self) -> bool {
        false
    }

    fn decode<'m>(&self, message: &'m [u8], _: &About<'_>) -> Result<Content<'m>, DecodeError> {
        let mut readings = Vec::new();
        for field in Fields(message) {
            // Other fields are the help and the unit of metrics, which come in requests of their own.
            if let (1, Value::Bytes(series)) = field? {
                read_series(series, &mut readings)?;
            }
            if readings.len() > MOST_RECORDS {
                return Err(split::too_many());
            }
        }
        Ok(Content::Readings(readings))
    }
}

/// Adds the samples of a time series, each with its time in microseconds since 1970-01-01 UTC.
fn read_series(series: &[u8], readings: &mut Vec<(String, Option<i64>)>) -> Result<(), DecodeError> {
    let (mut name, mut labels, mut samples) = (String::new(), Members::default(), Vec::new());
    for field in Fields(series) {
        match field? {
            (1, Value::Bytes(label)) => {
                let (key, value) = read_label(label)?;
                if key == NAME { name = value } else { labels.push_text(key, &value) }
            }
            (2, Value::Bytes(sample)) => samples.push(read_sample(sample)?),
            (4, _) => return Err(wrong("native histograms are not read here; switch them off for this target")),
            // Examples of single traces.
            _ => {}
        }
    }
    for (value, time_ms) in samples {
        let mut members = Members::default();
        members.push_text("name", &name);
        members.push_json("labels", labels.to_json());
        // A value that JSON cannot write: not a number, infinite, or the end of a series.
        members.push_json("value", Some(value.to_string()).filter(|value| is_number(value)).unwrap_or("null".into()));
        readings.push((members.to_json(), time_ms.checked_mul(1000)));
    }
    Ok(())
}

fn read_label(label: &[u8]) -> Result<(String, String), DecodeError> {
    let (mut name, mut value) = (String::new(), String::new());
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| wrong("a label is not UTF-8"));
    for field in Fields(label) {
        match field? {
            (1, Value::Bytes(bytes)) => name = text(bytes)?,
            (2, Value::Bytes(bytes)) => value = text(bytes)?,
            _ => {}
        }
    }
    Ok((name, value))
}

/// The value of a sample, and its time in milliseconds since 1970-01-01 UTC.
fn read_sample(sample: &[u8]) -> Result<(f64, i64), DecodeError> {
    let (mut value, mut time_ms) = (0.0, 0);
    for field in Fields(sample) {
        match field? {
            (1, Value::Fixed64(bits)) => value = f64::from_bits(bits),
            (2, Value::Varint(number)) => time_ms = number.cast_signed(),
            _ => {}
        }
    }
    Ok((value, time_ms))
}

fn wrong(what: &str) -> DecodeError {
    DecodeError::Prometheus(what.into())
}

/// A value of protobuf by its wire type (<https://protobuf.dev/programming-guides/encoding/>).
enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

/// The fields of a message: number and value.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for at in 0..10 {
            let byte = *self.take(1)?.first()?;
            number |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed32)?,
            _ => return None,
        };
        Some((tag >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field().ok_or_else(|| wrong("it is not protobuf"));
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        assert!(length < 128, "one byte of length");
        [&[number << 3 | 2, length], content].concat()
    }

    fn sample(value: f64, time: &[u8]) -> Vec<u8> {
        bytes(2, &[&[1 << 3 | 1][..], &value.to_le_bytes(), &[2 << 3], time].concat())
    }

    fn label(name: &str, value: &str) -> Vec<u8> {
        bytes(1, &[bytes(1, name.as_bytes()), bytes(2, value.as_bytes())].concat())
    }

    fn readings(message: &[u8]) -> Result<Vec<(String, Option<i64>)>, String> {
        match Prometheus.decode(message, &About::default()) {
            Ok(Content::Readings(readings)) => Ok(readings),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn each_sample_is_a_reading_with_its_labels() {
        let labels = [label("__name__", "up"), label("job", "plant \"3\"")].concat();
        let series = bytes(1, &[labels, sample(21.5, &[0xe8, 0x07]), sample(f64::NAN, &[5])].concat());
        // Metadata is no sample.
        let message = [series, bytes(3, b"\x08\x01")].concat();
        let named = r#"{"name":"up","labels":{"job":"plant \"3\""},"value":"#;
        assert_eq!(
            readings(&message).unwrap(),
            [(format!("{named}21.5}}"), Some(1_000_000)), (format!("{named}null}}"), Some(5000))]
        );
        assert!(readings(b"").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_write_request_is_refused() {
        for bad in [&b"{}"[..], b"\x0a", b"\x0a\x05a", b"\x0a\x02\x0a\x09", &[0xff; 20]] {
            assert!(readings(bad).unwrap_err().contains("not protobuf"), "{bad:?}");
        }
        let histogram = bytes(1, &bytes(4, b""));
        assert!(readings(&histogram).unwrap_err().contains("native histograms"));
        let bad_label = bytes(1, &bytes(1, &bytes(1, b"\xff")));
        assert!(readings(&bad_label).unwrap_err().contains("not UTF-8"));
    }
}
