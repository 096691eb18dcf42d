//! Events as AMQP messages; a batch is one message of format 0x80013700 whose data sections are
//! whole messages (`docs/reference/event-hubs.md`, "Links and messages").

use crate::flow::batch::{Batch, Event, Property};
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
    let about = envelope.properties().fold(ApplicationProperties::builder(), |about, (name, value)| {
        about.insert(
            name,
            match value {
                Property::Int(number) => SimpleValue::Int(number),
                Property::Long(number) => SimpleValue::Long(i64::try_from(number).unwrap_or(i64::MAX)),
                Property::Text(text) => SimpleValue::String(text.to_string()),
                Property::Bool(flag) => SimpleValue::Bool(flag),
            },
        )
    });
    let message = Message::builder()
        .properties(properties.build())
        .application_properties(about.build())
        .data(event.body.to_vec())
        .build();
    serde_amqp::to_vec(&Serializable(&message))
}
