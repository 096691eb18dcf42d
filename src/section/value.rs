//! Parses a TOML text into a tree of values with their places. This is the only file that names the TOML crate.

use super::problem::Problem;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and its place in the text, in bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// The place in the text.
    pub span: Range<usize>,
    /// The value itself.
    pub data: Data,
}

/// A value of TOML.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// Text in quotes.
    Text(String),
    /// A whole number.
    Integer(i128),
    /// A number with a fraction or an exponent.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// A date, a time, or both.
    Time,
    /// A list in brackets.
    List(Vec<Value>),
    /// A table, sorted by its keys.
    Table(Vec<(Key, Value)>),
}

/// A key and its place in the text, in bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// The place in the text.
    pub span: Range<usize>,
    /// The key without quotes.
    pub name: String,
}

impl Data {
    /// The words for this value in an error message. `shown` means that a whole number is repeated.
    #[must_use]
    pub fn words(&self, shown: bool) -> String {
        match self {
            Self::Text(_) => "text".into(),
            Self::Integer(number) if shown => number.to_string(),
            Self::Integer(_) => "a number".into(),
            Self::Float(_) => "a number with a fraction".into(),
            Self::Bool(_) => "true or false".into(),
            Self::Time => "a date or time".into(),
            Self::List(_) => "a list".into(),
            Self::Table(_) => "a table".into(),
        }
    }

    /// Reads a text from outside the file as TOML would read it without quotes: a number, `true`, `false`, or text.
    #[must_use]
    pub fn from_environment(text: &str) -> Self {
        let number = text.parse().ok().map(Self::Integer);
        let float = || text.parse::<f64>().ok().filter(|_| text.starts_with(|c: char| c.is_ascii_digit() || c == '-'));
        match text {
            "true" => Self::Bool(true),
            "false" => Self::Bool(false),
            _ => number.or_else(|| float().map(Self::Float)).unwrap_or_else(|| Self::Text(text.into())),
        }
    }
}

/// Parses a text; places are counted from `base`.
///
/// # Errors
/// One problem for each place that is no TOML.
pub fn parse(text: &str, base: usize) -> Result<Vec<(Key, Value)>, Vec<Problem>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(table(root.into_inner(), base));
    }
    let problem = |error: &toml::de::Error| {
        let span = error.span().unwrap_or(0..0);
        let hint = hint(text, span.start).into();
        let message = error.message().to_string();
        Problem { span: span.start + base..span.end + base, message, hint: Some(hint) }
    };
    let mut problems: Vec<Problem> = errors.iter().map(problem).collect();
    // A table that stands twice gives the same problem for each of its keys. It is reported once.
    problems.dedup_by(|later, first| later.message == first.message);
    Err(problems)
}

/// Advice for the user, chosen by the text at the place of the problem.
fn hint(text: &str, at: usize) -> &'static str {
    let start = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1);
    let line = text.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
    let value = line.split_once('=').map(|(_, value)| value.trim_start());
    match value.and_then(|value| value.chars().next()) {
        _ if line.trim_start().starts_with('[') => "this is not TOML: each [table] stands once, and ends with ]",
        Some('"') if line.contains('\\') => "this is not TOML: write text with a \\ in single quotes, as in '^\\d+'",
        Some(first) if first.is_alphabetic() || "“”‘’/".contains(first) => {
            "this is not TOML: text needs straight quotes, as in \"file\""
        }
        Some(_) => "this is not TOML: quotes and brackets come in pairs, and each key stands once",
        None => "this is not TOML: a line is `key = value` or [table]",
    }
}

fn table(table: DeTable<'_>, base: usize) -> Vec<(Key, Value)> {
    let entry = |(key, found): (Spanned<std::borrow::Cow<'_, str>>, Spanned<DeValue<'_>>)| {
        let span = moved(&key.span(), base);
        (Key { span, name: key.into_inner().into_owned() }, value(found, base))
    };
    table.into_iter().map(entry).collect()
}

fn value(value: Spanned<DeValue<'_>>, base: usize) -> Value {
    let span = moved(&value.span(), base);
    let data = match value.into_inner() {
        DeValue::String(text) => Data::Text(text.into_owned()),
        DeValue::Integer(number) => {
            i128::from_str_radix(number.as_str(), number.radix()).map_or(Data::Integer(i128::MAX), Data::Integer)
        }
        DeValue::Float(number) => number.as_str().parse().map_or(Data::Float(f64::NAN), Data::Float),
        DeValue::Boolean(truth) => Data::Bool(truth),
        DeValue::Datetime(_) => Data::Time,
        DeValue::Array(list) => Data::List(list.into_iter().map(|found| self::value(found, base)).collect()),
        DeValue::Table(entries) => Data::Table(table(entries, base)),
    };
    Value { span, data }
}

fn moved(span: &Range<usize>, base: usize) -> Range<usize> {
    span.start + base..span.end + base
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_place_and_numbers_every_notation() {
        let read = parse("a = 0x10\nb = [1_000, -2.5e1]\n[t]\nc = { d = true }\n", 100).unwrap();
        assert_eq!(read[0].1, Value { span: 104..108, data: Data::Integer(16) });
        let Data::List(list) = &read[1].1.data else { panic!("{read:?}") };
        assert_eq!((&list[0].data, &list[1].data), (&Data::Integer(1000), &Data::Float(-25.0)));
        let Data::Table(inner) = &read[2].1.data else { panic!("{read:?}") };
        assert_eq!(inner[0].0.name, "c");
        let problems = parse("a = [\nb = nope\n", 7).unwrap_err();
        assert!(problems.iter().all(|problem| problem.span.start >= 7) && !problems.is_empty());
    }

    #[test]
    fn what_is_no_toml_gets_a_hint_for_what_stands_there() {
        for (text, hint, count) in [
            ("[a]\nx = 1\ny = 2\n[a]\nx = 1\ny = 2\n", "each [table] stands once", 1),
            ("x = file\n", "straight quotes", 1),
            ("x = “file”\n", "straight quotes", 1),
            ("x = \"^\\d\"\n", "single quotes", 1),
            ("x = [1,\n", "in pairs", 1),
            ("oops\n", "`key = value`", 1),
        ] {
            let problems = parse(text, 0).unwrap_err();
            assert!(problems[0].hint.as_ref().unwrap().contains(hint), "{text}: {problems:?}");
            assert_eq!(problems.len(), count, "{text}: {problems:?}");
        }
    }

    #[test]
    fn the_environment_gives_numbers_and_texts() {
        assert_eq!(Data::from_environment("12"), Data::Integer(12));
        assert_eq!(Data::from_environment("1.5"), Data::Float(1.5));
        assert_eq!(Data::from_environment("true"), Data::Bool(true));
        assert_eq!(Data::from_environment("5s"), Data::Text("5s".into()));
        assert_eq!(Data::from_environment("nan"), Data::Text("nan".into()));
    }
}
