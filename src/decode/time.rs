//! The device's own time, in microseconds since 1970-01-01 UTC.

use super::members::{find, text};
use super::{DecodeError, Time, TimeFormat, Unix};
use jiff::civil::DateTime;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::{SignedDuration, Timestamp};

/// Reads the device's time from a JSON text, in microseconds since 1970-01-01 UTC.
///
/// # Errors
/// The member is missing, or its value does not have the format of the rule.
pub fn read(rule: &Time, json: &str) -> Result<i64, DecodeError> {
    let Time { member, format, zone } = rule;
    let value = find(json, member).ok_or_else(|| DecodeError::Time(format!("there is no `{member}`")))?;
    let value = text(value);
    let value = value.trim();
    let local = |time: DateTime| {
        // When the clock shows a local time twice, the earlier time is taken.
        zone.to_timestamp(time).map_err(|error| error.to_string())
    };
    let parsed: Result<i64, String> = match format {
        TimeFormat::Unix(unit) => unix(value, *unit).ok_or_else(|| "it is no number in range".into()),
        TimeFormat::Rfc3339 => value
            .parse::<Timestamp>()
            .or_else(|_| value.parse::<DateTime>().map_err(|error| error.to_string()).and_then(local))
            .map(micros),
        TimeFormat::Custom(pattern) => BrokenDownTime::parse(pattern, value)
            .map_err(|error| error.to_string())
            .and_then(|time| match time.offset() {
                Some(_) => time.to_timestamp().map_err(|error| error.to_string()),
                None => time.to_datetime().map_err(|error| error.to_string()).and_then(local),
            })
            .map(micros),
    };
    parsed.map_err(|why| DecodeError::Time(format!("`{member}` = `{value}`: {why}")))
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
    use jiff::tz::{Offset, TimeZone};

    fn time(format: TimeFormat, value: &str) -> Result<i64, String> {
        let zone = TimeZone::fixed(Offset::constant(2));
        let rule = Time { member: "t".into(), format, zone };
        read(&rule, &format!("{{\"t\":{value}}}")).map_err(|error| error.to_string())
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
        let rule = Time { member: "no".into(), format: TimeFormat::Rfc3339, zone: TimeZone::UTC };
        assert!(read(&rule, "{}").unwrap_err().to_string().contains("there is no `no`"));
    }
}
