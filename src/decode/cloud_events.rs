//! Events of CloudEvents 1.0 in JSON, one or a list of them (<https://cloudevents.io>, JSON event format 1.0.2).

use super::members::{find, text};
use super::{About, Content, DecodeError, Format, Kind, Refused, Utf8, split, strict};
use jiff::Timestamp;
use serde_json::value::RawValue;

/// The row of this format in the table of decoders.
pub const KIND: Kind = Kind::without_keys::<CloudEvents>(
    "cloudevents",
    "CloudEvents 1.0 in JSON, one or a list: a record for each event, kept as it is; `time` is its time.",
);

/// The members that each event has (CloudEvents 1.0.2, section 3.1.1).
const REQUIRED: [&str; 4] = ["id", "source", "specversion", "type"];

/// The decoder of CloudEvents.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct CloudEvents;

impl Format for CloudEvents {
    fn name(&self) -> &'static str {
        KIND.name
    }

    fn is_by_line(&self) -> bool {
        false
    }

    fn decode<'m>(&self, message: &'m [u8], _: &About<'_>) -> Result<Content<'m>, DecodeError> {
        let json = Utf8::check(message)?.trim();
        let wrong = |error: serde_json::Error| DecodeError::CloudEvent(error.to_string());
        let events: Vec<&RawValue> = if json.starts_with('[') {
            serde_json::from_str(json).map_err(wrong)?
        } else {
            vec![serde_json::from_str(json).map_err(wrong)?]
        };
        split::bounded(events.len(), json.len())?;
        let read = |event: &RawValue| {
            let event = event.get().to_string();
            let read = strict::check(&event).map_err(DecodeError::CloudEvent).and_then(|()| time(&event));
            match read {
                Ok(time) => Ok((event, time)),
                Err(error) => Err(Refused { reading: Some(event), error }),
            }
        };
        Ok(Content::Readings(events.into_iter().map(read).collect()))
    }
}

/// The time of an event, in microseconds since 1970-01-01 UTC, if it has one.
fn time(event: &str) -> Result<Option<i64>, DecodeError> {
    if let Some(name) = REQUIRED.iter().find(|name| !find(event, name).is_some_and(|value| value.starts_with('"'))) {
        return Err(DecodeError::CloudEvent(format!("there is no text `{name}`")));
    }
    let Some(given) = find(event, "time").filter(|time| *time != "null").map(text) else { return Ok(None) };
    let time: Timestamp =
        given.parse().map_err(|error| DecodeError::CloudEvent(format!("`time` = `{given}`: {error}")))?;
    Ok(Some(time.as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(message: &str) -> Result<Vec<(String, Option<i64>)>, String> {
        match CloudEvents.decode(message.as_bytes(), &About::default()) {
            Ok(Content::Readings(readings)) => {
                readings.into_iter().collect::<Result<_, _>>().map_err(|refused| refused.error.to_string())
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn an_event_stays_as_it_is_and_gives_its_time() {
        let one = r#"{"specversion":"1.0","id":"1","source":"/hall/3","type":"t","time":"2026-05-01T12:00:00.5Z","data":{"t":21.50}}"#;
        assert_eq!(events(one).unwrap(), [(one.to_string(), Some(1_777_636_800_500_000))]);
        let untimed = r#"{"specversion":"1.0","id":"2","source":"/hall/3","type":"t"}"#;
        let both = events(&format!("[{one}, {untimed}]")).unwrap();
        assert_eq!(both[1], (untimed.to_string(), None));
        assert!(events("[]").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for (message, why) in [
            ("7", "no text `id`"),
            (r#"{"id":"1","source":"s","type":"t"}"#, "no text `specversion`"),
            (r#"{"specversion":"1.0","id":1,"source":"s","type":"t"}"#, "no text `id`"),
            (r#"{"specversion":"1.0","id":"1","source":"s","type":"t","time":"noon"}"#, "`time` = `noon`"),
            ("{", "EOF"),
        ] {
            assert!(events(message).unwrap_err().contains(why), "{message}: {:?}", events(message));
        }
    }
}
