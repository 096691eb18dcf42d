//! All numbers of an agent at one moment, as they are shown to others: Prometheus, OTLP, and alerts.
//!
//! Each name begins with `forebay_`; times are in seconds. What parts count has a sample for each part and none for
//! their sum, so that a query adds nothing twice.

use super::histogram::Distribution;
use super::numbers::{Kind, Label, METRICS, Metric, Metrics, Of};
use super::reason::REASONS;
use super::{HISTOGRAMS, Histogram};
use std::fmt;
use std::sync::Arc;

/// A number that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// A whole number.
    Whole(u64),
    /// Thousandths: times are kept in milliseconds and shown in seconds.
    Thousandths(u64),
}

impl Number {
    /// 1 for true, 0 for false.
    #[must_use]
    pub fn truth(is_true: bool) -> Self {
        Self::Whole(u64::from(is_true))
    }

    /// The number as such.
    #[must_use]
    pub fn value(self) -> f64 {
        match self {
            Self::Whole(value) => value as f64,
            Self::Thousandths(value) => value as f64 / 1000.0,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => write!(f, "{value}"),
            Self::Thousandths(value) => write!(f, "{}.{:03}", value / 1000, value % 1000),
        }
    }
}

/// Names and values that tell samples apart.
pub type Labels = Vec<(&'static str, String)>;

/// The samples of one name.
#[derive(Debug, Clone, PartialEq)]
pub enum Samples {
    /// Numbers that only rise while the agent runs.
    Counter(Vec<(Labels, Number)>),
    /// Numbers that rise and fall.
    Gauge(Vec<(Labels, Number)>),
    /// Distributions; with `true` their values are milliseconds.
    Histogram(Vec<(Labels, Distribution)>, bool),
}

/// Samples with their name.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// The name, with its unit.
    pub name: String,
    /// What it means, a sentence.
    pub help: &'static str,
    /// The samples, in the order of their labels.
    pub samples: Samples,
}

impl Family {
    /// A gauge that nobody keeps: it is found when it is asked for.
    #[must_use]
    pub fn gauge(name: &str, help: &'static str, samples: Vec<(Labels, Number)>) -> Self {
        Self { name: name.into(), help, samples: Samples::Gauge(samples) }
    }
}

/// Every number that an agent and its parts keep.
#[must_use]
pub fn kept(metrics: &Metrics) -> Vec<Family> {
    let parts = metrics.by_part();
    let mut families = Vec::new();
    for (metric, kind, of, name, help) in METRICS {
        let (name, is_time) = shown(name);
        let value = |numbers: &Metrics| {
            let value = numbers.get(*metric);
            if is_time { Number::Thousandths(value) } else { Number::Whole(value) }
        };
        let samples = by_reason(*metric, &parts).unwrap_or_else(|| each(*of, metrics, &parts, value));
        let samples = if *kind == Kind::Counter { Samples::Counter(samples) } else { Samples::Gauge(samples) };
        families.push(Family { name, help, samples });
    }
    for (histogram, _, name, help) in HISTOGRAMS {
        let (name, is_time) = shown(name);
        let samples = each(of(*histogram), metrics, &parts, |numbers| numbers.distribution(*histogram));
        families.push(Family { name, help, samples: Samples::Histogram(samples, is_time) });
    }
    families
}

/// The samples of a metric that has reasons: one for each part and each of its reasons.
fn by_reason(metric: Metric, parts: &[(Label, Arc<Metrics>)]) -> Option<Vec<(Labels, Number)>> {
    let reasons = || REASONS.iter().filter(|(_, of, ..)| *of == metric);
    reasons().next()?;
    let samples = parts.iter().flat_map(|((kind, name), numbers)| {
        let own = reasons().filter(|(_, _, _, _, of, _)| of.iter().any(|of| counts(*of, kind)));
        own.map(|(reason, _, label, value, ..)| {
            let labels = vec![(*kind, name.clone()), (*label, (*value).into())];
            (labels, Number::Whole(numbers.get_for(*reason)))
        })
    });
    Some(samples.collect())
}

fn of(histogram: Histogram) -> Of {
    match histogram {
        Histogram::SourceSettle => Of::Source,
        Histogram::StoreCommit => Of::Agent,
        Histogram::SinkDelivery | Histogram::SinkLatency | Histogram::SinkBatchBytes => Of::Sink,
    }
}

/// The value of whoever counts: of the agent, or of each part.
fn each<T>(
    of: Of,
    agent: &Metrics,
    parts: &[(Label, Arc<Metrics>)],
    value: impl Fn(&Metrics) -> T,
) -> Vec<(Labels, T)> {
    if of == Of::Agent {
        return vec![(Labels::new(), value(agent))];
    }
    let parts = parts.iter().filter(|((label, _), _)| counts(of, label));
    parts.map(|((label, name), numbers)| (vec![(*label, name.clone())], value(numbers))).collect()
}

/// Whether a part with this label counts such a metric.
fn counts(of: Of, label: &str) -> bool {
    match of {
        Of::Agent => false,
        Of::Source => label == "source",
        Of::Sink => label == "sink",
        Of::Part => label == "source" || label == "sink",
    }
}

/// The name as others know it, and whether its values are milliseconds here and seconds there.
#[must_use]
pub fn shown(name: &str) -> (String, bool) {
    let seconds = |end: &str, with: &str| name.strip_suffix(end).map(|begin| format!("forebay_{begin}{with}"));
    match seconds("_ms_total", "_seconds_total").or_else(|| seconds("_ms", "_seconds")) {
        Some(name) => (name, true),
        None => (format!("forebay_{name}"), false),
    }
}
