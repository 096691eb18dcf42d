//! Producers that number their events for a partition, so that the hub recognises a repeat, also over another link.
//!
//! Source: `docs/reference/event-hubs.md`, "Idempotent publishing"; what Microsoft's JavaScript client does.

use super::address::Address;
use super::refusal::about_us;
use crate::platform::random;
use fe2o3_amqp_types::definitions::Fields;
use fe2o3_amqp_types::performatives::Attach;
use fe2o3_amqp_types::primitives::{Symbol, Value};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The capability that a producer asks for when it numbers its events.
const IDEMPOTENT: &str = "com.microsoft:idempotent-producer";
const PRODUCER_ID: &str = "com.microsoft:producer-id";
const PRODUCER_EPOCH: &str = "com.microsoft:producer-epoch";
/// The number of the first event. It is also an annotation of a batch.
pub const PRODUCER_SEQUENCE: &str = "com.microsoft:producer-sequence-number";
/// The most producers that are remembered. With one more, the first by name is forgotten.
const MOST: usize = 10_000;

/// A producer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Producer {
    hub: String,
    partition: u16,
    id: i64,
}

/// The last number of each producer.
#[derive(Debug, Default)]
pub struct Producers(Mutex<BTreeMap<Producer, i32>>);

impl Producers {
    /// The numbered producer that a link asks for, which needs a fixed partition, and the properties of the answer.
    pub fn asked(&self, attach: &Attach, address: &Address) -> Option<(Producer, Fields)> {
        let wants = attach.desired_capabilities.iter().flat_map(|all| all.iter()).any(|one| one.as_str() == IDEMPOTENT);
        let Address::Hub { hub, partition: Some(partition), .. } = address else { return None };
        if !wants {
            return None;
        }
        let number = |name: &str| match attach.properties.as_ref()?.get(name)? {
            Value::Long(number) => Some(*number),
            Value::Int(number) => Some(i64::from(*number)),
            Value::Short(number) => Some(i64::from(*number)),
            _ => None,
        };
        let id = number(PRODUCER_ID).unwrap_or_else(|| i64::from(random::u32()));
        let given = number(PRODUCER_SEQUENCE).and_then(|number| i32::try_from(number).ok());
        // A producer that connects again gets the next epoch.
        let epoch = number(PRODUCER_EPOCH).map_or(0, |epoch| i16::try_from(epoch.saturating_add(1)).unwrap_or(0));
        let producer = Producer { hub: hub.clone(), partition: *partition, id };
        let known = self.begin(&producer, given.unwrap_or(0));
        let mut answered = about_us();
        answered.insert(Symbol::from(PRODUCER_ID), Value::Long(id));
        answered.insert(Symbol::from(PRODUCER_EPOCH), Value::Short(epoch));
        // The answer repeats the producer's own number. If it counted events whose arrival the client does not
        // know, Microsoft's client would number those events anew.
        answered.insert(Symbol::from(PRODUCER_SEQUENCE), Value::Int(given.unwrap_or(known)));
        Some((producer, answered))
    }

    /// The last number that counts. More events may have arrived than the producer knows of.
    fn begin(&self, producer: &Producer, given: i32) -> i32 {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= MOST && !last.contains_key(producer) {
            last.pop_first();
        }
        let known = last.entry(producer.clone()).or_insert(given);
        *known = given.max(*known);
        *known
    }

    /// Whether a batch of so many events is new.
    ///
    /// # Errors
    /// An event before the batch is missing.
    pub fn is_new(&self, producer: &Producer, first: Option<i32>, count: usize) -> Result<bool, String> {
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry(producer.clone()).or_insert(0);
        // Clients that do not number their first batch begin after the last number.
        let next = known.saturating_add(1);
        let first = first.unwrap_or(next);
        let last = first.saturating_add(count).saturating_sub(1);
        if last <= *known {
            return Ok(false);
        }
        if first > next {
            return Err(format!("sequence number {first} does not follow {known}"));
        }
        *known = last;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numbered_repeat_is_known_over_links_and_a_hole_is_refused() {
        let all = Producers::default();
        let one = Producer { hub: "readings".into(), partition: 0, id: 1 };
        assert_eq!(all.begin(&one, 0), 0);
        assert_eq!(all.is_new(&one, Some(1), 3), Ok(true));
        assert_eq!(all.is_new(&one, Some(1), 3), Ok(false));
        // The answer was lost: it comes again, and knows of nothing.
        assert_eq!(all.begin(&one, 0), 3);
        assert_eq!(all.is_new(&one, Some(1), 3), Ok(false));
        assert_eq!(all.is_new(&one, Some(4), 1), Ok(true));
        assert!(all.is_new(&one, Some(9), 1).unwrap_err().contains("9 does not follow 4"));
        assert_eq!(all.is_new(&one, None, 2), Ok(true));
        assert!(all.is_new(&one, Some(i32::MAX), 9).is_err(), "and no overflow");
        let other = Producer { partition: 1, ..one.clone() };
        assert_eq!((all.begin(&other, 7), all.begin(&one, 0)), (7, 6), "each partition by itself");
    }
}
