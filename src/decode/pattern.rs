//! Texts by a pattern: named groups of a regular expression become members.
//!
//! A pattern may use the names of a small library, as grok patterns do: `%{NUMBER:temperature}`.

use super::members::Members;
use super::{About, Content, DecodeError, Format, Kind, Utf8};
use crate::section::Section;
use regex_lite::Regex;
use std::sync::Arc;

/// The row of this format in the table of decoders.
pub const KIND: Kind = Kind {
    name: "regex",
    doc: "Text by a pattern, a record a line: named groups become members.",
    keys: &["regex"],
    read,
    usual: || Arc::new(Pattern::default()),
};

/// The library: names and what they stand for. They are a part of those that logstash knows as grok patterns.
pub const LIBRARY: [(&str, &str); 13] = [
    ("INT", r"[+-]?[0-9]+"),
    ("NUMBER", r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"),
    ("HEX", r"(?:0[xX])?[0-9a-fA-F]+"),
    ("WORD", r"\b\w+\b"),
    ("NOTSPACE", r"\S+"),
    ("SPACE", r"\s*"),
    ("DATA", r".*?"),
    ("GREEDYDATA", r".*"),
    ("QUOTED", r#""[^"]*""#),
    ("IP", r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}"),
    ("HOSTNAME", r"[0-9A-Za-z][0-9A-Za-z.-]*"),
    ("LEVEL", r"(?i:trace|debug|info|notice|warn(?:ing)?|err(?:or)?|crit(?:ical)?|fatal|alert|emerg(?:ency)?)"),
    (
        "TIMESTAMP_ISO8601",
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?",
    ),
];
/// The most patterns of a source.
const MOST_PATTERNS: usize = 16;

/// The settings of the decoder `regex`.
#[derive(Debug, Clone, Default)]
pub struct Pattern {
    /// The patterns, tried in turn.
    patterns: Vec<Regex>,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        let texts = |one: &Self| one.patterns.iter().map(|pattern| pattern.as_str().to_string()).collect::<Vec<_>>();
        texts(self) == texts(other)
    }
}

impl Pattern {
    /// With these patterns.
    ///
    /// # Errors
    /// A pattern that is none, or has no named group.
    pub fn new(patterns: &[&str]) -> Result<Self, String> {
        let patterns = patterns.iter().map(|pattern| compiled(pattern)).collect::<Result<_, _>>()?;
        Ok(Self { patterns })
    }
}

impl Format for Pattern {
    fn name(&self) -> &'static str {
        KIND.name
    }

    fn needs(&self) -> Option<&'static str> {
        Some("regex")
    }

    fn decode<'m>(&self, message: &'m [u8], _: &About<'_>) -> Result<Content<'m>, DecodeError> {
        let text = Utf8::check(message)?.trim_end_matches(['\r', '\n']);
        let found = self.patterns.iter().find_map(|pattern| Some((pattern, pattern.captures(text)?)));
        let (pattern, groups) = found.ok_or(DecodeError::Pattern)?;
        let mut members = Members::default();
        for name in pattern.capture_names().flatten() {
            // A group that took no part is a value that is not there.
            match groups.name(name) {
                Some(value) => members.push_plain(name.to_string(), value.as_str()),
                None => members.push_json(name.to_string(), "null"),
            }
        }
        Ok(Content::Members(members, None))
    }
}

fn read(section: &mut Section<'_>) -> Arc<dyn Format> {
    let Some(mut table) = section.table("regex", "Rules of the decoder `regex`.") else {
        return Arc::new(Pattern::default());
    };
    let patterns = table
        .text_or_texts("pattern")
        .doc("A regular expression with named groups, or several that are tried in turn: `(?<t>[0-9.]+) C`, or with names of the library: `%{NUMBER:t} C`.")
        .example("'%{TIMESTAMP_ISO8601:time} %{WORD:device} T=%{NUMBER:t}'")
        .not_empty()
        .need();
    let mut rule = Pattern::default();
    for at in patterns.into_iter().flatten() {
        match compiled(&at.value) {
            Ok(pattern) => rule.patterns.push(pattern),
            Err(error) => {
                let names: Vec<&str> = LIBRARY.iter().map(|(name, _)| *name).collect();
                let hint = format!("write it in single quotes; names of the library: {}", names.join(", "));
                table.session().problem(at.span, error, Some(hint));
            }
        }
    }
    if rule.patterns.len() > MOST_PATTERNS {
        table.wrong("pattern", format!("more than {MOST_PATTERNS} patterns"));
    }
    table.end();
    Arc::new(rule)
}

/// A pattern with the names of the library replaced.
fn compiled(pattern: &str) -> Result<Regex, String> {
    let (mut out, mut rest) = (String::new(), pattern);
    while let Some(at) = rest.find("%{") {
        out.push_str(&rest[..at]);
        let end = rest[at..].find('}').ok_or_else(|| format!("`{}` has no `}}`", &rest[at..]))?;
        let name = &rest[at + 2..at + end];
        let (known, member) = name.split_once(':').map_or((name, None), |(known, member)| (known, Some(member)));
        let found = LIBRARY.iter().find(|(library, _)| *library == known);
        let (_, stands_for) = found.ok_or_else(|| format!("`{known}` is not in the library of patterns"))?;
        let group = member.map_or_else(|| "(?:".into(), |member| format!("(?<{member}>"));
        out.extend([group.as_str(), stands_for, ")"]);
        rest = &rest[at + end + 1..];
    }
    out.push_str(rest);
    let made = Regex::new(&out).map_err(|error| format!("`{pattern}` is no pattern: {error}"))?;
    if made.capture_names().flatten().next().is_none() {
        return Err(format!("`{pattern}` has no named group: nothing would be taken from a message"));
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(patterns: &[&str], text: &str) -> Result<String, DecodeError> {
        match Pattern::new(patterns).unwrap().decode(text.as_bytes(), &About::default())? {
            Content::Members(members, _) => Ok(members.to_json()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn named_groups_and_names_of_the_library_become_members() {
        let log =
            r"%{TIMESTAMP_ISO8601:time} \[%{LEVEL:level}\] %{WORD:device}: T=%{NUMBER:t}(?: H=%{INT:h})?%{GREEDYDATA}";
        assert_eq!(
            json(&[log], "2024-05-01T12:00:00,5 [WARN] press7: T=-21.50 and more\r\n").unwrap(),
            r#"{"time":"2024-05-01T12:00:00,5","level":"WARN","device":"press7","t":-21.50,"h":null}"#
        );
        let two = [r"^(?<t>[0-9.]+) C$", r"^(?<f>[0-9.]+) F$"];
        assert_eq!(json(&two, "70 F").unwrap(), r#"{"f":70}"#);
        assert_eq!(json(&two, "70 K"), Err(DecodeError::Pattern));
    }

    #[test]
    fn every_name_of_the_library_is_a_pattern() {
        for (name, _) in LIBRARY {
            assert!(compiled(&format!("%{{{name}:x}}")).is_ok(), "{name}");
        }
        let why = |pattern: &str| compiled(pattern).unwrap_err();
        assert!(why("%{NO:x}").contains("`NO` is not in the library"));
        assert!(why("%{INT:x").contains("has no `}`") && why("(").contains("no pattern"));
        assert!(why("[0-9]+").contains("no named group"));
    }
}
