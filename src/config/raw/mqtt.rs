//! `[source.NAME]` with `kind = "mqtt"`

use super::Reference;
use crate::config::value::{Bytes, Span};
use serde::Deserialize;
use toml::Spanned;

/// See the module.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mqtt {
    /// `mqtt://host[:port]`, `mqtts://`, `ws://`, `wss://`.
    pub url: Option<Spanned<String>>,
    /// Brokers that are tried when that one does not answer.
    pub fallback: Option<Vec<Spanned<String>>>,
    /// 3.1.1 or 5.
    pub protocol: Option<Spanned<Protocol>>,
    /// Topic filters.
    pub topics: Option<Spanned<Vec<Spanned<String>>>>,
    /// 0, 1 or 2.
    pub qos: Option<Spanned<u8>>,
    /// Fixed.
    pub client_id: Option<Spanned<String>>,
    /// User name.
    pub username: Option<Spanned<String>>,
    /// Password.
    pub password: Option<Spanned<Reference>>,
    /// Between pings.
    pub keep_alive: Option<Spanned<Span>>,
    /// Forget the session.
    pub clean_session: Option<Spanned<bool>>,
    /// How long the session is kept; MQTT 5.
    pub session_expiry: Option<Spanned<Span>>,
    /// How many messages may be unacknowledged; MQTT 5.
    pub receive_maximum: Option<Spanned<u16>>,
    /// Longer ones are set aside.
    pub max_payload: Option<Spanned<Bytes>>,
    /// What the broker kept.
    pub retained: Option<Spanned<Retained>>,
    /// Whom to trust, and what to show.
    pub tls: Option<Spanned<Tls>>,
    /// Where it says whether it is there.
    pub status: Option<Spanned<Status>>,
    /// What the broker allows in flight.
    pub window: Option<Spanned<usize>>,
}

/// `[[source.NAME.subscription]]`, besides the keys of a route.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Subscription {
    /// Topic filters.
    pub topics: Option<Spanned<Vec<Spanned<String>>>>,
    /// 0, 1 or 2.
    pub qos: Option<Spanned<u8>>,
}

/// Versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Protocol {
    /// MQTT 3.1.1
    #[serde(rename = "3.1.1")]
    V4,
    /// MQTT 5
    #[serde(rename = "5")]
    V5,
}

/// What the broker kept from before the subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Retained {
    /// Is taken, and marked.
    Take,
    /// Is not.
    Ignore,
}

/// `tls = { .. }`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// A PEM file.
    pub ca: Option<String>,
    /// A PEM file.
    pub certificate: Option<Spanned<String>>,
    /// A PEM file.
    pub key: Option<Spanned<String>>,
    /// Application protocols.
    pub alpn: Option<Vec<String>>,
    /// Keys that the server may have.
    pub pins: Option<Vec<Spanned<String>>>,
}

/// `status = { .. }`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Status {
    /// The topic.
    pub topic: Option<Spanned<String>>,
    /// What we say.
    pub online: Option<String>,
    /// What is said when we are gone.
    pub offline: Option<String>,
}
