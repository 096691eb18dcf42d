//! Sinks: they deliver events to a target.
//!
//! A sink delivers a batch and returns `Accepted` only when its target has the batch for good. A sink tells its
//! limits, and the courier cuts batches to them. A new kind of sink is one folder and one row in `KINDS`.

pub mod dial;
pub mod directory;
pub mod entra;
pub mod eventhubs;
pub mod kafka;
pub mod link;
pub mod pace;
mod sending;
mod slots;

pub use sending::{Limit, PartitionBy, Sending};

use crate::flow::batch::Batch;
use crate::flow::receipt::Accepted;
use crate::section::{Claim, Same, Section};
use crate::telemetry::Metrics;
use std::fmt::{Debug, Display};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// The limits of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest batch, with bodies and properties, in bytes; events are put together up to this size.
    pub batch: usize,
    /// The largest single event, in bytes; a larger event can never be delivered.
    pub largest: usize,
    /// The bytes that an event needs besides its body.
    pub per_event: usize,
    /// A body is closed when it has this many bytes before compression.
    pub raw: usize,
}

/// The usual size of a body before compression, in bytes. Such bodies compress about as well as larger bodies
/// (docs/design/measurements.md), and need little memory.
pub const BODY_RAW: usize = 512 << 10;

/// The class of a failed delivery; it decides how the courier goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Try again with backoff.
    Transient,
    /// The target asks for a pause of at least this long.
    Busy(Duration),
    /// The batch is larger than the target accepts: the courier cuts it.
    TooLarge,
    /// The target will never take this batch.
    Refused,
    /// The configuration or the credentials are wrong: the courier tries again seldom.
    Denied,
}

/// Why a batch was not delivered.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct DeliverError {
    /// The class of the failure.
    pub class: Class,
    /// The text for people: the cause, and the remedy where it is known.
    pub message: String,
}

impl DeliverError {
    /// An error that passes by itself: the delivery is tried again.
    #[must_use]
    pub fn transient(message: impl Display) -> Self {
        Self { class: Class::Transient, message: message.to_string() }
    }
}

/// The future of a delivery.
pub type Delivery<'a> = Pin<Box<dyn Future<Output = Result<Accepted, DeliverError>> + Send + 'a>>;

/// A target.
pub trait Sink: Send + Sync + Debug {
    /// The limits of the target, as far as they are known now.
    fn limits(&self) -> Limits;
    /// Delivers a batch of one lane.
    fn deliver<'a>(&'a self, batch: &'a Batch) -> Delivery<'a>;
    /// The files with secrets that the next connection uses.
    fn secret_files(&self) -> Vec<PathBuf> {
        Vec::new()
    }
    /// Closes connections in order; accepted batches stay accepted.
    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The settings of a sink, which can open the sink. Their `Display` names the target for people.
pub trait SinkSettings: Same + Debug + Display + Send + Sync {
    /// Makes the sink. Connecting is left to the first delivery.
    fn open(&self, metrics: Arc<Metrics>) -> Arc<dyn Sink>;

    /// The resources that no other part may use as well, and the credentials that end.
    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }
}

/// The settings of one sink: those of its kind, and those for sending.
pub type Settings = (Arc<dyn SinkSettings>, Sending);

/// A kind of sink.
pub struct Kind {
    /// The name of the kind, as in `kind = "NAME"`.
    pub name: &'static str,
    /// A sentence about the kind, for the reference.
    pub doc: &'static str,
    /// Reads the settings of a sink of this kind; `None` when they cannot be used.
    pub read: fn(&mut Section<'_>) -> Option<Settings>,
}

/// The table of all kinds of sinks.
pub const KINDS: &[Kind] = &[eventhubs::KIND, kafka::KIND, directory::KIND];
