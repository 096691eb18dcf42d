//! Filters that overlap: which subscription a message came for, and copies of it for others.

use super::session::Session;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// The number that a broker says with messages of a filter: it must be the same for the life of the session.
pub fn id_of(filter: &str) -> usize {
    // From 1 to 268,435,455 (MQTT 5, section 3.8.2.1.2).
    usize::try_from(crc32c::crc32c(filter.as_bytes()) % 268_435_455).unwrap_or(0) + 1
}

/// Messages that came lately, and the subscriptions that they came for: where filters overlap, brokers may
/// send a copy for each. What comes for a subscription once more is another message.
#[derive(Debug, Default)]
pub struct Copies(VecDeque<(u32, Vec<usize>, Instant)>);

impl Copies {
    /// Copies of a message follow each other: at most so many others are between them.
    const NEAR: usize = 64;
    /// And at most this time.
    const SOON: Duration = Duration::from_secs(2);

    /// Whether a message came before, for other subscriptions than these.
    pub fn is_one(&mut self, topic: &[u8], payload: &[u8], subscriptions: &[usize]) -> bool {
        if subscriptions.is_empty() {
            return false;
        }
        let crc = Session::crc(topic, payload);
        let is_other = |known: &[usize]| subscriptions.iter().all(|id| !known.contains(id));
        let near = self.0.iter_mut().find(|(of, known, at)| *of == crc && at.elapsed() < Self::SOON && is_other(known));
        let is_one = near.is_some();
        if let Some((_, known, _)) = near {
            known.extend(subscriptions);
        }
        is_one
    }

    /// A message that was taken, for these subscriptions.
    pub fn stored(&mut self, topic: &[u8], payload: &[u8], subscriptions: Vec<usize>) {
        if subscriptions.is_empty() {
            return;
        }
        if self.0.len() >= Self::NEAR {
            self.0.pop_front();
        }
        self.0.push_back((Session::crc(topic, payload), subscriptions, Instant::now()));
    }
}
