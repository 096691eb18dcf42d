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

/// The message format of a batch of messages.
const BATCH_FORMAT: u32 = 0x8001_3700;
/// An event's properties take fewer bytes than this; device and stream names are limited by `check`.
pub const PROPERTIES_BYTES: usize = 1024;

/// An encoded batch, ready to be sent.
#[derive(Debug)]
pub struct Encoded {
    /// The message for the link.
    pub sendable: Sendable<DataBatch<Data>>,
    /// The size of the encoded events, in bytes.
    pub bytes: usize,
}

/// Encodes a batch; with a key, all of it goes to the key's partition.
///
/// # Errors
/// No error is known: the batch is encoded into memory.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::batch::Envelope;
    use crate::flow::lane::LaneId;

    /// What is encoded through a private door of the library stays as it is (decision 0016): the sections by their
    /// descriptors (AMQP 1.0, part 3, section 3.2), and every byte.
    #[test]
    fn an_event_is_encoded_as_a_whole_message_of_three_sections() {
        let envelope = Envelope {
            device: "d".into(),
            store: "s".into(),
            stream: "r".into(),
            epoch: 1,
            lane: LaneId::WHOLE,
            first: 1,
            last: 2,
            count: 2,
            after: 0,
            generation: 1,
            in_flight: false,
            unset: None,
            content_type: "application/x-ndjson",
            content_encoding: Some("gzip"),
        };
        let bytes = event(&Event { envelope, body: "body".into(), arrival_ms: None }).unwrap();
        assert_eq!(&bytes[..4], [0x00, 0x53, 0x73, 0xc0], "properties");
        assert!(bytes.ends_with(b"\x00\x53\x75\xa0\x04body"), "data");
        let about = bytes.windows(3).position(|three| three == [0x00, 0x53, 0x74]).unwrap();
        assert!(about > 3 && bytes[about..].windows(6).any(|six| six == b"device"), "application properties");
        assert_eq!((bytes.len(), crc32c::crc32c(&bytes)), (175, 1_777_943_795));
    }
}
