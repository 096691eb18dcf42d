//! Writes and reads messages of Protocol Buffers (protobuf.dev/programming-guides/encoding), field by field.

/// A message that is written.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Message(Vec<u8>);

impl Message {
    /// The bytes of the message.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// A field of variable length: an integer, an enumeration, a truth.
    #[must_use]
    pub fn varint(mut self, field: u32, value: u64) -> Self {
        self.key(field, 0);
        self.raw(value);
        self
    }

    /// A field of eight bytes: `fixed64` and `sfixed64`.
    #[must_use]
    pub fn fixed(mut self, field: u32, value: u64) -> Self {
        self.key(field, 1);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// A field of type `double`.
    #[must_use]
    pub fn double(self, field: u32, value: f64) -> Self {
        self.fixed(field, value.to_bits())
    }

    /// A text or bytes.
    #[must_use]
    pub fn text(mut self, field: u32, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.key(field, 2);
        self.raw(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// A message in this message.
    #[must_use]
    pub fn message(self, field: u32, message: &Self) -> Self {
        self.text(field, &message.0)
    }

    /// Repeated values of eight bytes each, packed.
    #[must_use]
    pub fn packed(self, field: u32, values: impl IntoIterator<Item = u64>) -> Self {
        let bytes: Vec<u8> = values.into_iter().flat_map(u64::to_le_bytes).collect();
        self.text(field, bytes)
    }

    fn key(&mut self, field: u32, kind: u32) {
        self.raw(u64::from(field << 3 | kind));
    }

    fn raw(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }
}

/// The value of a field that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// An integer, an enumeration, a truth.
    Varint(u64),
    /// Eight bytes.
    Fixed(u64),
    /// Four bytes.
    Short(u32),
    /// A text, bytes, or a message.
    Bytes(&'a [u8]),
}

/// The fields of a message, in their order; `None` when the bytes are no message.
#[must_use]
pub fn fields(mut bytes: &[u8]) -> Option<Vec<(u32, Value<'_>)>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let field = u32::try_from(key >> 3).ok().filter(|field| *field > 0)?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut bytes)?),
            1 => Value::Fixed(u64::from_le_bytes(take(&mut bytes, 8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                Value::Bytes(take(&mut bytes, length)?)
            }
            5 => Value::Short(u32::from_le_bytes(take(&mut bytes, 4)?.try_into().ok()?)),
            _ => return None,
        };
        found.push((field, value));
    }
    Some(found)
}

/// The bytes of a field; the last one counts when there are several.
#[must_use]
pub fn bytes_of(message: &[u8], wanted: u32) -> Option<&[u8]> {
    fields(message)?.into_iter().rev().find_map(|(field, value)| match value {
        Value::Bytes(bytes) if field == wanted => Some(bytes),
        _ => None,
    })
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let byte = take(bytes, 1)?[0];
        let part = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        value |= part.checked_shl(shift).filter(|shifted| shifted >> shift == part)?;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the page on the encoding.
    #[test]
    fn fields_are_written_as_the_specification_shows() {
        assert_eq!(Message::default().varint(1, 150).into_bytes(), [0x08, 0x96, 0x01]);
        assert_eq!(Message::default().text(2, "testing").into_bytes(), b"\x12\x07testing");
        let inner = Message::default().varint(1, 150);
        assert_eq!(Message::default().message(3, &inner).into_bytes(), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        let double = Message::default().double(4, 1.0).into_bytes();
        assert_eq!(double, [0x21, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
        assert_eq!(Message::default().packed(6, [1]).into_bytes(), [0x32, 8, 1, 0, 0, 0, 0, 0, 0, 0]);
        let all = Message::default().varint(1, u64::MAX).fixed(2, 7).text(3, "a").text(3, "b").into_bytes();
        let read =
            [(1, Value::Varint(u64::MAX)), (2, Value::Fixed(7)), (3, Value::Bytes(b"a")), (3, Value::Bytes(b"b"))];
        assert_eq!(
            (fields(&all).unwrap(), bytes_of(&all, 3), bytes_of(&all, 4)),
            (read.to_vec(), Some(&b"b"[..]), None)
        );
        for wrong in [
            &all[..all.len() - 1],
            &[0x08],
            &[0x0b],
            &[0x00, 0x00],
            &[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2],
        ] {
            assert_eq!(fields(wrong), None, "{wrong:?}");
        }
        let most = Message::default().varint(1, u64::MAX).into_bytes();
        assert_eq!(most, [0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]);
    }
}
