//! Write requests of Prometheus, version 1: protobuf, whose Snappy packing is undone before
//! (<https://prometheus.io/docs/specs/prw/remote_write_spec/>).
//!
//! Only three messages are read, so a reader of protobuf's fields is enough.

use super::members::{Members, is_number};
use super::{About, Content, DecodeError, Format, Kind, Part, Refused, split};

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
        let mut readings = Readings::default();
        for field in Fields(message) {
            match field? {
                (1, Value::Bytes(series)) => readings.add(series)?,
                // The help and the unit of metrics come in requests of their own, without samples.
                (3, Value::Bytes(_)) => {}
                (number, _) => {
                    let what =
                        format!("field {number} is none of version 1; remote write 2.0 and OTLP are not read here");
                    return Err(DecodeError::Prometheus(what));
                }
            }
        }
        Ok(Content::Readings(readings.list))
    }
}

/// The samples of a request, and the bytes that they take.
#[derive(Default)]
struct Readings {
    list: Vec<Result<Part, Refused>>,
    bytes: usize,
}

impl Readings {
    /// Adds the samples of a time series. A series that cannot be read is refused alone.
    fn add(&mut self, series: &[u8]) -> Result<(), DecodeError> {
        let (mut name, mut labels, mut samples, mut is_native) = (None, Members::default(), Vec::new(), false);
        for field in Fields(series) {
            match field? {
                (1, Value::Bytes(label)) => {
                    let (key, value) = read_label(label)?;
                    if key == NAME { name = Some(value) } else { labels.push_text(key, &value) }
                }
                (2, Value::Bytes(sample)) => samples.push(read_sample(sample)?),
                // Examples of single traces.
                (3, Value::Bytes(_)) => {}
                (4, Value::Bytes(_)) => is_native = true,
                _ => return Err(wrong("a series has a field that is none of version 1")),
            }
            split::bounded(self.list.len() + samples.len(), 0)?;
        }
        let labels = labels.to_json();
        let refused = match &name {
            _ if is_native => Some("native histograms are not read here; switch them off for this target"),
            None => Some("a series has no name"),
            Some(_) => None,
        };
        if let Some(why) = refused {
            let reading = Some(format!("{} {labels}", name.unwrap_or_default()));
            self.list.push(Err(Refused { reading, error: wrong(why) }));
            return Ok(());
        }
        for (value, time_ms) in samples {
            let mut members = Members::default();
            members.push_text("name", name.as_deref().unwrap_or_default());
            members.push_json("labels", &*labels);
            // A value that JSON cannot write: not a number, infinite, or the end of a series.
            let value = Some(value.to_string()).filter(|value| is_number(value));
            members.push_json("value", value.unwrap_or_else(|| "null".into()));
            let reading = members.to_json();
            self.bytes += reading.len();
            split::bounded(self.list.len(), self.bytes)?;
            self.list.push(Ok((reading, time_ms.checked_mul(1000))));
        }
        Ok(())
    }
}

fn read_label(label: &[u8]) -> Result<(String, String), DecodeError> {
    let (mut name, mut value) = (String::new(), String::new());
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| wrong("a label is not UTF-8"));
    for field in Fields(label) {
        match field? {
            (1, Value::Bytes(bytes)) => name = text(bytes)?,
            (2, Value::Bytes(bytes)) => value = text(bytes)?,
            _ => return Err(wrong("a label has a field that is none of version 1")),
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
            _ => return Err(wrong("a sample has a field that is none of version 1")),
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
            Ok(Content::Readings(readings)) => {
                readings.into_iter().collect::<Result<_, _>>().map_err(|refused| refused.error.to_string())
            }
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
        // Version 2 has its texts in field 4 and its series in field 5. OTLP has metrics in field 1.
        assert!(readings(&bytes(4, b"up")).unwrap_err().contains("2.0"));
        assert!(readings(&bytes(1, &bytes(1, &bytes(1, &bytes(1, b"x"))))).is_err());
        // One series that cannot be read takes no other along.
        let good = bytes(1, &[label("__name__", "up"), sample(1.0, &[5])].concat());
        let unnamed = bytes(1, &[label("job", "x"), sample(1.0, &[5])].concat());
        match Prometheus.decode(&[&good[..], &histogram, &unnamed].concat(), &About::default()) {
            Ok(Content::Readings(parts)) => {
                let shown: Vec<_> =
                    parts.iter().map(|part| part.as_ref().map_err(|refused| refused.reading.as_deref())).collect();
                assert!(matches!(shown[..], [Ok(_), Err(Some(" {}")), Err(Some(r#" {"job":"x"}"#))]), "{shown:?}");
            }
            other => panic!("{other:?}"),
        }
        let bad_label = bytes(1, &bytes(1, &bytes(1, b"\xff")));
        assert!(readings(&bad_label).unwrap_err().contains("not UTF-8"));
    }

    #[test]
    fn a_long_label_does_not_multiply_by_the_samples() {
        let varint = |number: usize| {
            [0, 7, 14].map(|shift| u8::try_from(number >> shift & 0x7f).unwrap() | if shift < 14 { 0x80 } else { 0 })
        };
        let field = |number: u8, content: &[u8]| [&[number << 3 | 2][..], &varint(content.len()), content].concat();
        let name = field(1, &[bytes(1, b"__name__"), field(2, &vec![b'x'; 100_000])].concat());
        let series = field(1, &[name, b"\x12\x00".repeat(9000)].concat());
        assert!(readings(&series).unwrap_err().contains("bytes"));
    }
}
