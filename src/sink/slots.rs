//! One slot for each channel of a sink, with its link or connection. A delivery locks its slot, so that only one
//! batch of a channel is in flight.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use tokio::sync::Mutex;

/// When this many slots exist, a new channel drops all slots that are not in use.
const MOST: usize = 64;

/// A slot; empty until the first delivery, and after a failure.
pub type Slot<T> = Arc<Mutex<Option<T>>>;

/// The slots of all channels of a sink.
#[derive(Debug)]
pub struct Slots<K, T>(Mutex<HashMap<K, Slot<T>>>);

impl<K, T> Default for Slots<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, T> Slots<K, T> {
    /// The slot of a channel.
    pub async fn of(&self, channel: K) -> Slot<T> {
        let mut slots = self.0.lock().await;
        if slots.len() >= MOST && !slots.contains_key(&channel) {
            // With many channels most are seldom used: their links are made again when they are needed.
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        slots.entry(channel).or_default().clone()
    }

    /// Drops all slots.
    pub async fn clear(&self) {
        self.0.lock().await.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_in_use_stays_and_the_rest_is_bounded() {
        let slots = Slots::<usize, u8>::default();
        let used = slots.of(0).await;
        *used.lock().await = Some(7);
        for channel in 1..1000 {
            *slots.of(channel).await.lock().await = Some(1);
        }
        assert!(slots.0.lock().await.len() <= MOST);
        assert_eq!(*slots.of(0).await.lock().await, Some(7));
    }
}
