//! Events as AMQP messages; a batch is one message of format 0x80013700 whose data sections are
//! whole messages (event-hubs.md, section 2).

use crate::flow::batch::{Batch, Event};
use crate::sink::DeliverError;
use fe2o3_amqp::Sendable;
use fe2o3_amqp_types::messaging::message::__private::Serializable;
use fe2o3_amqp_types::messaging::{
    ApplicationProperties, Batch as DataBatch, Data, Message, MessageAnnotations, Properties,
};
use fe2o3_amqp_types::primitives::{SimpleValue, Symbol};

/// A batch of messages.
const BATCH_FORMAT: u32 = 0x8001_3700;
/// An event's properties take fewer bytes than this; device and stream names are limited by `check`.
pub const PROPERTIES_BYTES: usize = 1024;
/// The version of the properties (`docs/envelope.md`).
const SCHEMA: i32 = 1;

/// A batch, ready to be sent and sent again.
#[derive(Debug)]
pub struct Encoded {
    /// For the link.
    pub sendable: Sendable<DataBatch<Data>>,
    /// Bytes of the encoded events.
    pub bytes: usize,
}

/// Encodes a batch; with a key, all of it goes to the key's partition.
///
/// # Errors
/// None is known: encoding into memory.
pub fn batch(batch: &Batch, key: Option<&str>) -> Result<Encoded, DeliverError> {
    let events: Result<Vec<Vec<u8>>, _> = batch.events.iter().map(event).collect();
    let events = events.map_err(DeliverError::transient)?;
    let bytes = events.iter().map(Vec::len).sum();
    let annotations =
        key.map(|key| MessageAnnotations::builder().insert(Symbol::from("x-opt-partition-key"), key).build());
    let mut message: Message<DataBatch<Data>> =
        Message::builder().data_batch(events.into_iter().map(|event| Data(event.into()))).build();
    message.message_annotations = annotations;
    Ok(Encoded { sendable: Sendable::builder().message(message).message_format(BATCH_FORMAT).build(), bytes })
}

fn event(event: &Event) -> Result<Vec<u8>, serde_amqp::Error> {
    let envelope = &event.envelope;
    let mut properties = Properties::builder().content_type(envelope.content_type);
    if let Some(encoding) = envelope.content_encoding {
        properties = properties.content_encoding(encoding);
    }
    let long = |value: u64| SimpleValue::Long(i64::try_from(value).unwrap_or(i64::MAX));
    let text = |value: &str| SimpleValue::String(value.to_string());
    let about = ApplicationProperties::builder()
        .insert("schema", SimpleValue::Int(SCHEMA))
        .insert("device", text(&envelope.device))
        .insert("store", text(&envelope.store))
        .insert("stream", text(&envelope.stream))
        .insert("epoch", long(envelope.epoch))
        .insert("lane", long(u64::from(envelope.lane)))
        .insert("first", long(envelope.first))
        .insert("last", long(envelope.last))
        .insert("count", long(u64::from(envelope.count)))
        .insert("after", long(envelope.after))
        .insert("generation", long(envelope.generation))
        .insert("in_flight", SimpleValue::Bool(envelope.in_flight))
        .build();
    let message = Message::builder()
        .properties(properties.build())
        .application_properties(about)
        .data(event.body.to_vec())
        .build();
    serde_amqp::to_vec(&Serializable(&message))
}
