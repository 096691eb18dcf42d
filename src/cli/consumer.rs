//! Reads the events of the hub as any consumer would: an AMQP message, gzip if the message says so, one JSON object
//! a line.

use crate::hub::{Hub, Stored};
use fe2o3_amqp_types::messaging::message::DecodeIntoMessage;
use fe2o3_amqp_types::messaging::{ApplicationProperties, Body, Message};
use fe2o3_amqp_types::primitives::{SimpleValue, Value};
use flate2::read::GzDecoder;
use serde_amqp::read::SliceReader;
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

/// A consumer that remembers the next sequence of each partition.
#[derive(Debug, Default)]
pub(super) struct Consumer(BTreeMap<u16, u64>);

/// An event that was made by Forebay.
#[derive(Debug)]
pub(super) struct Seen {
    about: ApplicationProperties,
    body: Vec<u8>,
    is_packed: bool,
}

impl Consumer {
    /// The events since the last call, with their partitions.
    pub fn take(&mut self, hub: &Hub, name: &str) -> Vec<(u16, Arc<Stored>)> {
        let mut new = Vec::new();
        for partition in 0..hub.partitions() {
            let from = self.0.entry(partition).or_insert(0);
            let events = hub.events_from(name, partition, *from).into_iter();
            new.extend(events.inspect(|event| *from = event.sequence + 1).map(|event| (partition, event)));
        }
        new
    }
}

impl Seen {
    /// Decodes an event; `None` when Forebay did not make it.
    pub fn of(event: &Stored) -> Option<Self> {
        let reader = SliceReader::new(&event.message);
        let message: Message<Body<Value>> =
            <Body<Value> as DecodeIntoMessage>::decode_message_from_reader(reader).ok()?;
        let Body::Data(data) = message.body else {
            return None;
        };
        let encoding = message.properties.and_then(|properties| properties.content_encoding);
        Some(Self {
            about: message.application_properties?,
            body: data.into_iter().flat_map(|data| data.0.into_vec()).collect(),
            is_packed: encoding.is_some_and(|encoding| encoding.as_str() == "gzip"),
        })
    }

    /// A property that is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.about.get(name)? {
            SimpleValue::Long(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// A property that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.about.get(name)? {
            SimpleValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number of bytes of the body, as it arrived.
    pub fn body_bytes(&self) -> usize {
        self.body.len()
    }

    /// The records of the event; `None` when the body is not in the form that its properties name.
    pub fn records(&self) -> Option<Vec<serde_json::Value>> {
        let mut text = String::new();
        if self.is_packed {
            GzDecoder::new(&self.body[..]).read_to_string(&mut text).ok()?;
        } else {
            text.push_str(std::str::from_utf8(&self.body).ok()?);
        }
        text.lines().map(|line| serde_json::from_str(line).ok()).collect()
    }
}
