//! The partitions of an event hub.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// An event as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// From 0.
    pub sequence: u64,
    /// Bytes of all events before it in the partition.
    pub offset: u64,
    /// Milliseconds since the Unix epoch.
    pub enqueued_ms: i64,
    /// The partition key.
    pub key: Option<String>,
    /// The AMQP message, encoded.
    pub message: Vec<u8>,
}

#[derive(Debug, Default)]
struct Partition {
    events: VecDeque<Arc<Stored>>,
    bytes: u64,
    next_sequence: u64,
    next_offset: u64,
}

/// What is known of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Properties {
    /// The first sequence that is there.
    pub begin: u64,
    /// The last event.
    pub last: Option<Arc<Stored>>,
}

/// See the module.
#[derive(Debug)]
pub struct Memory {
    partitions: Vec<Mutex<Partition>>,
    retain: u64,
    turn: AtomicU64,
    appended: watch::Sender<u64>,
}

impl Memory {
    /// Empty.
    pub fn new(partitions: u16, retain: u64) -> Self {
        let partitions = (0..partitions.max(1)).map(|_| Mutex::default()).collect();
        Self { partitions, retain, turn: AtomicU64::new(0), appended: watch::Sender::new(0) }
    }

    fn partition(&self, number: u16) -> Option<MutexGuard<'_, Partition>> {
        self.partitions.get(usize::from(number)).map(|p| p.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many partitions there are.
    pub fn count(&self) -> u16 {
        u16::try_from(self.partitions.len()).unwrap_or(u16::MAX)
    }

    /// The partition for a key; without one, each in turn.
    pub fn choose(&self, key: Option<&str>) -> u16 {
        let number = match key {
            Some(key) => u64::from(crc32c::crc32c(key.as_bytes())),
            None => self.turn.fetch_add(1, Relaxed),
        };
        u16::try_from(number % u64::from(self.count())).unwrap_or(0)
    }

    /// Appends events together.
    pub fn append(&self, partition: u16, key: Option<&str>, messages: Vec<Vec<u8>>) {
        let enqueued_ms = crate::platform::clock::wall_ms();
        if let Some(mut partition) = self.partition(partition) {
            for message in messages {
                let size = message.len() as u64;
                let (sequence, offset) = (partition.next_sequence, partition.next_offset);
                partition.next_sequence += 1;
                partition.next_offset += size;
                partition.bytes += size;
                let key = key.map(String::from);
                partition.events.push_back(Arc::new(Stored { sequence, offset, enqueued_ms, key, message }));
            }
            while partition.bytes > self.retain && partition.events.len() > 1 {
                if let Some(old) = partition.events.pop_front() {
                    partition.bytes -= old.message.len() as u64;
                }
            }
        }
        self.appended.send_modify(|n| *n += 1);
    }

    /// Events from a sequence on, `most` at most.
    pub fn from(&self, partition: u16, sequence: u64, most: usize) -> Vec<Arc<Stored>> {
        let Some(partition) = self.partition(partition) else {
            return Vec::new();
        };
        let start = partition.events.partition_point(|event| event.sequence < sequence);
        partition.events.iter().skip(start).take(most).cloned().collect()
    }

    /// The first sequence for which a test of its event holds; behind the last when for none.
    pub fn seek(&self, partition: u16, test: impl Fn(&Stored) -> bool) -> u64 {
        let Some(partition) = self.partition(partition) else {
            return 0;
        };
        partition.events.iter().find(|event| test(event)).map_or(partition.next_sequence, |event| event.sequence)
    }

    /// What is known of a partition.
    pub fn properties(&self, partition: u16) -> Option<Properties> {
        self.partition(partition).map(|partition| Properties {
            begin: partition.events.front().map_or(partition.next_sequence, |event| event.sequence),
            last: partition.events.back().cloned(),
        })
    }

    /// Changes when something was appended.
    pub fn appended(&self) -> watch::Receiver<u64> {
        self.appended.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_rising_sequences_and_the_oldest_go_first() {
        let memory = Memory::new(2, 10);
        memory.append(1, Some("k"), vec![vec![0; 4], vec![0; 4]]);
        memory.append(1, None, vec![vec![0; 4]]);
        let kept: Vec<(u64, u64)> = memory.from(1, 0, 9).iter().map(|e| (e.sequence, e.offset)).collect();
        assert_eq!(kept, [(1, 4), (2, 8)]);
        assert_eq!(memory.properties(1).unwrap().begin, 1);
        assert_eq!(memory.seek(1, |event| event.offset > 4), 2);
        assert_eq!(memory.seek(1, |_| false), 3);
        assert!(memory.properties(2).is_none());
    }

    #[test]
    fn a_key_always_leads_to_the_same_partition() {
        let memory = Memory::new(4, 1000);
        assert_eq!(memory.choose(Some("a")), memory.choose(Some("a")));
        let turns: Vec<u16> = (0..5).map(|_| memory.choose(None)).collect();
        assert_eq!(turns, [0, 1, 2, 3, 0]);
    }
}
