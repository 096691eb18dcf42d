//! `[source.NAME]` with `kind = "mqtt"`: the brokers, and what is wanted of them.

use super::read::read;
use super::subscription::Subscription;
use crate::section::{Claim, ClientTls, Host, Login, Section};
use crate::source::{Context, Kind, Probing, Running, Source};
use std::sync::Arc;

/// The row of this kind in the table of sources.
pub const KIND: Kind = Kind { name: "mqtt", doc: "Messages of an MQTT broker, version 3.1.1 or 5.", read };

/// How a broker is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Tried in turn.
    pub brokers: Vec<Broker>,
    /// MQTT 5 instead of 3.1.1.
    pub v5: bool,
    /// What is subscribed to; a topic takes the first that matches.
    pub subscriptions: Vec<Subscription>,
    /// Fixed, so that the broker keeps the session.
    pub client_id: String,
    /// User name and password.
    pub login: Option<Login>,
    /// Seconds.
    pub keep_alive: u16,
    /// The broker forgets us when the connection ends.
    pub clean_session: bool,
    /// How long the broker keeps the session, in seconds; MQTT 5.
    pub session_expiry: u32,
    /// How many messages may be unacknowledged; MQTT 5.
    pub receive_maximum: Option<u16>,
    /// Longer payloads become dead letters, in bytes.
    pub max_payload: usize,
    /// What the broker kept from before the subscription is taken.
    pub retained: bool,
    /// Whom to trust, and what to show.
    pub tls: ClientTls,
    /// Where it says whether it is there.
    pub status: Option<Status>,
    /// How many unacknowledged messages the broker allows.
    pub window: Option<usize>,
}

impl Settings {
    /// Pairs of filters that a topic may fall under both.
    pub fn overlaps(&self) -> impl Iterator<Item = (&Subscription, &Subscription)> {
        let pairs = self.subscriptions.iter().enumerate();
        pairs
            .flat_map(|(at, one)| self.subscriptions[at + 1..].iter().map(move |two| (one, two)))
            .filter(|(one, two)| one.overlaps(two))
    }

    /// What a topic falls under.
    pub fn of_topic(&self, topic: &str) -> impl Iterator<Item = &Subscription> {
        self.subscriptions.iter().filter(move |subscription| subscription.matches(topic))
    }

    /// A broker may send a message once for each filter that it falls under.
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

    /// Whether there are such pairs.
    #[must_use]
    pub fn has_overlaps(&self) -> bool {
        self.overlaps().next().is_some()
    }
}

/// Where a broker is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Broker {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Over TLS.
    pub tls: bool,
    /// Over WebSocket, at this path.
    pub websocket: Option<String>,
}

impl Broker {
    /// Where its WebSocket is, with all of the path; it may have a token in it.
    #[must_use]
    pub fn websocket_url(&self) -> Option<String> {
        let path = self.websocket.as_ref()?;
        Some(format!("{}://{}:{}{path}", if self.tls { "wss" } else { "ws" }, Host(&self.host), self.port))
    }
}

/// For people, and as the name of its session.
impl std::fmt::Display for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.websocket_url() {
            // What is behind `?` may be a token.
            Some(url) => f.write_str(url.split('?').next().unwrap_or_default()),
            None => write!(f, "{}:{}", Host(&self.host), self.port),
        }
    }
}

/// A topic that says whether we are there, retained: what we say, and what the broker says for us
/// when we are gone (the last will).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The topic.
    pub topic: String,
    /// Published after connecting.
    pub online: String,
    /// Published before disconnecting, and by the broker.
    pub offline: String,
}

impl Source for Settings {
    fn run(&self, context: Context) -> Running {
        Box::pin(super::run(self.clone(), context))
    }

    fn probe(&self) -> Probing<'_> {
        Box::pin(super::probe(self))
    }

    fn for_tap(&self) -> Result<Arc<dyn Source>, &'static str> {
        let mut tapped = self.clone();
        // A session of its own; the broker keeps nothing for it and waits for nothing.
        tapped.client_id.push_str("-tap");
        (tapped.clean_session, tapped.status) = (true, None);
        // A shared subscription would take messages away from the agents that share it.
        tapped.subscriptions.iter_mut().for_each(Subscription::for_tap);
        Ok(Arc::new(tapped))
    }

    fn claims(&self) -> Vec<Claim> {
        let claim =
            |broker: &Broker| Claim::Session { broker: format!("{broker:?}"), client_id: self.client_id.clone() };
        self.brokers.iter().map(claim).collect()
    }

    fn window(&self) -> Option<usize> {
        self.window
    }
}
