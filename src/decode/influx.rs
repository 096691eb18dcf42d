//! Influx line protocol: `measurement,tag=a field=1i,text="x" 1714564800000000000`. A text field has
//! no line break in it.

use super::members::{Members, is_number};
use super::{About, Content, DecodeError, Format, Kind, Unix, Utf8, time};
use crate::section::Section;
use std::sync::Arc;

/// The row of this format in the table of decoders.
pub const KIND: Kind = Kind {
    name: "influx",
    doc: "Influx line protocol, a point a line.",
    keys: &["precision"],
    read,
    usual: || Arc::new(Influx(Unix::Nanos)),
};

/// The decoder `influx`, with the unit of times when a client names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Influx(pub Unix);

impl Format for Influx {
    fn name(&self) -> &'static str {
        KIND.name
    }

    fn skips(&self, line: &[u8]) -> bool {
        line.is_empty() || line.starts_with(b"#")
    }

    fn decode<'m>(&self, message: &'m [u8], about: &About<'_>) -> Result<Content<'m>, DecodeError> {
        let unit = about.header.and_then(precision).unwrap_or(self.0);
        let point = point(Utf8::check(message)?, unit)?;
        Ok(Content::Members(point.members, point.time_us))
    }
}

fn read(section: &mut Section<'_>) -> Arc<dyn Format> {
    let unit = section
        .choice(
            "precision",
            &[
                ("s", Unix::Seconds, "Seconds."),
                ("ms", Unix::Millis, "Milliseconds."),
                ("us", Unix::Micros, "Microseconds."),
                ("ns", Unix::Nanos, "Nanoseconds."),
            ],
        )
        .doc("Unit of the times of the decoder `influx`. Over HTTP a request may name its own.")
        .or(Unix::Nanos);
    Arc::new(Influx(unit))
}

/// A point: its members, and its time in microseconds.
#[derive(Debug, PartialEq, Eq)]
pub struct Point {
    /// The members `measurement`, `tags` (if there are any) and `fields`.
    pub members: Members<'static>,
    /// The time of the point, in microseconds since 1970-01-01 UTC.
    pub time_us: Option<i64>,
}

/// The unit that a client names for the times of its points: InfluxDB's API has `precision=ms` for it
/// (<https://docs.influxdata.com/influxdb/v2/api/#operation/PostWrite>; version 1 has one-letter names too).
#[must_use]
pub fn precision(name: &[u8]) -> Option<Unix> {
    match name {
        b"ns" | b"n" => Some(Unix::Nanos),
        b"us" | b"u" => Some(Unix::Micros),
        b"ms" => Some(Unix::Millis),
        b"s" => Some(Unix::Seconds),
        _ => None,
    }
}

/// Reads one line as a point.
///
/// # Errors
/// The line is not a point.
pub fn point(line: &str, unit: Unix) -> Result<Point, DecodeError> {
    let mut reader = Reader { rest: line.trim() };
    let measurement = reader.name(&[',', ' ']);
    if measurement.is_empty() {
        return Err(wrong("no measurement"));
    }
    let mut tags = Members::default();
    while reader.take(',') {
        let (name, value) = (reader.name(&['=', ',', ' ']), reader.take('=').then(|| reader.name(&[',', ' '])));
        match value.filter(|value| !value.is_empty() && !name.is_empty()) {
            Some(value) => tags.push_text(name, &value),
            None => return Err(wrong("a tag without a name or a value")),
        }
    }
    if !reader.take(' ') {
        return Err(wrong("no fields"));
    }
    reader.rest = reader.rest.trim_start();
    let mut fields = Members::default();
    loop {
        let name = reader.name(&['=', ',', ' ']);
        if name.is_empty() || !reader.take('=') {
            return Err(wrong("a field without a name or a value"));
        }
        reader.value(name, &mut fields)?;
        if !reader.take(',') {
            break;
        }
    }
    let stamp = reader.rest.trim();
    let time_us = if stamp.is_empty() {
        None
    } else {
        Some(time::unix(stamp, unit).ok_or_else(|| wrong("its time is no number"))?)
    };
    let mut members = Members::default();
    members.push_text("measurement", &measurement);
    if !tags.0.is_empty() {
        members.push_json("tags", tags.to_json());
    }
    members.push_json("fields", fields.to_json());
    Ok(Point { members, time_us })
}

fn wrong(what: &str) -> DecodeError {
    DecodeError::Influx(what.into())
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn take(&mut self, wanted: char) -> bool {
        let found = self.rest.strip_prefix(wanted);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    /// Reads a name up to one of the ends. A backslash escapes the next character where that character is special.
    fn name(&mut self, ends: &[char]) -> String {
        let mut name = String::new();
        let mut chars = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((at, c)) = chars.next() {
            if ends.contains(&c) {
                end = at;
                break;
            }
            let special = |c: char| matches!(c, ',' | '=' | ' ' | '\\');
            let next = chars.clone().next().filter(|(_, next)| c == '\\' && special(*next));
            if let Some((_, next)) = next {
                name.push(next);
                chars.next();
            } else {
                name.push(c);
            }
        }
        self.rest = &self.rest[end..];
        name
    }

    fn value(&mut self, name: String, fields: &mut Members<'static>) -> Result<(), DecodeError> {
        if self.take('"') {
            let mut text = String::new();
            let mut chars = self.rest.char_indices();
            while let Some((at, c)) = chars.next() {
                match c {
                    '"' => {
                        self.rest = &self.rest[at + 1..];
                        fields.push_text(name, &text);
                        return Ok(());
                    }
                    '\\' => match chars.clone().next() {
                        Some((_, next @ ('"' | '\\'))) => {
                            text.push(next);
                            chars.next();
                        }
                        _ => text.push(c),
                    },
                    c => text.push(c),
                }
            }
            return Err(wrong("a text that does not end"));
        }
        let end = self.rest.find([',', ' ']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "t" | "T" | "true" | "True" | "TRUE" => fields.push_json(name, "true"),
            "f" | "F" | "false" | "False" | "FALSE" => fields.push_json(name, "false"),
            _ => {
                let whole = word.strip_suffix('i').or_else(|| word.strip_suffix('u'));
                let number = whole.unwrap_or(word);
                let good = match whole {
                    Some(digits) => digits.parse::<i128>().is_ok() && is_number(digits),
                    None => is_number(number),
                };
                if !good {
                    return Err(DecodeError::Influx(format!("`{word}` is no value")));
                }
                fields.push_json(name, number.to_string());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(line: &str) -> Result<(String, Option<i64>), DecodeError> {
        point(line, Unix::Nanos).map(|point| (point.members.to_json(), point.time_us))
    }

    #[test]
    fn points_with_everything() {
        let (text, time) =
            json(r#"wea\ ther,loc=us\,midwest,n=1 t=82.50,n=7i,u=8u,on=t,msg="a \"b\", c" 1465839830100400200"#)
                .unwrap();
        assert_eq!(
            text,
            r#"{"measurement":"wea ther","tags":{"loc":"us,midwest","n":"1"},"fields":{"t":82.50,"n":7,"u":8,"on":true,"msg":"a \"b\", c"}}"#
        );
        assert_eq!(time, Some(1_465_839_830_100_400));
        assert_eq!(json("m f=1").unwrap(), (r#"{"measurement":"m","fields":{"f":1}}"#.into(), None));
    }

    #[test]
    fn what_is_no_point_is_said() {
        for bad in
            ["", "m", "m,t f=1", "m f", "m f=", "m f=x", "m f=1.5i", "m f=\"x", "m f=1 noon", "m,=a f=1", ",a=b f=1"]
        {
            assert!(json(bad).is_err(), "{bad}");
        }
    }
}
