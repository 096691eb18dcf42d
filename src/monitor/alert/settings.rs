//! `[alerts]` and `[alert.NAME]`: what is watched, and who is told.

use super::rule::{Condition, Rule, Severity};
use super::usual;
use crate::monitor::post::{MqttTarget, WebTarget};
use crate::monitor::{gauges, view::View};
use crate::section::{At, Section, nearest};
use crate::telemetry::family::{self, Samples};
use crate::telemetry::numbers::Of;
use crate::telemetry::{METRICS, Metrics};
use std::ops::Range;
use std::time::Duration;

/// An alert that goes on is told again after this time.
const REPEAT: Duration = Duration::from_secs(4 * 3600);
const MINUTE: Duration = Duration::from_secs(60);
/// The name in front of every metric, as Prometheus shows it.
const PREFIX: &str = "forebay_";

/// Every alert, and who is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Alerts {
    /// What is watched.
    pub rules: Vec<Alert>,
    /// The stream that gets a record for each beginning and end.
    pub stream: Option<String>,
    /// After this time, targets are told again of an alert that goes on.
    pub repeat: Duration,
    /// A server that is told.
    pub webhook: Option<WebTarget>,
    /// A broker that is told.
    pub mqtt: Option<MqttTarget>,
    /// Whether what is active is kept over restarts: when the configuration speaks of alerts.
    pub is_kept: bool,
}

impl Alerts {
    /// The streams whose records are watched, each once.
    #[must_use]
    pub fn streams(&self) -> Vec<String> {
        let mut streams: Vec<String> =
            self.rules.iter().filter_map(|rule| rule.what.stream()).map(String::from).collect();
        streams.sort();
        streams.dedup();
        streams
    }
}

/// One alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Its name: `lag` for `[alert.lag]`.
    pub name: String,
    /// What is watched.
    pub what: What,
    /// Only this part is watched: `sink.hub`.
    pub of: Option<String>,
    /// When it begins and ends.
    pub rule: Rule,
    /// How bad it is.
    pub severity: Severity,
    /// What happened, and what to do; `{value}` and `{about}` stand for what was found.
    pub message: String,
}

/// What is watched.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// Metrics, by their names at `/metrics`; each of their samples is watched for itself.
    Metrics(Vec<String>),
    /// A field of the records of a stream; each key is watched for itself.
    Field {
        /// The name of the stream.
        stream: String,
        /// The member of the JSON payload, with dots between levels; `None`: the payload is the number.
        field: Option<String>,
        /// Only records with such a key.
        key: Option<glob::Pattern>,
    },
}

impl What {
    fn stream(&self) -> Option<&str> {
        match self {
            Self::Metrics(_) => None,
            Self::Field { stream, .. } => Some(stream),
        }
    }
}

impl Alerts {
    /// Reads `[alerts]` and the sections `[alert.NAME]`.
    pub fn read(root: &mut Section<'_>, named: Vec<(String, Range<usize>, Section<'_>)>) -> Self {
        let given = root.table("alerts", "Who is told of alerts. They are always in the log and in `forebay.events`.");
        let is_kept = given.is_some() || !named.is_empty();
        let mut section = given.unwrap_or_else(|| root.empty("alerts"));
        let defaults = section
            .truth("defaults")
            .doc("Whether the alerts that come with Forebay are watched (docs/alerts.md). A section `[alert.NAME]` with the name of one changes it.")
            .or(true);
        let stream = section
            .text("stream")
            .doc("A stream that gets a record for each alert that begins or ends. A sink delivers it like any other.")
            .example("\"alerts\"")
            .check(|name| {
                let is_bad = name.is_empty() || name.starts_with("forebay.");
                is_bad.then(|| {
                    ("`stream` is the name of a stream of yours".into(), Some("for example \"alerts\"".into()))
                })
            })
            .get();
        let repeat = section
            .duration("repeat")
            .doc("After this time, `webhook` and `mqtt` are told again of an alert that goes on.")
            .at_least(MINUTE)
            .or(REPEAT);
        let webhook = section.table("webhook", "A server that gets alerts as JSON, by POST.").and_then(WebTarget::read);
        let mqtt = section.table("mqtt", "A broker that gets alerts as JSON.").and_then(MqttTarget::read);
        section.end();
        let mut rules = if defaults { usual::alerts() } else { Vec::new() };
        for (name, at, section) in named {
            let usual = usual::alerts().into_iter().find(|rule| rule.name == name);
            rules.retain(|rule| rule.name != name);
            rules.extend(Alert::read(&name, at, section, usual));
        }
        Self { rules, stream, repeat, webhook, mqtt, is_kept }
    }
}

impl Alert {
    /// Reads one `[alert.NAME]`; `None` when it is off or wrong.
    #[must_use]
    pub fn read(name: &str, at: Range<usize>, mut section: Section<'_>, usual: Option<Self>) -> Option<Self> {
        let enabled = section.truth("enabled").doc("`false` switches an alert off.").or(true);
        let metrics = section
            .text_or_texts("metric")
            .doc("A metric of docs/metrics.md, by the name that /metrics shows; several are each watched for themselves.")
            .example("\"sink_backlog_age_seconds\"")
            .get();
        let of = section.text("of").doc("Only the metrics of this part.").example("\"sink.hub\"").get();
        let stream = section
            .text("stream")
            .doc("A stream whose records are watched, instead of a metric. Each key is watched for itself.")
            .example("\"readings\"")
            .get();
        let field = section
            .text("field")
            .doc("The member of the JSON payload that is the value, with dots between levels. Without it, the payload is the number.")
            .example("\"temperature\"")
            .get();
        let key = section
            .text("key")
            .doc("Only records with such a key; `*` stands for any text.")
            .example("\"plant/*/temperature\"")
            .get();
        let bound = |section: &mut Section<'_>| Bound {
            above: section.number("above").doc("The alert begins when the value is above this.").example("900").get(),
            below: section.number("below").doc("The alert begins when the value is below this.").example("1").get(),
            clear: section
                .number("clear")
                .doc("The alert ends when the value is back at this.")
                .example("300")
                .get_or("the value of `above` or `below`"),
            absent: section
                .duration("absent")
                .doc("The alert begins when there was no other value, or no record, for this time.")
                .at_least(Duration::from_secs(10))
                .example("\"15m\"")
                .get(),
            rate: section
                .duration("rate")
                .doc("The change within this time is compared, instead of the value.")
                .within(Duration::from_secs(10)..=Duration::from_secs(7 * 86_400))
                .example("\"10m\"")
                .get(),
            hold: section
                .duration("for")
                .doc("The alert begins only when this was so for this time.")
                .at_most(Duration::from_secs(7 * 86_400))
                .example("\"5m\"")
                .get_or("at once"),
        };
        let bound = bound(&mut section);
        let severity = section
            .choice(
                "severity",
                &[
                    ("warning", Severity::Warning, "Somebody should look."),
                    ("critical", Severity::Critical, "Data is lost, or will be."),
                ],
            )
            .doc("How bad it is.")
            .or(usual.as_ref().map_or(Severity::Warning, |usual| usual.severity));
        let message = section
            .text("message")
            .doc("What happened and what to do. `{value}` stands for the value, `{about}` for the part, the stream or the key.")
            .example("\"tank {about} is at {value}\"")
            .get();
        let what =
            what(&section, metrics, (stream, field, key)).or_else(|| usual.as_ref().map(|usual| usual.what.clone()));
        let is_good = !["metric", "stream", "field", "key"].into_iter().any(|key| section.is_bad(key));
        let session = section.session();
        if what.is_none() && is_good {
            let hint = "metric = \"sink_backlog_age_seconds\", or stream = \"readings\" with field = \"temperature\"";
            session.problem(at, format!("alert `{name}` watches nothing"), Some(hint.into()));
        }
        let rule = bound.rule(&section, name, usual.as_ref().map(|usual| usual.rule));
        section.end();
        let (what, rule) = (what?, rule?);
        let usual = usual.map(|usual| usual.message);
        let message = message.or(usual).unwrap_or_else(|| words(&what, &rule));
        enabled.then(|| Self { name: name.into(), what, of, rule, severity, message })
    }
}

fn what(
    section: &Section<'_>,
    metrics: Option<Vec<At<String>>>,
    (stream, field, key): (Option<String>, Option<String>, Option<String>),
) -> Option<What> {
    if section.has("metric") {
        for key in ["stream", "field", "key"].into_iter().filter(|key| section.has(key)) {
            section.wrong_because(
                key,
                format!("`{key}` does not go with `metric`"),
                "an alert watches the one or the other",
            );
        }
        let known = known_metrics();
        let mut names = Vec::new();
        for At { value, span } in metrics? {
            let name = value.strip_prefix(PREFIX).unwrap_or(&value);
            if !known.iter().any(|known| known == name) {
                let near = nearest(name, known.iter().map(String::as_str));
                let near =
                    near.map_or("docs/metrics.md has all metrics".into(), |near| format!("did you mean \"{near}\"?"));
                section.session().problem(span, format!("there is no metric `{value}` with one value"), Some(near));
            }
            names.push(format!("{PREFIX}{name}"));
        }
        return Some(What::Metrics(names));
    }
    for key in ["field", "key"].into_iter().filter(|key| section.has(key) && !section.has("stream")) {
        section.wrong_because(key, format!("`{key}` goes with `stream`"), "add stream = \"readings\"");
    }
    if section.has("of") && section.has("stream") {
        section.wrong("of", "`of` goes with `metric`");
    }
    let key = match key.map(|key| glob::Pattern::new(&key)).transpose() {
        Ok(key) => key,
        Err(error) => {
            section.wrong_because("key", format!("`key` is no pattern: {error}"), "`*` stands for any text");
            None
        }
    };
    Some(What::Field { stream: stream?, field, key })
}

impl Alert {
    /// The metrics of this alert that the kind of its part (`source`, `sink`) does not count.
    #[must_use]
    pub fn not_counted(&self) -> Vec<&str> {
        let (What::Metrics(names), Some(of)) = (&self.what, &self.of) else { return Vec::new() };
        let kind = of.split('.').next().unwrap_or_default();
        let counts = |name: &&String| {
            let row = METRICS.iter().find(|(.., row, _)| family::shown(row).0 == **name);
            match row.map(|(_, _, of, ..)| *of) {
                Some(Of::Agent) => false,
                Some(Of::Source) => kind == "source",
                Some(Of::Sink) => kind == "sink",
                Some(Of::Part) => true,
                // Gauges that are found in the view.
                None if name.starts_with("forebay_sink_") => kind == "sink",
                None => ["forebay_part_up", "forebay_credential_ends_in_seconds"].contains(&name.as_str()),
            }
        };
        names.iter().filter(|name| !counts(name)).map(String::as_str).collect()
    }
}

/// The names of all metrics that have one value, without the prefix.
fn known_metrics() -> Vec<String> {
    let families = family::kept(&Metrics::new()).into_iter().chain(gauges::of(&View::default()));
    let single = families.filter(|family| !matches!(family.samples, Samples::Histogram(..)));
    single.map(|family| family.name.trim_start_matches(PREFIX).to_string()).collect()
}

/// The keys that say when a value is bad.
struct Bound {
    above: Option<f64>,
    below: Option<f64>,
    clear: Option<f64>,
    absent: Option<Duration>,
    rate: Option<Duration>,
    hold: Option<Duration>,
}

impl Bound {
    fn rule(self, section: &Section<'_>, name: &str, usual: Option<Rule>) -> Option<Rule> {
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let given = ["above", "below", "absent"].into_iter().filter(|key| section.has(key)).count();
        let condition = match (self.above, self.below, self.absent) {
            (Some(above), None, None) => Some(Condition::Above(above, self.clear.unwrap_or(above))),
            (None, Some(below), None) => Some(Condition::Below(below, self.clear.unwrap_or(below))),
            (None, None, Some(absent)) => Some(Condition::Absent(ms(absent))),
            _ if given == 0 => usual.map(|usual| match (usual.condition, self.clear) {
                (Condition::Above(above, _), Some(clear)) => Condition::Above(above, clear),
                (Condition::Below(below, _), Some(clear)) => Condition::Below(below, clear),
                (condition, _) => condition,
            }),
            _ => None,
        };
        let is_bad = ["above", "below", "absent", "clear"].into_iter().any(|key| section.is_bad(key));
        let wrong = |message: &str, hint: &str| {
            if !is_bad {
                section.session().problem(section.span(), format!("alert `{name}`: {message}"), Some(hint.into()));
            }
        };
        match condition {
            None if given == 0 => {
                wrong("nothing says when it begins", "add above = 900, below = 1 or absent = \"15m\"");
            }
            None => wrong("`above`, `below` and `absent` exclude each other", "make one alert of each"),
            Some(Condition::Above(above, clear)) if clear > above => {
                wrong("`clear` is above `above`", "it ends at or below `clear`");
            }
            Some(Condition::Below(below, clear)) if clear < below => {
                wrong("`clear` is below `below`", "it ends at or above `clear`");
            }
            Some(Condition::Absent(_)) if section.has("clear") || section.has("rate") => {
                wrong("`clear` and `rate` do not go with `absent`", "it ends with the next value");
            }
            Some(_) => {}
        }
        let usual = |of: fn(Rule) -> Option<u64>| usual.and_then(of);
        Some(Rule {
            condition: condition?,
            rate_ms: self.rate.map(ms).or_else(|| usual(|usual| usual.rate_ms)),
            hold_ms: self.hold.map(ms).or_else(|| usual(|usual| Some(usual.hold_ms))).unwrap_or(0),
        })
    }
}

/// A message for an alert that has none of its own.
fn words(what: &What, rule: &Rule) -> String {
    let subject = match what {
        What::Metrics(_) => "{metric}".into(),
        What::Field { field, .. } => field.clone().unwrap_or_else(|| "the value".into()),
    };
    let change = if rule.rate_ms.is_some() { "the change of " } else { "" };
    match rule.condition {
        Condition::Above(bound, _) => format!("{change}{subject} is {{value}}, above {bound}"),
        Condition::Below(bound, _) => format!("{change}{subject} is {{value}}, below {bound}"),
        Condition::Absent(_) => format!("{subject}: nothing new for {{value}} s"),
    }
}
