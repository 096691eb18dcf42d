//! Serves a link on which a client receives events: one partition, from a position on.

use super::Shared;
use super::epoch::Place;
use super::memory::Memory;
use super::refusal::error;
use super::stored::Stored;
use fe2o3_amqp::{Sendable, Sender};
use fe2o3_amqp_types::definitions::LinkError;
use fe2o3_amqp_types::messaging::message::DecodeIntoMessage;
use fe2o3_amqp_types::messaging::{Body, Message};
use fe2o3_amqp_types::performatives::Attach;
use fe2o3_amqp_types::primitives::{Symbol, Timestamp, Value};
use serde_amqp::read::SliceReader;
use std::sync::Arc;

/// The most events that are looked up at once.
const ROUND: usize = 100;

/// The position at which a receiver begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// At the oldest event.
    Oldest,
    /// At the next event that arrives.
    Latest,
    /// After an offset, or at it when `true`.
    Offset(i64, bool),
    /// After a sequence number, or at it when `true`.
    Sequence(i64, bool),
    /// After a time in milliseconds, or at it when `true`.
    Enqueued(i64, bool),
}

impl Start {
    /// Reads the filter of a receiver's source. Without a filter, the receiver begins at the oldest event.
    pub fn of(attach: &Attach) -> Self {
        let filter = attach.source.as_deref().and_then(|source| source.filter.as_ref());
        let text = filter.into_iter().flat_map(|filter| filter.values()).find_map(|value| match value {
            Value::Described(described) => match &described.value {
                Value::String(text) => Some(text.clone()),
                _ => None,
            },
            Value::String(text) => Some(text.clone()),
            _ => None,
        });
        text.and_then(|text| Self::parse(&text)).unwrap_or(Self::Oldest)
    }

    /// Reads a selector like `amqp.annotation.x-opt-offset > '-1'`.
    fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once('>')?;
        let inclusive = rest.trim_start().starts_with('=');
        let value = rest.trim_start_matches(['=', ' ']).trim().trim_matches('\'');
        if value == "@latest" {
            return Some(Self::Latest);
        }
        let number = value.parse().ok()?;
        match name.trim().rsplit('.').next()? {
            "x-opt-offset" => Some(Self::Offset(number, inclusive)),
            "x-opt-sequence-number" => Some(Self::Sequence(number, inclusive)),
            "x-opt-enqueued-time" => Some(Self::Enqueued(number, inclusive)),
            _ => None,
        }
    }

    /// The first sequence to send.
    fn sequence(&self, memory: &Memory, partition: u16) -> u64 {
        let past = |have: i64, want: i64, inclusive: bool| if inclusive { have >= want } else { have > want };
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        match *self {
            Self::Oldest => 0,
            Self::Latest => memory.seek(partition, |_| false),
            Self::Offset(at, inclusive) => memory.seek(partition, |event| past(signed(event.offset), at, inclusive)),
            Self::Sequence(at, inclusive) => {
                memory.seek(partition, |event| past(signed(event.sequence), at, inclusive))
            }
            Self::Enqueued(at, inclusive) => memory.seek(partition, |event| past(event.enqueued_ms, at, inclusive)),
        }
    }
}

/// Sends events until the link ends.
pub async fn serve(mut link: Sender, shared: Arc<Shared>, mut place: Place, start: Start) {
    let (hub, _, partition) = place.seat.clone();
    let Some(memory) = shared.hubs.get(&hub) else { return };
    let mut appended = memory.appended();
    let mut next = start.sequence(memory, partition);
    loop {
        let events = memory.from(partition, next, ROUND);
        if events.is_empty() || place.is_stolen() {
            tokio::select! {
                changed = appended.changed() => if changed.is_err() { return },
                () = place.stolen() => {
                    let message = "New receiver with higher epoch is created hence current receiver is getting disconnected.";
                    // The client may be gone.
                    let _ = link.close_with_error(error(LinkError::Stolen, message)).await;
                    return;
                }
                _ = link.on_detach() => return,
            }
        }
        for event in events {
            next = event.sequence + 1;
            let Some(message) = annotated(&event) else { continue };
            // Settled: receivers of Event Hubs never answer.
            if link.send_batchable(Sendable::builder().message(message).settled(true).build()).await.is_err() {
                return;
            }
        }
    }
}

fn annotated(event: &Stored) -> Option<Message<Body<Value>>> {
    let reader = SliceReader::new(&event.message);
    let mut message: Message<Body<Value>> =
        <Body<Value> as DecodeIntoMessage>::decode_message_from_reader(reader).ok()?;
    let annotations = message.message_annotations.get_or_insert_with(Default::default);
    let sequence = i64::try_from(event.sequence).unwrap_or(i64::MAX);
    annotations.insert(Symbol::from("x-opt-sequence-number").into(), Value::Long(sequence));
    annotations.insert(Symbol::from("x-opt-offset").into(), Value::String(event.offset.to_string()));
    let enqueued = Timestamp::from_milliseconds(event.enqueued_ms);
    annotations.insert(Symbol::from("x-opt-enqueued-time").into(), Value::Timestamp(enqueued));
    if let Some(key) = &event.key {
        annotations.insert(Symbol::from("x-opt-partition-key").into(), Value::String(key.clone()));
    }
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::memory::Retention;

    #[test]
    fn selectors_of_the_sdks_are_read() {
        let parse = |text: &str| Start::parse(text);
        assert_eq!(parse("amqp.annotation.x-opt-offset > '-1'"), Some(Start::Offset(-1, false)));
        assert_eq!(parse("amqp.annotation.x-opt-offset > '@latest'"), Some(Start::Latest));
        assert_eq!(parse("amqp.annotation.x-opt-sequence-number >= '7'"), Some(Start::Sequence(7, true)));
        assert_eq!(
            parse("amqp.annotation.x-opt-enqueued-time > '1700000000000'"),
            Some(Start::Enqueued(1_700_000_000_000, false))
        );
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn a_start_leads_to_the_right_event() {
        let memory = Memory::new(1, Retention { bytes: 1000, time: None });
        memory.append(0, None, vec![vec![0; 10], vec![0; 10], vec![0; 10]]);
        let at = |start: Start| start.sequence(&memory, 0);
        assert_eq!(at(Start::Offset(-1, false)), 0);
        assert_eq!(at(Start::Offset(10, false)), 2);
        assert_eq!(at(Start::Offset(10, true)), 1);
        assert_eq!(at(Start::Sequence(0, false)), 1);
        assert_eq!(at(Start::Latest), 3);
    }
}
