//! A broker that has the document as a retained message, for one device or for all of its fleet; reports go there too,
//! retained.

use super::{Around, Handled, Reconnects, Wish};
use crate::control::document::LONGEST;
use crate::control::settings::Mqtt;
use crate::monitor::mqtt_options;
use crate::platform::{clock, random};
use crate::telemetry::event;
use crate::telemetry::outage::{Outage, Tell};
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, Packet, PublishOptions, QoS, StateError, SubscribeReasonCode,
    mqttbytes,
};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The pause before a document that could not be taken is handed over again.
const AGAIN: Duration = Duration::from_secs(5);
/// The bytes of a packet besides the document.
const FRAME: usize = 64 << 10;

pub async fn run(mqtt: Mqtt, fleet: String, mut around: Around) {
    let topic = |device: &str, what: &str| format!("{}/{fleet}/{device}/{what}", mqtt.prefix);
    let topics = [topic(&around.device, "desired"), topic("all", "desired")];
    let reported = topic(&around.device, "reported");
    let mut outage = Outage::default();
    let mut reconnects = Reconnects::default();
    loop {
        let began = Instant::now();
        let error = match connect(&mqtt, &around.device) {
            Ok((client, events)) => {
                let mut stop = around.stop.clone();
                let session = Session { client, events, topics: &topics, reported: &reported };
                let told = || {
                    if outage.over(clock::boot_ms()).is_some() {
                        tracing::info!(
                            event = event::CONTROL_UP,
                            by = "mqtt",
                            "the broker of the configuration answers"
                        );
                    }
                };
                match stop.or(session.run(&mut around, told)).await {
                    Ok(error) => error,
                    Err(_) => return,
                }
            }
            Err(error) => error,
        };
        if outage.failed(&error, clock::boot_ms()) != Tell::Nothing {
            tracing::warn!(
                event = event::CONTROL_DOWN,
                by = "mqtt",
                error,
                "the broker of the configuration cannot be reached"
            );
        }
        if around.stop.pause(reconnects.pause(began.elapsed())).await.is_err() {
            return;
        }
    }
}

/// A connection to the broker, for a device or a person of this name.
///
/// # Errors
/// The roots to trust cannot be read.
pub fn connect(mqtt: &Mqtt, device: &str) -> Result<(AsyncClient, EventLoop), String> {
    let id = format!("forebay-{device}-config-{}", random::u32());
    let mut options = mqtt_options(id, &mqtt.place, mqtt.is_tls.then_some(&mqtt.tls), mqtt.login.as_ref())?;
    options.set_max_packet_size(LONGEST + FRAME, LONGEST + FRAME);
    AsyncClient::builder(options).capacity(8).try_build().map_err(|error| error.to_string())
}

/// One connection.
struct Session<'a> {
    client: AsyncClient,
    events: EventLoop,
    topics: &'a [String; 2],
    reported: &'a str,
}

impl Session<'_> {
    /// Runs until the connection ends; why it ended.
    async fn run(mut self, around: &mut Around, mut told: impl FnMut()) -> String {
        let mut waiting: VecDeque<Vec<u8>> = VecDeque::new();
        let mut again = tokio::time::interval(AGAIN);
        let mut is_up = false;
        loop {
            tokio::select! {
                event = self.events.poll() => match event {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => {
                        told();
                        is_up = true;
                        for topic in self.topics {
                            if let Err(error) = self.client.try_subscribe(topic.clone(), QoS::AtLeastOnce) {
                                return error.to_string();
                            }
                        }
                        around.report.mark_changed();
                    }
                    Ok(Event::Incoming(Packet::Publish(message))) if !message.payload.is_empty() => {
                        // A newer one for the same topic takes its place when it is handed over: the serial says so.
                        waiting.push_back(message.payload.to_vec());
                        waiting.drain(..waiting.len().saturating_sub(self.topics.len()));
                        again.reset_immediately();
                    }
                    Ok(Event::Incoming(Packet::SubAck(answer)))
                        if answer.return_codes.contains(&SubscribeReasonCode::Failure) =>
                    {
                        return format!("the broker refuses the topics {}", self.topics.join(" and "));
                    }
                    Ok(_) => {}
                    Err(ConnectionError::MqttState(StateError::Deserialization(
                        mqttbytes::Error::PayloadSizeLimitExceeded(_),
                    ))) => {
                        let topics = self.topics.join(" or ");
                        return format!("a message on {topics} has more than {LONGEST} bytes: take it away");
                    }
                    Err(error) => return error.to_string(),
                },
                _ = again.tick(), if !waiting.is_empty() => {
                    for _ in 0..waiting.len() {
                        let Some(bytes) = waiting.pop_front() else { break };
                        if around.hand_over(Wish::Take(bytes.clone()), "mqtt").await == Handled::Later {
                            waiting.push_back(bytes);
                        }
                    }
                }
                changed = around.report.changed(), if is_up => {
                    let report = around.report.borrow_and_update().clone();
                    let options = PublishOptions::at_least_once().retained();
                    if changed.is_ok()
                        && !report.is_empty()
                        && let Err(error) = self.client.try_publish(self.reported.to_string(), report, options)
                    {
                        return error.to_string();
                    }
                }
            }
        }
    }
}
