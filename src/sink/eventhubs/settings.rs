//! `[sink.NAME]` with `kind = "eventhubs"`

use super::connection_string::{ConnectionString, Credential};
use super::read::{read, signature_ends};
use crate::section::{Claim, ClientTls, Host, Login, Pin, Place, Secret};
use crate::sink::entra::Entra;
use crate::sink::{Kind, Sink, SinkSettings};
use crate::telemetry::Metrics;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The row of this kind in the table of sinks.
pub const KIND: Kind =
    Kind { name: "eventhubs", doc: "Azure Event Hubs, over AMQP 1.0, WebSocket, HTTPS or Kafka's protocol.", read };

/// The settings of a sink that sends to an event hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The address of the hub and the credential.
    pub connection: ConnectionString,
    /// The name of the event hub.
    pub entity: String,
    /// The part of the event hub that events are sent to.
    pub target: Target,
    /// The device's name; it is part of the names of links.
    pub device: String,
    /// The transport to the hub.
    pub transport: Transport,
    /// The port of the hub, or of a gateway in front of it.
    pub port: u16,
    /// The PEM file with trusted roots that are used instead of the system's roots.
    pub ca: Option<PathBuf>,
    /// The pinned keys; the hub's key must be one of them as well, if any are given.
    pub pins: Vec<Pin>,
    /// The HTTP proxy on the way to the hub.
    pub proxy: Option<Proxy>,
}

impl Settings {
    /// The path that links are attached to: the hub, its partition, or its publisher.
    #[must_use]
    pub fn path(&self) -> String {
        match &self.target {
            Target::Hub => self.entity.clone(),
            Target::Partition(partition) => format!("{}/Partitions/{partition}", self.entity),
            Target::Publisher(publisher) => format!("{}/Publishers/{publisher}", self.entity),
        }
    }

    /// The path that a token is made for: the hub, or its publisher.
    #[must_use]
    pub fn audience(&self) -> String {
        match self.target {
            Target::Hub | Target::Partition(_) => self.entity.clone(),
            Target::Publisher(_) => self.path(),
        }
    }

    /// The files with secrets that the next connection uses.
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

/// The part of an event hub that events are sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The hub: it chooses the partition by the key.
    Hub,
    /// A fixed partition.
    Partition(u16),
    /// A publisher of this name. The name is the partition key, and the publisher can be revoked.
    Publisher(String),
}

/// The transport to the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// AMQP over TLS.
    Amqp,
    /// AMQP over a WebSocket over TLS.
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
    /// The name or IP address of the proxy.
    pub host: String,
    /// The port of the proxy.
    pub port: u16,
    /// The login at the proxy; `None` for a proxy that asks for none.
    pub login: Option<Login>,
}

impl SinkSettings for Settings {
    fn open(&self, metrics: Arc<Metrics>) -> Arc<dyn Sink> {
        match self.transport {
            Transport::Https => Arc::new(super::Https::new(self.clone(), metrics)),
            Transport::Amqp | Transport::AmqpWebsocket => Arc::new(super::EventHubs::new(self.clone(), metrics)),
        }
    }

    fn claims(&self) -> Vec<Claim> {
        let ends = match &self.connection.credential {
            Credential::Signature(signature) => signature_ends(signature.expose()).map(Claim::Signature),
            Credential::Entra(Entra::ClientCertificate { certificate, .. }) => {
                Some(Claim::Certificate(certificate.clone()))
            }
            Credential::Key { .. } | Credential::Entra(_) => None,
        };
        let entra = match &self.connection.credential {
            Credential::Entra(entra) => entra.claims(),
            _ => Vec::new(),
        };
        let endpoint = &self.connection.endpoint;
        let behind = self.proxy.as_ref().map(|_| Claim::Host(endpoint.host.clone()));
        let target = match &self.proxy {
            Some(proxy) => Claim::Target(Place { host: proxy.host.clone(), port: proxy.port }, None),
            None => {
                let tls = ClientTls { ca: self.ca.clone(), pins: self.pins.clone(), ..ClientTls::default() };
                let place = Place { host: endpoint.host.clone(), port: self.port };
                Claim::Target(place, endpoint.tls.then_some(tls))
            }
        };
        ends.into_iter().chain(behind).chain(entra).chain([target]).collect()
    }
}

/// Names the target, for people.
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
