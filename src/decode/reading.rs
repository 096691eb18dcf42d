//! From a message to its readings: encoding, format, repairs, `split`, and the rules for members.

use super::members::{self, Members, find, is_number, quoted, text};
use super::{About, Content, DecodeError, Decoded, Decoder, Refused, TIME_QUALITY, Type, lenient, lines, split};
use crate::flow::record::PayloadKind;
use bytes::Bytes;
use std::borrow::Cow;

impl Decoder {
    /// Whether a header is text in the encoding of the messages.
    #[must_use]
    pub fn is_text(&self, header: &[u8]) -> bool {
        std::str::from_utf8(&self.encoding.to_utf8(header)).is_ok()
    }

    /// Whether a line is no message.
    #[must_use]
    pub fn skips(&self, line: &[u8]) -> bool {
        self.format.skips(line.trim_ascii())
    }

    /// Reads one message into its readings, of which each is a record or refused.
    ///
    /// # Errors
    /// The decoder cannot read the message, or the message breaks one of its rules.
    pub fn decode(&self, message: &[u8], about: &About<'_>) -> Result<Vec<Result<Decoded, Refused>>, DecodeError> {
        let text = self.encoding.to_utf8(message);
        let header = about.header.map(|header| self.encoding.to_utf8(header));
        let about = &About { header: header.as_deref(), ..*about };
        // A byte order mark is no part of a text.
        let text = if self.format.has_members() { without_mark(text) } else { text };
        let (content, repairs) = self.content(&text, about)?;
        let is_whole = text.len() == message.len() && repairs == 0;
        let mut readings = match content {
            Content::Verbatim(kind) => {
                let payload = (!is_whole).then(|| Bytes::copy_from_slice(&text));
                let attributes = self.constants.iter().map(|(name, value)| (&**name, &**value)).map(boxed).collect();
                return Ok(vec![Ok(Decoded { payload, attributes, ..Decoded::verbatim(kind) })]);
            }
            Content::Json(text) => {
                let text = if is_whole { text } else { Cow::Owned(text.into_owned()) };
                self.readings(text, None, about)?
            }
            Content::Readings(lines) => {
                let mut readings = Vec::new();
                for part in lines {
                    let (line, time) = match part {
                        Ok(part) => part,
                        Err(refused) => {
                            readings.push(Err(refused));
                            continue;
                        }
                    };
                    let of_line =
                        |refused: Refused| Refused { reading: refused.reading.or(Some(line.clone())), ..refused };
                    let parts = self.readings(Cow::Owned(line.clone()), time, about)?;
                    // Each line may have a list of readings: together they are bounded too.
                    split::bounded(readings.len() + parts.len(), 0)?;
                    readings.extend(parts.into_iter().map(|part| part.map_err(of_line)));
                }
                readings
            }
            Content::Members(mut members, time) => {
                if self.keep_raw {
                    members.push_text("raw", &String::from_utf8_lossy(&text));
                }
                self.readings(Cow::Owned(members.to_json()), time, about)?
            }
        };
        if let Some(Ok(first)) = readings.first_mut() {
            first.repairs = repairs;
        }
        // The error of a message that is one reading is that of the message.
        match <[_; 1]>::try_from(readings) {
            Ok([Err(Refused { error, .. })]) => Err(error),
            Ok(one) => Ok(one.into()),
            Err(readings) => Ok(readings),
        }
    }

    /// What the format makes of a message; JSON may be repaired, or be several lines.
    fn content<'m>(&self, text: &'m [u8], about: &About<'_>) -> Result<(Content<'m>, u32), DecodeError> {
        let error = match self.format.decode(text, about) {
            Err(error @ DecodeError::Json(_)) => error,
            read => return read.map(|content| (content, 0)),
        };
        let Ok(whole) = std::str::from_utf8(text) else { return Err(error) };
        if self.lenient
            && let Some((repaired, repairs)) = lenient::repair(whole)
            && let Ok(Content::Json(_)) = self.format.decode(repaired.as_bytes(), about)
        {
            return Ok((Content::Json(Cow::Owned(repaired)), repairs));
        }
        // Several JSON values, each on a line, in one message.
        let lines: Vec<&[u8]> = lines(text).filter(|line| !line.trim_ascii().is_empty()).collect();
        let is_json = |line: &&[u8]| matches!(self.format.decode(line, about), Ok(Content::Json(_)));
        if (2..=split::MOST_RECORDS).contains(&lines.len()) && lines.iter().all(is_json) {
            let own = |line: &[u8]| Ok((String::from_utf8_lossy(line).into_owned(), None));
            return Ok((Content::Readings(lines.into_iter().map(own).collect()), 0));
        }
        Err(error)
    }

    /// The readings of a JSON text: itself, or those that `split` finds in it.
    fn readings(
        &self,
        json: Cow<'_, str>,
        time: Option<i64>,
        about: &About<'_>,
    ) -> Result<Vec<Result<Decoded, Refused>>, DecodeError> {
        let Some(split) = &self.split else {
            return Ok(vec![self.extract(json, time, about).map_err(|error| Refused { reading: None, error })]);
        };
        let reading = |body: String| {
            let extracted = self.extract(Cow::Owned(body.clone()), time, about);
            extracted.map_err(|error| Refused { reading: Some(body), error })
        };
        Ok(split.bodies(&json)?.into_iter().map(reading).collect())
    }

    /// Applies the rules for members to a JSON text.
    fn extract(&self, json: Cow<'_, str>, time: Option<i64>, about: &About<'_>) -> Result<Decoded, DecodeError> {
        let json = if self.members.is_empty() { json } else { Cow::Owned(self.with_members(&json, about)?) };
        let (device_time_us, doubt) = match &self.time {
            Some(rule) => rule.of(&json, about.arrival_us)?,
            None => (time, None),
        };
        let value = |(name, member): &(String, String)| {
            Some((name.as_str().into(), text(find(&json, member)?).into_owned().into_boxed_str()))
        };
        let constants = self.constants.iter().map(|(name, value)| (name.as_str(), value.as_str())).map(boxed);
        let doubt = doubt.map(|doubt| (TIME_QUALITY, doubt)).map(boxed);
        let of_format = self.format.attributes(about);
        let attributes =
            constants.chain(of_format).chain(self.attributes.iter().filter_map(value)).chain(doubt).collect();
        let is_whole = self.fields.is_empty() && self.types.is_empty() && self.prefix.is_empty();
        let payload = if is_whole {
            match json {
                Cow::Borrowed(_) => None,
                Cow::Owned(made) => Some(made),
            }
        } else {
            Some(self.select(&json)?.to_json())
        };
        let payload = payload.map(Bytes::from);
        Ok(Decoded { kind: PayloadKind::Json, payload, device_time_us, attributes, repairs: 0 })
    }

    /// An object with the attributes in front that are to be members.
    fn with_members(&self, json: &str, about: &About<'_>) -> Result<String, DecodeError> {
        let mut members = Members::default();
        let constants = self.constants.iter().map(|(name, value)| (&**name, &**value));
        let known = constants.chain(about.attributes.iter().map(|(name, value)| (&**name, &**value)));
        let known: Vec<(&str, &str)> = known.collect();
        for (name, value) in self.members.iter().filter_map(|wanted| known.iter().find(|(name, _)| name == wanted)) {
            members.push_text(*name, value);
        }
        members.0.extend(Members::parse(json).ok_or(DecodeError::NoObject)?.0);
        Ok(members.to_json())
    }

    fn select<'a>(&self, json: &'a str) -> Result<Members<'a>, DecodeError> {
        let mut members = Members::parse(json).ok_or(DecodeError::NoObject)?;
        if !self.fields.is_empty() {
            let found =
                |(name, path): &(String, String)| Some((Cow::Owned(name.clone()), Cow::Borrowed(find(json, path)?)));
            members = Members(self.fields.iter().filter_map(found).collect());
        }
        for (name, value) in &mut members.0 {
            if let Some((_, wanted)) = self.types.iter().find(|(member, _)| member == name) {
                *value = converted(name, value, *wanted)?.into();
            }
        }
        if !self.prefix.is_empty() {
            members.0.iter_mut().for_each(|(name, _)| *name = format!("{}{name}", self.prefix).into());
        }
        Ok(members)
    }
}

fn boxed((name, value): (&str, &str)) -> (Box<str>, Box<str>) {
    (name.into(), value.into())
}

/// A text without a byte order mark of UTF-8.
fn without_mark(text: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.strip_prefix(MARK).unwrap_or(text)),
        Cow::Owned(text) if text.starts_with(MARK) => Cow::Owned(text[MARK.len()..].to_vec()),
        owned @ Cow::Owned(_) => owned,
    }
}

impl Decoded {
    pub(super) fn verbatim(kind: PayloadKind) -> Self {
        Self { kind, payload: None, device_time_us: None, attributes: Vec::new(), repairs: 0 }
    }
}

/// A JSON value as another type; null stays null.
pub(super) fn converted(name: &str, json: &str, wanted: Type) -> Result<String, DecodeError> {
    if json == "null" {
        return Ok(json.into());
    }
    let plain_text = text(json);
    let word = plain_text.trim();
    let (made, what) = match wanted {
        Type::String => (Some(if json.starts_with('"') { json.to_string() } else { quoted(json) }), "text"),
        Type::Bool => (
            match word {
                "true" | "1" => Some("true".to_string()),
                "false" | "0" => Some("false".to_string()),
                _ => None,
            },
            "truth value (true, false, 1, 0)",
        ),
        Type::Float => (number(word), "number"),
        Type::Int => (number(word).filter(|text| !text.contains(['.', 'e', 'E'])), "whole number"),
    };
    let error = || DecodeError::Type { member: name.into(), value: json.chars().take(100).collect(), wanted: what };
    made.ok_or_else(error)
}

/// A number as JSON writes it: also from `+1`, `007`, `.5`.
fn number(word: &str) -> Option<String> {
    if is_number(word) {
        return Some(word.into());
    }
    let (sign, digits) = match word.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", word.strip_prefix('+').unwrap_or(word)),
    };
    let digits = digits.trim_start_matches('0');
    let zero = if digits.is_empty() || digits.starts_with(['.', 'e', 'E']) { "0" } else { "" };
    let made = format!("{sign}{zero}{digits}");
    (word.ends_with(|c: char| c.is_ascii_digit()) && members::plain(&made) == made).then_some(made)
}
