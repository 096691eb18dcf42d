//! Texts in the eight-bit encodings of older devices and programs.

use std::borrow::Cow;

/// How the bytes of a text are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// UTF-8.
    #[default]
    Utf8,
    /// ISO 8859-1.
    Latin1,
    /// Windows-1252, as Windows programs in western Europe write it.
    Windows1252,
}

/// The characters of windows-1252 from 0x80 to 0x9f (<https://encoding.spec.whatwg.org/index-windows-1252.txt>).
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’',
    '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

impl Encoding {
    /// The same text in UTF-8.
    #[must_use]
    pub fn to_utf8(self, bytes: &[u8]) -> Cow<'_, [u8]> {
        if self == Self::Utf8 || bytes.is_ascii() {
            return Cow::Borrowed(bytes);
        }
        let character = |byte: &u8| match byte {
            0x80..=0x9f if self == Self::Windows1252 => WINDOWS_1252[usize::from(byte - 0x80)],
            byte => char::from(*byte),
        };
        Cow::Owned(bytes.iter().map(character).collect::<String>().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_the_characters_of_their_encoding() {
        let text = |encoding: Encoding, bytes: &[u8]| String::from_utf8(encoding.to_utf8(bytes).into_owned()).unwrap();
        assert_eq!(text(Encoding::Latin1, b"21 \xb0C"), "21 °C");
        assert_eq!(text(Encoding::Windows1252, b"\x80 \x93W\xe4rme\x94"), "€ “Wärme”");
        assert!(matches!(Encoding::Latin1.to_utf8(b"plain"), Cow::Borrowed(_)));
        assert_eq!(&*Encoding::Utf8.to_utf8(b"\xff"), b"\xff", "whoever reads it refuses it");
    }
}
