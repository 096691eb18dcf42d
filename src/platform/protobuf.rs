//! Writes messages of Protocol Buffers (protobuf.dev/programming-guides/encoding), field by field.

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
        let most = Message::default().varint(1, u64::MAX).into_bytes();
        assert_eq!(most, [0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]);
    }
}
