//! Where messages of a source go, how they are read, and what is checked on the way in.

use crate::decode::{Decoder, TYPES, Type, member};
use crate::section::Section;
use std::time::Duration;

/// The stream of records that are not told where to go.
const STREAM: &str = "readings";
/// Rules of one route.
const MOST_CHECKS: usize = 64;
/// The shortest time of a rule.
const LEAST: Duration = Duration::from_millis(10);

/// Where messages of a source go: a subscription of MQTT, or the whole source.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// The stream.
    pub stream: String,
    /// How its messages are read.
    pub decoder: Decoder,
    /// What is checked on the way in.
    pub quality: Quality,
}

/// What happens to a record that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Then {
    /// It goes on, with the reason in its attribute `quality`.
    Tag,
    /// It goes to the dead letters.
    DeadLetter,
    /// It is gone, and counted.
    Drop,
}

/// Checks of one member.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// The member.
    pub field: String,
    /// It must be there, and not null.
    pub required: bool,
    /// It must be of this type.
    pub kind: Option<Type>,
    /// A number at least this large.
    pub min: Option<f64>,
    /// A number at most this large.
    pub max: Option<f64>,
    /// One of these texts: units, states.
    pub one_of: Option<Vec<String>>,
    /// The same value of one key for this long is a stuck sensor.
    pub stuck: Option<Duration>,
    /// What happens otherwise.
    pub then: Then,
}

/// All checks of a route.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Quality {
    /// Of members.
    pub checks: Vec<Check>,
    /// The same payload of one key again within this time.
    pub duplicate: Option<(Duration, Then)>,
    /// More records of one key in a second than this.
    pub rate_limit: Option<(u32, Then)>,
    /// A key that is silent for this long is told as an event.
    pub stale: Option<Duration>,
}

impl Quality {
    /// Whether there is nothing to check.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What may become of a record that fails a check.
const THENS: [(&str, Then, &str); 3] = [
    ("tag", Then::Tag, "It goes on, with the reason in its attribute `quality`."),
    ("dead-letter", Then::DeadLetter, "It goes to the dead letters."),
    ("drop", Then::Drop, "It is dropped, and counted."),
];

impl Route {
    /// Reads the keys of messages in the section of a source or of a subscription.
    pub fn read(section: &mut Section<'_>, usual: &'static str) -> Self {
        section.grouped("messages", |section| {
            let stream = section.text("stream").doc("The stream that records go to. A sink reads streams.");
            let stream = stream.or(STREAM.into());
            if section.has("stream") {
                section.session().name(section.at("stream"), &stream);
            } else {
                section.assume(format_args!("stream = \"{STREAM}\""));
            }
            let decoder = Decoder::read(section, usual);
            let quality = Quality::read(section, &decoder);
            Self { stream, decoder, quality }
        })
    }
}

impl Quality {
    fn read(section: &mut Section<'_>, decoder: &Decoder) -> Self {
        let mut quality = Self::default();
        let is_known = !section.is_bad("decoder");
        for table in section.tables("check", "A check of one member of each record.").into_iter().flatten() {
            quality.checks.extend(Check::read(table, decoder, is_known));
        }
        if quality.checks.len() > MOST_CHECKS {
            section.session().problem(section.span(), format!("more than {MOST_CHECKS} checks"), None);
        }
        let Some(mut table) = section.table("quality", "Checks of records: repeats, floods, silence.") else {
            return quality;
        };
        let duplicate =
            table.duration("duplicate").doc("The same payload of one key again within this time is a repeat.");
        let duplicate = duplicate.example("\"10s\"").at_least(LEAST).get();
        let limit = table.whole::<u32>("rate_limit").doc("More records of one key per second than this are a flood.");
        let limit = limit.example("100").at_least(1).get();
        let then = table.choice("then", &THENS).doc("What becomes of repeats and floods.").or(Then::Tag);
        let stale = table.duration("stale").doc("A key that is silent for this long is told in `forebay.events`.");
        quality.stale = stale.example("\"10m\"").at_least(LEAST).get();
        table.end();
        quality.duplicate = duplicate.map(|within| (within, then));
        quality.rate_limit = limit.map(|limit| (limit, then));
        quality
    }
}

impl Check {
    fn read(mut section: Section<'_>, decoder: &Decoder, is_known: bool) -> Option<Self> {
        let field = section.text("field").doc("The member that is checked.").example("\"temperature\"").need();
        let required = section.truth("required").doc("The member must be there, and not null.").or(false);
        let kind = section.choice("type", &TYPES).doc("The member must be of this type.").get();
        let min = section.number("min").doc("A number at least this large.").example("-40").get();
        let max = section.number("max").doc("A number at most this large.").example("125").get();
        let one_of = section.texts("one_of").doc("One of these texts.").example("[\"ok\", \"warm\"]").get();
        let stuck = section.duration("stuck").doc("The same value of one key for this long is a stuck sensor.");
        let stuck = stuck.example("\"1h\"").get();
        let then = section.choice("then", &THENS).doc("What becomes of a record that fails.").or(Then::Tag);
        let session = section.session();
        if is_known && !decoder.format.has_members() {
            let message = format!("decoder \"{}\" has no members to check", decoder.format.name());
            session.problem(section.span(), message, None);
        }
        if min.zip(max).is_some_and(|(min, max)| min > max) {
            section.wrong("min", "`min` is above `max`");
        }
        let rules = ["required", "type", "min", "max", "one_of", "stuck"];
        if !required && !rules[1..].iter().any(|rule| section.has(rule)) {
            let hint = rules.join(", ").replace("required", "required = true");
            session.problem(section.span(), "this check checks nothing", Some(hint));
        }
        if let Some(field) = &field {
            member(&section, section.at("field"), field);
            let is_kept = |name: &str| decoder.fields.iter().any(|kept| kept == name);
            let first = field.split('.').next().unwrap_or_default();
            if !decoder.fields.is_empty() && !is_kept(field) && !is_kept(first) {
                let hint = "checks see what `fields` keeps: add it there";
                let message = format!("`{field}` is not among `fields`: this check would never see it");
                session.problem(section.span(), message, Some(hint.into()));
            }
        }
        section.end();
        let one_of = one_of.map(|texts| texts.into_iter().map(|text| text.value).collect());
        Some(Self { field: field?, required, kind, min, max, one_of, stuck, then })
    }
}
