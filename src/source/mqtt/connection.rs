//! One connection: from CONNECT to the first error.

mod asking;

use super::Settings;
use super::acks::Acks;
use super::copies::Copies;
use super::open::open;
use super::session::Session;
use super::subscribing::Subscribing;
use super::topics::Topics;
use super::wire::{Ack, Client, Events, Incoming, Message, kept};
use crate::flow::frame::{Frame, Payload};
use crate::flow::handover::Giver;
use crate::flow::health::Reporter;
use crate::flow::record::{REDELIVERED, RETAINED};
use crate::flow::stop::Stop;
use crate::source::mqtt::settings::Broker;
use crate::telemetry::outage::Outage;
use crate::telemetry::seldom::Seldom;
use crate::telemetry::{Metric, Metrics, event};
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// At stop, messages that become safe within this time are still acknowledged.
const FAREWELL: Duration = Duration::from_secs(3);
/// If a broker drops the connection sooner than this, it is tried less and less often, and other brokers are
/// tried in its place.
const STEADY: Duration = Duration::from_secs(10);
/// A message whose attributes have more bytes than this becomes a dead letter.
const MAX_ATTRIBUTES: usize = 64 << 10;

/// How a connection ended.
#[derive(Debug)]
pub enum End {
    /// A stop was requested.
    Stopped,
    /// The held messages need more memory than allowed.
    Overflow,
    /// The connection was lost, or could not be made.
    Lost {
        /// What happened, and a hint where there is one.
        error: String,
        /// Whether the broker had accepted the connection, and kept it for at least `STEADY`.
        was_up: bool,
    },
}

struct Connection<'a> {
    settings: &'a Settings,
    name: &'a str,
    giver: &'a mut Giver,
    session: &'a mut Session,
    outage: &'a mut Outage,
    metrics: &'a Metrics,
    health: &'a Reporter,
    client: Client,
    acks: Acks,
    /// The frame that was handed over last.
    last: u64,
    topics: Topics,
    subscribing: Subscribing,
    copies: Copies,
    /// The time until which retained messages are expected; `None` if none are.
    retained_until: Option<Instant>,
    /// Limits the reports of dropped messages.
    dropped: Seldom,
}

/// Runs one connection. A packet has at most `largest` bytes.
pub async fn run(
    (settings, largest): (&Settings, usize),
    broker: &Broker,
    name: &str,
    giver: &mut Giver,
    session: &mut Session,
    outage: &mut Outage,
    (metrics, health): (&Metrics, &Reporter),
    stop: &mut Stop,
) -> End {
    let (client, mut events) = match open(settings, broker, largest) {
        Ok(opened) => opened,
        Err(error) => return End::Lost { error, was_up: false },
    };
    let mut connection = Connection {
        settings,
        name,
        giver,
        session,
        outage,
        metrics,
        health,
        client,
        acks: Acks::default(),
        last: 0,
        topics: Topics::default(),
        subscribing: Subscribing::default(),
        copies: Copies::default(),
        retained_until: None,
        dropped: Seldom::new(Duration::from_secs(60)),
    };
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
                        Some(settled) => connection.acks.send(&connection.client, settled),
                        None => return End::Stopped,
                    },
                    () = sleep_until(connection.retained_until.unwrap_or_else(Instant::now)),
                        if connection.retained_until.is_some() => connection.retained_may_be_over(),
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
                if matches!(incoming, Incoming::Connected { .. }) {
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
            Incoming::Connected { session_present, says_which } => {
                self.connected(session_present, says_which, broker).await
            }
            Incoming::Asked(packet) => {
                self.subscribing.sent(packet);
                Ok(())
            }
            Incoming::Subscribed(packet, refused) => {
                self.subscribed(packet, &refused);
                Ok(())
            }
            Incoming::Unsubscribed => {
                let left = self.subscribing.left(self.session.subscribed().to_vec());
                self.session.set_subscribed(left);
                self.session.pay(self.giver);
                Ok(())
            }
            Incoming::Message(message) => self.message(*message),
            Incoming::Released(packet) => {
                self.session.release(packet);
                self.session.pay(self.giver);
                Ok(())
            }
            Incoming::Pinged => {
                self.session.pinged();
                Ok(())
            }
            Incoming::Answered => {
                self.session.answered();
                self.session.pay(self.giver);
                Ok(())
            }
            Incoming::Left | Incoming::Other => Ok(()),
        }
    }

    /// Acknowledges a message that is not stored, but after the messages that came before it: acknowledgements
    /// keep their order.
    fn pass_over(&mut self, ack: Option<Ack>) {
        self.acks.push(self.last, ack);
        self.acks.send(&self.client, self.giver.settled());
    }

    fn message(&mut self, message: Message) -> Result<(), End> {
        let Message { topic, payload, qos, dup, retain, packet, subscriptions, attributes, ack } = message;
        if qos > 0 && !dup {
            self.session.is_new(packet);
        }
        if retain && self.retained_until.is_some() {
            self.retained_until = Some(Instant::now() + asking::RETAINED_GAP);
        }
        if retain && !self.settings.retained {
            self.pass_over(ack);
            return Ok(());
        }
        let mut known = self.topics.of(&topic, self.settings, self.name);
        let Some(route) = known.route else {
            self.metrics.add(Metric::SourceUnwanted, 1);
            self.pass_over(ack);
            return Ok(());
        };
        if retain && !dup && self.session.had_all(self.settings, &known.name) {
            self.metrics.add(Metric::SourceCopiesSkipped, 1);
            self.pass_over(ack);
            return Ok(());
        }
        let mut position = None;
        let mut second = None;
        if qos == 2 {
            let crc = Session::crc(&topic, &payload);
            if let Some(frame) = self.session.repeated(packet, crc).filter(|_| dup) {
                self.metrics.add(Metric::SourceRepeatsSkipped, 1);
                self.acks.push(frame, ack);
                self.acks.send(&self.client, self.giver.settled());
                return Ok(());
            }
            if !self.session.pay(self.giver) {
                return Err(End::Overflow);
            }
            position = Some(self.session.position(packet, crc));
            second = Some((packet, crc));
        }
        if self.copies.is_one(&topic, &payload, &subscriptions) {
            self.metrics.add(Metric::SourceCopiesSkipped, 1);
            // The packet id of a copy is saved as if the copy were stored: a repeat of it is a copy too.
            if let Some((packet, crc)) = second {
                let frame = Frame { position, ..Frame::new("", Payload::Nothing) };
                self.last = self.giver.try_push(frame).map_err(|_| End::Overflow)?;
                self.session.begin(packet, crc, self.last);
            }
            self.pass_over(ack);
            return Ok(());
        }
        let redelivered = if dup && qos == 1 { REDELIVERED } else { 0 };
        let retained = if retain { RETAINED } else { 0 };
        known.attributes.extend(attributes);
        let about: usize = known.attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
        let most = if about > MAX_ATTRIBUTES { 0 } else { self.settings.max_payload };
        if about > MAX_ATTRIBUTES {
            known.attributes.clear();
        }
        let frame = Frame {
            flags: redelivered | retained,
            position,
            route,
            attributes: known.attributes,
            ..Frame::new(known.name, kept(&payload, most))
        };
        match self.giver.try_push(frame) {
            Ok(id) => {
                self.last = id;
                self.copies.stored(&topic, &payload, subscriptions);
                if let Some((packet, crc)) = second {
                    self.session.begin(packet, crc, id);
                }
                self.acks.push(id, ack);
                Ok(())
            }
            // No acknowledgement is expected at QoS 0: the message is lost, and counted.
            Err(_) if qos == 0 => {
                self.metrics.add(Metric::SourceDropped, 1);
                if let Some(count) = self.dropped.report("") {
                    tracing::warn!(
                        event = event::SOURCE_DROPPED,
                        source = self.name,
                        count,
                        "messages of QoS 0 are dropped: more is held than allowed while the store is blocked, or memory is short"
                    );
                }
                Ok(())
            }
            Err(_) => Err(End::Overflow),
        }
    }

    /// Acknowledges messages that become safe in time, then disconnects. New messages are not taken.
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
                    // The library completes the exchange by itself.
                    Ok(Incoming::Released(packet)) => {
                        self.session.release(packet);
                        self.session.pay(self.giver);
                    }
                    // The message will come again, and must not be taken for an older message with its packet id.
                    Ok(Incoming::Message(message)) if message.qos > 0 && !message.dup => {
                        self.session.is_new(message.packet);
                        self.session.pay(self.giver);
                    }
                    Ok(_) => {}
                },
                settled = self.giver.more_settled() => match settled {
                    Some(settled) => self.acks.send(&self.client, settled),
                    None => return,
                },
                () = &mut deadline => return,
            }
        }
    }
}
