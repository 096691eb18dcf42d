//! The device twin of an Azure IoT Hub, over MQTT (learn.microsoft.com, "Communicate with an IoT hub using the MQTT
//! protocol"): the desired property `forebay` has a document or says where it is, the reported one gets the report.
//!
//! A text of a twin has at most 4 KiB and all desired properties 32 KiB. So a document is either a list of pieces
//! (`parts`), or an address with its SHA-256 (`url`, `sha256`).

use super::web::{PATIENCE, body};
use super::{Around, Handled, Reconnects, Wish};
use crate::control::document::LONGEST;
use crate::control::settings::IotHub;
use crate::monitor::{mqtt_options, web_client, web_error};
use crate::platform::{clock, digest, sas};
use crate::section::{Login, Place, Secret};
use crate::telemetry::event;
use crate::telemetry::outage::{Outage, Tell};
use rumqttc::{AsyncClient, Event, EventLoop, Packet, Publish, PublishOptions, QoS};
use serde::Deserialize;
use std::time::{Duration, Instant};

/// A signature is good for this many seconds; the connection is made anew before its end.
const LIFE_S: u64 = 3600;
const RENEWED: Duration = Duration::from_secs(3300);
/// The pause before a document that could not be taken is handed over again.
const AGAIN: Duration = Duration::from_secs(5);
/// Twins are smaller than this, in bytes.
const LARGEST: usize = 256 << 10;
const ANSWERS: &str = "$iothub/twin/res/";
const CHANGES: &str = "$iothub/twin/PATCH/properties/desired/";

/// The answer to the question for the twin.
#[derive(Debug, Deserialize)]
struct Twin {
    desired: Desired,
}

/// Desired properties, whole or those that have changed.
#[derive(Debug, Default, Deserialize)]
struct Desired {
    forebay: Option<Named>,
}

/// The desired property.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
struct Named {
    #[serde(default)]
    parts: Vec<String>,
    url: Option<String>,
    sha256: Option<String>,
}

pub async fn run(hub: IotHub, mut around: Around) {
    let mut outage = Outage::default();
    let mut reconnects = Reconnects::default();
    loop {
        let began = Instant::now();
        let error = match connect(&hub) {
            Ok((client, events)) => {
                let session = Session { client, events, hub: &hub, number: 0 };
                let mut stop = around.stop.clone();
                let told = || {
                    if outage.over(clock::boot_ms()).is_some() {
                        tracing::info!(event = event::CONTROL_UP, by = "iothub", "the IoT Hub answers");
                    }
                };
                match stop.or(session.run(&mut around, told)).await {
                    Ok(Some(error)) => error,
                    // The signature ends.
                    Ok(None) => continue,
                    Err(_) => return,
                }
            }
            Err(error) => error,
        };
        if outage.failed(&error, clock::boot_ms()) != Tell::Nothing {
            tracing::warn!(event = event::CONTROL_DOWN, by = "iothub", error, "the IoT Hub cannot be reached");
        }
        if around.stop.pause(reconnects.pause(began.elapsed())).await.is_err() {
            return;
        }
    }
}

fn connect(hub: &IotHub) -> Result<(AsyncClient, EventLoop), String> {
    let place = Place { host: hub.host.clone(), port: hub.port };
    let key = digest::decoded(hub.key.expose()).unwrap_or_default();
    let resource = format!("{}/devices/{}", hub.host, hub.device);
    let password = Secret::new(sas::sign(&resource, None, &key, clock::wall_s() + LIFE_S));
    let login = Login { user: format!("{}/{}/?api-version=2021-04-12", hub.host, hub.device), password };
    let mut options = mqtt_options(hub.device.clone(), &place, Some(&hub.tls), Some(&login))?;
    options.set_max_packet_size(LARGEST, LARGEST);
    AsyncClient::builder(options).capacity(8).try_build().map_err(|error| error.to_string())
}

/// One connection.
struct Session<'a> {
    client: AsyncClient,
    events: EventLoop,
    hub: &'a IotHub,
    /// The number of the last question.
    number: u64,
}

impl Session<'_> {
    /// Runs until the connection ends (why), or until the signature does.
    async fn run(mut self, around: &mut Around, mut told: impl FnMut()) -> Option<String> {
        let end = tokio::time::sleep(RENEWED);
        tokio::pin!(end);
        let mut again = tokio::time::interval(AGAIN);
        let (mut is_up, mut subscribed, mut wanted): (bool, u32, Option<Named>) = (false, 0, None);
        loop {
            tokio::select! {
                () = &mut end => return None,
                event = self.events.poll() => match event {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => {
                        for topic in [format!("{ANSWERS}#"), format!("{CHANGES}#")] {
                            if let Err(error) = self.client.try_subscribe(topic, QoS::AtMostOnce) {
                                return Some(error.to_string());
                            }
                        }
                    }
                    Ok(Event::Incoming(Packet::SubAck(_))) => {
                        subscribed += 1;
                        // What changed while the device was away is not sent: it asks for the whole, when it can hear the
                        // answer. The library may send a question before a subscription.
                        if subscribed == 2
                            && let Err(error) = self.publish("$iothub/twin/GET/", Vec::new())
                        {
                            return Some(error);
                        }
                    }
                    Ok(Event::Incoming(Packet::Publish(message))) => match self.heard(&message) {
                        Ok(named) => {
                            told();
                            if !is_up {
                                is_up = true;
                                around.report.mark_changed();
                            }
                            if named.is_some() {
                                wanted = named;
                                again.reset_immediately();
                            }
                        }
                        Err(error) => return Some(error),
                    },
                    Ok(_) => {}
                    Err(error) => return Some(error.to_string()),
                },
                _ = again.tick(), if wanted.is_some() => {
                    if let Some(named) = wanted.take() {
                        let is_later = match document(self.hub, &named).await {
                            Ok(bytes) => around.hand_over(Wish::Take(bytes), "iothub").await == Handled::Later,
                            Err(error) => {
                                tracing::warn!(event = event::CONTROL_DOWN, by = "iothub", error, "a document cannot be fetched");
                                false
                            }
                        };
                        wanted = is_later.then_some(named);
                    }
                }
                changed = around.report.changed(), if is_up => {
                    let report = around.report.borrow_and_update().clone();
                    if changed.is_ok() && !report.is_empty() {
                        let reported = format!("{{\"forebay\":{report}}}");
                        if let Err(error) = self.publish("$iothub/twin/PATCH/properties/reported/", reported.into_bytes()) {
                            return Some(error);
                        }
                    }
                }
            }
        }
    }

    fn publish(&mut self, topic: &str, body: Vec<u8>) -> Result<(), String> {
        self.number += 1;
        let topic = format!("{topic}?$rid={}", self.number);
        self.client.try_publish(topic, body, PublishOptions::at_most_once()).map_err(|error| error.to_string())
    }

    /// The property that a message of the hub has.
    fn heard(&self, message: &Publish) -> Result<Option<Named>, String> {
        let topic = String::from_utf8_lossy(&message.topic);
        if topic.starts_with(CHANGES) {
            let desired = serde_json::from_slice::<Desired>(&message.payload);
            return desired.map(|desired| desired.forebay).map_err(|error| format!("a change of the twin: {error}"));
        }
        let status = topic.strip_prefix(ANSWERS).and_then(|rest| rest.split('/').next()).unwrap_or_default();
        match status {
            "200" => {
                let twin = serde_json::from_slice::<Twin>(&message.payload);
                twin.map(|twin| twin.desired.forebay).map_err(|error| format!("the twin: {error}"))
            }
            "204" => Ok(None),
            status => Err(format!("{} answers {status}", self.hub.host)),
        }
    }
}

/// The document that the property has, or names.
async fn document(hub: &IotHub, named: &Named) -> Result<Vec<u8>, String> {
    let Some(url) = &named.url else { return Ok(named.parts.concat().into_bytes()) };
    let answer = web_client(&hub.tls, PATIENCE)?.get(url).send().await.map_err(web_error)?;
    if !answer.status().is_success() {
        return Err(format!("the server answers {}", answer.status()));
    }
    let bytes = body(answer, LONGEST).await?;
    match &named.sha256 {
        Some(wanted) if !wanted.eq_ignore_ascii_case(&digest::sha256(&bytes)) => {
            Err("the document at `url` has another SHA-256 than the twin says".into())
        }
        _ => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twin_names_a_document_or_has_it_in_pieces() {
        let read = |json: &str| serde_json::from_str::<Twin>(json).unwrap().desired.forebay;
        assert_eq!(read(r#"{"desired":{"$version":3},"reported":{"x":1}}"#), None);
        let parts = read(r#"{"desired":{"forebay":{"parts":["a = ","1"]},"$version":4},"reported":{}}"#).unwrap();
        assert_eq!((parts.parts.concat(), parts.url), ("a = 1".into(), None));
        let url =
            read(r#"{"desired":{"forebay":{"url":"https://x/","sha256":"ab"},"$version":4},"reported":{}}"#).unwrap();
        assert_eq!((url.url.as_deref(), url.sha256.as_deref()), (Some("https://x/"), Some("ab")));
    }
}
