//! `[otlp]`: sends all numbers to a collector of OpenTelemetry, over HTTP (opentelemetry.io/docs/specs/otlp;
//! opentelemetry-proto 1.3, `metrics.proto`).
//!
//! Names, units and labels are those of Prometheus, so that the same dashboards and alert rules serve both ways. Numbers
//! that cannot be sent are not kept: the next ones say more.

use super::Look;
use super::post::WebTarget;
use crate::flow::stop::Stop;
use crate::platform::clock;
use crate::platform::protobuf::Message;
use crate::section::Section;
use crate::telemetry::family::{Family, Labels, Number, Samples};
use crate::telemetry::outage::{Outage, Tell};
use crate::telemetry::{Distribution, Metric, event};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// The interval of the messages.
const INTERVAL: Duration = Duration::from_secs(60);
/// `AGGREGATION_TEMPORALITY_CUMULATIVE`: counters rise from the start of the agent on.
const CUMULATIVE: u64 = 2;

/// Where the numbers go, and how often.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The collector.
    pub target: WebTarget,
    /// The interval of the messages.
    pub interval: Duration,
}

impl Settings {
    /// Reads `[otlp]`; `None` without it, and when it is wrong.
    pub fn read(root: &mut Section<'_>) -> Option<Self> {
        let mut section =
            root.table("otlp", "A collector of OpenTelemetry that gets all metrics, over HTTP (OTLP). `url` may be the server alone: `/v1/metrics` is its usual path.")?;
        let interval = section
            .duration("interval")
            .doc("The interval of the messages. Each has some 3 kB.")
            .within(Duration::from_secs(5)..=Duration::from_secs(86_400))
            .or(INTERVAL);
        let mut target = WebTarget::read(section)?;
        if target.url.trim_end_matches('/').matches('/').count() < 3 {
            target.url = format!("{}/v1/metrics", target.url.trim_end_matches('/'));
        }
        Some(Self { target, interval })
    }
}

/// Sends until the stop.
pub async fn run(settings: Settings, agent: Arc<dyn Look>, mut stop: Stop) {
    let mut outage = Outage::default();
    let mut due = tokio::time::interval(settings.interval);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.or(due.tick()).await.is_ok() {
        let view = agent.view();
        let times = (nanos(view.started_ms), nanos(view.now_ms.max(view.started_ms)));
        let request = request(&agent.families(&view), &view.device, times).into_bytes();
        let Ok(sent) = stop.or(settings.target.post_packed(pack(&request), "application/x-protobuf")).await else {
            return;
        };
        match sent {
            Ok(()) => {
                if let Some(lasted_ms) = outage.over(clock::boot_ms()) {
                    tracing::info!(event = event::OTLP_UP, lasted_ms, "the collector takes metrics again");
                }
            }
            Err(why) => {
                agent.metrics().add(Metric::OtlpFailed, 1);
                if outage.failed(&why, clock::boot_ms()) != Tell::Nothing {
                    tracing::warn!(event = event::OTLP_DOWN, why, "the collector takes no metrics");
                }
            }
        }
    }
}

fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    // Memory always takes more bytes.
    let _ = packed.write_all(bytes);
    packed.finish().unwrap_or_default()
}

fn nanos(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0).saturating_mul(1_000_000)
}

/// `ExportMetricsServiceRequest`; `times` are the start of the agent and now, in nanoseconds since 1970.
fn request(families: &[Family], device: &str, times: (u64, u64)) -> Message {
    let about = [
        ("service.name", "forebay"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", device),
        ("host.name", device),
    ];
    let resource =
        about.iter().fold(Message::default(), |resource, (key, value)| resource.message(1, &pair(key, value)));
    let scope = Message::default().text(1, "forebay").text(2, env!("CARGO_PKG_VERSION"));
    let metrics = families.iter().filter_map(|family| metric(family, times));
    let scope = metrics.fold(Message::default().message(1, &scope), |scope, metric| scope.message(2, &metric));
    Message::default().message(1, &Message::default().message(1, &resource).message(2, &scope))
}

/// `KeyValue` with a text.
fn pair(key: &str, value: &str) -> Message {
    Message::default().text(1, key).message(2, &Message::default().text(1, value))
}

fn labels(message: Message, field: u32, labels: &Labels) -> Message {
    labels.iter().fold(message, |message, (label, value)| message.message(field, &pair(label, value)))
}

/// `Metric`, if it has samples.
fn metric(family: &Family, times: (u64, u64)) -> Option<Message> {
    let (name, help) = (&family.name, family.help);
    let base = Message::default().text(1, name).text(2, help).text(3, unit(name));
    let points = |samples: &[(Labels, Number)]| {
        samples.iter().fold(Message::default(), |all, (labels, number)| all.message(1, &point(labels, *number, times)))
    };
    match &family.samples {
        Samples::Counter(samples) | Samples::Gauge(samples) if samples.is_empty() => None,
        Samples::Gauge(samples) => Some(base.message(5, &points(samples))),
        Samples::Counter(samples) => Some(base.message(7, &points(samples).varint(2, CUMULATIVE).varint(3, 1))),
        Samples::Histogram(samples, _) if samples.is_empty() => None,
        Samples::Histogram(samples, is_time) => {
            let all = samples.iter().fold(Message::default(), |all, (labels, distribution)| {
                all.message(1, &spread(labels, distribution, *is_time, times))
            });
            Some(base.message(9, &all.varint(2, CUMULATIVE)))
        }
    }
}

/// The unit in the notation of UCUM.
fn unit(name: &str) -> &'static str {
    let name = name.trim_end_matches("_total");
    if name.ends_with("seconds") {
        "s"
    } else if name.ends_with("bytes") {
        "By"
    } else {
        "1"
    }
}

/// `NumberDataPoint`.
fn point(of: &Labels, number: Number, (start, now): (u64, u64)) -> Message {
    let point = Message::default().fixed(2, start).fixed(3, now);
    let point = match number {
        Number::Whole(value) => point.fixed(6, value),
        Number::Thousandths(_) => point.double(4, number.value()),
    };
    labels(point, 7, of)
}

/// `HistogramDataPoint`.
fn spread(of: &Labels, distribution: &Distribution, is_time: bool, (start, now): (u64, u64)) -> Message {
    let number = |value: u64| if is_time { Number::Thousandths(value) } else { Number::Whole(value) }.value();
    let counts = distribution.buckets.iter().map(|(_, count)| *count).chain([distribution.above]);
    let bounds = distribution.buckets.iter().map(|(bound, _)| number(*bound).to_bits());
    let point = Message::default()
        .fixed(2, start)
        .fixed(3, now)
        .fixed(4, distribution.count())
        .double(5, number(distribution.sum))
        .packed(6, counts)
        .packed(7, bounds);
    labels(point, 9, of)
}
