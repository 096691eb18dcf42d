//! One connection: from CONNECT to the first error.

use super::Settings;
use super::open::open;
use super::session::Session;
use super::wire::{Ack, Acked, Client, Events, Incoming, Message};
use crate::config::value::Broker;
use crate::flow::frame::{Frame, Payload};
use crate::flow::handover::Giver;
use crate::flow::record::{DEAD_LETTER_KEEP, REDELIVERED, RETAINED};
use crate::flow::stop::Stop;
use crate::telemetry::{Metric, Metrics, event};
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// At stop, what was handed over is acknowledged if it is safe within this time.
const FAREWELL: Duration = Duration::from_secs(3);
/// A broker that drops us sooner than this is tried less and less often, and others in its place.
const STEADY: Duration = Duration::from_secs(10);
/// A message with more bytes of user properties is set aside.
const MAX_ATTRIBUTES: usize = 64 << 10;
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
        /// Whether the broker had accepted us, and kept us for a while.
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
    client: Client,
    /// In order of arrival: the frame, and what to send when it is safe.
    acks: VecDeque<(u64, Ack)>,
    /// The frame that was handed over last.
    last: u64,
    topics: HashMap<Bytes, Topic>,
}

/// What is known of a topic.
#[derive(Debug, Clone)]
struct Topic {
    name: Arc<str>,
    route: usize,
    attributes: Vec<(Box<str>, Box<str>)>,
}

/// Runs one connection.
pub async fn run(
    settings: &Settings,
    broker: &Broker,
    name: &str,
    giver: &mut Giver,
    session: &mut Session,
    subscribed: &mut bool,
    metrics: &Metrics,
    stop: &mut Stop,
) -> End {
    let (client, mut events) = match open(settings, broker) {
        Ok(opened) => opened,
        Err(error) => return End::Lost { error, was_up: false },
    };
    let (acks, topics) = (VecDeque::new(), HashMap::new());
    let mut connection =
        Connection { settings, name, giver, session, subscribed, metrics, client, acks, last: 0, topics };
    connection.session.turn_to(&broker.to_string());
    let mut up: Option<Instant> = None;
    loop {
        let polled = {
            // The future is kept until it is ready: dropping it while it connects starts over.
            let mut poll = pin!(events.next());
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
            Ok(incoming) => {
                if matches!(incoming, Incoming::Connected(_)) {
                    up = Some(Instant::now());
                }
                connection.take(incoming, broker).await
            }
            Err(error) => {
                let was_up = up.is_some_and(|since| since.elapsed() >= STEADY);
                Err(End::Lost { error: format!("{broker}: {error}"), was_up })
            }
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
    async fn take(&mut self, incoming: Incoming, broker: &Broker) -> Result<(), End> {
        match incoming {
            Incoming::Connected(session_present) => self.connected(session_present, broker).await,
            Incoming::Subscribed(refused) => {
                self.metrics.add(Metric::SourceSubscribed, 1);
                *self.subscribed = true;
                for topic in refused.iter().filter_map(|at| self.settings.subscriptions.get(*at)) {
                    let topic = &topic.filter;
                    tracing::error!(
                        event = event::SOURCE_DOWN,
                        source = self.name,
                        topic,
                        "the broker refuses the topic"
                    );
                }
                Ok(())
            }
            Incoming::Message(message) => self.message(*message),
            Incoming::Released(packet) => {
                self.session.end(packet);
                self.session.pay(self.giver);
                Ok(())
            }
            Incoming::Left | Incoming::Other => Ok(()),
        }
    }

    async fn connected(&mut self, session_present: bool, broker: &Broker) -> Result<(), End> {
        tracing::info!(event = event::SOURCE_UP, source = self.name, %broker, session_present, "connected");
        self.client.announce(self.settings, true);
        if !session_present {
            // Until the broker confirms, the next connection subscribes, whatever session it finds.
            *self.subscribed = false;
            self.session.clear();
            self.session.pay(self.giver);
        }
        // With a kept session only the first connection subscribes (the topics may have changed):
        // each SUBSCRIBE makes the broker send what it retains once more.
        if session_present && *self.subscribed {
            return Ok(());
        }
        let asked = self.client.subscribe(self.settings).await;
        asked.map_err(|error| End::Lost { error: format!("cannot subscribe: {error}"), was_up: true })
    }

    fn message(&mut self, message: Message) -> Result<(), End> {
        let Message { topic, payload, qos, dup, retain, packet, attributes, ack } = message;
        if retain && !self.settings.retained {
            // It settles with what came before it: acknowledgements keep their order.
            self.acks.extend(ack.map(|ack| (self.last, ack)));
            self.acknowledge(self.giver.settled());
            return Ok(());
        }
        let mut position = None;
        let mut second = None;
        if qos == 2 {
            let crc = Session::crc(&topic, &payload);
            if let Some(frame) = self.session.repeated(packet, crc).filter(|_| dup) {
                self.metrics.add(Metric::SourceRepeatsSkipped, 1);
                self.acks.extend(ack.map(|ack| (frame, ack)));
                self.acknowledge(self.giver.settled());
                return Ok(());
            }
            if !self.session.pay(self.giver) {
                return Err(End::Overflow);
            }
            position = Some(self.session.position(packet, crc));
            second = Some((packet, crc));
        }
        let redelivered = if dup && qos == 1 { REDELIVERED } else { 0 };
        let retained = if retain { RETAINED } else { 0 };
        let mut known = self.topic(&topic);
        known.attributes.extend(attributes);
        let about: usize = known.attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
        let most = if about > MAX_ATTRIBUTES { 0 } else { self.settings.max_payload };
        if about > MAX_ATTRIBUTES {
            known.attributes.clear();
        }
        let frame = Frame {
            flags: redelivered | retained,
            position,
            route: known.route,
            attributes: known.attributes,
            ..Frame::new(known.name, kept(&payload, most))
        };
        match self.giver.try_push(frame) {
            Ok(id) => {
                self.last = id;
                if let Some((packet, crc)) = second {
                    self.session.begin(packet, crc, id);
                }
                self.acks.extend(ack.map(|ack| (id, ack)));
                Ok(())
            }
            // Nobody waits for an acknowledgement of QoS 0: it is gone, and counted.
            Err(_) if qos == 0 => {
                self.metrics.add(Metric::SourceDropped, 1);
                Ok(())
            }
            Err(_) => Err(End::Overflow),
        }
    }

    /// What is known of a topic; kept, since devices use few.
    fn topic(&mut self, topic: &Bytes) -> Topic {
        if let Some(known) = self.topics.get(topic) {
            return known.clone();
        }
        if self.topics.len() >= TOPICS {
            self.topics.clear();
        }
        let name = String::from_utf8_lossy(topic);
        let wanted = self.settings.subscriptions.iter().find(|subscription| subscription.matches(&name));
        let known = Topic {
            route: wanted.map_or(0, |wanted| wanted.route),
            attributes: wanted.map(|wanted| wanted.attributes(&name)).unwrap_or_default(),
            name: name.into(),
        };
        self.topics.insert(Bytes::copy_from_slice(topic), known.clone());
        known
    }

    /// Acknowledges what is safe, in order of arrival.
    fn acknowledge(&mut self, settled: u64) {
        while let Some((_, ack)) = self.acks.front().filter(|(id, _)| *id <= settled) {
            match self.client.acknowledge(ack) {
                Acked::Sent => {
                    self.acks.pop_front();
                }
                // The queue holds more than MQTT allows in flight; the next settlement tries again.
                Acked::Full => return,
                // The connection is gone, and its acknowledgements with it: the broker sends again.
                Acked::Gone => self.acks.clear(),
            }
        }
    }

    /// Acknowledges what becomes safe in time, then disconnects. Nothing new is taken.
    async fn farewell(&mut self, events: &mut Events) {
        let deadline = tokio::time::sleep(FAREWELL);
        let mut deadline = pin!(deadline);
        let mut asked = false;
        loop {
            if !asked && self.acks.is_empty() {
                self.client.announce(self.settings, false);
                asked = self.client.leave();
                if !asked {
                    return;
                }
            }
            tokio::select! {
                polled = events.next() => match polled {
                    Ok(Incoming::Left) | Err(_) => return,
                    // The library completes the exchange by itself: it must be forgotten with it.
                    Ok(Incoming::Released(packet)) => {
                        self.session.end(packet);
                        self.session.pay(self.giver);
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
fn kept(payload: &Bytes, most: usize) -> Payload {
    if payload.len() <= most {
        return Payload::One(Bytes::copy_from_slice(payload));
    }
    Payload::TooLarge {
        length: payload.len() as u64,
        crc: crc32c::crc32c(payload),
        head: Bytes::copy_from_slice(&payload[..DEAD_LETTER_KEEP.min(payload.len())]),
    }
}
