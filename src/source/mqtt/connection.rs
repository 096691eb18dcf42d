//! One connection: from CONNECT to the first error.

use super::Settings;
use super::session::Session;
use crate::flow::frame::{Frame, Payload};
use crate::flow::handover::Giver;
use crate::flow::record::{DEAD_LETTER_KEEP, MAX_RECORD, REDELIVERED, RETAINED};
use crate::flow::stop::Stop;
use crate::platform::tls;
use crate::telemetry::{Metric, Metrics, event};
use bytes::Bytes;
use rumqttc::{
    AckMode, AsyncClient, Broker, ClientError, ConnectionError, Event, EventLoop, ManualAck, MqttOptions,
    NetworkOptions, Outgoing, Packet, Publish, QoS, SubscribeFilter, SubscribeReasonCode, Transport,
};
use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// MQTT's own limit: a message that is too large for us is set aside, never refused for ever.
const MAX_PACKET: usize = 256 << 20;
/// Acknowledgements that may wait to be written.
const ACKS: usize = 1 << 16;
const CONNECT_TIMEOUT_S: u64 = 15;
/// At stop, what was handed over is acknowledged if it is safe within this time.
const FAREWELL: Duration = Duration::from_secs(3);
/// Topics whose names are kept.
const TOPICS: usize = 4096;

/// How a connection ended.
#[derive(Debug)]
pub enum End {
    /// We were asked to stop.
    Stopped,
    /// More is held than allowed.
    Overflow,
    /// Anything else.
    Lost {
        /// What happened, and a hint where there is one.
        error: String,
        /// Whether the broker had accepted us.
        was_up: bool,
    },
}

struct Connection<'a> {
    settings: &'a Settings,
    name: &'a str,
    giver: &'a mut Giver,
    session: &'a mut Session,
    subscribed: &'a mut bool,
    metrics: &'a Metrics,
    client: AsyncClient,
    /// In order of arrival: the frame, and what to send when it is safe.
    acks: VecDeque<(u64, ManualAck)>,
    topics: HashMap<Bytes, Arc<str>>,
}

/// Runs one connection.
pub async fn run(
    settings: &Settings,
    name: &str,
    giver: &mut Giver,
    session: &mut Session,
    subscribed: &mut bool,
    metrics: &Metrics,
    stop: &mut Stop,
) -> End {
    let built = options(settings).and_then(|options| {
        AsyncClient::builder(options).capacity(ACKS).try_build().map_err(|error| error.to_string())
    });
    let (client, mut events) = match built {
        Ok(built) => built,
        Err(error) => return End::Lost { error, was_up: false },
    };
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(CONNECT_TIMEOUT_S);
    events.set_network_options(network);
    let (acks, topics) = (VecDeque::new(), HashMap::new());
    let mut connection = Connection { settings, name, giver, session, subscribed, metrics, client, acks, topics };
    let mut up = false;
    loop {
        let polled = {
            // The future is kept until it is ready: dropping it while it connects starts over.
            let mut poll = pin!(events.poll());
            loop {
                tokio::select! {
                    polled = &mut poll => break Some(polled),
                    settled = connection.giver.more_settled() => match settled {
                        Some(settled) => connection.acknowledge(settled),
                        None => return End::Stopped,
                    },
                    () = stop.requested() => break None,
                }
            }
        };
        let Some(polled) = polled else {
            connection.farewell(&mut events).await;
            return End::Stopped;
        };
        let went_on = match polled {
            Ok(Event::Incoming(packet)) => {
                up = true;
                connection.packet(packet).await
            }
            Ok(Event::Outgoing(_)) => Ok(()),
            Err(error) => Err(End::Lost { error: explain(&error, settings), was_up: up }),
        };
        match went_on {
            Ok(()) => {}
            Err(End::Overflow) => {
                connection.farewell(&mut events).await;
                return End::Overflow;
            }
            Err(end) => return end,
        }
    }
}

impl Connection<'_> {
    async fn packet(&mut self, packet: Packet) -> Result<(), End> {
        match packet {
            Packet::ConnAck(ack) => self.connected(ack.session_present).await,
            Packet::SubAck(ack) => {
                self.metrics.add(Metric::SourceSubscribed, 1);
                *self.subscribed = true;
                for (topic, code) in self.settings.topics.iter().zip(ack.return_codes) {
                    if code == SubscribeReasonCode::Failure {
                        tracing::error!(
                            event = event::SOURCE_DOWN,
                            source = self.name,
                            topic,
                            "the broker refuses the topic"
                        );
                    }
                }
                Ok(())
            }
            Packet::Publish(publish) => self.publish(&publish),
            Packet::PubRel(release) => match self.session.end(release.pkid) {
                // It carries no payload; if there is no room for it the repeat is stored again.
                Some(frame) => self.giver.try_push(frame).map(|_| ()).map_err(|_| End::Overflow),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    async fn connected(&mut self, session_present: bool) -> Result<(), End> {
        let host = &self.settings.host;
        tracing::info!(event = event::SOURCE_UP, source = self.name, host, session_present, "connected");
        if !session_present {
            for frame in self.session.clear() {
                self.giver.try_push(frame).map_err(|_| End::Overflow)?;
            }
        }
        // With a kept session only the first connection subscribes (the topics may have changed):
        // each SUBSCRIBE makes the broker send what it retains once more.
        if session_present && *self.subscribed {
            return Ok(());
        }
        let qos = rumqttc::qos(self.settings.qos).unwrap_or(QoS::AtLeastOnce);
        let filters = self.settings.topics.iter().map(|topic| SubscribeFilter::new(topic.clone(), qos));
        let asked = self.client.subscribe_many(filters).await;
        asked.map_err(|error| End::Lost { error: format!("cannot subscribe: {error}"), was_up: true })
    }

    fn publish(&mut self, publish: &Publish) -> Result<(), End> {
        let ack = self.client.prepare_ack(publish);
        let mut position = None;
        let mut second = None;
        if publish.qos == QoS::ExactlyOnce {
            let crc = Session::crc(&publish.topic, &publish.payload);
            if let Some(frame) = self.session.repeated(publish.pkid, crc).filter(|_| publish.dup) {
                self.metrics.add(Metric::SourceRepeatsSkipped, 1);
                self.acks.extend(ack.map(|ack| (frame, ack)));
                self.acknowledge(self.giver.settled());
                return Ok(());
            }
            position = Some(Session::position(publish.pkid, crc));
            second = Some((publish.pkid, crc));
        }
        let redelivered = if publish.dup && publish.qos == QoS::AtLeastOnce { REDELIVERED } else { 0 };
        let retained = if publish.retain { RETAINED } else { 0 };
        let frame = Frame {
            flags: redelivered | retained,
            position,
            ..Frame::new(self.topic(&publish.topic), payload(&publish.payload))
        };
        match self.giver.try_push(frame) {
            Ok(id) => {
                if let Some((packet, crc)) = second {
                    self.session.begin(packet, crc, id);
                }
                self.acks.extend(ack.map(|ack| (id, ack)));
                Ok(())
            }
            // Nobody waits for an acknowledgement of QoS 0: it is gone, and counted.
            Err(_) if publish.qos == QoS::AtMostOnce => {
                self.metrics.add(Metric::SourceDropped, 1);
                Ok(())
            }
            Err(_) => Err(End::Overflow),
        }
    }

    /// The name of a topic; kept, since devices use few.
    fn topic(&mut self, topic: &Bytes) -> Arc<str> {
        if let Some(known) = self.topics.get(topic) {
            return known.clone();
        }
        if self.topics.len() >= TOPICS {
            self.topics.clear();
        }
        let name: Arc<str> = String::from_utf8_lossy(topic).into();
        self.topics.insert(Bytes::copy_from_slice(topic), name.clone());
        name
    }

    /// Acknowledges what is safe, in order of arrival.
    fn acknowledge(&mut self, settled: u64) {
        while let Some((_, ack)) = self.acks.front().filter(|(id, _)| *id <= settled) {
            match self.client.try_manual_ack(ack.clone()) {
                Ok(()) => {
                    self.acks.pop_front();
                }
                // The queue holds more than MQTT allows in flight; the next settlement tries again.
                Err(ClientError::RequestChannelFull(_)) => return,
                // The connection is gone, and its acknowledgements with it: the broker sends again.
                Err(_) => self.acks.clear(),
            }
        }
    }

    /// Acknowledges what becomes safe in time, then disconnects. Nothing new is taken.
    async fn farewell(&mut self, events: &mut EventLoop) {
        let deadline = tokio::time::sleep(FAREWELL);
        let mut deadline = pin!(deadline);
        let mut asked = false;
        loop {
            if !asked && self.acks.is_empty() {
                asked = self.client.try_disconnect().is_ok();
                if !asked {
                    return;
                }
            }
            tokio::select! {
                polled = events.poll() => match polled {
                    Ok(Event::Outgoing(Outgoing::Disconnect)) | Err(_) => return,
                    // The library completes the exchange by itself: it must be forgotten with it.
                    Ok(Event::Incoming(Packet::PubRel(release))) => {
                        if let Some(frame) = self.session.end(release.pkid) {
                            let _ = self.giver.try_push(frame);
                        }
                    }
                    Ok(_) => {}
                },
                settled = self.giver.more_settled() => match settled {
                    Some(settled) => self.acknowledge(settled),
                    None => return,
                },
                () = &mut deadline => return,
            }
        }
    }
}

/// The payload, in memory of its own: the client's read buffer is not held.
fn payload(payload: &Bytes) -> Payload {
    if payload.len() <= MAX_RECORD {
        return Payload::One(Bytes::copy_from_slice(payload));
    }
    Payload::TooLarge {
        length: payload.len() as u64,
        crc: crc32c::crc32c(payload),
        head: Bytes::copy_from_slice(&payload[..DEAD_LETTER_KEEP]),
    }
}

fn options(settings: &Settings) -> Result<MqttOptions, String> {
    let mut options = MqttOptions::new(settings.client_id.clone(), Broker::tcp(settings.host.clone(), settings.port));
    options.set_ack_mode(AckMode::Manual);
    options.try_set_clean_session(settings.clean_session).map_err(|error| error.to_string())?;
    options.set_keep_alive(settings.keep_alive);
    options.set_max_packet_size(MAX_PACKET, 1 << 20);
    if let Some((user, password)) = &settings.login {
        options.set_credentials(user.clone(), password.expose().as_bytes().to_vec());
    }
    if settings.tls {
        let config = tls::client().map_err(|error| error.to_string())?;
        options.set_transport(Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(config)));
    }
    Ok(options)
}

fn explain(error: &ConnectionError, settings: &Settings) -> String {
    let hint = match error {
        ConnectionError::ConnectionRefused(_) => "; check user name, password and client id",
        ConnectionError::Io(_) => "; is the broker running and the port right?",
        _ => "",
    };
    format!("{}:{}: {error}{hint}", settings.host, settings.port)
}
