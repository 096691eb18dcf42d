//! One interface for the two clients, of MQTT 3.1.1 and of MQTT 5.
//!
//! The two crates are twins with types of their own. This module hides their differences.

use super::Settings;
use crate::flow::frame::Payload;
use crate::flow::record::DEAD_LETTER_KEEP;
use bytes::Bytes;
use rumqttc::{Event as Event4, Packet as Packet4};
use rumqttc5::{Event as Event5, Packet as Packet5};

/// A message.
#[derive(Debug)]
pub struct Message {
    /// The topic of the message.
    pub topic: Bytes,
    /// The payload of the message.
    pub payload: Bytes,
    /// The quality of service: 0, 1 or 2.
    pub qos: u8,
    /// The DUP flag: the broker may have sent the message before.
    pub dup: bool,
    /// The RETAIN flag: the broker kept the message from before the subscription.
    pub retain: bool,
    /// The packet id; 0 at QoS 0.
    pub packet: u16,
    /// The identifiers of the subscriptions that the message is for, if the broker sends them.
    pub subscriptions: Vec<usize>,
    /// User properties and content type of MQTT 5.
    pub attributes: Vec<(Box<str>, Box<str>)>,
    /// The acknowledgement to send when the message is safe.
    pub ack: Option<Ack>,
}

/// An event that the client reports.
#[derive(Debug)]
pub enum Incoming {
    /// The broker has accepted the connection.
    Connected {
        /// Whether the broker still has the session.
        session_present: bool,
        /// Whether the broker's messages name their subscriptions (MQTT 5).
        says_which: bool,
    },
    /// A SUBSCRIBE with this packet id was sent. SUBSCRIBEs are sent in the order of the calls.
    Asked(u16),
    /// The broker has answered the SUBSCRIBE with this packet id. The list has the indexes of the refused filters.
    Subscribed(u16, Vec<usize>),
    /// The broker has answered an UNSUBSCRIBE.
    Unsubscribed,
    /// A message.
    Message(Box<Message>),
    /// The QoS 2 exchange with this packet id is over: PUBREL came.
    Released(u16),
    /// A PINGREQ was sent.
    Pinged,
    /// The broker has answered the PINGREQ.
    Answered,
    /// A DISCONNECT was sent.
    Left,
    /// An event that needs no action.
    Other,
}

/// An acknowledgement that is ready to be sent.
#[derive(Debug, Clone)]
pub enum Ack {
    /// An acknowledgement of MQTT 3.1.1.
    V4(rumqttc::ManualAck),
    /// An acknowledgement of MQTT 5.
    V5(rumqttc5::ManualAck),
}

/// The result of sending an acknowledgement.
pub enum Acked {
    /// The acknowledgement is on its way.
    Sent,
    /// The queue of the client is full: try again later.
    Full,
    /// The connection is gone.
    Gone,
}

/// The half of a connection that sends.
#[derive(Debug, Clone)]
pub enum Client {
    /// The client of MQTT 3.1.1.
    V4(rumqttc::AsyncClient),
    /// The client of MQTT 5.
    V5(rumqttc5::AsyncClient),
}

/// The half of a connection that drives the protocol and receives.
pub enum Events {
    /// The event loop of MQTT 3.1.1.
    V4(Box<rumqttc::EventLoop>),
    /// The event loop of MQTT 5.
    V5(Box<rumqttc5::EventLoop>),
}

impl Events {
    /// Works on the connection until an event comes. Keep the future until it is ready: dropping it while it
    /// connects starts over.
    ///
    /// # Errors
    /// When the connection is gone. This client is of no use any more.
    pub async fn next(&mut self) -> Result<Incoming, String> {
        match self {
            Self::V4(events) => match events.poll().await {
                Ok(Event4::Incoming(packet)) => Ok(incoming4(packet)),
                Ok(Event4::Outgoing(rumqttc::Outgoing::Disconnect)) => Ok(Incoming::Left),
                Ok(Event4::Outgoing(rumqttc::Outgoing::Subscribe(id))) => Ok(Incoming::Asked(id)),
                Ok(Event4::Outgoing(rumqttc::Outgoing::PingReq)) => Ok(Incoming::Pinged),
                Ok(Event4::Outgoing(_)) => Ok(Incoming::Other),
                Err(error) => Err(explain4(&error)),
            },
            Self::V5(events) => match events.poll().await {
                Ok(Event5::Incoming(packet)) => Ok(incoming5(packet)),
                Ok(Event5::Outgoing(rumqttc5::Outgoing::Disconnect)) => Ok(Incoming::Left),
                Ok(Event5::Outgoing(rumqttc5::Outgoing::Subscribe(id))) => Ok(Incoming::Asked(id)),
                Ok(Event5::Outgoing(rumqttc5::Outgoing::PingReq)) => Ok(Incoming::Pinged),
                Ok(Event5::Outgoing(_) | Event5::Auth(_)) => Ok(Incoming::Other),
                Err(error) => Err(explain5(&error)),
            },
        }
    }
}

fn incoming4(packet: Packet4) -> Incoming {
    match packet {
        Packet4::ConnAck(ack) => Incoming::Connected { session_present: ack.session_present, says_which: false },
        Packet4::SubAck(ack) => {
            refused(ack.pkid, &ack.return_codes, |code| *code == rumqttc::SubscribeReasonCode::Failure)
        }
        Packet4::PingResp => Incoming::Answered,
        Packet4::UnsubAck(_) => Incoming::Unsubscribed,
        Packet4::PubRel(release) => Incoming::Released(release.pkid),
        Packet4::Publish(publish) => {
            let ack = prepared4(&publish).map(Ack::V4);
            Incoming::Message(Box::new(Message {
                qos: publish.qos as u8,
                dup: publish.dup,
                retain: publish.retain,
                packet: publish.pkid,
                topic: publish.topic,
                payload: publish.payload,
                subscriptions: Vec::new(),
                attributes: Vec::new(),
                ack,
            }))
        }
        _ => Incoming::Other,
    }
}

fn incoming5(packet: Packet5) -> Incoming {
    match packet {
        Packet5::ConnAck(ack) => Incoming::Connected {
            session_present: ack.session_present,
            says_which: ack.properties.and_then(|about| about.subscription_identifiers_available) != Some(0),
        },
        Packet5::PingResp => Incoming::Answered,
        Packet5::UnsubAck(_) => Incoming::Unsubscribed,
        Packet5::SubAck(ack) => {
            refused(ack.pkid, &ack.return_codes, |code| !matches!(code, rumqttc5::SubscribeReasonCode::Success(_)))
        }
        Packet5::PubRel(release) => Incoming::Released(release.pkid),
        Packet5::Publish(publish) => {
            let ack = prepared5(&publish).map(Ack::V5);
            let (mut attributes, mut subscriptions) = (Vec::new(), Vec::new());
            if let Some(properties) = publish.properties {
                subscriptions = properties.subscription_identifiers;
                let own = properties.user_properties.into_iter();
                attributes.extend(own.map(|(name, value)| (name.into(), value.into())));
                attributes.extend(properties.content_type.map(|kind| ("content-type".into(), kind.into())));
            }
            Incoming::Message(Box::new(Message {
                qos: publish.qos as u8,
                dup: publish.dup,
                retain: publish.retain,
                packet: publish.pkid,
                topic: publish.topic,
                payload: publish.payload,
                subscriptions,
                attributes,
                ack,
            }))
        }
        _ => Incoming::Other,
    }
}

fn prepared4(publish: &rumqttc::Publish) -> Option<rumqttc::ManualAck> {
    match publish.qos {
        rumqttc::QoS::AtMostOnce => None,
        rumqttc::QoS::AtLeastOnce => Some(rumqttc::ManualAck::PubAck(rumqttc::PubAck::new(publish.pkid))),
        rumqttc::QoS::ExactlyOnce => Some(rumqttc::ManualAck::PubRec(rumqttc::PubRec::new(publish.pkid))),
    }
}

fn prepared5(publish: &rumqttc5::Publish) -> Option<rumqttc5::ManualAck> {
    match publish.qos {
        rumqttc5::QoS::AtMostOnce => None,
        rumqttc5::QoS::AtLeastOnce => Some(rumqttc5::ManualAck::PubAck(rumqttc5::PubAck::new(publish.pkid, None))),
        rumqttc5::QoS::ExactlyOnce => Some(rumqttc5::ManualAck::PubRec(rumqttc5::PubRec::new(publish.pkid, None))),
    }
}

fn refused<C>(packet: u16, codes: &[C], is_refused: impl Fn(&C) -> bool) -> Incoming {
    let places = codes.iter().enumerate().filter(|(_, code)| is_refused(code)).map(|(at, _)| at);
    Incoming::Subscribed(packet, places.collect())
}

fn explain4(error: &rumqttc::ConnectionError) -> String {
    let hint = match error {
        rumqttc::ConnectionError::ConnectionRefused(_) => "; check user name, password and client id",
        rumqttc::ConnectionError::Io(_) => "; is the broker running and the port right?",
        rumqttc::ConnectionError::MqttState(rumqttc::StateError::Deserialization(
            rumqttc::mqttbytes::Error::PayloadSizeLimitExceeded(_),
        )) => TOO_LARGE,
        _ => "",
    };
    format!("{error}{hint}")
}

/// What to do about a packet that memory does not allow.
const TOO_LARGE: &str = "; a packet may take a quarter of `memory_max`: raise it, or let the broker refuse such \
                         messages (mosquitto: `message_size_limit`)";

fn explain5(error: &rumqttc5::ConnectionError) -> String {
    let hint = match error {
        rumqttc5::ConnectionError::ConnectionRefused(_) => "; check user name, password and client id",
        rumqttc5::ConnectionError::Io(_) => "; is the broker running and the port right?",
        rumqttc5::ConnectionError::MqttState(rumqttc5::StateError::IncomingPacketTooLarge { .. }) => TOO_LARGE,
        _ => "",
    };
    format!("{error}{hint}")
}

impl Client {
    /// Sends one SUBSCRIBE for some filters. With `id`, the broker sends this number with each of their
    /// messages (MQTT 5).
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn subscribe(&self, wanted: &[(String, u8)], id: Option<usize>) -> Result<(), String> {
        match self {
            Self::V4(client) => {
                let filter = |(filter, qos): &(String, u8)| {
                    let qos = rumqttc::qos(*qos).unwrap_or(rumqttc::QoS::AtLeastOnce);
                    rumqttc::SubscribeFilter::new(filter.clone(), qos)
                };
                client.subscribe_many(wanted.iter().map(filter)).await.map_err(|error| error.to_string())
            }
            Self::V5(client) => {
                let filter = |(filter, qos): &(String, u8)| {
                    let qos = rumqttc5::qos(*qos).unwrap_or(rumqttc5::QoS::AtLeastOnce);
                    let mut wanted = rumqttc5::SubscribeFilter::new(filter.clone(), qos);
                    // Retained messages come with a new subscription, not with one that exists already.
                    wanted.retain_forward_rule = rumqttc5::RetainForwardRule::OnNewSubscribe;
                    wanted
                };
                let about = rumqttc5::SubscribeProperties { id, user_properties: Vec::new() };
                let asked = client.subscribe_many_with_properties(wanted.iter().map(filter), about);
                asked.await.map_err(|error| error.to_string())
            }
        }
    }

    /// Sends one UNSUBSCRIBE for some filters.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn unsubscribe(&self, filters: &[String]) -> Result<(), String> {
        match self {
            Self::V4(client) => client.unsubscribe_many(filters.to_vec()).await.map_err(|error| error.to_string()),
            Self::V5(client) => client.unsubscribe_many(filters.to_vec()).await.map_err(|error| error.to_string()),
        }
    }

    /// Publishes whether this client is online, without waiting.
    pub fn announce(&self, settings: &Settings, online: bool) {
        let Some(status) = &settings.status else { return };
        let text = if online { status.online.clone() } else { status.offline.clone() };
        // If the status is not sent, the connection is gone, and the broker publishes the last will.
        match self {
            Self::V4(client) => {
                let options = rumqttc::PublishOptions::new(rumqttc::QoS::AtLeastOnce).retained();
                let _ = client.try_publish(status.topic.clone(), text, options);
            }
            Self::V5(client) => {
                let options = rumqttc5::PublishOptions::new(rumqttc5::QoS::AtLeastOnce).retained();
                let _ = client.try_publish(status.topic.clone(), text, options);
            }
        }
    }

    /// Sends an acknowledgement, without waiting.
    pub fn acknowledge(&self, ack: &Ack) -> Acked {
        match (self, ack) {
            (Self::V4(client), Ack::V4(ack)) => match client.try_manual_ack(ack.clone()) {
                Ok(()) => Acked::Sent,
                Err(rumqttc::ClientError::RequestChannelFull(_)) => Acked::Full,
                Err(_) => Acked::Gone,
            },
            (Self::V5(client), Ack::V5(ack)) => match client.try_manual_ack(ack.clone()) {
                Ok(()) => Acked::Sent,
                Err(rumqttc5::ClientError::RequestChannelFull(_)) => Acked::Full,
                Err(_) => Acked::Gone,
            },
            // The acknowledgement belongs to another connection.
            _ => Acked::Gone,
        }
    }

    /// Asks the client to disconnect; false if the connection is gone.
    pub fn leave(&self) -> bool {
        match self {
            Self::V4(client) => client.try_disconnect().is_ok(),
            Self::V5(client) => client.try_disconnect().is_ok(),
        }
    }
}

/// Copies the payload, so that the client's read buffer is not held. Of a payload of more than `most` bytes,
/// only the beginning is kept.
pub fn kept(payload: &Bytes, most: usize) -> Payload {
    if payload.len() <= most {
        return Payload::One(Bytes::copy_from_slice(payload));
    }
    Payload::TooLarge {
        length: payload.len() as u64,
        crc: crc32c::crc32c(payload),
        head: Bytes::copy_from_slice(&payload[..DEAD_LETTER_KEEP.min(payload.len())]),
    }
}
