//! The rules by which messages are read: their format, and the members to keep, convert or extract.

use super::{Format, KINDS};
use crate::section::catalog::Shape;
use crate::section::{Data, Read, Section};
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::{Offset, TimeZone};
use std::sync::Arc;

/// The most bytes that the name or path of a member may have.
const MOST_PATH_BYTES: usize = 256;

/// The rules by which the messages of a source are read.
#[derive(Debug, Clone)]
pub struct Decoder {
    /// The format of the messages.
    pub format: Arc<dyn Format>,
    /// The members that are kept, in this order. An empty list keeps all members.
    pub fields: Vec<String>,
    /// The types that members are converted to. A message whose member cannot be converted becomes a dead letter.
    pub types: Vec<(String, Type)>,
    /// Members that become attributes of the record: attribute, member.
    pub attributes: Vec<(String, String)>,
    /// The member that holds the device's own time, and its format.
    pub time: Option<Time>,
    /// Whether a converted record carries its original message as the member `raw`.
    pub keep_raw: bool,
}

impl PartialEq for Decoder {
    fn eq(&self, other: &Self) -> bool {
        let rules = |one: &Self| (one.fields.clone(), one.types.clone(), one.attributes.clone(), one.time.clone());
        self.format.is_same(&*other.format) && self.keep_raw == other.keep_raw && rules(self) == rules(other)
    }
}

impl Decoder {
    /// A format and nothing else.
    #[must_use]
    pub fn new(format: impl Format) -> Self {
        Self::of(Arc::new(format))
    }

    fn of(format: Arc<dyn Format>) -> Self {
        let (fields, types, attributes) = (Vec::new(), Vec::new(), Vec::new());
        Self { format, fields, types, attributes, time: None, keep_raw: false }
    }

    /// The same rules for another format, with its usual settings.
    #[must_use]
    pub fn like(&self, format: &str) -> Self {
        let Some(kind) = KINDS.iter().find(|kind| kind.name == format) else { return self.clone() };
        let format = (kind.usual)();
        // All rules are about members, so a format without members has none.
        if format.has_members() { Self { format, ..self.clone() } } else { Self::of(format) }
    }

    /// Reads the keys of a decoder. `usual` is the name of the default decoder.
    pub fn read(section: &mut Section<'_>, usual: &'static str) -> Self {
        let index = |name: &str| KINDS.iter().position(|kind| kind.name == name).unwrap_or_default();
        let choices: Vec<_> = KINDS.iter().enumerate().map(|(at, kind)| (kind.name, at, kind.doc)).collect();
        let chosen = section.choice("decoder", &choices).doc("What a message is.").example_of(format!("\"{usual}\""));
        let chosen = chosen.or_as(index(usual), "text for file and serial, json for the others");
        if !section.has("decoder") {
            section.assume(format_args!("decoder = \"{usual}\""));
        }
        let mut format = None;
        for (at, kind) in KINDS.iter().enumerate() {
            let read = (kind.read)(section);
            if at == chosen {
                format = Some(read);
            } else if !section.is_bad("decoder") {
                section.only_for(kind.keys, &format!("decoder = \"{}\"", kind.name));
            }
        }
        let format = format.unwrap_or_else(|| (KINDS[0].usual)());
        Self::read_members(section, format)
    }

    fn read_members(section: &mut Section<'_>, format: Arc<dyn Format>) -> Self {
        let mut decoder = Self::of(format);
        let fields = section
            .texts("fields")
            .doc("Only these members are kept, in this order. `a.b` is the member `b` of the object `a`.")
            .example("[\"temperature\", \"status.battery\"]")
            .get_or("all members");
        for field in fields.iter().flatten() {
            member(section, field.span.clone(), &field.value);
        }
        decoder.fields = fields.into_iter().flatten().map(|field| field.value).collect();
        let types = section.map::<Type>("types", "Types that members are made to have: `{ count = \"int\" }`. Types: int, float, bool (1 and 0 are taken for true and false), string. A message whose member cannot be converted becomes a dead letter.");
        for (name, kind) in types.into_iter().flatten() {
            member(section, name.span.clone(), &name.value);
            if !decoder.fields.is_empty() && !decoder.fields.contains(&name.value) {
                section.session().problem(name.span, format!("`{}` is not among `fields`", name.value), None);
            }
            decoder.types.push((name.value, kind));
        }
        let attributes = section.map::<String>(
            "attributes",
            "Attributes of the record and the members they are taken from: `{ line = \"plant.line\" }`.",
        );
        for (name, from) in attributes.into_iter().flatten() {
            section.session().name(name.span.clone(), &name.value);
            member(section, name.span, &from);
            decoder.attributes.push((name.value, from));
        }
        decoder.time = section
            .table("time", "The device's own time: the member that holds it, and how it is written.")
            .and_then(Time::read);
        decoder.keep_raw = section
            .truth("keep_raw")
            .doc("A record that was converted to JSON carries its message as the member `raw`.")
            .or(false);
        if !decoder.format.has_members() && !section.is_bad("decoder") {
            for key in ["fields", "types", "attributes", "time", "keep_raw"].into_iter().filter(|key| section.has(key))
            {
                let name = decoder.format.name();
                section.wrong(key, format!("decoder \"{name}\" has no members to take something from"));
            }
        }
        decoder
    }
}

/// Checks the name of a member.
pub fn member(section: &Section<'_>, span: std::ops::Range<usize>, name: &str) {
    if name.is_empty() || name.len() > MOST_PATH_BYTES {
        let message = format!("`{name}` cannot be a member's name");
        section.session().problem(span, message, Some("1 to 256 bytes".into()));
    }
}

/// The type that a member is converted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// `true` or `false`; 1 and 0 are converted to them.
    Bool,
    /// Text.
    String,
}

/// A unit of time since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unix {
    /// Seconds, also with a fraction.
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
}

/// The format of a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeFormat {
    /// A text like `2026-11-24T12:00:00Z`. A time without an offset is a local time of the configured zone.
    Rfc3339,
    /// A number of units since 1970-01-01 UTC.
    Unix(Unix),
    /// A text in this pattern of `strptime`.
    Custom(String),
}

/// The member that holds the device's time, and the format of that time.
#[derive(Debug, Clone, PartialEq)]
pub struct Time {
    /// The name or the path of the member.
    pub member: String,
    /// The format of the time.
    pub format: TimeFormat,
    /// The time zone of times without an offset.
    pub zone: TimeZone,
}

impl Read for Type {
    fn wanted() -> String {
        "one of int, float, bool, string".into()
    }

    fn read(data: &Data) -> Result<Self, Option<String>> {
        let Data::Text(word) = data else { return Err(None) };
        match word.as_str() {
            "int" => Ok(Self::Int),
            "float" => Ok(Self::Float),
            "bool" => Ok(Self::Bool),
            "string" => Ok(Self::String),
            _ => Err(Some(format!("unknown type `{word}`; one of: int, float, bool, string"))),
        }
    }

    fn show(&self) -> String {
        format!("\"{}\"", format!("{self:?}").to_lowercase())
    }

    fn shape() -> Box<Shape> {
        Box::new(Shape::Choice(TYPES.iter().map(|(word, _, doc)| (*word, *doc)).collect()))
    }
}

/// The words for types.
pub const TYPES: [(&str, Type, &str); 4] = [
    ("int", Type::Int, "A whole number."),
    ("float", Type::Float, "A number."),
    ("bool", Type::Bool, "`true` or `false`."),
    ("string", Type::String, "Text."),
];

impl Time {
    fn read(mut section: Section<'_>) -> Option<Self> {
        let field = section.text("field").doc("The member that holds the time.").example("\"timestamp\"").need();
        let format = section
            .text("format")
            .doc("How the time is written: `rfc3339`, `unix_s`, `unix_ms`, `unix_us`, `unix_ns`, or a pattern of strptime.")
            .example("\"rfc3339\"")
            .check(|text| {
                let error = TimeFormat::parse(text).err()?;
                let hint = "rfc3339, unix_s, unix_ms, unix_us, unix_ns, or as in \"%Y-%m-%d %H:%M:%S\"";
                Some((format!("`{text}` cannot be read as a time: {error}"), Some(hint.into())))
            })
            .need();
        let zone = section
            .text("zone")
            .doc("Time zone of times without an offset: a name, or an offset as in `+02:00`.")
            .example("\"Europe/Berlin\"")
            .check(|text| {
                let hint = "a name as in \"Europe/Berlin\" (needs the system's tzdata), or an offset as in \"+02:00\"";
                zone_of(text).is_none().then(|| (format!("`{text}` is no time zone known here"), Some(hint.into())))
            })
            .or("UTC".into());
        let zone = zone_of(&zone);
        if let Some(field) = &field {
            member(&section, section.at("field"), field);
        }
        section.end();
        let format = TimeFormat::parse(&format?).ok()?;
        Some(Self { member: field?, format, zone: zone? })
    }
}

impl TimeFormat {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "rfc3339" => Self::Rfc3339,
            "unix_s" => Self::Unix(Unix::Seconds),
            "unix_ms" => Self::Unix(Unix::Millis),
            "unix_us" => Self::Unix(Unix::Micros),
            "unix_ns" => Self::Unix(Unix::Nanos),
            pattern => check_pattern(pattern).map(|()| Self::Custom(pattern.into()))?,
        })
    }
}

fn zone_of(text: &str) -> Option<TimeZone> {
    if text == "UTC" {
        return Some(TimeZone::UTC);
    }
    let fixed = || {
        let (sign, rest) = text.split_at_checked(1)?;
        let (hours, minutes) = rest.split_once(':')?;
        let number = |text: &str| text.parse::<u8>().ok().map(i32::from);
        let seconds = number(hours)? * 3600 + number(minutes)? * 60;
        Offset::from_seconds(if sign == "-" { -seconds } else { seconds }).ok().filter(|_| "+-".contains(sign))
    };
    fixed().map(TimeZone::fixed).or_else(|| TimeZone::get(text).ok())
}

/// Checks that `strptime` knows all parts of a pattern: it must be able to read a time that it has printed.
fn check_pattern(pattern: &str) -> Result<(), String> {
    let second = jiff::Timestamp::from_second(1_000_000_000).unwrap_or_default();
    let example = second.to_zoned_datetime(TimeZone::UTC);
    let shown = jiff::fmt::strtime::format(pattern, &example).map_err(|error| error.to_string())?;
    let read = BrokenDownTime::parse(pattern, &shown).map_err(|error| error.to_string())?;
    read.to_datetime().map(|_| ()).map_err(|_| "it has no full date and time".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_checked() {
        assert_eq!(check_pattern("%Y-%m-%d %H:%M:%S"), Ok(()));
        assert!(check_pattern("%H:%M").is_err(), "no date");
        assert!(check_pattern("%Y-%m-%d %!").is_err());
    }
}
