//! NMEA 0183 sentences: `$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A`.
//!
//! Every sentence becomes `{"talker":..,"type":..,..,"values":[..]}`. The values of the common types also get
//! names. Positions are decimal degrees; south and west are negative.

use super::members::{Members, is_number, quoted};
use super::{About, Content, DecodeError, Format, Kind, Utf8};
use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

/// The row of this format in the table of decoders.
pub const KIND: Kind = Kind::without_keys::<Nmea>("nmea", "NMEA 0183 sentences, one a line.");

/// The decoder of NMEA 0183 sentences.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Nmea;

impl Format for Nmea {
    fn name(&self) -> &'static str {
        KIND.name
    }

    fn continues_time(&self) -> bool {
        true
    }

    fn decode<'m>(&self, message: &'m [u8], about: &About<'_>) -> Result<Content<'m>, DecodeError> {
        let (members, time) = sentence(Utf8::check(message)?, about.before_us)?;
        Ok(Content::Members(members, time))
    }
}

/// The form of a value.
#[derive(Clone, Copy)]
enum As {
    Number,
    Text,
    /// Degrees and minutes. The next value is the hemisphere.
    Degrees,
}
use As::{Degrees, Number, Text};

/// The place of a value after the type, its name, and its form.
type Name = (usize, &'static str, As);

/// Names of the values of a type.
const NAMES: &[(&str, &[Name])] = &[
    (
        "GGA",
        &[
            (0, "utc", Text),
            (1, "latitude", Degrees),
            (3, "longitude", Degrees),
            (5, "quality", Number),
            (6, "satellites", Number),
            (7, "hdop", Number),
            (8, "altitude_m", Number),
            (10, "geoid_separation_m", Number),
        ],
    ),
    (
        "RMC",
        &[
            (0, "utc", Text),
            (1, "status", Text),
            (2, "latitude", Degrees),
            (4, "longitude", Degrees),
            (6, "speed_knots", Number),
            (7, "course", Number),
            (8, "date", Text),
        ],
    ),
    ("GLL", &[(0, "latitude", Degrees), (2, "longitude", Degrees), (4, "utc", Text), (5, "status", Text)]),
    (
        "VTG",
        &[(0, "course", Number), (2, "course_magnetic", Number), (4, "speed_knots", Number), (6, "speed_kmh", Number)],
    ),
    ("HDT", &[(0, "heading", Number)]),
    ("HDG", &[(0, "heading_magnetic", Number)]),
    (
        "MWV",
        &[
            (0, "wind_angle", Number),
            (1, "reference", Text),
            (2, "wind_speed", Number),
            (3, "unit", Text),
            (4, "status", Text),
        ],
    ),
    ("MTW", &[(0, "water_temperature_c", Number)]),
    ("DBT", &[(2, "depth_m", Number)]),
    ("DPT", &[(0, "depth_m", Number), (1, "offset_m", Number)]),
    ("ROT", &[(0, "rate_of_turn", Number), (1, "status", Text)]),
    ("ZDA", &[(0, "utc", Text), (1, "day", Number), (2, "month", Number), (3, "year", Number)]),
];

/// Reads a sentence: its members and, if it has a time, that time in microseconds since 1970-01-01 UTC. A sentence
/// without a date has that of `before_us`, the time of a sentence before it, or of the day before or after.
///
/// # Errors
/// The text is not a sentence, or its checksum is wrong. A missing checksum is no error.
pub fn sentence(line: &str, before_us: Option<i64>) -> Result<(Members<'static>, Option<i64>), DecodeError> {
    let wrong = |what: String| Err(DecodeError::Nmea(what));
    let line = line.trim();
    let Some(rest) = line.strip_prefix(['$', '!']) else {
        return wrong("it does not begin with `$` or `!`".into());
    };
    let (body, sum) = rest.split_once('*').map_or((rest, None), |(body, sum)| (body, Some(sum)));
    if let Some(sum) = sum {
        let computed = body.bytes().fold(0, |sum, byte| sum ^ byte);
        if u8::from_str_radix(sum.trim(), 16) != Ok(computed) {
            return wrong(format!("its checksum is `{sum}` and should be {computed:02X}"));
        }
    }
    let mut values = body.split(',');
    let address = values.next().unwrap_or_default();
    if address.len() < 4 || !address.bytes().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit()) {
        return wrong(format!("`{address}` is no talker and type"));
    }
    // Proprietary sentences have the talker P and a maker's code.
    let (talker, kind) = address.split_at(if address.starts_with('P') { 1 } else { address.len() - 3 });
    let values: Vec<&str> = values.collect();
    let mut members = Members::default();
    members.push_text("talker", talker);
    members.push_text("type", kind);
    let names = NAMES.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, names)| names);
    for (at, name, kind) in names {
        let value = values.get(*at).copied().unwrap_or_default().trim();
        match kind {
            _ if value.is_empty() => {}
            Text => members.push_text(*name, value),
            Number => {
                // `022.4` is a number in NMEA 0183, but not in JSON.
                if let Some(number) = number(value) {
                    members.push_json(*name, number);
                }
            }
            Degrees => {
                let hemisphere = values.get(at + 1).copied().unwrap_or_default();
                if let Some(degrees) = degrees(value, hemisphere) {
                    members.push_json(*name, degrees);
                }
            }
        }
    }
    let list: Vec<String> = values.iter().map(|value| quoted(value)).collect();
    members.push_json("values", format!("[{}]", list.join(",")));
    let value = |at: usize| values.get(at).copied().unwrap_or_default();
    let when = match kind {
        // Before a fix, a receiver gives the date that it was made with.
        "RMC" if value(1) == "V" => None,
        "RMC" => date(value(8)).and_then(|date| at(date, value(0))),
        "ZDA" => {
            let part = |at: usize| value(at).parse::<i16>().ok();
            let date = |day, month, year| Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok();
            part(1)
                .zip(part(2))
                .zip(part(3))
                .and_then(|((day, month), year)| date(day, month, year))
                .and_then(|date| at(date, value(0)))
        }
        _ => names
            .iter()
            .find(|(_, name, _)| *name == "utc")
            .zip(before_us)
            .and_then(|((place, ..), before_us)| near(before_us, value(*place))),
    };
    Ok((members, when))
}

fn number(text: &str) -> Option<String> {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let digits = digits.trim_start_matches('0');
    let digits = if digits.is_empty() || digits.starts_with('.') { format!("0{digits}") } else { digits.into() };
    let number = format!("{sign}{digits}");
    is_number(&number).then_some(number)
}

/// Converts `ddmm.mmmm` or `dddmm.mmmm` to degrees with seven decimal places: a centimetre.
fn degrees(text: &str, hemisphere: &str) -> Option<String> {
    let point = text.find('.').unwrap_or(text.len());
    let whole = text.get(..point.checked_sub(2)?)?;
    let minutes: f64 = text.get(point - 2..)?.parse().ok()?;
    let whole: f64 = if whole.is_empty() { 0.0 } else { whole.parse().ok()? };
    let sign = match hemisphere {
        "N" | "E" => "",
        "S" | "W" => "-",
        _ => return None,
    };
    let plausible = (0.0..60.0).contains(&minutes) && (0.0..=180.0).contains(&whole);
    plausible.then(|| format!("{sign}{:.7}", whole + minutes / 60.0))
}

/// Reads a date `ddmmyy`. Years from 80 on are 1980 to 1999.
fn date(text: &str) -> Option<Date> {
    let part = |range: std::ops::Range<usize>| text.get(range)?.parse::<i8>().ok();
    let year = i16::from(part(4..6)?);
    Date::new(if year >= 80 { 1900 + year } else { 2000 + year }, part(2..4)?, part(0..2)?).ok()
}

/// The time of a date and of `hhmmss` with a fraction, in microseconds since 1970-01-01 UTC.
fn at(date: Date, text: &str) -> Option<i64> {
    let part = |range: std::ops::Range<usize>| text.get(range)?.parse::<i8>().ok();
    let fraction: String = text.get(6..)?.trim_start_matches('.').chars().chain("000000000".chars()).take(9).collect();
    let time = Time::new(part(0..2)?, part(2..4)?, part(4..6)?, fraction.parse().ok()?).ok()?;
    Some(TimeZone::UTC.to_timestamp(date.to_datetime(time)).ok()?.as_microsecond())
}

/// The time of `hhmmss` on the day that brings it closest to another time.
fn near(before_us: i64, text: &str) -> Option<i64> {
    let day = TimeZone::UTC.to_datetime(Timestamp::from_microsecond(before_us).ok()?).date();
    let days = [day.yesterday().ok(), Some(day), day.tomorrow().ok()];
    let times = days.into_iter().flatten().filter_map(|day| at(day, text));
    times.min_by_key(|time| time.abs_diff(before_us))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_without_a_date_has_that_of_the_sentence_before_it() {
        let (_, date) = sentence("$GPZDA,235959.50,31,12,2025,00,00", None).unwrap();
        let time = |line: &str, before| sentence(line, before).unwrap().1;
        let fix = "$GPGGA,000000.25,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,";
        assert_eq!(time(fix, date), Some(1_767_225_600_250_000), "just after midnight, in the new year");
        assert_eq!(time("$GPGLL,4916.45,N,12311.12,W,235958,A", time(fix, date)), Some(1_767_225_598_000_000));
        assert_eq!(time("$GNRMC,000012.00,V,,,,,,,060180", date), None, "no date before a fix");
        assert_eq!((time(fix, None), time("$HEHDT,90,T", date), time("$GPGGA,xx", date)), (None, None, None));
    }

    fn json(line: &str) -> Result<(String, Option<i64>), String> {
        sentence(line, None).map(|(members, time)| (members.to_json(), time)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_fix_has_names_degrees_and_a_time() {
        let (text, time) = json("$GPRMC,123519.25,A,4807.038,N,01131.000,W,022.4,084.4,230394,003.1,W*51\r")
            .unwrap_or_else(|error| panic!("{error}"));
        assert!(text.contains(r#""talker":"GP","type":"RMC","utc":"123519.25","status":"A","latitude":48.1173000,"longitude":-11.5166667,"speed_knots":22.4"#), "{text}");
        assert!(text.ends_with(r#""003.1","W"]}"#), "{text}");
        assert_eq!(time, Some(764_426_119_250_000));
    }

    #[test]
    fn unknown_types_keep_their_values_and_empty_ones_have_no_name() {
        assert_eq!(json("$IIXYZ,1,,a").unwrap().0, r#"{"talker":"II","type":"XYZ","values":["1","","a"]}"#);
        assert_eq!(json("$PGRME,15.0,M").unwrap().0, r#"{"talker":"P","type":"GRME","values":["15.0","M"]}"#);
        assert_eq!(json("$HEHDT,,T").unwrap().0, r#"{"talker":"HE","type":"HDT","values":["","T"]}"#);
        assert_eq!(json("$GPZDA,201530.00,04,07,2002,00,00*60").unwrap().1, Some(1_025_813_730_000_000));
    }

    #[test]
    fn what_is_no_sentence_is_said() {
        for (bad, why) in [
            ("GPRMC,1", "begin"),
            ("$GPRMC,1*00", "should be"),
            ("$,1", "talker"),
            ("$gprmc,1", "talker"),
            ("$GPRMC,1*zz", "should be"),
        ] {
            assert!(json(bad).unwrap_err().contains(why), "{bad}");
        }
        assert!(!json("$GPGLL,9999.9,N,1,E,x,A").unwrap().0.contains("latitude"));
    }
}
