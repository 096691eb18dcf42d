//! The rules for a source's messages: the stream, the decoder and the checks.

use super::reduce::Reduce;
use crate::decode::{Decoder, TYPES, Type, member};
use crate::section::Section;
use std::ops::Range;
use std::time::Duration;

/// The stream of records when the configuration names none.
const STREAM: &str = "readings";
/// The most checks that one route may have.
const MOST_CHECKS: usize = 64;
/// The shortest time that `duplicate` and `stale` may have.
const LEAST: Duration = Duration::from_millis(10);

/// The rules for messages from one subscription of MQTT, or from a whole source.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// The name of the stream that the records go to.
    pub stream: String,
    /// The decoder of the messages.
    pub decoder: Decoder,
    /// The checks of the decoded records.
    pub quality: Quality,
    /// Which records are left out, if any.
    pub reduce: Option<Reduce>,
}

/// The consequence of a failed check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Then {
    /// The record goes on, with the reason in its attribute `quality`.
    Tag,
    /// The record becomes a dead letter.
    DeadLetter,
    /// The record is dropped and counted.
    Drop,
}

/// Checks of one member.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// The name or the path of the member.
    pub field: String,
    /// Whether the member must be there and not be null.
    pub required: bool,
    /// The type that the member must have.
    pub kind: Option<Type>,
    /// A number at least this large.
    pub min: Option<f64>,
    /// A number at most this large.
    pub max: Option<f64>,
    /// One of these texts: units, states.
    pub one_of: Option<Vec<String>>,
    /// A value of one key that does not change for this long means a stuck sensor.
    pub stuck: Option<Duration>,
    /// The consequence when the check fails.
    pub then: Then,
}

/// All checks of a route.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Quality {
    /// The checks of single members.
    pub checks: Vec<Check>,
    /// The same payload of one key within this time is a repeat, with this consequence.
    pub duplicate: Option<(Duration, Then)>,
    /// More records of one key in a second than this are a flood, with this consequence.
    pub rate_limit: Option<(u32, Then)>,
    /// A key that is silent for this long is reported as an event.
    pub stale: Option<Duration>,
}

impl Quality {
    /// Whether there is nothing to check.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The words for the consequences of a failed check.
const THENS: [(&str, Then, &str); 3] = [
    ("tag", Then::Tag, "It goes on, with the reason in its attribute `quality`."),
    ("dead-letter", Then::DeadLetter, "It goes to the dead letters."),
    ("drop", Then::Drop, "It is dropped, and counted."),
];

impl Route {
    /// Reads the settings of messages from the section of a source or of a subscription. `usual` names the default
    /// decoder.
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
            let reduce = section.table("reduce", "Less data: which readings of one key are left out.");
            if reduce.is_some() && !decoder.format.has_members() && !section.is_bad("decoder") {
                section.wrong("reduce", format!("decoder \"{}\" has no members to compare", decoder.format.name()));
            }
            let reduce = reduce.and_then(|table| Reduce::read(table, &decoder));
            Self { stream, decoder, quality, reduce }
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
            must_be_kept(&section, section.span(), field, decoder, "checks see");
        }
        section.end();
        let one_of = one_of.map(|texts| texts.into_iter().map(|text| text.value).collect());
        Some(Self { field: field?, required, kind, min, max, one_of, stuck, then })
    }
}

/// A member that `fields` does not keep would never be seen by a rule. `who` says whose rule it is.
pub(super) fn must_be_kept(section: &Section<'_>, span: Range<usize>, field: &str, decoder: &Decoder, who: &str) {
    let Some(own) = field.strip_prefix(&*decoder.prefix) else {
        let message = format!("`{field}`: the members of these records begin with `{}` (`prefix`)", decoder.prefix);
        return section.session().problem(span, message, Some(format!("write \"{}{field}\"", decoder.prefix)));
    };
    let is_kept = |name: &str| decoder.fields.iter().any(|kept| kept.0 == name);
    let first = own.split('.').next().unwrap_or_default();
    if !decoder.fields.is_empty() && !is_kept(own) && !is_kept(first) {
        let hint = format!("{who} what `fields` keeps: add it there");
        let message = format!("`{field}` is not among `fields`: this rule would never see it");
        section.session().problem(span, message, Some(hint));
    }
}
