//! Members of JSON objects, without building trees: names and the JSON text of their values.
//!
//! Values stay as they were written: `21.50` is not made `21.5`, and a number beyond a double keeps
//! its digits.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Names and JSON texts, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members<'a>(pub Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Members<'a> {
    /// The members of a JSON object; `None` when the text is another value or no JSON.
    #[must_use]
    pub fn parse(json: &'a str) -> Option<Self> {
        let mut reader = serde_json::Deserializer::from_str(json);
        let members = reader.deserialize_map(All).ok()?;
        reader.end().ok()?;
        Some(Self(members))
    }

    /// Adds a member that is written like a JSON number, `true` or `false` as that, any other as text.
    pub fn push_plain(&mut self, name: impl Into<Cow<'a, str>>, text: &str) {
        self.0.push((name.into(), plain(text).into()));
    }

    /// Adds text.
    pub fn push_text(&mut self, name: impl Into<Cow<'a, str>>, text: &str) {
        self.0.push((name.into(), quoted(text).into()));
    }

    /// Adds a JSON value.
    pub fn push_json(&mut self, name: impl Into<Cow<'a, str>>, json: impl Into<Cow<'a, str>>) {
        self.0.push((name.into(), json.into()));
    }

    /// The whole object.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(self.0.iter().map(|(n, v)| n.len() + v.len() + 4).sum::<usize>() + 2);
        out.push('{');
        for (i, (name, value)) in self.0.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            out.push_str(&quoted(name));
            out.push(':');
            out.push_str(value);
        }
        out.push('}');
        out
    }
}

/// The value at a path of names and array indices with dots between; a top-level name may itself
/// have dots in it.
#[must_use]
pub fn find<'a>(json: &'a str, path: &str) -> Option<&'a str> {
    if let Some(value) = step(json, path) {
        return Some(value);
    }
    let mut at = json;
    for name in path.split('.') {
        at = step(at, name)?;
    }
    path.contains('.').then_some(at)
}

/// The text of a JSON value: without quotes and escapes where it is a string.
#[must_use]
pub fn text(json: &str) -> Cow<'_, str> {
    if !json.starts_with('"') {
        return json.into();
    }
    serde_json::from_str::<String>(json).map_or_else(|_| json.into(), Into::into)
}

/// Text as a JSON string.
#[must_use]
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A JSON number, `true` or `false` as they are; anything else as a JSON string.
#[must_use]
pub fn plain(text: &str) -> String {
    if text == "true" || text == "false" || is_number(text) { text.into() } else { quoted(text) }
}

/// Whether a text is a number as JSON writes it.
#[must_use]
pub fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        && text.ends_with(|c: char| c.is_ascii_digit())
        && serde_json::from_str::<&RawValue>(text).is_ok()
}

fn step<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let mut reader = serde_json::Deserializer::from_str(json);
    Pick(name).deserialize(&mut reader).ok().flatten().map(RawValue::get)
}

struct All;

impl<'de> Visitor<'de> for All {
    type Value = Vec<(Cow<'de, str>, Cow<'de, str>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            members.push((name.into(), map.next_value::<&RawValue>()?.get().into()));
        }
        Ok(members)
    }
}

/// The member or element of that name.
struct Pick<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for Pick<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Pick<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            if name == self.0 {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let wanted: usize = self.0.parse().map_err(A::Error::custom)?;
        let mut found = None;
        let mut at = 0;
        while let Some(value) = seq.next_element::<&RawValue>()? {
            if at == wanted {
                found = Some(value);
            }
            at += 1;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_as_they_were_written() {
        let json = r#" {"a":{"b":[1, {"c":21.50}],"d.e":2},"x.y":"q","n":null,"a2":"\u00e4"} "#;
        assert_eq!(find(json, "a.b.1.c"), Some("21.50"));
        assert_eq!(find(json, "x.y"), Some("\"q\""), "a name with a dot");
        assert_eq!(find(json, "n"), Some("null"));
        assert_eq!(
            (find(json, "a.z"), find(json, "a.b.7"), find(json, "z"), find(json, "n.x")),
            (None, None, None, None)
        );
        assert_eq!(text(find(json, "a2").unwrap()), "ä");
        assert_eq!(find("[1,2]", "1"), Some("2"));
        assert_eq!(find("7", "x"), None);
    }

    #[test]
    fn plain_text_is_a_number_only_when_json_says_so() {
        for number in ["0", "-1", "21.50", "1e3", "12345678901234567890123"] {
            assert_eq!(plain(number), number);
        }
        for text in ["007", "+1", "1.", ".5", "NaN", "", " 1", "0x1f", "1 2"] {
            assert_eq!(plain(text), format!("\"{text}\""));
        }
        assert_eq!(plain("true"), "true");
    }

    #[test]
    fn members_come_back_as_an_object() {
        let members = Members::parse("{\"a\":1.0, \"b\":[1, 2]}").unwrap();
        assert_eq!(members.to_json(), "{\"a\":1.0,\"b\":[1, 2]}");
        assert_eq!((Members::parse("[1]"), Members::parse("{\"a\":1} x")), (None, None));
    }
}
