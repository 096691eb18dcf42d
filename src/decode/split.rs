//! Messages with several readings: each becomes a record of its own (`split`).

use super::DecodeError;
use super::members::{Members, find, quoted};
use crate::section::Section;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The most records of one message. A message with more becomes a dead letter as a whole.
pub const MOST_RECORDS: usize = 10_000;

/// The error of a message with too many readings.
/// Whether a message may have so many readings, of so many bytes together.
pub(super) fn bounded(readings: usize, bytes: usize) -> Result<(), DecodeError> {
    if readings > MOST_RECORDS {
        Err(DecodeError::Split(format!("more than {MOST_RECORDS} readings")))
    } else if bytes > MOST_BYTES {
        Err(DecodeError::Split(format!("its readings take more than {MOST_BYTES} bytes")))
    } else {
        Ok(())
    }
}

/// The readings of a message take at most this much: what all of them keep of it may be long.
const MOST_BYTES: usize = 16 << 20;

/// Where the readings of a message are, and what each of them keeps of the message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Split {
    /// The path of the list; empty when the message itself is the list. A `*` at its end means each member of an
    /// object.
    pub at: String,
    /// Members of the message that each record keeps: name, path.
    pub keep: Vec<(String, String)>,
    /// The names of the values, where a reading is a list.
    pub names: Vec<String>,
    /// The member that gets the name of the list, where `at` ends with `*`.
    pub name: Option<String>,
}

impl Split {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let at = section
            .text("at")
            .doc("The path of the list of readings; without it the message itself is the list. `series.*` means each member of the object `series`.")
            .example("\"readings\"")
            .get_or("the message itself");
        let keep = section
            .texts_or_map("keep")
            .doc("Members of the message that each record gets: a list of paths, or a table of new names and paths.")
            .example("[\"device\"]")
            .get_or("none");
        let names = section
            .texts("names")
            .doc("Names of the values, where a reading is a list such as `[time, value]`.")
            .example("[\"time\", \"value\"]")
            .get_or("none: readings are objects or single values");
        let name = section
            .text("name")
            .doc("The member that gets the name of the list, where `at` ends with `*`.")
            .example("\"series\"")
            .get();
        section.end();
        Self {
            at: at.unwrap_or_default(),
            keep: keep.into_iter().flatten().map(|at| at.value).collect(),
            names: names.into_iter().flatten().map(|at| at.value).collect(),
            name,
        }
    }

    /// The readings of a message, each as a JSON object.
    ///
    /// # Errors
    /// The message has no such list, too many readings, or a reading that does not fit `names`.
    pub fn bodies(&self, json: &str) -> Result<Vec<String>, DecodeError> {
        let kept: Vec<(&str, &str)> =
            self.keep.iter().filter_map(|(name, path)| Some((name.as_str(), find(json, path)?))).collect();
        let (path, each) = match self.at.strip_suffix('*') {
            Some(path) => (path.strip_suffix('.').unwrap_or(path), true),
            None => (self.at.as_str(), false),
        };
        let found = if path.is_empty() { Some(json) } else { find(json, path) };
        let found = found.ok_or_else(|| DecodeError::Split(format!("there is no `{path}`")))?;
        let mut bodies = Vec::new();
        if each {
            let lists = Members::parse(found).ok_or_else(|| DecodeError::Split(format!("`{path}` is no object")))?;
            for (name, list) in &lists.0 {
                let name = self.name.as_ref().map(|member| (member.as_str(), quoted(name)));
                self.list(list, &kept, name.as_ref(), &mut bodies)?;
            }
        } else {
            self.list(found, &kept, None, &mut bodies)?;
        }
        Ok(bodies)
    }

    fn list(
        &self,
        list: &str,
        kept: &[(&str, &str)],
        name: Option<&(&str, String)>,
        bodies: &mut Vec<String>,
    ) -> Result<(), DecodeError> {
        // Some devices send one reading as it is, and several as a list.
        let readings = serde_json::from_str::<Vec<&RawValue>>(list)
            .map_or_else(|_| vec![list], |readings| readings.into_iter().map(RawValue::get).collect());
        bounded(bodies.len() + readings.len(), 0)?;
        let mut bytes: usize = bodies.iter().map(String::len).sum();
        for reading in readings {
            let own = self.members(reading)?;
            let is_own = |name: &str| own.0.iter().any(|(known, _)| known == name);
            let outer = kept.iter().map(|(name, value)| (*name, *value));
            let outer = outer.chain(name.map(|(name, value)| (*name, value.as_str())));
            let outer = outer.filter(|(name, _)| !is_own(name)).map(|(n, v)| (Cow::Borrowed(n), Cow::Borrowed(v)));
            let members: Vec<_> = outer.chain(own.0.iter().cloned()).collect();
            let body = Members(members).to_json();
            bytes += body.len();
            bounded(bodies.len(), bytes)?;
            bodies.push(body);
        }
        Ok(())
    }

    /// The members of one reading: an object, a list with `names`, or a single value.
    fn members<'a>(&'a self, reading: &'a str) -> Result<Members<'a>, DecodeError> {
        if let Some(members) = Members::parse(reading) {
            return Ok(members);
        }
        if self.names.is_empty() {
            return Ok(Members(vec![("value".into(), reading.into())]));
        }
        let values = serde_json::from_str::<Vec<&RawValue>>(reading).unwrap_or_default();
        if values.len() != self.names.len() {
            let (values, names) = (values.len(), self.names.len());
            return Err(DecodeError::Split(format!("a reading has {values} values for {names} `names`")));
        }
        let pairs = self.names.iter().zip(values);
        Ok(Members(pairs.map(|(name, value)| (name.as_str().into(), value.get().into())).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(at: &str, keep: &[&str], names: &[&str]) -> Split {
        let own = |name: &&str| name.to_string();
        let keep = keep.iter().map(|path| (path.rsplit('.').next().unwrap().to_string(), path.to_string())).collect();
        Split { at: at.into(), keep, names: names.iter().map(own).collect(), name: None }
    }

    #[test]
    fn each_reading_of_a_list_is_an_object_with_what_it_keeps() {
        let message = r#"{"device":"d7","gw":{"id":3},"readings":[{"t":21.50},{"t":22,"device":"own"}, 7]}"#;
        assert_eq!(
            split("readings", &["device", "gw.id"], &[]).bodies(message).unwrap(),
            [
                r#"{"device":"d7","id":3,"t":21.50}"#,
                r#"{"id":3,"t":22,"device":"own"}"#,
                r#"{"device":"d7","id":3,"value":7}"#
            ]
        );
        assert_eq!(split("", &[], &[]).bodies("[1,2]").unwrap(), [r#"{"value":1}"#, r#"{"value":2}"#]);
        assert_eq!(split("", &[], &[]).bodies(r#"{"t":1}"#).unwrap(), [r#"{"t":1}"#], "one reading as it is");
        assert!(split("", &[], &[]).bodies("[]").unwrap().is_empty());
    }

    #[test]
    fn pairs_get_names_and_series_their_own() {
        let message = r#"{"temp":[[1,21.5],[2,22]],"hum":[[1,40]]}"#;
        let each = Split { name: Some("series".into()), ..split("*", &[], &["time", "value"]) };
        assert_eq!(
            each.bodies(message).unwrap(),
            [
                r#"{"series":"temp","time":1,"value":21.5}"#,
                r#"{"series":"temp","time":2,"value":22}"#,
                r#"{"series":"hum","time":1,"value":40}"#
            ]
        );
        let why = |split: &Split, message: &str| split.bodies(message).unwrap_err().to_string();
        assert_eq!(why(&each, r#"{"temp":[[1]]}"#), "cannot be split: a reading has 1 values for 2 `names`");
        assert_eq!(why(&split("x.y", &[], &[]), "{}"), "cannot be split: there is no `x.y`");
        assert_eq!(why(&split("*", &[], &[]), "[1]"), "cannot be split: `` is no object");
        let many = format!("[{}0]", "0,".repeat(MOST_RECORDS));
        assert_eq!(why(&split("", &[], &[]), &many), "cannot be split: more than 10000 readings");
    }
}
