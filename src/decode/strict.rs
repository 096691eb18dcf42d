//! Checks that every strict reader accepts a JSON text. The grammar allows more (RFC 8259, sections 9 and 8.2):
//! unlimited nesting, halves of surrogate pairs, and numbers that no double holds.

/// The deepest nesting of values. The readers of .NET accept 64 levels, and the envelope needs some of these.
pub const DEEPEST: u32 = 60;
/// A number with fewer characters than this and without an exponent is never too large for a double.
const SHORT: usize = 300;

/// Checks a text that is valid JSON.
///
/// # Errors
/// The reason why a strict reader would refuse the text.
pub fn check(text: &str) -> Result<(), String> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = string(bytes, at + 1)?;
                continue;
            }
            b'{' | b'[' => {
                depth += 1;
                if depth > DEEPEST {
                    return Err(format!("more than {DEEPEST} values in values, at byte {at}"));
                }
            }
            b'}' | b']' => depth -= 1,
            b'-' | b'0'..=b'9' => {
                let end =
                    bytes[at..].iter().position(|byte| !matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'));
                let end = end.map_or(bytes.len(), |n| at + n);
                if !is_finite(&text[at..end]) {
                    return Err(format!("a number beyond 1.8e308, at byte {at}"));
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// Whether a JSON number is within the range of a double.
pub fn is_finite(number: &str) -> bool {
    number.len() < SHORT && !number.contains(['e', 'E']) || number.parse::<f64>().is_ok_and(f64::is_finite)
}

/// The index after a string. `at` is the index after the opening quote.
fn string(bytes: &[u8], mut at: usize) -> Result<usize, String> {
    // Whether the last character was the first half of a surrogate pair.
    let mut half = false;
    loop {
        let unit = match bytes.get(at) {
            Some(b'\\') if bytes.get(at + 1) == Some(&b'u') => {
                let digits = bytes.get(at + 2..at + 6).and_then(|digits| std::str::from_utf8(digits).ok());
                let unit = digits.and_then(|digits| u16::from_str_radix(digits, 16).ok()).unwrap_or(0);
                at += 6;
                unit
            }
            Some(b'\\') => {
                at += 2;
                0
            }
            Some(b'"') | None => {
                return if half { Err(lone(at)) } else { Ok(at + 1) };
            }
            Some(_) => {
                at += 1;
                0
            }
        };
        let is_second = (0xdc00..0xe000).contains(&unit);
        if half != is_second {
            return Err(lone(at));
        }
        half = (0xd800..0xdc00).contains(&unit);
    }
}

fn lone(at: usize) -> String {
    format!("half of a surrogate pair, before byte {at}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_strict_reader_takes_passes_and_nothing_else() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        for good in [
            "1",
            "-0.5e308",
            "1e-400",
            "\"\\ud83d\\ude00 \\u00e4 \\\\ud83d\"",
            "{\"[\":\"{\"}",
            "[1,[2,{\"a\":[]}]]",
            "\"\\\"[\"",
            "123456789012345678901234567890",
            &nested(60),
        ] {
            assert!(serde_json::from_str::<serde::de::IgnoredAny>(good).is_ok());
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "1e400",
            "[-1E+999]",
            "\"\\ud83d\"",
            "\"\\ude00\"",
            "\"\\ud83dx\\ude00\"",
            "\"\\ud83d\\ud83d\"",
            "{\"\\udfff\":1}",
            &"9".repeat(400),
            &nested(61),
            &nested(400_000),
        ] {
            assert!(serde_json::from_str::<serde::de::IgnoredAny>(bad).is_ok());
            assert!(check(bad).is_err(), "{}", &bad[..bad.len().min(30)]);
        }
    }
}
