//! Pairs as HTML forms write them: `tempf=71.2&dateutc=2024-05-01+12%3A00%3A00`.

use super::members::Members;
use super::{About, Content, DecodeError, Format, Kind, Utf8};

/// The row of this format in the table of decoders.
pub const KIND: Kind = Kind::without_keys::<Form>(
    "form",
    "Pairs as HTML forms write them: `name=value&name=value` (WHATWG URL, application/x-www-form-urlencoded).",
);

/// The settings of the decoder `form`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Form;

impl Format for Form {
    fn name(&self) -> &'static str {
        KIND.name
    }

    fn is_by_line(&self) -> bool {
        false
    }

    fn decode<'m>(&self, message: &'m [u8], _: &About<'_>) -> Result<Content<'m>, DecodeError> {
        let text = Utf8::check(message)?.trim_ascii();
        let mut members = Members::default();
        for piece in text.split('&').filter(|piece| !piece.is_empty()) {
            if !piece.contains('=') {
                return Err(DecodeError::Form(format!("`{piece}` has no `=`")));
            }
            for (name, value) in form_urlencoded::parse(piece.as_bytes()) {
                // The parser writes this character in place of bytes that are not UTF-8.
                if name.contains('\u{fffd}') || value.contains('\u{fffd}') {
                    return Err(DecodeError::Form(format!("`{piece}` is not UTF-8")));
                }
                if name.is_empty() {
                    return Err(DecodeError::Form(format!("`{piece}` has no name")));
                }
                members.push_plain(name.into_owned(), &value);
            }
        }
        if members.0.is_empty() { Err(DecodeError::Empty("a pair")) } else { Ok(Content::Members(members, None)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Result<String, String> {
        match Form.decode(text.as_bytes(), &About::default()) {
            Ok(Content::Members(members, _)) => Ok(members.to_json()),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn an_ecowitt_report_becomes_members() {
        let report =
            "stationtype=GW1000B_V1.6.8&dateutc=2024-05-01+12:00:00&tempf=71.20&freq=868M&note=a%26b+%c3%a4&rain=";
        let expected = concat!(
            r#"{"stationtype":"GW1000B_V1.6.8","dateutc":"2024-05-01 12:00:00","tempf":71.20,"#,
            r#""freq":"868M","note":"a&b ä","rain":""}"#
        );
        assert_eq!(json(report).unwrap(), expected);
        assert_eq!(json("a=1&a=2&\r\n").unwrap(), r#"{"a":1,"a_2":2}"#);
    }

    #[test]
    fn what_is_no_form_is_refused() {
        for (text, why) in [
            ("{\"t\":1}", "has no `=`"),
            ("a=1&b", "`b` has no `=`"),
            ("a=%ff", "is not UTF-8"),
            ("=1", "has no name"),
            ("&", "a pair"),
        ] {
            assert!(json(text).unwrap_err().contains(why), "{text}: {:?}", json(text));
        }
    }
}
