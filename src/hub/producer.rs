//! A link that a client sends events on.

use super::Shared;
use super::fault::Action;
use super::idempotent::{PRODUCER_SEQUENCE, Producer};
use super::memory::Memory;
use super::refusal::error;
use crate::platform::stream::Cutter;
use fe2o3_amqp::link::RecvError;
use fe2o3_amqp::{Delivery, Receiver};
use fe2o3_amqp_types::definitions::{AmqpError, Error, ErrorCondition};
use fe2o3_amqp_types::messaging::annotations::OwnedKey;
use fe2o3_amqp_types::messaging::message::__private::Serializable;
use fe2o3_amqp_types::messaging::message::DecodeIntoMessage;
use fe2o3_amqp_types::messaging::{Body, Message};
use fe2o3_amqp_types::primitives::{Symbol, Value};
use serde_amqp::read::SliceReader;
use std::sync::Arc;

/// The format number of a message with several events.
const BATCH_FORMAT: u32 = 0x8001_3700;
/// The destination of a link.
#[derive(Debug)]
pub struct To {
    /// The name of the event hub.
    pub hub: String,
    /// The fixed partition, if the link names one.
    pub partition: Option<u16>,
    /// The publisher, if there is one. It is the partition key of all events of the link.
    pub publisher: Option<String>,
    /// The producer, if it numbers its events.
    pub numbered: Option<Producer>,
}

/// Takes events until the link ends.
pub async fn serve(mut link: Receiver, shared: Arc<Shared>, to: To, socket: Cutter) {
    let Some(memory) = shared.hubs.get(&to.hub) else { return };
    loop {
        let delivery = match link.recv::<Body<Value>>().await {
            Ok(delivery) => delivery,
            Err(RecvError::MessageDecode(bad)) => {
                let error = error(AmqpError::DecodeError, "the message does not decode");
                if link.reject(bad.info, error).await.is_err() {
                    return;
                }
                continue;
            }
            Err(_) => return,
        };
        let format = (*delivery.message_format()).unwrap_or(0);
        let mut refused = None;
        let mut lose_answer = false;
        for action in shared.faults() {
            match action {
                Action::Busy => refused = Some(busy()),
                Action::Error(condition) => refused = Some(by_rule(condition)),
                Action::Delay(time) => tokio::time::sleep(time).await,
                Action::LoseAnswer => lose_answer = true,
                Action::Detach(condition) => {
                    // The client may be gone.
                    let _ = link.close_with_error(by_rule(condition)).await;
                    return;
                }
                Action::Drop | Action::Offline(_) => return socket.cut(),
            }
        }
        let taken = match refused {
            Some(error) => Err(error),
            None => take(&shared, memory, &to, &delivery, format),
        };
        if lose_answer {
            return socket.cut();
        }
        let done = match taken {
            Ok(()) => link.accept(&delivery).await,
            Err(error) => link.reject(&delivery, error).await,
        };
        if done.is_err() {
            return;
        }
    }
}

/// Stores the events of a delivery.
fn take(shared: &Shared, memory: &Memory, to: &To, delivery: &Delivery<Body<Value>>, format: u32) -> Result<(), Error> {
    let (events, first) = events(delivery, format).map_err(|why| error(AmqpError::DecodeError, why))?;
    let annotated = partition_key(delivery);
    let key = to.publisher.as_deref().or(annotated.as_deref());
    let chosen = to.partition.unwrap_or_else(|| memory.choose(key));
    let bytes = events.iter().map(|event| event.len() as u64).sum();
    if !shared.takes(memory, chosen, bytes, events.len() as u64) {
        return Err(busy());
    }
    if let Some(producer) = &to.numbered {
        let out_of_order = |why| error(custom("com.microsoft:out-of-order-sequence"), why);
        if !shared.producers.is_new(producer, first, events.len()).map_err(out_of_order)? {
            return Ok(());
        }
    }
    memory.append(chosen, key, events);
    Ok(())
}

fn custom(condition: &str) -> ErrorCondition {
    ErrorCondition::Custom(Symbol::from(condition))
}

fn busy() -> Error {
    let message = "The request was terminated because the entity is being throttled. Error code : 50002. \
                Please wait 4 seconds and try again.";
    error(custom("com.microsoft:server-busy"), message)
}

fn by_rule(condition: String) -> Error {
    error(ErrorCondition::Custom(Symbol::from(condition)), "by rule")
}

/// The events of a delivery, encoded, and the number of the first event, from the envelope or from that event.
fn events(delivery: &Delivery<Body<Value>>, format: u32) -> Result<(Vec<Vec<u8>>, Option<i32>), String> {
    let on_envelope = number(delivery.message());
    if format != BATCH_FORMAT {
        let bytes = serde_amqp::to_vec(&Serializable(delivery.message())).map_err(|error| error.to_string())?;
        return Ok((vec![bytes], on_envelope));
    }
    let Body::Data(sections) = delivery.body() else {
        return Err("a batch has data sections only".into());
    };
    let whole = |bytes: &[u8]| -> Result<Message<Body<Value>>, String> {
        <Body<Value> as DecodeIntoMessage>::decode_message_from_reader(SliceReader::new(bytes))
            .map_err(|error| error.to_string())
    };
    let (mut events, mut first) = (Vec::new(), None);
    for section in sections {
        let event = whole(&section.0)?;
        if events.is_empty() {
            first = number(&event);
        }
        events.push(section.0.to_vec());
    }
    Ok((events, on_envelope.or(first)))
}

fn annotation<'a>(message: &'a Message<Body<Value>>, wanted: &str) -> Option<&'a Value> {
    message.message_annotations.as_ref()?.iter().find_map(|(key, value)| match key {
        OwnedKey::Symbol(name) if name.as_str() == wanted => Some(value),
        _ => None,
    })
}

/// The partition key on the envelope, where Azure reads it.
fn partition_key(delivery: &Delivery<Body<Value>>) -> Option<String> {
    match annotation(delivery.message(), "x-opt-partition-key")? {
        Value::String(key) => Some(key.clone()),
        _ => None,
    }
}

fn number(message: &Message<Body<Value>>) -> Option<i32> {
    match annotation(message, PRODUCER_SEQUENCE)? {
        Value::Int(number) => Some(*number),
        _ => None,
    }
}
