//! `$cbs` and `$management`: requests come on one link, and replies go out on its twin.

use super::Shared;
use super::address::Address;
use super::refusal::Grants;
use super::{jwt, sas};
use crate::platform::clock;
use fe2o3_amqp::{Delivery, Receiver, Sendable, Sender};
use fe2o3_amqp_types::messaging::{ApplicationProperties, Body, Message, MessageId, Properties};
use fe2o3_amqp_types::primitives::{Array, OrderedMap, SimpleValue, Timestamp, Value};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

const ANSWERS: usize = 16;

/// The reply to a request.
#[derive(Debug)]
pub struct Reply {
    correlation: Option<MessageId>,
    status: i32,
    description: String,
    body: Value,
}

#[derive(Debug, Default)]
struct Pair {
    sender: Option<mpsc::Sender<Reply>>,
    receiver: Option<mpsc::Receiver<Reply>>,
}

/// Connects request links with reply links. The n-th request link of a node is answered on its n-th reply link,
/// because clients attach both together.
#[derive(Debug, Default)]
pub struct Pairs(Mutex<PairState>);

#[derive(Debug, Default)]
struct PairState {
    pairs: HashMap<(bool, u32), Pair>,
    requests: HashMap<bool, u32>,
    replies: HashMap<bool, u32>,
}

impl PairState {
    fn pair(&mut self, node: bool, number: u32) -> &mut Pair {
        self.pairs.entry((node, number)).or_insert_with(|| {
            let (sender, receiver) = mpsc::channel(ANSWERS);
            Pair { sender: Some(sender), receiver: Some(receiver) }
        })
    }
}

impl Pairs {
    /// The sender of replies, for a new request link.
    pub fn request(&self, node: &Address) -> Option<mpsc::Sender<Reply>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let node = *node == Address::Cbs;
        let number = *state.requests.entry(node).and_modify(|n| *n += 1).or_insert(0);
        state.pair(node, number).sender.take()
    }

    /// The receiver of replies, for a new reply link.
    pub fn reply(&self, node: &Address) -> Option<mpsc::Receiver<Reply>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let node = *node == Address::Cbs;
        let number = *state.replies.entry(node).and_modify(|n| *n += 1).or_insert(0);
        state.pair(node, number).receiver.take()
    }
}

/// Takes requests from a link, and makes the replies.
pub async fn requests(
    mut link: Receiver,
    reply: Option<mpsc::Sender<Reply>>,
    node: Address,
    shared: Arc<Shared>,
    grants: Arc<Grants>,
) {
    let Some(reply) = reply else { return };
    while let Ok(delivery) = link.recv::<Body<Value>>().await {
        if link.accept(&delivery).await.is_err() {
            return;
        }
        let answer =
            if node == Address::Cbs { put_token(&shared, &grants, &delivery) } else { read(&shared, &delivery) };
        if reply.send(answer).await.is_err() {
            return;
        }
    }
}

/// Sends replies on a link.
pub async fn replies(mut link: Sender, mut replies: mpsc::Receiver<Reply>) {
    loop {
        let reply = tokio::select! {
            reply = replies.recv() => reply,
            _ = link.on_detach() => None,
        };
        let Some(reply) = reply else { return };
        let properties = Properties { correlation_id: reply.correlation, ..Properties::default() };
        let message = Message::builder()
            .properties(properties)
            .application_properties(
                ApplicationProperties::builder()
                    .insert("status-code", SimpleValue::Int(reply.status))
                    .insert("status-description", reply.description)
                    .build(),
            )
            .value(reply.body)
            .build();
        if link.send_batchable(Sendable::builder().message(message).settled(true).build()).await.is_err() {
            return;
        }
    }
}

fn text<'a>(delivery: &'a Delivery<Body<Value>>, name: &str) -> Option<&'a str> {
    match delivery.message().application_properties.as_ref()?.get(name)? {
        SimpleValue::String(text) => Some(text),
        _ => None,
    }
}

fn answer(delivery: &Delivery<Body<Value>>, status: i32, description: &str, body: Value) -> Reply {
    let correlation = delivery.message().properties.as_ref().and_then(|properties| properties.message_id.clone());
    Reply { correlation, status, description: description.into(), body }
}

fn put_token(shared: &Shared, grants: &Grants, delivery: &Delivery<Body<Value>>) -> Reply {
    let body = Value::Null;
    if text(delivery, "operation") != Some("put-token") {
        return answer(delivery, 400, "the only operation is put-token", body);
    }
    let token = match delivery.message().body {
        Body::Value(ref value) => match &value.0 {
            Value::String(token) => token.as_str(),
            _ => "",
        },
        _ => "",
    };
    let name = text(delivery, "name").unwrap_or_default();
    let settings = &shared.settings;
    let now = clock::wall_s();
    if text(delivery, "type") == Some("jwt") {
        return match jwt::check(token, &settings.key, now) {
            Ok(until) => {
                grants.allow(name, until);
                answer(delivery, 202, "Accepted", body)
            }
            Err(why) => {
                shared.refuse(&why);
                answer(delivery, 401, &format!("InvalidToken: {why}"), body)
            }
        };
    }
    match sas::check(token, &settings.key_name, &settings.key, now) {
        Ok(grant) if covers(&grant.resource, name) => {
            grants.allow(name, grant.expiry_s);
            answer(delivery, 202, "Accepted", body)
        }
        Ok(grant) => {
            let why = format!("the token is for {}, not for {name}", grant.resource);
            shared.refuse(&why);
            answer(delivery, 401, &why, body)
        }
        Err(why) => {
            shared.refuse(&why);
            answer(delivery, 401, &format!("InvalidSignature: {why}"), body)
        }
    }
}

/// Whether a token for `resource` covers `name`: the resource must be a prefix of the name. The scheme does not
/// matter.
pub fn covers(resource: &str, name: &str) -> bool {
    let bare = |text: &str| {
        let text = text.split_once("://").map_or(text, |(_, rest)| rest);
        text.trim_end_matches('/').to_ascii_lowercase()
    };
    let (resource, name) = (bare(resource), bare(name));
    name.strip_prefix(&resource).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn read(shared: &Shared, delivery: &Delivery<Body<Value>>) -> Reply {
    let (hub, partition) = (text(delivery, "name").unwrap_or_default(), text(delivery, "partition"));
    let Some(memory) = shared.hubs.get(&hub.to_ascii_lowercase()) else {
        return answer(delivery, 404, "the event hub could not be found", Value::Null);
    };
    let string = |text: &str| Value::String(text.to_string());
    let long = |number: u64| Value::Long(i64::try_from(number).unwrap_or(i64::MAX));
    let mut map: OrderedMap<Value, Value> = OrderedMap::new();
    map.insert(string("name"), string(hub));
    match text(delivery, "type") {
        Some("com.microsoft:eventhub") => {
            let ids = (0..memory.count()).map(|id| string(&id.to_string())).collect();
            map.insert(string("type"), string("com.microsoft:eventhub"));
            map.insert(string("created_at"), Value::Timestamp(Timestamp::from_milliseconds(shared.started_ms)));
            map.insert(string("partition_count"), Value::Int(i32::from(memory.count())));
            map.insert(string("partition_ids"), Value::Array(Array(ids)));
        }
        Some("com.microsoft:partition") => {
            let number = partition.and_then(|partition| partition.parse().ok());
            let Some(properties) = number.and_then(|number| memory.properties(number)) else {
                return answer(delivery, 404, "the partition could not be found", Value::Null);
            };
            let last = properties.last.as_deref();
            let at = last.map_or(shared.started_ms, |event| event.enqueued_ms);
            let sequence = last.map_or(Value::Long(-1), |event| long(event.sequence));
            let offset = last.map_or_else(|| "-1".to_string(), |event| event.offset.to_string());
            map.insert(string("type"), string("com.microsoft:partition"));
            map.insert(string("partition"), string(partition.unwrap_or_default()));
            map.insert(string("begin_sequence_number"), long(properties.begin));
            map.insert(string("last_enqueued_sequence_number"), sequence);
            map.insert(string("last_enqueued_offset"), string(&offset));
            map.insert(string("last_enqueued_time_utc"), Value::Timestamp(Timestamp::from_milliseconds(at)));
            map.insert(string("is_partition_empty"), Value::Bool(last.is_none()));
            map.insert(string("last_enqueued_sequence_number_epoch"), Value::String("-1".into()));
        }
        _ => {
            return answer(
                delivery,
                400,
                "only com.microsoft:eventhub and com.microsoft:partition are known",
                Value::Null,
            );
        }
    }
    answer(delivery, 200, "OK", Value::Map(map))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_covers_what_lies_below_its_resource() {
        assert!(covers("sb://h:1/eh1", "sb://h:1/eh1/consumergroups/$Default"));
        assert!(covers("https://h/", "sb://H/eh1"));
        assert!(!covers("sb://h/eh1", "sb://h/eh10"));
        assert!(!covers("sb://h/eh1/x", "sb://h/eh1"));
    }
}
