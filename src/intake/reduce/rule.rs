//! The rules of `reduce`, and how they are read.

use super::Value;
use crate::decode::{Decoder, member};
use crate::intake::rule::must_be_kept;
use crate::section::catalog::Shape;
use crate::section::{Data, Read, Section};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Which readings of one key are left out.
#[derive(Debug, Clone, PartialEq)]
pub enum Reduce {
    /// Those whose members have not changed enough since the last one that was kept.
    Unchanged {
        /// The members and the change that counts.
        members: Vec<(String, Deadband)>,
        /// A reading is kept after this long in any case.
        heartbeat: Option<Duration>,
        /// The members or attributes that tell sensors under one key apart.
        by: Vec<String>,
    },
    /// All but one for each span of time.
    Span {
        /// The length of a span. Spans begin at whole multiples of it since 1970-01-01 UTC.
        every: Duration,
        /// What is kept of the readings.
        take: Vec<Take>,
        /// The members or attributes that tell sensors under one key apart.
        by: Vec<String>,
        /// The members that hold the time.
        times: Vec<String>,
    },
}

/// The change of a member that counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Deadband {
    /// Any change.
    Any,
    /// A change of a number by more than this.
    Absolute(f64),
    /// A change of a number by more than this part of the value that was kept.
    Relative(f64),
}

/// What is kept of the readings of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Take {
    /// The last reading.
    Last,
    /// The mean of each number.
    Mean,
    /// The smallest of each number.
    Min,
    /// The largest of each number.
    Max,
}

/// The words for what is kept of a span.
const TAKES: [(&str, Take); 4] = [("last", Take::Last), ("mean", Take::Mean), ("min", Take::Min), ("max", Take::Max)];

impl Read for Deadband {
    fn wanted() -> String {
        "a number, or a percentage as in \"1%\"".into()
    }

    fn read(data: &Data) -> Result<Self, Option<String>> {
        let number = |number: f64| (number.is_finite() && number >= 0.0).then_some(number);
        let (number, is_percent) = match data {
            Data::Text(text) => {
                (text.trim().strip_suffix('%').and_then(|text| number(text.trim().parse().ok()?)), true)
            }
            other => (f64::read(other).ok().and_then(number), false),
        };
        match (number, is_percent) {
            (Some(percent), true) => Ok(Self::Relative(percent / 100.0)),
            (Some(0.0), false) => Ok(Self::Any),
            (Some(number), false) => Ok(Self::Absolute(number)),
            (None, _) => Err(None),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Any => "0".into(),
            Self::Absolute(number) => number.to_string(),
            Self::Relative(part) => format!("\"{}%\"", part * 100.0),
        }
    }

    fn shape() -> Box<Shape> {
        Box::new(Shape::Either(Box::new(Shape::Number), Box::new(Shape::Text)))
    }
}

impl Read for Take {
    fn wanted() -> String {
        "one of last, mean, min, max".into()
    }

    fn read(data: &Data) -> Result<Self, Option<String>> {
        let Data::Text(word) = data else { return Err(None) };
        let found = TAKES.iter().find(|(known, _)| known == word).map(|(_, take)| *take);
        found.ok_or_else(|| Some(format!("unknown value `{word}`; one of: last, mean, min, max")))
    }

    fn show(&self) -> String {
        let word = TAKES.iter().find(|(_, take)| take == self).map_or("", |(word, _)| word);
        format!("\"{word}\"")
    }

    fn shape() -> Box<Shape> {
        Box::new(Shape::Choice(TAKES.iter().map(|(word, _)| (*word, "")).collect()))
    }
}

impl Reduce {
    /// Reads the rule of a route, whose messages have this decoder.
    pub fn read(mut section: Section<'_>, decoder: &Decoder) -> Option<Self> {
        let deadband = section.map::<Deadband>(
            "deadband",
            "Members and the change that counts, since the reading that was kept last: `{ temperature = 0.2, pressure = \"1%\" }`. 0 is any change. A reading without such a change is left out.",
        );
        let heartbeat = section.duration("heartbeat").doc("A reading is kept after this long in any case.");
        let heartbeat = heartbeat.example("\"10m\"").at_least(Duration::from_secs(1)).get();
        let every = section
            .duration("every")
            .doc("One record of each key for each span of this length, at the span's end.")
            .example("\"1m\"")
            .within(Duration::from_secs(1)..=Duration::from_secs(24 * 3600))
            .get();
        let take = section
            .one_or_more::<Take>("take")
            .doc("What is kept of a span: the `last` value of each member, or `mean`, `min`, `max` of each number. Of several, the members are called `t_mean`, `t_min` and so on.")
            .example("[\"mean\", \"max\"]")
            .not_empty()
            .or_as(Vec::new(), "\"last\"");
        let by = section
            .texts("by")
            .doc("Members or attributes that tell the sensors under one key apart.")
            .example("[\"sensor\"]")
            .get_or("all readings of one key are of one sensor")
            .unwrap_or_default();
        for name in &by {
            member(&section, name.span.clone(), &name.value);
        }
        let by: Vec<String> = by.into_iter().map(|name| name.value).collect();
        let format = decoder.format.name();
        let is_mixed = decoder.split.is_some() || matches!(format, "senml" | "prometheus" | "influx" | "cloudevents");
        if is_mixed && by.is_empty() && !section.is_catalog() {
            let message = "readings of several sensors come under one key here: say in `by` what tells them apart";
            let hint = match format {
                "senml" => "by = [\"n\"]",
                "prometheus" => "by = [\"name\", \"labels\"]",
                "influx" => "by = [\"measurement\", \"tags\"]",
                "cloudevents" => "by = [\"source\", \"type\"]",
                _ => "for example by = [\"sensor\"]",
            };
            section.session().problem(section.span(), message, Some(hint.into()));
        }
        for (name, _) in deadband.iter().flatten() {
            member(&section, name.span.clone(), &name.value);
            must_be_kept(&section, name.span.clone(), &name.value, decoder, "`reduce` sees");
        }
        if deadband.as_ref().is_some_and(Vec::is_empty) && !section.is_bad("deadband") {
            section.wrong("deadband", "`deadband` has no member");
        }
        if section.has("deadband") == section.has("every") && !section.is_catalog() {
            let message = "`reduce` needs either `deadband` or `every`";
            section.session().problem(section.span(), message, Some("see docs/sources/decoding.md".into()));
        }
        if section.has("heartbeat") && section.has("every") {
            section.wrong("heartbeat", "`heartbeat` goes with `deadband`");
        }
        if section.has("take") && !section.has("every") {
            section.wrong("take", "`take` goes with `every`");
        }
        let take: Vec<Take> = take.into_iter().map(|take| take.value).collect();
        if take.iter().enumerate().any(|(at, one)| take[..at].contains(one)) {
            section.wrong("take", "`take` names something twice");
        }
        section.end();
        let take = if take.is_empty() { vec![Take::Last] } else { take };
        let times = decoder.time_members();
        match (every, deadband) {
            (Some(every), _) => Some(Self::Span { every, take, by, times }),
            (None, Some(deadband)) => {
                let members = deadband.into_iter().map(|(name, band)| (name.value, band)).collect();
                Some(Self::Unchanged { members, heartbeat, by })
            }
            (None, None) => None,
        }
    }
}

impl Deadband {
    /// Whether the change from one value to another counts.
    pub(super) fn counts(self, before: Value, after: Value) -> bool {
        match (self, before, after) {
            (Self::Absolute(most), Value::Number(before), Value::Number(after)) => (after - before).abs() > most,
            (Self::Relative(part), Value::Number(before), Value::Number(after)) => {
                (after - before).abs() > part * before.abs()
            }
            _ => before != after,
        }
    }
}
