//! JSON as some devices write it: `nan`, `Infinity`, a comma too many. Repaired text is JSON, with `null` for values
//! that JSON does not have.

/// Words that stand for no number, in lower case.
const NO_NUMBERS: [&[u8]; 3] = [b"nan", b"infinity", b"inf"];

/// Repairs a text: the repaired text, and how many repairs it took. `None` when there is nothing to repair.
#[must_use]
pub fn repair(text: &str) -> Option<(String, u32)> {
    let bytes = text.as_bytes();
    let (mut out, mut repairs, mut at) = (Vec::with_capacity(bytes.len()), 0, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let end = string_end(bytes, at + 1);
                out.extend_from_slice(&bytes[at..end]);
                at = end;
                continue;
            }
            b',' => {
                let next = bytes[at + 1..].iter().find(|byte| !byte.is_ascii_whitespace());
                if matches!(next, Some(b'}' | b']')) {
                    repairs += 1;
                } else {
                    out.push(b',');
                }
            }
            b'+' | b'-' | b'a'..=b'z' | b'A'..=b'Z' => {
                let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
                let end = bytes[at..].iter().position(|byte| !is_word(byte)).map_or(bytes.len(), |n| at + n);
                let word = &bytes[at..end];
                let unsigned = word.strip_prefix(b"-").or_else(|| word.strip_prefix(b"+")).unwrap_or(word);
                if NO_NUMBERS.iter().any(|known| unsigned.eq_ignore_ascii_case(known)) {
                    out.extend_from_slice(b"null");
                    repairs += 1;
                } else {
                    out.extend_from_slice(word);
                }
                at = end;
                continue;
            }
            other => out.push(*other),
        }
        at += 1;
    }
    // Only whole characters were copied, or ASCII was put in their place.
    (repairs > 0).then(|| String::from_utf8(out).ok().map(|text| (text, repairs))).flatten()
}

/// The index after a string; `at` is the index after its first quote.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_that_json_does_not_have_are_null_and_commas_too_many_go() {
        for (text, repaired, times) in [
            (r#"{"t":nan}"#, r#"{"t":null}"#, 1),
            (r#"{"t":NaN,"u":-Infinity,"v":[1,inf,]}"#, r#"{"t":null,"u":null,"v":[1,null]}"#, 4),
            ("[1,2 ,\n]", "[1,2 \n]", 1),
            (r#"{"nan":"nan, ]","t":+inf}"#, r#"{"nan":"nan, ]","t":null}"#, 1),
        ] {
            assert_eq!(repair(text), Some((repaired.into(), times)), "{text}");
        }
        for good in [r#"{"a":true,"b":-1.5e+3,"c":"\",]"}"#, "[null,false]", "", "\"open"] {
            assert_eq!(repair(good), None, "{good}");
        }
    }

    proptest! {
        #[test]
        fn json_is_left_alone_and_nothing_panics(text in ".{0,80}", number in any::<f64>()) {
            let _ = repair(&text);
            let json = serde_json::json!({ "a": [number, text], "b": { "c": null, "d": true } }).to_string();
            prop_assert_eq!(repair(&json), None);
        }
    }
}
