//! The members of JSON objects as names and JSON texts, without building trees.
//!
//! Values stay as they were written: `21.50` does not become `21.5`, and a number beyond a double keeps its digits.

use super::strict::is_finite;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
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

    /// Adds a member. A text like a JSON number, `true` or `false` becomes that value; any other text becomes a
    /// string.
    pub fn push_plain(&mut self, name: impl Into<Cow<'a, str>>, text: &str) {
        self.0.push((name.into(), plain(text).into()));
    }

    /// Adds a member with a text.
    pub fn push_text(&mut self, name: impl Into<Cow<'a, str>>, text: &str) {
        self.0.push((name.into(), quoted(text).into()));
    }

    /// Adds a JSON value.
    pub fn push_json(&mut self, name: impl Into<Cow<'a, str>>, json: impl Into<Cow<'a, str>>) {
        self.0.push((name.into(), json.into()));
    }

    /// Writes the whole object. The second of two members with one name gets a number, because readers keep only
    /// one of them (RFC 8259, section 4). A member without a name is called after its column.
    #[must_use]
    pub fn to_json(&self) -> String {
        let names: HashSet<&str> = self.0.iter().map(|(name, _)| &**name).collect();
        if names.len() < self.0.len() || names.contains("") {
            return self.with_names_of_their_own().to_json();
        }
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

impl Members<'_> {
    fn with_names_of_their_own(&self) -> Members<'_> {
        let given: HashSet<&str> = self.0.iter().map(|(name, _)| &**name).collect();
        let mut taken: HashSet<String> = HashSet::new();
        let mut next: HashMap<String, usize> = HashMap::new();
        let own = self.0.iter().enumerate().map(|(at, (name, value))| {
            let stem = if name.is_empty() { format!("column_{}", at + 1) } else { name.to_string() };
            let is_free = |name: &str, taken: &HashSet<String>| !taken.contains(name) && !given.contains(name);
            let mut own = stem.clone();
            if taken.contains(&own) || name.is_empty() && !is_free(&own, &taken) {
                // The numbers only rise: no name is tried twice, so the work stays linear.
                let number = next.entry(stem.clone()).or_insert(2);
                loop {
                    own = format!("{stem}_{number}");
                    *number += 1;
                    if is_free(&own, &taken) {
                        break;
                    }
                }
            }
            taken.insert(own.clone());
            (own.into(), Cow::Borrowed(&**value))
        });
        Members(own.collect())
    }
}

/// The value at a path: names and array indices with dots between them. A top-level name may itself contain dots.
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

/// The text of a JSON value. A string loses its quotes and escapes.
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

/// A JSON number, `true` or `false` stays as it is; any other text becomes a JSON string.
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
        && is_finite(text)
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

/// Reads only the member of this name, or the element at this index.
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
    fn every_member_has_a_name_of_its_own() {
        let json = |names: &[&str]| {
            let mut members = Members::default();
            names.iter().enumerate().for_each(|(n, name)| members.push_json(*name, n.to_string()));
            members.to_json()
        };
        assert_eq!(json(&["ts", "t", "t"]), r#"{"ts":0,"t":1,"t_2":2}"#);
        assert_eq!(json(&["a", "", "x", ""]), r#"{"a":0,"column_2":1,"x":2,"column_4":3}"#);
        assert_eq!(json(&["t", "t_2", "t", "t"]), r#"{"t":0,"t_2":1,"t_3":2,"t_4":3}"#);
        assert_eq!(json(&["", "column_1", ""]), r#"{"column_1_2":0,"column_1":1,"column_3":2}"#);
        let many: Vec<&str> = std::iter::repeat_n("t", 20_000).collect();
        assert!(json(&many).ends_with("\"t_20000\":19999}"));
    }

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
