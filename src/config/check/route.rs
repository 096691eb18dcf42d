//! How messages are read and checked.

use super::{Checker, Table};
use crate::config::raw::route as raw;
use crate::config::value::{Check, Csv, Decoder, Format, KeyValue, Quality, Route, Then, Time, TimeFormat, Unix};
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::{Offset, TimeZone};
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;

/// Where records go that are not told where.
const STREAM: &str = "readings";
/// A member's name, in bytes.
const LONGEST_PATH: usize = 256;
/// Rules of one route.
const MOST_CHECKS: usize = 64;

impl Checker<'_> {
    /// Takes the keys of a route out of its table and reads them; `usual` is the decoder of a source
    /// that does not name one.
    pub(super) fn route(&mut self, label: &str, span: &Range<usize>, body: &mut Table<'_>, usual: Format) -> Route {
        let mut own = Table::new();
        for key in raw::ROUTE {
            own.extend(body.remove_entry(key));
        }
        let fields: raw::Route = self.fields(span.clone(), own);
        let stream = match &fields.stream {
            Some(stream) => {
                self.name(stream.span(), stream.get_ref());
                stream.get_ref().clone()
            }
            None => {
                self.assume(format!("{label}: stream = \"{STREAM}\""));
                STREAM.into()
            }
        };
        if fields.decoder.is_none() {
            self.assume(format!("{label}: decoder = \"{}\"", usual.name()));
        }
        let format = self.format(&fields, usual);
        let quality = self.quality(span, &fields, &format);
        let decoder = self.decoder(&fields, format);
        Route { stream, decoder, quality }
    }

    fn format(&mut self, fields: &raw::Route, usual: Format) -> Format {
        let chosen = fields.decoder.as_ref().map(|decoder| *decoder.get_ref());
        for (given, belongs, name) in [
            (fields.csv.as_ref().map(Spanned::span), raw::Decoder::Csv, "csv"),
            (fields.key_value.as_ref().map(Spanned::span), raw::Decoder::KeyValue, "key-value"),
            (fields.precision.as_ref().map(Spanned::span), raw::Decoder::Influx, "influx"),
        ] {
            if let Some(at) = given.filter(|_| chosen != Some(belongs)) {
                self.problem(at, format!("this belongs to decoder = \"{name}\""), None);
            }
        }
        match chosen {
            None => usual,
            Some(raw::Decoder::Json) => Format::Json,
            Some(raw::Decoder::Ndjson) => Format::Ndjson,
            Some(raw::Decoder::Nmea) => Format::Nmea,
            Some(raw::Decoder::Text) => Format::Text,
            Some(raw::Decoder::Bytes) => Format::Bytes,
            Some(raw::Decoder::Csv) => Format::Csv(self.csv(fields)),
            Some(raw::Decoder::KeyValue) => Format::KeyValue(self.key_value(fields)),
            Some(raw::Decoder::Influx) => {
                Format::Influx(match fields.precision.as_ref().map(|precision| *precision.get_ref()) {
                    Some(raw::Precision::S) => Unix::Seconds,
                    Some(raw::Precision::Ms) => Unix::Millis,
                    Some(raw::Precision::Us) => Unix::Micros,
                    Some(raw::Precision::Ns) | None => Unix::Nanos,
                })
            }
        }
    }

    fn csv(&mut self, fields: &raw::Route) -> Csv {
        let mut csv = Csv::default();
        let Some(given) = fields.csv.as_ref().map(Spanned::get_ref) else {
            return csv;
        };
        if let Some(delimiter) = &given.delimiter {
            match delimiter.get_ref().as_bytes() {
                [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => csv.delimiter = *byte,
                _ => {
                    let hint = "\",\", \";\", \"\\t\" for a tabulator";
                    self.problem(delimiter.span(), "`delimiter` is one ASCII character".into(), Some(hint.into()));
                }
            }
        }
        if let Some(columns) = &given.columns {
            if columns.get_ref().is_empty() {
                self.problem(columns.span(), "`columns` is empty".into(), None);
            }
            csv.columns = Some(columns.get_ref().clone());
        }
        csv
    }

    fn key_value(&mut self, fields: &raw::Route) -> KeyValue {
        let mut rule = KeyValue::default();
        let Some(given) = fields.key_value.as_ref().map(Spanned::get_ref) else {
            return rule;
        };
        rule.separator = given.separator.as_ref().and_then(|text| self.character(text, "separator"));
        if let Some(assign) = given.assign.as_ref().and_then(|text| self.character(text, "assign")) {
            rule.assign = assign;
        }
        rule
    }

    fn character(&mut self, text: &Spanned<String>, name: &str) -> Option<char> {
        let mut chars = text.get_ref().chars();
        match (chars.next(), chars.next()) {
            (Some(c), None) if c != '"' => Some(c),
            _ => {
                self.problem(text.span(), format!("`{name}` is one character, and no quote"), None);
                None
            }
        }
    }

    fn decoder(&mut self, fields: &raw::Route, format: Format) -> Decoder {
        let mut decoder = Decoder::new(format);
        let spans = [
            fields.fields.as_ref().map(Spanned::span),
            fields.types.as_ref().map(Spanned::span),
            fields.attributes.as_ref().map(Spanned::span),
            fields.time.as_ref().map(Spanned::span),
            fields.keep_raw.as_ref().map(Spanned::span),
        ];
        if !decoder.format.has_members() {
            for at in spans.into_iter().flatten() {
                let message = format!("decoder \"{}\" has no members to take something from", decoder.format.name());
                self.problem(at, message, None);
            }
            return decoder;
        }
        if let Some(names) = &fields.fields {
            for name in names.get_ref() {
                self.member(&name.span(), name.get_ref());
            }
            decoder.fields = names.get_ref().iter().map(|name| name.get_ref().clone()).collect();
        }
        if let Some(types) = &fields.types {
            for name in types.get_ref().keys() {
                self.member(&types.span(), name);
                let known = decoder.fields.is_empty() || decoder.fields.contains(name);
                if !known {
                    self.problem(types.span(), format!("`{name}` is not among `fields`"), None);
                }
            }
            decoder.types = types.get_ref().iter().map(|(name, kind)| (name.clone(), *kind)).collect();
        }
        if let Some(attributes) = &fields.attributes {
            for (name, member) in attributes.get_ref() {
                self.name(attributes.span(), name);
                self.member(&attributes.span(), member);
            }
            decoder.attributes = attributes.get_ref().iter().map(|(a, m)| (a.clone(), m.clone())).collect();
        }
        decoder.time = fields.time.as_ref().and_then(|time| self.time(time));
        decoder.keep_raw = fields.keep_raw.as_ref().is_some_and(|keep| *keep.get_ref());
        decoder
    }

    fn member(&mut self, span: &Range<usize>, name: &str) {
        if name.is_empty() || name.len() > LONGEST_PATH {
            self.problem(span.clone(), format!("`{name}` cannot be a member's name"), Some("1 to 256 bytes".into()));
        }
    }

    fn time(&mut self, time: &Spanned<raw::Time>) -> Option<Time> {
        let span = time.span();
        let raw::Time { field, format, zone } = time.get_ref().clone();
        let member = self.need(field, &span, "field", "\"timestamp\"");
        let format = self.need(format, &span, "format", "\"rfc3339\"");
        let zone = zone.map_or(Some(TimeZone::UTC), |zone| self.zone(&zone));
        let format = format.and_then(|format| match format.get_ref().as_str() {
            "rfc3339" => Some(TimeFormat::Rfc3339),
            "unix_s" => Some(TimeFormat::Unix(Unix::Seconds)),
            "unix_ms" => Some(TimeFormat::Unix(Unix::Millis)),
            "unix_us" => Some(TimeFormat::Unix(Unix::Micros)),
            "unix_ns" => Some(TimeFormat::Unix(Unix::Nanos)),
            pattern => match check_pattern(pattern) {
                Ok(()) => Some(TimeFormat::Custom(pattern.into())),
                Err(error) => {
                    let hint = "rfc3339, unix_s, unix_ms, unix_us, unix_ns, or as in \"%Y-%m-%d %H:%M:%S\"";
                    let message = format!("`{pattern}` cannot be read as a time: {error}");
                    self.problem(format.span(), message, Some(hint.into()));
                    None
                }
            },
        });
        let member = member?;
        self.member(&member.span(), member.get_ref());
        Some(Time { member: member.into_inner(), format: format?, zone: zone? })
    }

    fn zone(&mut self, zone: &Spanned<String>) -> Option<TimeZone> {
        let text = zone.get_ref();
        let fixed = || {
            let (sign, rest) = text.split_at_checked(1)?;
            let (hours, minutes) = rest.split_once(':')?;
            let number = |text: &str| text.parse::<u8>().ok().map(i32::from);
            let seconds = number(hours)? * 3600 + number(minutes)? * 60;
            Offset::from_seconds(if sign == "-" { -seconds } else { seconds }).ok().filter(|_| "+-".contains(sign))
        };
        let known = fixed().map(TimeZone::fixed).or_else(|| TimeZone::get(text).ok());
        if known.is_none() {
            let hint = "a name as in \"Europe/Berlin\" (needs the system's tzdata), or an offset as in \"+02:00\"";
            self.problem(zone.span(), format!("`{text}` is no time zone known here"), Some(hint.into()));
        }
        known
    }

    fn quality(&mut self, span: &Range<usize>, fields: &raw::Route, format: &Format) -> Quality {
        let mut quality = Quality::default();
        for check in fields.check.iter().flatten() {
            let made = self.one_check(check, format);
            if let (Some(made), Some(kept)) = (&made, &fields.fields) {
                let is_kept = |name: &str| kept.get_ref().iter().any(|kept| kept.get_ref() == name);
                let first = made.field.split('.').next().unwrap_or_default();
                if !is_kept(&made.field) && !is_kept(first) {
                    let hint = "checks see what `fields` keeps: add it there";
                    let message = format!("`{}` is not among `fields`: this check would never see it", made.field);
                    self.problem(check.span(), message, Some(hint.into()));
                }
            }
            quality.checks.extend(made);
        }
        if quality.checks.len() > MOST_CHECKS {
            self.problem(span.clone(), format!("more than {MOST_CHECKS} checks"), None);
        }
        if let Some(given) = fields.quality.as_ref().map(Spanned::get_ref) {
            let then = given.then.unwrap_or(Then::Tag);
            quality.duplicate = given.duplicate.map(|within| (within.0, then));
            quality.stale = given.stale.map(|after| after.0);
            if let Some(limit) = &given.rate_limit {
                if *limit.get_ref() == 0 {
                    self.problem(limit.span(), "`rate_limit` must be at least 1".into(), None);
                }
                quality.rate_limit = Some((*limit.get_ref(), then));
            }
            let at = fields.quality.as_ref().map_or(0..0, Spanned::span);
            if [given.duplicate, given.stale].into_iter().flatten().any(|span| span.0 < Duration::from_millis(10)) {
                self.problem(at, "times here must be at least 10ms".into(), None);
            }
        }
        quality
    }

    fn one_check(&mut self, check: &Spanned<raw::Check>, format: &Format) -> Option<Check> {
        let at = check.span();
        let raw::Check { field, required, kind, min, max, one_of, stuck, then } = check.get_ref().clone();
        if !format.has_members() {
            let message = format!("decoder \"{}\" has no members to check", format.name());
            self.problem(at.clone(), message, None);
        }
        for bound in [&min, &max].into_iter().flatten().filter(|bound| !bound.get_ref().is_finite()) {
            self.problem(bound.span(), "a bound is a number".into(), None);
        }
        if let (Some(min), Some(max)) = (&min, &max)
            && min.get_ref() > max.get_ref()
        {
            self.problem(min.span(), "`min` is above `max`".into(), None);
        }
        let (min, max) = (min.map(Spanned::into_inner), max.map(Spanned::into_inner));
        let required = required.unwrap_or(false);
        if !required && kind.is_none() && min.is_none() && max.is_none() && one_of.is_none() && stuck.is_none() {
            let hint = "required = true, type, min, max, one_of, stuck";
            self.problem(at.clone(), "this check checks nothing".into(), Some(hint.into()));
        }
        let field = self.need(field, &at, "field", "\"temperature\"")?;
        self.member(&field.span(), field.get_ref());
        let (field, stuck, then) = (field.into_inner(), stuck.map(|span| span.0), then.unwrap_or(Then::Tag));
        Some(Check { field, required, kind, min, max, one_of, stuck, then })
    }
}

/// Whether `strptime` knows all parts of a pattern: what it prints it must read.
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
