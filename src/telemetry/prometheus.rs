//! Metrics as Prometheus and OpenMetrics read them
//! (prometheus.io/docs/instrumenting/exposition_formats, OpenMetrics 1.0).

use super::family::{Family, Labels, Number, Samples};
use super::histogram::Distribution;
use std::fmt::Write;

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

/// The text of all families that have samples.
#[must_use]
pub fn text(families: &[Family], form: Form) -> String {
    let mut text = String::new();
    for Family { name, help, samples } in families {
        let mut lines = String::new();
        let kind = match samples {
            Samples::Counter(numbers) | Samples::Gauge(numbers) => {
                for (labels, value) in numbers {
                    line(&mut lines, name, &pairs(labels), value);
                }
                if matches!(samples, Samples::Counter(_)) { "counter" } else { "gauge" }
            }
            Samples::Histogram(samples, is_time) => {
                for (labels, now) in samples {
                    buckets(&mut lines, name, *is_time, labels, now);
                }
                "histogram"
            }
        };
        family(&mut text, form, name, kind, help, &lines);
    }
    if form == Form::OpenMetrics {
        text.push_str("# EOF\n");
    }
    text
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

fn line(text: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ =
        if labels.is_empty() { writeln!(text, "{name} {value}") } else { writeln!(text, "{name}{{{labels}}} {value}") };
}

fn pairs(labels: &Labels) -> String {
    let pair = |(label, value): &(&str, String)| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("{label}=\"{value}\"")
    };
    labels.iter().map(pair).collect::<Vec<_>>().join(",")
}

fn buckets(text: &mut String, name: &str, is_time: bool, labels: &Labels, now: &Distribution) {
    let labels = pairs(labels);
    let comma = if labels.is_empty() { "" } else { "," };
    let number = |value: u64| if is_time { Number::Thousandths(value) } else { Number::Whole(value) };
    let mut count = 0;
    for (bound, more) in &now.buckets {
        count += more;
        let bound = if is_time { number(*bound).to_string() } else { format!("{bound}.0") };
        line(text, &format!("{name}_bucket"), &format!("{labels}{comma}le=\"{bound}\""), count);
    }
    count += now.above;
    line(text, &format!("{name}_bucket"), &format!("{labels}{comma}le=\"+Inf\""), count);
    line(text, &format!("{name}_sum"), &labels, number(now.sum));
    line(text, &format!("{name}_count"), &labels, count);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Histogram, Metric, Metrics, family};
    use std::sync::Arc;

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
        let text = text(&family::kept(&filled()), Form::Prometheus);
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
        let text = text(&family::kept(&filled()), Form::OpenMetrics);
        let wanted = "# TYPE forebay_store_records counter\nforebay_store_records_total 7\n";
        assert!(text.contains(wanted) && text.ends_with("# EOF\n"), "{text}");
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        assert_eq!(Form::accepted(prometheus), Form::OpenMetrics);
        assert_eq!(Form::accepted("*/*"), Form::Prometheus);
    }
}
