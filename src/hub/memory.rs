//! The partitions of an event hub.

use super::bucket::Bucket;
use super::disk;
use super::partition;
use super::stored::Stored;
use crate::platform::clock;
use crate::telemetry::event;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

#[derive(Debug, Default)]
struct Partition {
    events: VecDeque<Arc<Stored>>,
    bytes: u64,
    next_sequence: u64,
    next_offset: u64,
    bucket: Bucket,
    file: Option<File>,
}

/// The limits of the events that a partition keeps.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// The most bytes of events in a partition. Above it, the oldest events are removed.
    pub bytes: u64,
    /// The age from which events are removed.
    pub time: Option<Duration>,
}

/// The state of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Properties {
    /// The sequence of the oldest event; the next sequence when there is none.
    pub begin: u64,
    /// The last event.
    pub last: Option<Arc<Stored>>,
    /// The sequence that the next event gets.
    pub next: u64,
    /// The bytes of all events that are kept.
    pub bytes: u64,
}

/// The partitions of an event hub, with their events.
#[derive(Debug)]
pub struct Memory {
    partitions: Vec<Mutex<Partition>>,
    retention: Retention,
    turn: AtomicU64,
    appended: watch::Sender<u64>,
}

impl Memory {
    /// Partitions without events.
    pub fn new(partitions: u16, retention: Retention) -> Self {
        let partitions = (0..partitions.max(1)).map(|_| Mutex::default()).collect();
        Self { partitions, retention, turn: AtomicU64::new(0), appended: watch::Sender::new(0) }
    }

    /// Loads the events of an event hub from its files, and appends new events to these files.
    ///
    /// # Errors
    /// A file cannot be opened, read or cut.
    pub fn load(&self, folder: &Path, hub: &str) -> io::Result<()> {
        for number in 0..self.count() {
            let (events, file) = disk::open(&folder.join(format!("{hub}-{number}.events")))?;
            if let Some(mut partition) = self.partition(number) {
                for (enqueued_ms, key, message) in events {
                    partition.push(enqueued_ms, key, message);
                }
                partition.prune(self.retention);
                partition.file = Some(file);
            }
        }
        Ok(())
    }

    fn partition(&self, number: u16) -> Option<MutexGuard<'_, Partition>> {
        self.partitions.get(usize::from(number)).map(|p| p.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many partitions there are.
    pub fn count(&self) -> u16 {
        u16::try_from(self.partitions.len()).unwrap_or(u16::MAX)
    }

    /// The partition for a key. Without a key, the partitions take turns.
    pub fn choose(&self, key: Option<&str>) -> u16 {
        match key {
            Some(key) => partition::of(key, self.count()),
            None => u16::try_from(self.turn.fetch_add(1, Relaxed) % u64::from(self.count())).unwrap_or(0),
        }
    }

    /// Appends events together.
    pub fn append(&self, partition: u16, key: Option<&str>, messages: Vec<Vec<u8>>) {
        let enqueued_ms = clock::wall_ms();
        if let Some(mut partition) = self.partition(partition) {
            let count = messages.len();
            for message in messages {
                partition.push(enqueued_ms, key.map(String::from), message);
            }
            let Partition { events, file, .. } = &mut *partition;
            let new = events.iter().skip(events.len() - count).map(|event| &**event);
            if let Some(Err(error)) = file.as_mut().map(|file| disk::append(file, new)) {
                tracing::warn!(event = event::HUB_REFUSED, %error, "events are not on disk");
            }
            partition.prune(self.retention);
        }
        self.appended.send_modify(|n| *n += 1);
    }

    /// Whether a partition accepts these bytes and events now, with this many throughput units.
    pub fn takes(&self, partition: u16, units: f64, now_ms: i64, bytes: u64, events: u64) -> bool {
        self.partition(partition).is_none_or(|mut partition| partition.bucket.take(units, now_ms, bytes, events))
    }

    /// Events from a sequence on, `most` at most.
    pub fn from(&self, partition: u16, sequence: u64, most: usize) -> Vec<Arc<Stored>> {
        let Some(mut partition) = self.partition(partition) else {
            return Vec::new();
        };
        partition.prune(self.retention);
        let start = partition.events.partition_point(|event| event.sequence < sequence);
        partition.events.iter().skip(start).take(most).cloned().collect()
    }

    /// The sequence of the first event that passes the test; the next sequence when none does.
    pub fn seek(&self, partition: u16, test: impl Fn(&Stored) -> bool) -> u64 {
        let Some(partition) = self.partition(partition) else {
            return 0;
        };
        partition.events.iter().find(|event| test(event)).map_or(partition.next_sequence, |event| event.sequence)
    }

    /// The state of a partition.
    pub fn properties(&self, partition: u16) -> Option<Properties> {
        self.partition(partition).map(|partition| Properties {
            begin: partition.events.front().map_or(partition.next_sequence, |event| event.sequence),
            last: partition.events.back().cloned(),
            next: partition.next_sequence,
            bytes: partition.bytes,
        })
    }

    /// Events and their bytes that were stored so far.
    pub fn stored(&self) -> (u64, u64) {
        let all = (0..self.count()).filter_map(|number| self.partition(number));
        all.fold((0, 0), |sum, partition| (sum.0 + partition.next_sequence, sum.1 + partition.next_offset))
    }

    /// Changes when something was appended.
    pub fn appended(&self) -> watch::Receiver<u64> {
        self.appended.subscribe()
    }
}

impl Partition {
    fn push(&mut self, enqueued_ms: i64, key: Option<String>, message: Vec<u8>) {
        let size = message.len() as u64;
        let (sequence, offset) = (self.next_sequence, self.next_offset);
        self.next_sequence += 1;
        self.next_offset += size;
        self.bytes += size;
        self.events.push_back(Arc::new(Stored { sequence, offset, enqueued_ms, key, message }));
    }

    /// Removes events that are too old or too many.
    fn prune(&mut self, retention: Retention) {
        let oldest = retention.time.map(|time| clock::wall_ms() - i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        while let Some(first) = self.events.front() {
            let is_old = oldest.is_some_and(|oldest| first.enqueued_ms < oldest);
            if !is_old && (self.bytes <= retention.bytes || self.events.len() < 2) {
                break;
            }
            self.bytes -= first.message.len() as u64;
            self.events.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_rising_sequences_and_the_oldest_go_first() {
        let memory = Memory::new(2, Retention { bytes: 10, time: None });
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
    fn old_events_go_and_those_on_disk_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let keep = Retention { bytes: 1000, time: Some(Duration::from_secs(60)) };
        let memory = Memory::new(1, keep);
        memory.load(dir.path(), "eh").unwrap();
        memory.append(0, Some("k"), vec![vec![1; 4], vec![2; 4]]);
        let again = Memory::new(1, keep);
        again.load(dir.path(), "eh").unwrap();
        assert_eq!(again.from(0, 0, 9), memory.from(0, 0, 9));
        let none = Memory::new(1, Retention { time: Some(Duration::ZERO), ..keep });
        none.load(dir.path(), "eh").unwrap();
        std::thread::sleep(Duration::from_millis(2));
        let held = none.properties(0).unwrap();
        assert_eq!((none.from(0, 0, 9).len(), held.next), (0, 2), "their numbers are not given again");
    }

    #[test]
    fn a_key_always_leads_to_the_same_partition() {
        let memory = Memory::new(4, Retention { bytes: 1000, time: None });
        assert_eq!(memory.choose(Some("a")), memory.choose(Some("a")));
        let turns: Vec<u16> = (0..5).map(|_| memory.choose(None)).collect();
        assert_eq!(turns, [0, 1, 2, 3, 0]);
    }
}
