//! The sink that sends to Azure Event Hubs over AMQP 1.0. The module `https` sends over HTTPS.
//!
//! Invariants: `Accepted` is returned only for the outcome `accepted`, and every wait has a time limit. One
//! connection serves all channels, and each channel has a link of its own. A delivery whose outcome is unknown
//! is sent again: consumers drop records that repeat (`docs/design/envelope.md`).

mod cbs;
mod connection;
mod connection_string;
mod error;
mod guard;
mod https;
mod message;
mod read;
mod settings;
mod token;
mod transport;

use crate::section::Host;
pub use connection_string::{ConnectionError, ConnectionString, Credential, Endpoint};
pub use guard::is_sound;
pub use https::Https;
pub use settings::{KIND, Proxy, Settings, Target, Transport};

use super::dial::Connections;
use super::slots::Slots;
use super::{BODY_RAW, Class, DeliverError, Delivery, Limits, Sink};
use crate::flow::batch::Batch;
use crate::flow::receipt::Accepted;
use crate::telemetry::{Metric, Metrics};
use connection::{Connection, Link};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use tokio::sync::Mutex;

/// The largest batch, in bytes, until the first link tells its limit. Every tier but Basic accepts 1 MiB; batches
/// that Basic refuses are cut.
const BATCH_BYTES: usize = 1 << 20;
/// Bytes of the batch envelope around the events.
const ENVELOPE_BYTES: usize = 512;

/// The sink that sends to Event Hubs over AMQP.
#[derive(Debug)]
pub struct EventHubs {
    settings: Settings,
    made: Connections,
    metrics: Arc<Metrics>,
    batch_bytes: AtomicUsize,
    /// True once the hub has accepted a batch.
    proved: AtomicBool,
    connection: Mutex<Option<Arc<Connection>>>,
    links: Slots<Arc<str>, Link>,
}

impl EventHubs {
    /// Makes the sink; it connects with the first delivery.
    #[must_use]
    pub fn new(settings: Settings, metrics: Arc<Metrics>) -> Self {
        Self {
            settings,
            made: Connections::default(),
            metrics,
            batch_bytes: AtomicUsize::new(BATCH_BYTES),
            proved: AtomicBool::new(false),
            connection: Mutex::default(),
            links: Slots::default(),
        }
    }

    async fn send(&self, batch: &Batch) -> Result<Accepted, DeliverError> {
        let slot = self.links.of(batch.channel.clone()).await;
        let mut slot = slot.lock().await;
        let connection = self.connection().await?;
        if slot.as_ref().is_none_or(|link| !link.belongs_to(&connection)) {
            *slot = Some(connection.attach(&self.settings).await?);
        }
        let Some(link) = slot.as_mut() else {
            return Err(DeliverError::transient("no link"));
        };
        if let Some(limit) = link.max_message_size() {
            // More than 1 MiB in one batch gains nothing and costs memory.
            self.batch_bytes.store(limit.min(BATCH_BYTES), Relaxed);
        }
        let sendable = message::batch(batch, batch.key.as_deref().filter(|_| self.settings.target == Target::Hub))?;
        self.metrics.add(Metric::SinkWireBytes, sendable.bytes as u64);
        match link.send(sendable).await {
            Ok(()) => {
                self.proved.store(true, Relaxed);
                Ok(Accepted::by_target())
            }
            Err(mut failed) => {
                // As long as the hub has accepted nothing, the link is probably wrong, not the batch:
                // no batch is set aside for it.
                if failed.link_is_lost && failed.error.class == Class::Refused && !self.proved.load(Relaxed) {
                    failed.error.class = Class::Denied;
                }
                if failed.link_is_lost {
                    *slot = None;
                }
                if failed.connection_is_lost {
                    connection.kill();
                }
                Err(failed.error)
            }
        }
    }

    /// The connection in use, or a new one.
    async fn connection(&self) -> Result<Arc<Connection>, DeliverError> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| connection.is_alive()) {
            return Ok(connection.clone());
        }
        if let Some(dead) = slot.take() {
            dead.kill();
        }
        let connection = Arc::new(Connection::open(&self.settings).await?);
        self.metrics.add(Metric::SinkConnects, 1);
        let host = &self.settings.connection.endpoint.host;
        self.made.made(&format!("{}/{}", Host(host), self.settings.entity));
        *slot = Some(connection.clone());
        Ok(connection)
    }
}

impl Sink for EventHubs {
    fn limits(&self) -> Limits {
        let batch = self.batch_bytes.load(Relaxed).saturating_sub(ENVELOPE_BYTES);
        Limits { batch, largest: batch, per_event: message::PROPERTIES_BYTES, raw: BODY_RAW }
    }

    fn deliver<'a>(&'a self, batch: &'a Batch) -> Delivery<'a> {
        Box::pin(self.send(batch))
    }

    fn secret_files(&self) -> Vec<PathBuf> {
        self.settings.secret_files()
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            self.links.clear().await;
            if let Some(connection) = self.connection.lock().await.take() {
                connection.close().await;
            }
        })
    }
}
