//! `[sink.NAME]` with `kind = "eventhubs"`

use super::connection_string::{ConnectionString, Credential};
use super::read::read;
use crate::section::{Host, Login, Pin, Place, Secret};
use crate::sink::{Kind, Sink, SinkSettings};
use crate::telemetry::Metrics;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The row of this kind in the table of sinks.
pub const KIND: Kind =
    Kind { name: "eventhubs", doc: "Azure Event Hubs, over AMQP 1.0, WebSocket, HTTPS or Kafka's protocol.", read };

/// An event hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where and as whom.
    pub connection: ConnectionString,
    /// The event hub.
    pub entity: String,
    /// What of it.
    pub target: Target,
    /// The device's name; part of the links' names.
    pub device: String,
    /// How it is spoken to.
    pub transport: Transport,
    /// Where the hub, or its gateway, listens.
    pub port: u16,
    /// Roots instead of the system's; PEM.
    pub ca: Option<PathBuf>,
    /// The hub's key must be one of these, besides.
    pub pins: Vec<Pin>,
    /// On the way there.
    pub proxy: Option<Proxy>,
}

impl Settings {
    /// What tokens and links are for: the hub, its partition, or its publisher.
    #[must_use]
    pub fn path(&self) -> String {
        match &self.target {
            Target::Hub => self.entity.clone(),
            Target::Partition(partition) => format!("{}/Partitions/{partition}", self.entity),
            Target::Publisher(publisher) => format!("{}/Publishers/{publisher}", self.entity),
        }
    }

    /// What a token is for.
    #[must_use]
    pub fn audience(&self) -> String {
        match self.target {
            Target::Hub | Target::Partition(_) => self.entity.clone(),
            Target::Publisher(_) => self.path(),
        }
    }

    /// Files whose secrets count with the next connection.
    #[must_use]
    pub fn secret_files(&self) -> Vec<PathBuf> {
        let mut files = match &self.connection.credential {
            Credential::Entra(entra) => entra.files(),
            _ => Vec::new(),
        };
        let whole = self.connection.whole.as_ref().and_then(Secret::file);
        let proxy = self.proxy.as_ref().and_then(|proxy| proxy.login.as_ref()?.password.file());
        files.extend([whole, proxy].into_iter().flatten().cloned());
        files
    }
}

/// What of an event hub is sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The hub: it chooses the partition by the key.
    Hub,
    /// A fixed partition.
    Partition(u16),
    /// A publisher of its own: its name is the key, and it can be revoked.
    Publisher(String),
}

/// How the hub is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TLS.
    Amqp,
    /// A WebSocket over TLS.
    AmqpWebsocket,
    /// HTTP over TLS instead of AMQP.
    Https,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Amqp => "AMQP",
            Self::AmqpWebsocket => "AMQP over a WebSocket",
            Self::Https => "HTTPS",
        })
    }
}

/// An HTTP proxy that takes CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// As whom.
    pub login: Option<Login>,
}

impl SinkSettings for Settings {
    fn open(&self, metrics: Arc<Metrics>) -> Arc<dyn Sink> {
        match self.transport {
            Transport::Https => Arc::new(super::Https::new(self.clone(), metrics)),
            Transport::Amqp | Transport::AmqpWebsocket => Arc::new(super::EventHubs::new(self.clone(), metrics)),
        }
    }
}

/// Where it sends, for people.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.connection.endpoint.host == "not-read.invalid" {
            return write!(f, "the event hub of a connection string that was not read, by {}", self.transport);
        }
        let place = Place { host: self.connection.endpoint.host.clone(), port: self.port };
        write!(f, "event hub `{}` at {place}, by {}", self.path(), self.transport)?;
        match &self.proxy {
            Some(proxy) => write!(f, " through the proxy {}:{}", Host(&proxy.host), proxy.port),
            None => Ok(()),
        }
    }
}
