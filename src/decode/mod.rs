//! Frames into records: checks and extracts; payloads stay verbatim.

pub use crate::config::value::Decoder;
use crate::flow::record::PayloadKind;
use serde::de::IgnoredAny;

/// Why a message is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Nothing there.
    #[error("empty payload; JSON needs a value")]
    Empty,
    /// Not JSON.
    #[error("not JSON: {0}")]
    Json(String),
    /// Not UTF-8.
    #[error("not UTF-8: the byte at {0} is not allowed there")]
    Utf8(usize),
}

impl Decoder {
    /// Checks one message.
    ///
    /// # Errors
    /// When it is not what the decoder reads.
    pub fn check(self, payload: &[u8]) -> Result<PayloadKind, DecodeError> {
        let text = std::str::from_utf8(payload).map_err(|error| DecodeError::Utf8(error.valid_up_to()))?;
        if self == Self::Text {
            return Ok(PayloadKind::Text);
        }
        if text.trim_ascii().is_empty() {
            return Err(DecodeError::Empty);
        }
        match serde_json::from_str::<IgnoredAny>(text) {
            Ok(IgnoredAny) => Ok(PayloadKind::Json),
            Err(error) => Err(DecodeError::Json(error.to_string())),
        }
    }

    /// Whether a line without anything in it is no message.
    #[must_use]
    pub fn skips_blank_lines(self) -> bool {
        self == Self::Json
    }
}

/// The lines of a block, without `\n` and `\r\n`.
pub fn lines(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = block.strip_suffix(b"\n").unwrap_or(block);
    whole.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_any_one_value_and_nothing_else() {
        for good in ["1", " {\"a\":[1,2]}\n", "\"x\"", "null", "-1.5e-3"] {
            assert_eq!(Decoder::Json.check(good.as_bytes()), Ok(PayloadKind::Json), "{good}");
        }
        for bad in ["{", "1 2", "{\"a\":}", "NaN", "01", "'a'"] {
            assert!(matches!(Decoder::Json.check(bad.as_bytes()), Err(DecodeError::Json(_))), "{bad}");
        }
        assert_eq!(Decoder::Json.check(b"  "), Err(DecodeError::Empty));
        assert_eq!(Decoder::Json.check(b"\"\xff\""), Err(DecodeError::Utf8(1)));
        let deep = "[".repeat(100_000);
        assert!(Decoder::Json.check(deep.as_bytes()).is_err(), "deep nesting is refused, not a stack overflow");
    }

    #[test]
    fn text_is_utf8_and_may_be_empty() {
        assert_eq!(Decoder::Text.check(b""), Ok(PayloadKind::Text));
        assert_eq!(Decoder::Text.check("21 °C".as_bytes()), Ok(PayloadKind::Text));
        assert_eq!(Decoder::Text.check(b"ab\xc3"), Err(DecodeError::Utf8(2)));
    }

    #[test]
    fn lines_lose_their_ends_only() {
        let split =
            |text: &'static str| lines(text.as_bytes()).map(|l| std::str::from_utf8(l).unwrap()).collect::<Vec<_>>();
        assert_eq!(split("a\r\n\nb"), ["a", "", "b"]);
        assert_eq!(split("a\n"), ["a"]);
        assert_eq!(split("\n\n"), ["", ""]);
    }
}
