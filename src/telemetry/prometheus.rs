//! Metrics as Prometheus and OpenMetrics read them
//! (prometheus.io/docs/instrumenting/exposition_formats, OpenMetrics 1.0).
//!
//! Each name begins with `forebay_`; times are in seconds. What parts count has a sample for each part and none for
//! their sum, so that a query adds nothing twice.

use super::numbers::{Kind, Label, METRICS, Metrics, Of};
use super::{HISTOGRAMS, Histogram};
use std::fmt::Write;
use std::sync::Arc;

/// A form of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The text format of Prometheus, version 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Form {
    /// The form that a client asks for with its header `Accept`.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// The value of the header `Content-Type`.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A gauge that nobody keeps: it is found when it is asked for.
#[derive(Debug)]
pub struct Found {
    /// The name, with its unit.
    pub name: &'static str,
    /// What it means, a sentence.
    pub help: &'static str,
    /// The labels and the value of each sample.
    pub samples: Vec<(Vec<(&'static str, String)>, String)>,
}

/// All metrics of an agent and its parts, and `found`.
#[must_use]
pub fn text(metrics: &Metrics, found: &[Found], form: Form) -> String {
    let parts = metrics.by_part();
    let mut text = String::new();
    for (metric, kind, of, name, help) in METRICS {
        let exposed = Exposed::of(name);
        let kind = if *kind == Kind::Counter { "counter" } else { "gauge" };
        let mut samples = String::new();
        let mut sample = |labels: &str, value| {
            line(&mut samples, &exposed.name, labels, &exposed.value(value));
        };
        if *of == Of::Agent {
            sample("", metrics.get(*metric));
        }
        for ((label, part), numbers) in parts_of(*of, &parts) {
            sample(&pair(label, part), numbers.get(*metric));
        }
        family(&mut text, form, &exposed.name, kind, help, &samples);
    }
    for (histogram, _, name, help) in HISTOGRAMS {
        let exposed = Exposed::of(name);
        let mut samples = String::new();
        let of = histogram_of(*histogram);
        if of == Of::Agent {
            buckets(&mut samples, &exposed, "", metrics, *histogram);
        }
        for ((label, part), numbers) in parts_of(of, &parts) {
            buckets(&mut samples, &exposed, &pair(label, part), numbers, *histogram);
        }
        family(&mut text, form, &exposed.name, "histogram", help, &samples);
    }
    for Found { name, help, samples } in found {
        let mut lines = String::new();
        for (labels, value) in samples {
            let labels: Vec<String> = labels.iter().map(|(label, value)| pair(label, value)).collect();
            line(&mut lines, name, &labels.join(","), value);
        }
        family(&mut text, form, name, "gauge", help, &lines);
    }
    if form == Form::OpenMetrics {
        text.push_str("# EOF\n");
    }
    text
}

fn histogram_of(histogram: Histogram) -> Of {
    match histogram {
        Histogram::SourceSettle => Of::Source,
        Histogram::StoreCommit => Of::Agent,
        Histogram::SinkDelivery | Histogram::SinkBatchBytes => Of::Sink,
    }
}

type Parts = [(Label, Arc<Metrics>)];

/// The parts that count a metric.
fn parts_of(of: Of, parts: &Parts) -> impl Iterator<Item = &(Label, Arc<Metrics>)> {
    parts.iter().filter(move |((label, _), _)| match of {
        Of::Agent => false,
        Of::Source => *label == "source",
        Of::Sink => *label == "sink",
        Of::Part => true,
    })
}

/// A name and a unit as Prometheus wants them.
struct Exposed {
    name: String,
    is_time: bool,
}

impl Exposed {
    fn of(name: &str) -> Self {
        let seconds = |end: &str, with: &str| name.strip_suffix(end).map(|begin| format!("forebay_{begin}{with}"));
        match seconds("_ms_total", "_seconds_total").or_else(|| seconds("_ms", "_seconds")) {
            Some(name) => Self { name, is_time: true },
            None => Self { name: format!("forebay_{name}"), is_time: false },
        }
    }

    fn value(&self, value: u64) -> String {
        if self.is_time { format!("{}.{:03}", value / 1000, value % 1000) } else { value.to_string() }
    }
}

/// The lines of one metric, if it has samples.
fn family(text: &mut String, form: Form, name: &str, kind: &str, help: &str, samples: &str) {
    if samples.is_empty() {
        return;
    }
    let name = match (form, kind) {
        (Form::OpenMetrics, "counter") => name.strip_suffix("_total").unwrap_or(name),
        _ => name,
    };
    let mut help = help.replace('\\', "\\\\").replace('\n', "\\n");
    if form == Form::OpenMetrics {
        help = help.replace('"', "\\\"");
    }
    // Text always takes more text.
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{samples}");
}

fn line(text: &mut String, name: &str, labels: &str, value: &str) {
    let _ =
        if labels.is_empty() { writeln!(text, "{name} {value}") } else { writeln!(text, "{name}{{{labels}}} {value}") };
}

fn pair(label: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{label}=\"{value}\"")
}

fn buckets(text: &mut String, exposed: &Exposed, labels: &str, metrics: &Metrics, histogram: Histogram) {
    let now = metrics.distribution(histogram);
    let comma = if labels.is_empty() { "" } else { "," };
    let mut count = 0;
    for (bound, more) in &now.buckets {
        count += more;
        let bound = if exposed.is_time { exposed.value(*bound) } else { format!("{bound}.0") };
        line(text, &format!("{}_bucket", exposed.name), &format!("{labels}{comma}le=\"{bound}\""), &count.to_string());
    }
    count += now.above;
    line(text, &format!("{}_bucket", exposed.name), &format!("{labels}{comma}le=\"+Inf\""), &count.to_string());
    line(text, &format!("{}_sum", exposed.name), labels, &exposed.value(now.sum));
    line(text, &format!("{}_count", exposed.name), labels, &count.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metric;

    fn filled() -> Arc<Metrics> {
        let metrics = Metrics::new();
        metrics.part("source", "a \"b\"\\").add(Metric::SourceFrames, 3);
        metrics.part("source", "c").set(Metric::SourceLastFrame, 1_795_744_942_160);
        let sink = metrics.part("sink", "hub");
        sink.add(Metric::SinkPacedMs, 1500);
        sink.observe(Histogram::SinkDelivery, 42);
        sink.observe(Histogram::SinkDelivery, 1_000_000);
        metrics.add(Metric::StoreRecords, 7);
        metrics
    }

    #[test]
    fn each_part_has_its_samples_and_their_sum_has_none() {
        let text = text(&filled(), &[], Form::Prometheus);
        for wanted in [
            "# TYPE forebay_source_frames_total counter\nforebay_source_frames_total{source=\"a \\\"b\\\"\\\\\"} 3\n\
             forebay_source_frames_total{source=\"c\"} 0\n",
            "forebay_source_last_frame_timestamp_seconds{source=\"c\"} 1795744942.160\n",
            "forebay_sink_paced_seconds_total{sink=\"hub\"} 1.500\n",
            "\nforebay_store_records_total 7\n",
            "forebay_sink_delivery_seconds_bucket{sink=\"hub\",le=\"0.020\"} 0\n\
             forebay_sink_delivery_seconds_bucket{sink=\"hub\",le=\"0.050\"} 1\n",
            "forebay_sink_delivery_seconds_bucket{sink=\"hub\",le=\"+Inf\"} 2\n\
             forebay_sink_delivery_seconds_sum{sink=\"hub\"} 1000.042\n\
             forebay_sink_delivery_seconds_count{sink=\"hub\"} 2\n",
            "forebay_store_commit_seconds_count 0\n",
        ] {
            assert!(text.contains(wanted), "{wanted}\nis not in\n{text}");
        }
        assert!(!text.contains("forebay_source_frames_total 3") && !text.contains("# EOF"));
    }

    #[test]
    fn openmetrics_names_families_without_total_and_has_an_end() {
        let text = text(&filled(), &[], Form::OpenMetrics);
        let wanted = "# TYPE forebay_store_records counter\nforebay_store_records_total 7\n";
        assert!(text.contains(wanted) && text.ends_with("# EOF\n"), "{text}");
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        assert_eq!(Form::accepted(prometheus), Form::OpenMetrics);
        assert_eq!(Form::accepted("*/*"), Form::Prometheus);
    }
}
