//! A link that a client sends events on.

use super::Shared;
use super::connection::error;
use fe2o3_amqp::link::RecvError;
use fe2o3_amqp::{Delivery, Receiver};
use fe2o3_amqp_types::definitions::{AmqpError, ErrorCondition};
use fe2o3_amqp_types::messaging::annotations::OwnedKey;
use fe2o3_amqp_types::messaging::message::__private::Serializable;
use fe2o3_amqp_types::messaging::message::DecodeIntoMessage;
use fe2o3_amqp_types::messaging::{Body, Message};
use fe2o3_amqp_types::primitives::{Symbol, Value};
use serde_amqp::read::SliceReader;
use std::sync::Arc;

/// Several events in one message.
const BATCH_FORMAT: u32 = 0x8001_3700;

/// Takes events until the link ends.
pub async fn serve(mut link: Receiver, shared: Arc<Shared>, hub: String, partition: Option<u16>) {
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
        let key = partition_key(&delivery);
        let done = match events(&delivery, format) {
            Ok(events) if !shared.takes(events.iter().map(|event| event.len() as u64).sum(), events.len() as u64) => {
                let condition = ErrorCondition::Custom(Symbol::from("com.microsoft:server-busy"));
                let told = "The request was terminated because the entity is being throttled. Error code : 50002. \
                            Please wait 4 seconds and try again.";
                link.reject(&delivery, error(condition, told)).await
            }
            Ok(events) => {
                if let Some(memory) = shared.hubs.get(&hub) {
                    let chosen = partition.unwrap_or_else(|| memory.choose(key.as_deref()));
                    memory.append(chosen, key.as_deref(), events);
                }
                link.accept(&delivery).await
            }
            Err(why) => link.reject(&delivery, error(AmqpError::DecodeError, why)).await,
        };
        if done.is_err() {
            return;
        }
    }
}

/// The events of a delivery, encoded.
fn events(delivery: &Delivery<Body<Value>>, format: u32) -> Result<Vec<Vec<u8>>, String> {
    if format != BATCH_FORMAT {
        let bytes = serde_amqp::to_vec(&Serializable(delivery.message())).map_err(|error| error.to_string())?;
        return Ok(vec![bytes]);
    }
    let Body::Data(sections) = delivery.body() else {
        return Err("a batch has data sections only".into());
    };
    let whole = |bytes: &[u8]| <Body<Value> as DecodeIntoMessage>::decode_message_from_reader(SliceReader::new(bytes));
    sections
        .iter()
        .map(|section| {
            whole(&section.0).map(|_: Message<Body<Value>>| section.0.to_vec()).map_err(|error| error.to_string())
        })
        .collect()
}

/// On the envelope, as Azure reads it.
fn partition_key(delivery: &Delivery<Body<Value>>) -> Option<String> {
    let annotations = delivery.message().message_annotations.as_ref()?;
    annotations.iter().find_map(|(key, value)| match (key, value) {
        (OwnedKey::Symbol(name), Value::String(key)) if name.as_str() == "x-opt-partition-key" => Some(key.clone()),
        _ => None,
    })
}
