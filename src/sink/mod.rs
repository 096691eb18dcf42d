//! Where events go.
//!
//! A sink delivers a batch and says `Accepted` only when its target has it for good; it says its
//! limits, and the courier cuts. A new kind is one folder and one row in `KINDS`.

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

/// Bodies of this size compress about as well as larger ones (docs/design/measurements.md), and are not much
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
    pub fn transient(message: impl Display) -> Self {
        Self { class: Class::Transient, message: message.to_string() }
    }
}

/// The future of a delivery.
pub type Delivery<'a> = Pin<Box<dyn Future<Output = Result<Accepted, DeliverError>> + Send + 'a>>;

/// A target.
pub trait Sink: Send + Sync + Debug {
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

/// The settings of a sink, which can open it. They say for people where the sink sends.
pub trait SinkSettings: Same + Debug + Display + Send + Sync {
    /// Makes the sink. Connecting is left to the first delivery.
    fn open(&self, metrics: Arc<Metrics>) -> Arc<dyn Sink>;

    /// What no other part may have too.
    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }
}

/// What a kind of sink reads: its own settings, and how it is sent to.
pub type Settings = (Arc<dyn SinkSettings>, Sending);

/// A kind of sink.
pub struct Kind {
    /// `kind = "NAME"`
    pub name: &'static str,
    /// A sentence for the reference.
    pub doc: &'static str,
    /// Reads the settings.
    pub read: fn(&mut Section<'_>) -> Option<Settings>,
}

/// Every kind of sink there is.
pub const KINDS: &[Kind] = &[eventhubs::KIND, kafka::KIND, directory::KIND];
