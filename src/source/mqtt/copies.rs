//! Overlapping filters: the subscription that a message came for, and copies of the message for other
//! subscriptions.

use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// The subscription identifier of a filter, which the broker sends with its messages. It must stay the same for
/// the life of the session.
pub fn id_of(filter: &str) -> usize {
    // From 1 to 268,435,455 (MQTT 5, section 3.8.2.1.2).
    usize::try_from(crc32c::crc32c(filter.as_bytes()) % 268_435_455).unwrap_or(0) + 1
}

/// Recent messages, and the subscriptions that they came for. If filters overlap, brokers may send a copy for
/// each filter. A second message for the same subscription is another message.
#[derive(Debug, Default)]
pub struct Copies(VecDeque<Taken>);

/// A message that came, and the subscriptions that it came for.
#[derive(Debug)]
struct Taken {
    topic: Bytes,
    length: usize,
    crc: u32,
    subscriptions: Vec<usize>,
    at: Instant,
}

impl Copies {
    /// Copies of a message follow each other: at most this many other messages are between them.
    const NEAR: usize = 64;
    /// Copies of a message come within this time.
    const SOON: Duration = Duration::from_secs(2);

    /// Whether a message is a copy: it came before, for other subscriptions than these.
    pub fn is_one(&mut self, topic: &Bytes, payload: &[u8], subscriptions: &[usize]) -> bool {
        if subscriptions.is_empty() {
            return false;
        }
        let crc = crc32c::crc32c(payload);
        let near = self.0.iter_mut().find(|taken| {
            (&taken.topic, taken.length, taken.crc) == (topic, payload.len(), crc)
                && taken.at.elapsed() < Self::SOON
                && subscriptions.iter().all(|id| !taken.subscriptions.contains(id))
        });
        let is_one = near.is_some();
        if let Some(taken) = near {
            taken.subscriptions.extend(subscriptions);
        }
        is_one
    }

    /// Remembers a message that was stored, and the subscriptions that it came for.
    pub fn stored(&mut self, topic: &Bytes, payload: &[u8], subscriptions: Vec<usize>) {
        if subscriptions.is_empty() {
            return;
        }
        if self.0.len() >= Self::NEAR {
            self.0.pop_front();
        }
        // The topic is copied, so that the client's read buffer is not held.
        let (topic, crc) = (Bytes::copy_from_slice(topic), crc32c::crc32c(payload));
        self.0.push_back(Taken { topic, length: payload.len(), crc, subscriptions, at: Instant::now() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_of_the_same_topic_and_for_another_subscription() {
        let mut copies = Copies::default();
        let topic = |text: &'static str| Bytes::from(text);
        copies.stored(&topic("sensor/1"), b"25.3", vec![1]);
        assert!(!copies.is_one(&topic("sensor/12"), b"5.3", &[2]), "another topic");
        assert!(!copies.is_one(&topic("sensor/1"), b"25.3", &[1]), "the same value once more");
        assert!(copies.is_one(&topic("sensor/1"), b"25.3", &[2]));
        assert!(!copies.is_one(&topic("sensor/1"), b"25.3", &[2]), "the value once more, and its copy");
    }
}
