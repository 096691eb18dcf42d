//! The device's own time, in microseconds since 1970-01-01 UTC.

use super::members::{find, text};
use super::{DecodeError, member};
use crate::section::Section;
use jiff::civil::DateTime;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Span, Timestamp};
use std::time::Duration;

/// GPS counts weeks modulo 1024: an old receiver is wrong by a multiple of this, in microseconds.
const GPS_ROLLOVER_US: i64 = 1024 * 7 * 24 * 3600 * 1_000_000;

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

/// Where the device's time is in a message, how it is written, and what becomes of doubtful ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Time {
    /// The names or paths of the members; several are put together with a space, such as a date and a time.
    pub members: Vec<String>,
    /// The formats, tried in turn.
    pub formats: Vec<TimeFormat>,
    /// The time zone of times without an offset.
    pub zone: TimeZone,
    /// Texts that mean that there is no time.
    pub absent: Vec<String>,
    /// A message without a time becomes a record with its arrival alone, not a dead letter.
    pub may_miss: bool,
    /// How far from its arrival a time may be.
    pub plausible: Option<Plausible>,
    /// Times of old GPS receivers are moved on by 1024 weeks.
    pub gps_rollover: bool,
}

/// How far from its arrival a reading's time may be, and what becomes of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plausible {
    /// At most so long before the arrival.
    pub past: Duration,
    /// At most so long after the arrival.
    pub future: Duration,
    /// What becomes of a time outside.
    pub then: Implausible,
}

/// What becomes of a time that cannot be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Implausible {
    /// It stays, and the record says so.
    Tag,
    /// The record has its time of arrival alone, and says so.
    Arrival,
    /// The message becomes a dead letter.
    DeadLetter,
}

/// A time, if the record gets one, and what is doubtful about it.
type Found = (Option<i64>, Option<&'static str>);

impl Time {
    /// One member in one format.
    #[must_use]
    pub fn new(member: &str, format: TimeFormat, zone: TimeZone) -> Self {
        let (members, formats, absent) = (vec![member.to_string()], vec![format], Vec::new());
        Self { members, formats, zone, absent, may_miss: false, plausible: None, gps_rollover: false }
    }

    /// The device's time in a JSON text. `arrival_us` is the arrival, where the clock can be trusted.
    ///
    /// # Errors
    /// The time is missing, cannot be read, or cannot be right, and the rule says that such messages are refused.
    pub fn of(&self, json: &str, arrival_us: Option<i64>) -> Result<Found, DecodeError> {
        let mut value = String::new();
        for member in &self.members {
            let part = find(json, member).filter(|part| *part != "null").map(text);
            let part = part.filter(|part| !self.absent.iter().any(|absent| absent == part.trim()));
            let Some(part) = part else {
                let error = || DecodeError::Time(format!("there is no `{member}`"));
                return if self.may_miss { Ok((None, None)) } else { Err(error()) };
            };
            if !value.is_empty() {
                value.push(' ');
            }
            value.push_str(part.trim());
        }
        let time_us = self
            .parse(&value)
            .map_err(|why| DecodeError::Time(format!("`{}` = `{value}`: {why}", self.members.join("`, `"))))?;
        let Some(arrival_us) = arrival_us else { return Ok((Some(time_us), None)) };
        let time_us = if self.gps_rollover { rolled_over(time_us, arrival_us) } else { time_us };
        match self.plausible.filter(|window| !window.has(time_us, arrival_us)) {
            None => Ok((Some(time_us), None)),
            Some(Plausible { then: Implausible::Tag, .. }) => Ok((Some(time_us), Some("implausible"))),
            Some(Plausible { then: Implausible::Arrival, .. }) => Ok((None, Some("implausible"))),
            Some(Plausible { then: Implausible::DeadLetter, .. }) => {
                Err(DecodeError::Time(format!("`{}` = `{value}` cannot be right", self.members.join("`, `"))))
            }
        }
    }

    /// The time that a text says: the first format that reads it counts.
    fn parse(&self, value: &str) -> Result<i64, String> {
        let mut why = String::new();
        for format in &self.formats {
            match format.parse_time(value, &self.zone) {
                Ok(time_us) => return Ok(time_us),
                Err(error) if why.is_empty() => why = error,
                Err(_) => {}
            }
        }
        // A comma before the fraction of a second, 24:00 at the end of a day, and `9:05p`.
        let point = with_point(value);
        let midnight = |text: &str| text.contains("24:00").then(|| text.replacen("24:00", "00:00", 1));
        let half_day = value.ends_with(['a', 'p', 'A', 'P']).then(|| format!("{value}m"));
        let tries = [
            point.clone().map(|text| (text, 0)),
            midnight(point.as_deref().unwrap_or(value)).map(|text| (text, 1)),
            half_day.map(|text| (text, 0)),
        ];
        for (text, days) in tries.into_iter().flatten() {
            let read = self.formats.iter().find_map(|format| format.parse_time(&text, &self.zone).ok());
            if let Some(time_us) = read {
                return self.later(time_us, days).ok_or_else(|| "out of range".into());
            }
        }
        Err(why)
    }

    /// So many days later by the clocks of the zone.
    fn later(&self, time_us: i64, days: i64) -> Option<i64> {
        let time = Timestamp::from_microsecond(time_us).ok()?.to_zoned_datetime(self.zone.clone());
        Some(time.checked_add(Span::new().days(days)).ok()?.timestamp().as_microsecond())
    }

    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let field = section
            .text_or_texts("field")
            .doc("The member that holds the time, or several that are put together with a space: `[\"date\", \"time\"]`.")
            .example("\"timestamp\"")
            .not_empty()
            .need();
        let hint = "rfc3339, unix_s, unix_ms, unix_us, unix_ns, or as in \"%Y-%m-%d %H:%M:%S\"";
        let format = section
            .text_or_texts("format")
            .doc("How the time is written: `rfc3339`, `unix_s`, `unix_ms`, `unix_us`, `unix_ns`, or a pattern of strptime. Of several the first that fits counts.")
            .example("\"rfc3339\"")
            .not_empty()
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
        let may_miss = section
            .choice(
                "missing",
                &[
                    ("dead-letter", false, "It becomes a dead letter."),
                    ("arrival", true, "It becomes a record with its time of arrival alone."),
                ],
            )
            .doc("A message without a time; `null` is none.")
            .or(false);
        let absent = section
            .texts("absent")
            .doc("Texts that mean that there is no time.")
            .example("[\"0\", \"n/a\"]")
            .get_or("none");
        let plausible = section.table("plausible", "How far from its arrival a time may be.").map(Plausible::read);
        let gps_rollover = section
            .truth("gps_rollover")
            .doc("Times of old GPS receivers, which count weeks modulo 1024, are moved on to the present.")
            .or(false);
        let zone = zone_of(&zone);
        let mut formats = Vec::new();
        for at in format.iter().flatten() {
            match TimeFormat::parse(&at.value) {
                Ok(format) => formats.push(format),
                Err(error) => {
                    let message = format!("`{}` cannot be read as a time: {error}", at.value);
                    section.session().problem(at.span.clone(), message, Some(hint.into()));
                }
            }
        }
        for field in field.iter().flatten() {
            member(&section, field.span.clone(), &field.value);
        }
        section.end();
        let members: Vec<String> = field?.into_iter().map(|field| field.value).collect();
        let absent = absent.into_iter().flatten().map(|at| at.value).collect();
        if formats.is_empty() || members.is_empty() {
            return None;
        }
        Some(Self { members, formats, zone: zone?, absent, may_miss, plausible, gps_rollover })
    }
}

impl Plausible {
    fn read(mut section: Section<'_>) -> Self {
        const DAY: u64 = 24 * 3600;
        let past =
            section.duration("past").doc("At most so long before the arrival.").or(Duration::from_secs(30 * DAY));
        let future = section.duration("future").doc("At most so long after the arrival.").or(Duration::from_secs(DAY));
        let then = section
            .choice(
                "then",
                &[
                    ("tag", Implausible::Tag, "The time stays; the attribute `time_quality` says `implausible`."),
                    ("arrival", Implausible::Arrival, "The record has its arrival alone, and the same attribute."),
                    ("dead-letter", Implausible::DeadLetter, "The message becomes a dead letter."),
                ],
            )
            .doc("What becomes of a time outside.")
            .or(Implausible::Tag);
        section.end();
        Self { past, future, then }
    }

    fn has(&self, time_us: i64, arrival_us: i64) -> bool {
        let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        let from = arrival_us.saturating_sub(micros(self.past));
        (from..=arrival_us.saturating_add(micros(self.future))).contains(&time_us)
    }
}

/// A time that lies more than 512 weeks before the arrival is one of an earlier count of weeks.
fn rolled_over(time_us: i64, arrival_us: i64) -> i64 {
    let behind = arrival_us.saturating_sub(time_us);
    let counts = behind.saturating_add(GPS_ROLLOVER_US / 2).div_euclid(GPS_ROLLOVER_US).max(0);
    time_us.saturating_add(counts.saturating_mul(GPS_ROLLOVER_US))
}

/// The text with a point where a comma stands between two digits; none without such a comma.
fn with_point(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let is_digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let at = text.rfind(',').filter(|at| is_digit(at.checked_sub(1)) && is_digit(at.checked_add(1)))?;
    Some(format!("{}.{}", &text[..at], &text[at + 1..]))
}

impl TimeFormat {
    /// The time that a text says in this format, in microseconds since 1970-01-01 UTC.
    fn parse_time(&self, value: &str, zone: &TimeZone) -> Result<i64, String> {
        // When the clock shows a local time twice, the earlier time is taken.
        let local = |time: DateTime| zone.to_timestamp(time).map_err(|error| error.to_string());
        match self {
            Self::Unix(unit) => unix(value, *unit).ok_or_else(|| "it is no number in range".into()),
            Self::Rfc3339 => value
                .parse::<Timestamp>()
                .or_else(|_| value.parse::<DateTime>().map_err(|error| error.to_string()).and_then(local))
                .map(micros),
            Self::Custom(pattern) => BrokenDownTime::parse(pattern, value)
                .map_err(|error| error.to_string())
                .and_then(|time| match time.offset() {
                    Some(_) => time.to_timestamp().map_err(|error| error.to_string()),
                    None => time.to_datetime().map_err(|error| error.to_string()).and_then(local),
                })
                .map(micros),
        }
    }

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
    let second = Timestamp::from_second(1_000_000_000).unwrap_or_default();
    let example = second.to_zoned_datetime(TimeZone::UTC);
    let shown = jiff::fmt::strtime::format(pattern, &example).map_err(|error| error.to_string())?;
    let read = BrokenDownTime::parse(pattern, &shown).map_err(|error| error.to_string())?;
    read.to_datetime().map(|_| ()).map_err(|_| "it has no full date and time".into())
}

fn micros(time: Timestamp) -> i64 {
    time.as_microsecond()
}

/// Converts a number of units since 1970-01-01 UTC, also with a fraction, to microseconds.
#[must_use]
pub fn unix(text: &str, unit: Unix) -> Option<i64> {
    let (number, exponent) = match text.split_once(['e', 'E']) {
        // An exponent is rare. A double is exact to a microsecond in these centuries.
        Some(_) => return exact(text.parse().ok()?, unit),
        None => (text, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let negative = whole.starts_with('-');
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    if whole.trim_start_matches('-').is_empty() || !digits(fraction) || !digits(&whole[usize::from(negative)..]) {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let places: i32 = match unit {
        Unix::Seconds => 6,
        Unix::Millis => 3,
        Unix::Micros => 0,
        Unix::Nanos => -3,
    } + exponent;
    if places < 0 {
        return Some(whole.div_euclid(1000));
    }
    let places = usize::try_from(places).ok()?;
    let padded: String = fraction.chars().chain(std::iter::repeat('0')).take(places).collect();
    let fraction: i64 = if padded.is_empty() { 0 } else { padded.parse().ok()? };
    let scaled = whole.checked_mul(10_i64.pow(u32::try_from(places).ok()?))?;
    scaled.checked_add(if negative { -fraction } else { fraction })
}

fn exact(number: f64, unit: Unix) -> Option<i64> {
    let seconds = match unit {
        Unix::Seconds => number,
        Unix::Millis => number / 1e3,
        Unix::Micros => number / 1e6,
        Unix::Nanos => number / 1e9,
    };
    i64::try_from(SignedDuration::try_from_secs_f64(seconds).ok()?.as_micros()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(format: TimeFormat, value: &str) -> Result<i64, String> {
        let zone = TimeZone::fixed(Offset::constant(2));
        let found = Time::new("t", format, zone).of(&format!("{{\"t\":{value}}}"), None);
        found.map(|(time, _)| time.unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn all_ways_to_write_a_time() {
        let noon = 1_714_564_800_000_000;
        assert_eq!(time(TimeFormat::Rfc3339, "\"2024-05-01T12:00:00Z\""), Ok(noon));
        assert_eq!(time(TimeFormat::Rfc3339, "\"2024-05-01T14:00:00.5+02:00\""), Ok(noon + 500_000));
        assert_eq!(time(TimeFormat::Rfc3339, "\"2024-05-01T14:00:00\""), Ok(noon), "no offset: in the zone");
        assert_eq!(time(TimeFormat::Unix(Unix::Seconds), "1714564800"), Ok(noon));
        assert_eq!(time(TimeFormat::Unix(Unix::Seconds), "1714564800.123456789"), Ok(noon + 123_456));
        assert_eq!(time(TimeFormat::Unix(Unix::Seconds), "1.7145648e9"), Ok(noon));
        assert_eq!(time(TimeFormat::Unix(Unix::Millis), "\"1714564800001\""), Ok(noon + 1000));
        assert_eq!(time(TimeFormat::Unix(Unix::Micros), "1714564800000001"), Ok(noon + 1));
        assert_eq!(time(TimeFormat::Unix(Unix::Nanos), "1714564800000001999"), Ok(noon + 1));
        assert_eq!(time(TimeFormat::Unix(Unix::Seconds), "-1.5"), Ok(-1_500_000));
        assert_eq!(time(TimeFormat::Custom("%d.%m.%Y %H:%M:%S".into()), "\"01.05.2024 14:00:00\""), Ok(noon));
        assert_eq!(time(TimeFormat::Custom("%Y%m%d%H%M%S%z".into()), "\"20240501120000+0000\""), Ok(noon));
    }

    #[test]
    fn what_is_no_time_says_what_it_is() {
        let error = time(TimeFormat::Rfc3339, "\"noon\"").unwrap_err();
        assert!(error.contains("`t` = `noon`"), "{error}");
        for bad in ["\"\"", "\"-\"", "\"1.2.3\"", "99999999999999999999", "\"12x\"", "null"] {
            assert!(time(TimeFormat::Unix(Unix::Seconds), bad).is_err(), "{bad}");
        }
        let rule = Time::new("no", TimeFormat::Rfc3339, TimeZone::UTC);
        assert!(rule.of("{}", None).unwrap_err().to_string().contains("there is no `no`"));
    }

    #[test]
    fn patterns_are_checked() {
        assert_eq!(check_pattern("%Y-%m-%d %H:%M:%S"), Ok(()));
        assert!(check_pattern("%H:%M").is_err(), "no date");
        assert!(check_pattern("%Y-%m-%d %!").is_err());
    }

    /// 2024-05-01T12:00:00Z.
    const NOON: i64 = 1_714_564_800_000_000;

    fn rule(members: &[&str], formats: &[&str]) -> Time {
        let own = |name: &&str| name.to_string();
        let formats = formats.iter().map(|format| TimeFormat::parse(format).unwrap()).collect();
        let members = members.iter().map(own).collect();
        Time { members, formats, ..Time::new("", TimeFormat::Rfc3339, TimeZone::UTC) }
    }

    #[test]
    fn a_time_may_be_in_two_members_and_in_one_of_several_formats() {
        let two = rule(&["Datum", "Zeit"], &["%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M:%S%.f"]);
        let of = |rule: &Time, json: &str| rule.of(json, None).map(|(time, _)| time).map_err(|error| error.to_string());
        assert_eq!(of(&two, r#"{"Datum":"2024-05-01","Zeit":"12:00:00"}"#), Ok(Some(NOON)));
        assert_eq!(of(&two, r#"{"Datum":"01.05.2024","Zeit":"12:00:00,5"}"#), Ok(Some(NOON + 500_000)), "a comma");
        assert_eq!(of(&two, r#"{"Datum":"2024-04-30","Zeit":"24:00:00"}"#), Ok(Some(NOON - 12 * 3_600_000_000)));
        let error = of(&two, r#"{"Datum":"1.5.","Zeit":"noon"}"#).unwrap_err();
        assert!(error.starts_with("no time: `Datum`, `Zeit` = `1.5. noon`: "), "{error}");
        assert_eq!(of(&rule(&["t"], &["unix_s"]), r#"{"t":"1714564800,25"}"#), Ok(Some(NOON + 250_000)));
    }

    #[test]
    fn a_time_may_be_missing_where_the_rule_says_so() {
        let mut time = rule(&["t"], &["unix_s"]);
        assert!(time.of(r#"{"t":null}"#, None).unwrap_err().to_string().contains("there is no `t`"));
        time.may_miss = true;
        time.absent = vec!["0".into(), "n/a".into()];
        for json in ["{}", r#"{"t":null}"#, r#"{"t":0}"#, r#"{"t":"n/a"}"#] {
            assert_eq!(time.of(json, None), Ok((None, None)), "{json}");
        }
        assert!(time.of(r#"{"t":"soon"}"#, None).is_err(), "what is there must be a time");
    }

    #[test]
    fn a_time_that_cannot_be_right_is_tagged_left_out_or_refused() {
        let window = |then| Some(Plausible { past: Duration::from_secs(3600), future: Duration::from_secs(60), then });
        let mut time = rule(&["t"], &["unix_s"]);
        let at = |seconds: i64| format!("{{\"t\":{}}}", NOON / 1_000_000 + seconds);
        for (then, found) in [
            (Implausible::Tag, Ok((Some(NOON - 3601 * 1_000_000), Some("implausible")))),
            (Implausible::Arrival, Ok((None, Some("implausible")))),
        ] {
            time.plausible = window(then);
            assert_eq!(time.of(&at(-3601), Some(NOON)), found);
            assert_eq!(time.of(&at(60), Some(NOON)), Ok((Some(NOON + 60_000_000), None)));
            assert_eq!(time.of(&at(-3601), None), Ok((Some(NOON - 3601 * 1_000_000), None)), "nobody knows the time");
        }
        time.plausible = window(Implausible::DeadLetter);
        assert!(time.of(&at(61), Some(NOON)).unwrap_err().to_string().contains("cannot be right"));
        // A receiver that counts weeks modulo 1024.
        let gps = Time { gps_rollover: true, plausible: None, ..time };
        let old = NOON - GPS_ROLLOVER_US;
        assert_eq!(gps.of(&format!("{{\"t\":{}}}", old / 1_000_000), Some(NOON)), Ok((Some(NOON), None)));
        assert_eq!(gps.of(&at(-86_400), Some(NOON)), Ok((Some(NOON - 86_400_000_000), None)));
    }
}
