//! Where events go.
//!
//! A sink delivers a batch and says `Accepted` only when its target has it for good; it says its
//! limits, and the courier cuts. A new kind is one folder and one arm in `open`.

pub mod dial;
pub mod directory;
pub mod entra;
pub mod eventhubs;
pub mod kafka;
pub mod link;
pub mod pace;
mod slots;

use crate::config::value::{Host, Place};

pub use crate::config::value::{Limit, PartitionBy};

use crate::flow::batch::Batch;
use crate::flow::receipt::Accepted;
use crate::telemetry::Metrics;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// What a target takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one batch, bodies and properties; events are put together up to this.
    pub batch: usize,
    /// Bytes of the largest single event; what is larger can never be delivered.
    pub largest: usize,
    /// Bytes that an event needs besides its body.
    pub per_event: usize,
    /// A body is closed when it has this many bytes before compression.
    pub raw: usize,
}

/// Bodies of this size compress about as well as larger ones (docs/measurements.md), and are not much
/// to hold.
pub const BODY_RAW: usize = 512 << 10;

/// How a failure is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Try again with backoff.
    Transient,
    /// The target asks for a pause of at least this long.
    Busy(Duration),
    /// The batch is larger than the target takes: cut it.
    TooLarge,
    /// The target will never take this batch.
    Refused,
    /// The configuration or the credentials are wrong: try again seldom.
    Denied,
}

/// Why a batch was not delivered.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct DeliverError {
    /// How to take it.
    pub class: Class,
    /// What happened, and what to do about it where that is known.
    pub message: String,
}

impl DeliverError {
    /// An error that passes.
    #[must_use]
    pub fn transient(message: impl std::fmt::Display) -> Self {
        Self { class: Class::Transient, message: message.to_string() }
    }
}

/// The future of a delivery.
pub type Delivery<'a> = Pin<Box<dyn Future<Output = Result<Accepted, DeliverError>> + Send + 'a>>;

/// A target.
pub trait Sink: Send + Sync + std::fmt::Debug {
    /// What it takes, as far as it is known now.
    fn limits(&self) -> Limits;
    /// Delivers a batch of one lane.
    fn deliver<'a>(&'a self, batch: &'a Batch) -> Delivery<'a>;
    /// Files whose secrets count with the next connection.
    fn secret_files(&self) -> Vec<PathBuf> {
        Vec::new()
    }
    /// Ends connections in order; what was accepted stays accepted.
    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The kinds of sink.
#[derive(Debug, Clone)]
pub enum Kind {
    /// NDJSON files.
    Directory(directory::Settings),
    /// Azure Event Hubs.
    EventHubs(eventhubs::Settings),
    /// Any Kafka cluster.
    Kafka(kafka::Settings),
}

/// Where it sends, for people.
impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory(settings) => write!(f, "files in {}", settings.path.display()),
            Self::EventHubs(settings) => {
                let place = Place { host: settings.connection.endpoint.host.clone(), port: settings.port };
                write!(f, "event hub `{}` at {place}, by {}", settings.path(), settings.transport)?;
                match &settings.proxy {
                    Some(proxy) => write!(f, " through the proxy {}:{}", Host(&proxy.host), proxy.port),
                    None => Ok(()),
                }
            }
            Self::Kafka(settings) => {
                let brokers = settings.brokers.iter();
                let brokers =
                    brokers.map(|(host, port)| format!("{}:{port}", Host(host))).collect::<Vec<_>>().join(", ");
                let security = if settings.tls.is_some() { "with TLS" } else { "without TLS" };
                write!(f, "topic `{}` at {brokers}, {security}", settings.topic)
            }
        }
    }
}

/// Makes a sink. Connecting is left to the first delivery.
#[must_use]
pub fn open(kind: &Kind, metrics: Arc<Metrics>) -> Arc<dyn Sink> {
    match kind {
        Kind::Directory(settings) => Arc::new(directory::Directory::new(settings.clone(), metrics)),
        Kind::EventHubs(settings) if settings.transport == eventhubs::Transport::Https => {
            Arc::new(eventhubs::Https::new(settings.clone(), metrics))
        }
        Kind::EventHubs(settings) => Arc::new(eventhubs::EventHubs::new(settings.clone(), metrics)),
        Kind::Kafka(settings) => Arc::new(kafka::Kafka::new(settings.clone(), metrics)),
    }
}
