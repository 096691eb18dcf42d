//! A link that a client sends events on.

use super::Shared;
use super::address::Address;
use super::connection::{about_us, error};
use super::fault::Action;
use super::memory::Memory;
use fe2o3_amqp::link::RecvError;
use fe2o3_amqp::{Delivery, Receiver};
use fe2o3_amqp_types::definitions::{AmqpError, Error, ErrorCondition, Fields};
use fe2o3_amqp_types::messaging::annotations::OwnedKey;
use fe2o3_amqp_types::messaging::message::__private::Serializable;
use fe2o3_amqp_types::messaging::message::DecodeIntoMessage;
use fe2o3_amqp_types::messaging::{Body, Message};
use fe2o3_amqp_types::performatives::Attach;
use fe2o3_amqp_types::primitives::{Symbol, Value};
use serde_amqp::read::SliceReader;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

/// Several events in one message.
const BATCH_FORMAT: u32 = 0x8001_3700;
/// What a producer asks for that numbers what it sends (event-hubs.md, section 2, "Idempotent publishing").
const IDEMPOTENT: &str = "com.microsoft:idempotent-producer";
const PRODUCER_ID: &str = "com.microsoft:producer-id";
const PRODUCER_EPOCH: &str = "com.microsoft:producer-epoch";
const PRODUCER_SEQUENCE: &str = "com.microsoft:producer-sequence-number";

/// Where a link leads.
#[derive(Debug)]
pub struct To {
    /// The event hub.
    pub hub: String,
    /// A fixed partition.
    pub partition: Option<u16>,
    /// A publisher: the key of all that it sends.
    pub publisher: Option<String>,
    /// The producer numbers what it sends.
    pub idempotent: Option<Idempotent>,
}

/// A producer that numbers what it sends to a partition, so that a repeat is known.
#[derive(Debug)]
pub struct Idempotent {
    id: i64,
    epoch: i16,
    /// The last number.
    last: i32,
}

impl Idempotent {
    /// What a link asks for; in a partition only.
    pub fn asked(attach: &Attach, address: Option<&Address>) -> Option<Self> {
        let wants = attach.desired_capabilities.iter().flat_map(|all| all.iter()).any(|one| one.as_str() == IDEMPOTENT);
        let in_partition = matches!(address, Some(Address::Hub { partition: Some(_), .. }));
        let number = |name: &str| match attach.properties.as_ref()?.get(name)? {
            Value::Long(number) => Some(*number),
            Value::Int(number) => Some(i64::from(*number)),
            Value::Short(number) => Some(i64::from(*number)),
            _ => None,
        };
        (wants && in_partition).then(|| Self {
            id: number(PRODUCER_ID).unwrap_or_else(|| i64::from(crate::platform::random::u32())),
            // Whoever comes again has the next epoch.
            epoch: number(PRODUCER_EPOCH).map_or(0, |epoch| i16::try_from(epoch.saturating_add(1)).unwrap_or(0)),
            last: number(PRODUCER_SEQUENCE).and_then(|number| i32::try_from(number).ok()).unwrap_or(0),
        })
    }

    /// What the link is told.
    pub fn properties(&self) -> Fields {
        let mut fields = about_us();
        fields.insert(Symbol::from(PRODUCER_ID), Value::Long(self.id));
        fields.insert(Symbol::from(PRODUCER_EPOCH), Value::Short(self.epoch));
        fields.insert(Symbol::from(PRODUCER_SEQUENCE), Value::Int(self.last));
        fields
    }

    /// Whether a batch of so many events is new; an error when one before it is missing.
    fn is_new(&mut self, first: Option<i32>, count: usize) -> Result<bool, String> {
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        // Clients that do not number their first batch begin behind the last.
        let next = self.last.saturating_add(1);
        let first = first.unwrap_or(next);
        let last = first.saturating_add(count).saturating_sub(1);
        if last <= self.last {
            return Ok(false);
        }
        if first > next {
            return Err(format!("sequence number {first} does not follow {}", self.last));
        }
        self.last = last;
        Ok(true)
    }
}

/// Takes events until the link ends.
pub async fn serve(mut link: Receiver, shared: Arc<Shared>, mut to: To, socket: Arc<TcpStream>) {
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
                Action::Drop | Action::Offline(_) => return cut(&socket),
            }
        }
        let taken = match refused {
            Some(error) => Err(error),
            None => take(&shared, memory, &mut to, &delivery, format),
        };
        if lose_answer {
            return cut(&socket);
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

/// Stores what a delivery holds.
fn take(
    shared: &Shared,
    memory: &Memory,
    to: &mut To,
    delivery: &Delivery<Body<Value>>,
    format: u32,
) -> Result<(), Error> {
    let events = events(delivery, format).map_err(|why| error(AmqpError::DecodeError, why))?;
    let annotated = partition_key(delivery);
    let key = to.publisher.as_deref().or(annotated.as_deref());
    let chosen = to.partition.unwrap_or_else(|| memory.choose(key));
    let bytes = events.iter().map(|event| event.len() as u64).sum();
    if !shared.takes(memory, chosen, bytes, events.len() as u64) {
        return Err(busy());
    }
    if let Some(idempotent) = &mut to.idempotent {
        let out_of_order = |why| error(custom("com.microsoft:out-of-order-sequence"), why);
        if !idempotent.is_new(number(delivery), events.len()).map_err(out_of_order)? {
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
    let told = "The request was terminated because the entity is being throttled. Error code : 50002. \
                Please wait 4 seconds and try again.";
    error(custom("com.microsoft:server-busy"), told)
}

fn by_rule(condition: String) -> Error {
    error(ErrorCondition::Custom(Symbol::from(condition)), "by rule")
}

fn cut(socket: &TcpStream) {
    // It may be gone already.
    let _ = socket.shutdown(Shutdown::Both);
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
fn annotation<'a>(delivery: &'a Delivery<Body<Value>>, wanted: &str) -> Option<&'a Value> {
    let annotations = delivery.message().message_annotations.as_ref()?;
    annotations.iter().find_map(|(key, value)| match key {
        OwnedKey::Symbol(name) if name.as_str() == wanted => Some(value),
        _ => None,
    })
}

fn partition_key(delivery: &Delivery<Body<Value>>) -> Option<String> {
    match annotation(delivery, "x-opt-partition-key")? {
        Value::String(key) => Some(key.clone()),
        _ => None,
    }
}

/// The number of the first event of a batch.
fn number(delivery: &Delivery<Body<Value>>) -> Option<i32> {
    match annotation(delivery, PRODUCER_SEQUENCE)? {
        Value::Int(number) => Some(*number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numbered_repeat_is_known_and_a_hole_is_refused() {
        let mut producer = Idempotent { id: 1, epoch: 0, last: 0 };
        assert_eq!(producer.is_new(Some(1), 3), Ok(true));
        assert_eq!(producer.is_new(Some(1), 3), Ok(false));
        assert_eq!(producer.is_new(Some(4), 1), Ok(true));
        assert!(producer.is_new(Some(9), 1).unwrap_err().contains("9 does not follow 4"));
        assert_eq!(producer.is_new(None, 2), Ok(true));
        assert_eq!(producer.last, 6);
        assert!(producer.is_new(Some(i32::MAX), 9).is_err(), "and no overflow");
    }
}
