//! `[source.NAME]` with `kind = "mqtt"`: the brokers, and the subscriptions to them.

use super::read::read;
use super::subscription::Subscription;
use crate::section::{Claim, ClientTls, Host, Login, Section};
use crate::source::{Context, Kind, Probing, Running, Source};
use std::sync::Arc;

/// The row of this kind in the table of sources.
pub const KIND: Kind = Kind { name: "mqtt", doc: "Messages of an MQTT broker, version 3.1.1 or 5.", read };

/// The settings of an MQTT source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The brokers; they are tried in turn.
    pub brokers: Vec<Broker>,
    /// MQTT 5 instead of 3.1.1.
    pub v5: bool,
    /// The topics to subscribe to. A message takes the first subscription that matches its topic.
    pub subscriptions: Vec<Subscription>,
    /// The client id. It must stay the same, so that the broker keeps the session.
    pub client_id: String,
    /// User name and password.
    pub login: Option<Login>,
    /// A ping is sent when nothing was sent for this many seconds.
    pub keep_alive: u16,
    /// Whether the broker forgets the session when the connection ends.
    pub clean_session: bool,
    /// The broker keeps the session this many seconds after a connection ended. MQTT 5 only.
    pub session_expiry: u32,
    /// The number of messages that may be unacknowledged. MQTT 5 only.
    pub receive_maximum: Option<u16>,
    /// The longest payload, in bytes; a longer payload becomes a dead letter.
    pub max_payload: usize,
    /// Whether to take retained messages, which the broker kept from before the subscription.
    pub retained: bool,
    /// The TLS settings: roots to trust, client certificate, pinned keys.
    pub tls: ClientTls,
    /// The topic that says whether this client is connected.
    pub status: Option<Status>,
    /// How many unacknowledged messages the broker allows.
    pub window: Option<usize>,
}

impl Settings {
    /// The pairs of subscriptions that one topic may match.
    pub fn overlaps(&self) -> impl Iterator<Item = (&Subscription, &Subscription)> {
        let pairs = self.subscriptions.iter().enumerate();
        pairs
            .flat_map(|(at, one)| self.subscriptions[at + 1..].iter().map(move |two| (one, two)))
            .filter(|(one, two)| one.overlaps(two))
    }

    /// The subscriptions that match a topic.
    pub fn of_topic(&self, topic: &str) -> impl Iterator<Item = &Subscription> {
        self.subscriptions.iter().filter(move |subscription| subscription.matches(topic))
    }

    /// Warns of overlaps with MQTT 3.1.1: a broker may send a message once for each filter that it matches.
    pub fn warn_of_overlaps(&self, section: &Section<'_>) {
        for (one, two) in self.overlaps().filter(|_| !self.v5) {
            let name = section.label().strip_prefix("source.").unwrap_or_default();
            let message = format!(
                "source `{name}`: a topic may fall under both `{}` and `{}`; some brokers send it twice then, and it is \
                 stored twice",
                one.filter, two.filter
            );
            let hint = "with protocol = \"5\" copies are known as such; or take one filter that covers both";
            section.session().warn(section.span(), message, Some(hint.into()));
        }
    }

    /// Whether some subscriptions overlap.
    #[must_use]
    pub fn has_overlaps(&self) -> bool {
        self.overlaps().next().is_some()
    }
}

/// The address of a broker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Broker {
    /// The host name or IP address.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// Whether the connection uses TLS.
    pub tls: bool,
    /// The path of the WebSocket; `None` without WebSocket.
    pub websocket: Option<String>,
}

impl Broker {
    /// The URL of the WebSocket, with the whole path. The path may have a token in it.
    #[must_use]
    pub fn websocket_url(&self) -> Option<String> {
        let path = self.websocket.as_ref()?;
        Some(format!("{}://{}:{}{path}", if self.tls { "wss" } else { "ws" }, Host(&self.host), self.port))
    }
}

/// The address of the broker for people. The session of the broker is saved under the same name.
impl std::fmt::Display for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.websocket_url() {
            // The part behind `?` may be a token.
            Some(url) => f.write_str(url.split('?').next().unwrap_or_default()),
            None => write!(f, "{}:{}", Host(&self.host), self.port),
        }
    }
}

/// A retained topic that says whether this client is connected. The client publishes its own state. If the
/// client is gone, the broker publishes for it (the last will).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The topic.
    pub topic: String,
    /// The text that is published after connecting.
    pub online: String,
    /// The text that is published before disconnecting, and by the broker as the last will.
    pub offline: String,
}

impl Source for Settings {
    fn run(&self, context: Context) -> Running {
        Box::pin(super::run(self.clone(), context))
    }

    fn probe(&self) -> Probing<'_> {
        Box::pin(super::probe(self))
    }

    fn for_tap(&self, _whole: bool) -> Result<Arc<dyn Source>, &'static str> {
        let mut tapped = self.clone();
        // The tap has a session of its own. The broker keeps nothing for it and waits for nothing.
        tapped.client_id.push_str("-tap");
        (tapped.clean_session, tapped.status) = (true, None);
        // A shared subscription would take messages away from the agents that share it.
        tapped.subscriptions.iter_mut().for_each(Subscription::for_tap);
        Ok(Arc::new(tapped))
    }

    fn claims(&self) -> Vec<Claim> {
        let claim =
            |broker: &Broker| Claim::Session { broker: format!("{broker:?}"), client_id: self.client_id.clone() };
        let certificate = self.tls.identity.iter().map(|(certificate, _)| Claim::Certificate(certificate.clone()));
        let hosts = self.brokers.iter().map(|broker| Claim::Host(broker.host.clone()));
        let key = self.tls.identity.iter().map(|(_, key)| key);
        let files = self.tls.ca.iter().chain(key).cloned().map(Claim::File);
        self.brokers.iter().map(claim).chain(hosts).chain(certificate).chain(files).collect()
    }

    fn window(&self) -> Option<usize> {
        self.window
    }
}
