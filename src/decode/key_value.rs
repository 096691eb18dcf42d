//! `name=value` pairs: `temp=21.50 unit=C place="hall 1"`.

use super::members::Members;
use super::{About, Content, DecodeError, Format, Kind, Utf8};
use crate::section::Section;
use std::sync::Arc;

/// The row of this format in the table of decoders.
pub const KIND: Kind = Kind {
    name: "key-value",
    doc: "`name=value` pairs, a record a line.",
    keys: &["key_value"],
    read,
    usual: || Arc::new(KeyValue::default()),
};

/// The settings of the decoder `key-value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The character between pairs. Without it, white space, `,` and `;` separate pairs.
    pub separator: Option<char>,
    /// The character between name and value.
    pub assign: char,
}

impl Default for KeyValue {
    fn default() -> Self {
        Self { separator: None, assign: '=' }
    }
}

impl Format for KeyValue {
    fn name(&self) -> &'static str {
        KIND.name
    }

    fn decode<'m>(&self, message: &'m [u8], _: &About<'_>) -> Result<Content<'m>, DecodeError> {
        Ok(Content::Members(members(self, Utf8::check(message)?)?, None))
    }
}

fn read(section: &mut Section<'_>) -> Arc<dyn Format> {
    let mut rule = KeyValue::default();
    if let Some(mut table) = section.table("key_value", "Rules of the decoder `key-value`.") {
        let one = |text: &String, name: &str| {
            of_text(text).is_none().then(|| (format!("`{name}` is one character, and no quote"), None))
        };
        let separator = table.text("separator").doc("Character between pairs.").example("\"|\"");
        let separator = separator.check(move |text| one(text, "separator")).get_or("white space, `,` and `;`");
        rule.separator = separator.as_deref().and_then(of_text);
        let assign = table.text("assign").doc("Character between name and value.");
        let assign = assign.check(move |text| one(text, "assign")).or("=".into());
        rule.assign = of_text(&assign).unwrap_or('=');
        table.end();
    }
    Arc::new(rule)
}

fn of_text(text: &str) -> Option<char> {
    let mut chars = text.chars();
    chars.next().filter(|c| *c != '"' && chars.next().is_none())
}

/// The pairs of a line.
///
/// # Errors
/// A piece has no name or no character `assign`, there is no pair at all, or quotes do not end.
pub fn members(rule: &KeyValue, line: &str) -> Result<Members<'static>, DecodeError> {
    let mut members = Members::default();
    for piece in pieces(rule, line)? {
        let (name, value) = piece
            .split_once(rule.assign)
            .ok_or_else(|| DecodeError::KeyValue(format!("`{piece}` has no `{}`", rule.assign)))?;
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() {
            return Err(DecodeError::KeyValue(format!("`{piece}` has no name")));
        }
        match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(text) => members.push_text(name.to_string(), &text.replace("\\\"", "\"")),
            None => members.push_plain(name.to_string(), value),
        }
    }
    if members.0.is_empty() { Err(DecodeError::Empty("a pair")) } else { Ok(members) }
}

/// Cut at separators outside quotes.
fn pieces<'a>(rule: &KeyValue, line: &'a str) -> Result<Vec<&'a str>, DecodeError> {
    let separates = |c: char| rule.separator.map_or(c.is_whitespace() || c == ',' || c == ';', |only| c == only);
    let (mut pieces, mut start, mut inside, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if inside => escaped = true,
            '"' => inside = !inside,
            c if !inside && separates(c) => {
                pieces.push(&line[start..at]);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    if inside {
        return Err(DecodeError::KeyValue("a quoted value does not end".into()));
    }
    pieces.push(&line[start..]);
    Ok(pieces.into_iter().filter(|piece| !piece.trim().is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(rule: &KeyValue, line: &str) -> Result<String, DecodeError> {
        members(rule, line).map(|members| members.to_json())
    }

    #[test]
    fn pairs_become_members() {
        let rule = KeyValue::default();
        assert_eq!(
            json(&rule, "temp=21.50, ok=true  place=\"hall \\\"1\\\"; a\" id=007").unwrap(),
            r#"{"temp":21.50,"ok":true,"place":"hall \"1\"; a","id":"007"}"#
        );
        assert_eq!(json(&rule, "a=b=c").unwrap(), r#"{"a":"b=c"}"#);
        let rule = KeyValue { separator: Some('|'), assign: ':' };
        assert_eq!(json(&rule, "a: 1|b: x y").unwrap(), r#"{"a":1,"b":"x y"}"#);
    }

    #[test]
    fn what_is_no_pair_is_said() {
        let rule = KeyValue::default();
        for (bad, why) in [("temp", "no `=`"), ("=1", "no name"), ("a=\"x", "does not end"), ("  ", "empty")] {
            assert!(json(&rule, bad).unwrap_err().to_string().contains(why), "{bad}");
        }
    }
}
