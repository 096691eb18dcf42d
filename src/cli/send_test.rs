//! `forebay send-test`

use super::place::Place;
use super::{fail, runtime};
use crate::encode::{Body, Origin, Same};
use crate::flow::batch::Batch;
use crate::flow::codec::Codec;
use crate::flow::hex::hex;
use crate::flow::lane::LaneId;
use crate::flow::record::{PayloadKind, RecordRef};
use crate::platform::{clock, random};
use crate::sink;
use crate::telemetry::{Metrics, event};
use std::fmt::{Debug, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

/// A user who waits gets a line after this long, again and again.
const PATIENCE: Duration = Duration::from_secs(3);
/// The stream of the test event, by which consumers tell it from data.
const STREAM: &str = "forebay.test";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The name of a sink; not needed if there is only one
    sink: Option<String>,
    #[command(flatten)]
    place: Place,
}

/// Prints steps as they are taken.
struct Steps {
    since: Instant,
}

#[derive(Default)]
struct Fields {
    event: String,
    step: String,
    message: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = match field.name() {
            "event" => &mut self.event,
            "step" => &mut self.step,
            "message" => &mut self.message,
            _ => return,
        };
        // Writing into a string does not fail.
        let _ = write!(text, "{value:?}");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "event" => self.event.push_str(value),
            "step" => self.step.push_str(value),
            _ => {}
        }
    }
}

impl<S: Subscriber> Layer<S> for Steps {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if fields.event == event::SINK_STEP {
            self.say(&fields.step, &fields.message);
        }
    }
}

impl Steps {
    fn say(&self, step: &str, text: &str) {
        say!("{:>6} ms  {step:<10} {text}", self.since.elapsed().as_millis());
    }
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let config = match arguments.place.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let names: Vec<&str> = config.sinks.iter().map(|sink| sink.name.as_str()).collect();
    let found = match (&arguments.sink, &config.sinks[..]) {
        (None, [only]) => Some(only),
        (Some(name), _) => config.sink(name),
        (None, _) => None,
    };
    let Some(found) = found else {
        return fail(2, format_args!("name one of the sinks: {}", names.join(", ")));
    };
    let steps = Steps { since: Instant::now() };
    steps.say("clock", &format!("this machine's says {}", clock::utc(clock::wall_ms())));
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(steps));
    let batch = match batch(&config.device, found.sending.codec) {
        Ok(batch) => batch,
        Err(error) => return fail(1, error),
    };
    let target = found.settings.open(Metrics::new());
    let delivered = match runtime() {
        Ok(runtime) => runtime.block_on(async {
            let mut delivery = target.deliver(&batch);
            let delivered = loop {
                tokio::select! {
                    delivered = &mut delivery => break delivered,
                    () = tokio::time::sleep(PATIENCE) => sink::dial::step("waiting", "for the step after the last one"),
                }
            };
            drop(delivery);
            target.close().await;
            delivered
        }),
        Err(error) => return fail(1, error),
    };
    match delivered {
        Ok(_) => {
            sink::dial::step("send", format_args!("accepted: one event of stream {STREAM}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            say!("FAILED: {error}");
            ExitCode::from(1)
        }
    }
}

/// One event with one reading; an identity that is never used again.
fn batch(device: &str, codec: Codec) -> std::io::Result<Batch> {
    let now = clock::wall_ms();
    let payload = format!("{{\"test\":true,\"at\":\"{}\"}}", clock::utc(now));
    let record = RecordRef {
        arrival_ms: now,
        device_time_us: None,
        key: STREAM,
        flags: 0,
        attributes: Vec::new(),
        kind: PayloadKind::Json,
        payload: payload.as_bytes(),
    };
    let store = hex(&random::bytes::<16>());
    let origin = Origin { device: device.into(), store: store.into(), stream: STREAM.into() };
    let mut body = Body::new(Same { epoch: 1, generation: 0, in_flight: false, clock_unset: false }, codec);
    body.push(1, &record);
    let key = Some(origin.key(LaneId::WHOLE));
    Ok(Batch { key, channel: STREAM.into(), events: vec![body.finish(&origin, LaneId::WHOLE, 0)?] })
}
