//! A sink that sends to a topic of any Kafka cluster.
//!
//! Invariants: `Accepted` is returned only when all in-sync replicas have the batch (`acks=all`). Every wait has a
//! time limit. Each channel has a connection of its own to the leader of each partition that it sends to, with one
//! request in flight. A delivery whose outcome is unknown is sent again: consumers drop records that repeat
//! (`docs/design/envelope.md`). The reasons for this client are in `docs/decisions/0008`.

mod answer;
mod connection;
mod error;
mod record;
mod scram;
mod settings;
#[cfg(test)]
mod tests;

pub use answer::read_all;
pub use scram::{Hash, Scram};
pub use settings::{Compression, KIND, Sasl, Settings};

use super::dial::{Connections, step};
use super::slots::Slots;
use super::{BODY_RAW, Class, DeliverError, Delivery, Limits, Sink};
use crate::flow::batch::Batch;
use crate::flow::receipt::Accepted;
use crate::platform::clock;
use crate::section::Host;
use crate::telemetry::{Metric, Metrics};
use bytes::Bytes;
use connection::Connection;
use error::from_broker;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{MetadataRequest, ProduceRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;

/// The largest batch, in bytes: below the usual limit of a broker (1,048,588) and that of Event Hubs (1,046,528).
const BATCH_BYTES: usize = 1_000_000;
/// Bytes of a record batch around its records.
const ENVELOPE_BYTES: usize = 512;
/// The time that a broker may wait for its replicas, in milliseconds; Event Hubs needs at least 20 s.
const REPLICAS_MS: i32 = 25_000;
/// The newest versions that we use: later versions name topics by id.
const PRODUCE: i16 = 9;
const METADATA: i16 = 9;
/// A connection that was silent for this long is not used again. Event Hubs drops silent connections after 240 s, a
/// broker after ten minutes, a router at any time.
const IDLE: Duration = Duration::from_secs(180);
/// The longest pause that is kept when a broker asks for one.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
/// A broker answers when all in-sync replicas have the batch.
const ACKS_ALL: i16 = -1;

/// The sink for one topic.
#[derive(Debug)]
pub struct Kafka {
    settings: Settings,
    made: Connections,
    metrics: Arc<Metrics>,
    /// A counter that decides which broker is asked first for the next connection.
    turn: AtomicUsize,
    /// The number of batches without a key that were sent.
    turns: AtomicUsize,
    /// The number of partitions that the topic was found to have; batches without a key are spread over them.
    spread: AtomicUsize,
    slots: Slots<(Arc<str>, Choice), Producer>,
}

/// The choice of a batch's partition: a fixed one, by its key, or the next one in turn.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Choice {
    Fixed(u32),
    Key(String),
    Turn(usize),
}

/// The connection of a channel to its partition's broker.
#[derive(Debug)]
struct Producer {
    connection: Connection,
    partition: i32,
    /// The end of the pause that the broker asked for; no batch is sent before.
    not_before: Option<Instant>,
    /// The time of the last use.
    used: Instant,
}

impl Producer {
    /// Whether the connection can be used again, as far as is known.
    fn is_fresh(&self) -> bool {
        !self.connection.is_stale() && self.used.elapsed() < IDLE
    }
}

impl Kafka {
    /// Makes the sink; it connects with the first delivery.
    #[must_use]
    pub fn new(settings: Settings, metrics: Arc<Metrics>) -> Self {
        let (turn, turns, spread) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(1));
        Self { settings, made: Connections::default(), metrics, turn, turns, spread, slots: Slots::default() }
    }

    async fn send(&self, batch: &Batch) -> Result<Accepted, DeliverError> {
        let choice = match (self.settings.partition, &batch.key) {
            (Some(partition), _) => Choice::Fixed(partition),
            (None, Some(key)) => Choice::Key(key.clone()),
            (None, None) => Choice::Turn(self.turns.fetch_add(1, Relaxed) % self.spread.load(Relaxed).max(1)),
        };
        let slot = self.slots.of((batch.channel.clone(), choice.clone())).await;
        let mut slot = slot.lock().await;
        // A request that fails or is given up drops its connection. Else its late answer could be taken for the
        // answer to a later request.
        let mut producer = match slot.take().filter(Producer::is_fresh) {
            Some(producer) => producer,
            None => self.connect(&choice).await?,
        };
        if let Some(pause) = producer.not_before.take() {
            tokio::time::sleep_until(pause).await;
        }
        let now = clock::wall_ms();
        // No timestamp is better than a wrong timestamp.
        let time = if clock::is_credible(now) { now } else { kafka_protocol::records::NO_TIMESTAMP };
        let records = record::encode(batch, batch.key.as_deref(), time, self.settings.compression)
            .map_err(DeliverError::transient)?;
        self.metrics.add(Metric::SinkWireBytes, records.len() as u64);
        let throttle = match self.produce(&mut producer, records).await {
            Ok(throttle) => throttle,
            Err(error) => {
                if error.class == Class::TooLarge {
                    *slot = Some(producer);
                }
                return Err(error);
            }
        };
        if throttle > Duration::ZERO {
            self.metrics.add(Metric::SinkThrottles, 1);
            producer.not_before = Some(Instant::now() + throttle.min(LONGEST_PAUSE));
        }
        producer.used = Instant::now();
        *slot = Some(producer);
        Ok(Accepted::by_target())
    }

    /// Sends a record batch, and returns the pause that the broker asks for.
    async fn produce(&self, producer: &mut Producer, records: Bytes) -> Result<Duration, DeliverError> {
        let topic = self.settings.topic.as_str();
        let data = PartitionProduceData::default().with_index(producer.partition).with_records(Some(records));
        let data = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data]);
        let request =
            ProduceRequest::default().with_acks(ACKS_ALL).with_timeout_ms(REPLICAS_MS).with_topic_data(vec![data]);
        let answer = producer.connection.ask(request, PRODUCE).await?;
        // One batch was sent to one partition: an answer about anything else is not the answer to this batch.
        let answered = match &answer.responses[..] {
            // Event Hubs ignores the case of letters in names.
            [(name, partitions)] if name.eq_ignore_ascii_case(topic) => match &partitions[..] {
                [answered] if answered.index == producer.partition => answered,
                _ => return Err(not_ours(topic, producer.partition)),
            },
            _ => return Err(not_ours(topic, producer.partition)),
        };
        if answered.error_code != 0 {
            let error = from_broker(answered.error_code, topic, answered.error_message.as_deref());
            // The topic was there a moment ago, so the partition has moved.
            let moved = answered.error_code == UNKNOWN_TOPIC_OR_PARTITION;
            return Err(if moved { DeliverError { class: Class::Transient, ..error } } else { error });
        }
        // A batch that all replicas have has an offset in the partition.
        if answered.base_offset < 0 {
            let message = format_args!("the broker says that it took the batch, at offset {}", answered.base_offset);
            return Err(DeliverError::transient(message));
        }
        Ok(Duration::from_millis(u64::try_from(answer.throttle_time_ms).unwrap_or(0)))
    }

    /// Finds the leader of the chosen partition and connects to it.
    async fn connect(&self, choice: &Choice) -> Result<Producer, DeliverError> {
        let mut last = DeliverError::transient("no broker is configured");
        let first = self.turn.fetch_add(1, Relaxed);
        let count = self.settings.brokers.len();
        for at in 0..count {
            let Some((host, port)) = self.settings.brokers.get((first + at) % count) else { continue };
            let found = async {
                let connection = Connection::open(&self.settings, host, *port).await?;
                self.lead(connection, choice).await
            };
            match found.await {
                Ok(producer) => {
                    self.metrics.add(Metric::SinkConnects, 1);
                    let (host, port) = &producer.connection.place;
                    let place = format!("{}:{port}, {} {}", Host(host), self.settings.topic, producer.partition);
                    self.made.made(&place);
                    return Ok(producer);
                }
                // Another broker may know the topic: a broker that has just started knows no topics yet.
                Err(error) if last.class != Class::Denied => last = error,
                Err(_) => {}
            }
        }
        Err(last)
    }

    async fn lead(&self, mut connection: Connection, choice: &Choice) -> Result<Producer, DeliverError> {
        let wanted = MetadataRequestTopic::default().with_name(Some(name(&self.settings.topic)));
        let request = MetadataRequest::default().with_topics(Some(vec![wanted])).with_allow_auto_topic_creation(false);
        let answer = connection.ask(request, METADATA).await?;
        let answered = answer.topics.iter().find(|topic| topic.name == self.settings.topic);
        let topic = answered.ok_or_else(|| DeliverError::transient("the broker tells of another topic, or of none"))?;
        if topic.error_code != 0 {
            return Err(from_broker(topic.error_code, &self.settings.topic, None));
        }
        self.spread.store(topic.partitions.len(), Relaxed);
        let chosen = match choice {
            Choice::Fixed(partition) => usize::try_from(*partition).unwrap_or(usize::MAX),
            Choice::Key(key) => record::partition_of(key, topic.partitions.len()),
            Choice::Turn(turn) => turn % topic.partitions.len().max(1),
        };
        let index = i32::try_from(chosen).unwrap_or(i32::MAX);
        let Some((_, leader)) = topic.partitions.iter().find(|(number, _)| *number == index) else {
            let message = format!("`{}` has no partition {index}, but {}", self.settings.topic, topic.partitions.len());
            return Err(DeliverError { class: Class::Denied, message });
        };
        let Some(leader) = answer.brokers.iter().find(|broker| broker.node_id == *leader) else {
            return Err(DeliverError::transient(format_args!("partition {index} has no leader at the moment")));
        };
        step(
            "topic",
            format_args!(
                "`{}` has {} partitions; {index} is led by {}:{}",
                self.settings.topic,
                topic.partitions.len(),
                leader.host,
                leader.port
            ),
        );
        let place = (leader.host.clone(), u16::try_from(leader.port).unwrap_or(0));
        if connection.place != place {
            connection = Connection::open(&self.settings, &place.0, place.1).await?;
        }
        Ok(Producer { connection, partition: index, not_before: None, used: Instant::now() })
    }
}

fn not_ours(topic: &str, partition: i32) -> DeliverError {
    DeliverError::transient(format_args!("the broker's answer is not about `{topic}`, partition {partition}"))
}

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.into()))
}

impl Sink for Kafka {
    fn limits(&self) -> Limits {
        let batch = BATCH_BYTES - ENVELOPE_BYTES;
        Limits { batch, largest: batch, per_event: record::HEADERS_BYTES, raw: BODY_RAW }
    }

    fn deliver<'a>(&'a self, batch: &'a Batch) -> Delivery<'a> {
        Box::pin(self.send(batch))
    }

    fn secret_files(&self) -> Vec<PathBuf> {
        let secret = match &self.settings.sasl {
            Some(Sasl::Plain(login) | Sasl::Scram256(login) | Sasl::Scram512(login)) => &login.password,
            Some(Sasl::OauthBearer(token)) => token,
            Some(Sasl::Entra(entra, _)) => return entra.files(),
            None => return Vec::new(),
        };
        secret.file().cloned().into_iter().collect()
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.slots.clear())
    }
}
