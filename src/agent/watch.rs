//! Looks after the agent itself, once a second: the machine's clock, the memory of the process, tasks that hang.
//!
//! It has a thread of its own: it also sees when every thread of the runtime hangs, and a sleeping thread wakes once
//! where a timer of the runtime wakes three times.

use super::Around;
use crate::flow::pulse::{Hang, Pulses, Work};
use crate::platform::clock::{self, Clock};
use crate::platform::memory;
use crate::store::Store;
use crate::telemetry::{Event, Metric};
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The time between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// The time between two looks at the memory alone, while more than half of the limit is used.
const LOOK_SOON: Duration = Duration::from_millis(100);
/// A socket knows no wait of no time.
const LEAST: Duration = Duration::from_millis(1);
/// Work that has not come to an end after so many looks is reported.
const HANGS: u64 = 10;
/// A task that hangs on a shared thread for so many looks never ends: the agent must be started again.
const STUCK: u64 = 60;

/// The memory that the agent may take if the configuration does not say: three quarters of what it finds.
pub fn usual_memory() -> u64 {
    memory::limit() / 4 * 3
}

/// The thread that looks. It ends when this is dropped.
#[derive(Debug)]
pub struct Watcher {
    /// Nothing is written to it: the thread sees its end. A socket and no channel, because libfaketime, which sets the
    /// clock in tests, lets a thread sleep on that waits for a lock and a time.
    running: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
    stuck: watch::Receiver<bool>,
}

impl Watcher {
    /// Starts to look. `short` changes while memory is short.
    pub fn start(around: Around, short: watch::Sender<u64>) -> std::io::Result<Self> {
        let (running, ended) = UnixStream::pair()?;
        let (now_stuck, stuck) = watch::channel(false);
        let look = move || look(&around, ended, &short, &now_stuck);
        let thread = std::thread::Builder::new().name("watcher".into()).spawn(look)?;
        Ok(Self { running: Some(running), thread: Some(thread), stuck })
    }

    /// Whether a task hangs so that only a new start of the agent helps.
    pub fn is_stuck(&self) -> bool {
        *self.stuck.borrow()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.running = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread is in the log.
            let _ = thread.join();
        }
    }
}

fn look(around: &Around, mut ended: UnixStream, short: &watch::Sender<u64>, stuck: &watch::Sender<bool>) {
    let mut clock = ClockWatch::new(around.clock.clone());
    let mut memory = MemoryWatch { most: around.memory, since: None };
    let mut tasks = TaskWatch { pulses: around.pulses.clone(), told: BTreeMap::new() };
    let mut next = Instant::now() + LOOK;
    let mut wait = LOOK;
    // A read ends with an error at the time, and with nothing at the end of the agent.
    while ended.set_read_timeout(Some(wait)).is_ok() && ended.read(&mut [0]).is_err() {
        let used = memory::used();
        around.metrics.set(Metric::Memory, used);
        if let Some(event) = memory.look(used) {
            around.store.tell(&event, &around.metrics);
        }
        if memory.since.is_some() {
            short.send_modify(|times| *times += 1);
        }
        if Instant::now() >= next {
            next = Instant::now() + LOOK;
            clock.look(&around.store);
            let (events, is_stuck) = tasks.look();
            for event in events {
                around.store.tell(&event, &around.metrics);
            }
            stuck.send_if_modified(|was| std::mem::replace(was, is_stuck) != is_stuck);
        }
        let until_next = next.saturating_duration_since(Instant::now());
        wait = if used > around.memory / 2 { LOOK_SOON.min(until_next) } else { until_next }.max(LEAST);
    }
}

struct ClockWatch {
    clock: Clock,
    offset_ms: i64,
}

impl ClockWatch {
    fn new(clock: Clock) -> Self {
        let offset_ms = clock.now().offset_ms();
        Self { clock, offset_ms }
    }

    /// Tells the store when the machine's clock was set.
    fn look(&mut self, store: &Store) {
        let now = self.clock.now().offset_ms();
        if now.abs_diff(self.offset_ms) >= clock::JUMP_MS {
            store.clock_set(now.saturating_sub(self.offset_ms));
        }
        // Smaller steps keep the clock right. They must not add up to a jump.
        self.offset_ms = now;
    }
}

struct MemoryWatch {
    most: u64,
    since: Option<Instant>,
}

impl MemoryWatch {
    /// The event to tell, when memory has become short or is enough again.
    fn look(&mut self, used: u64) -> Option<Event> {
        match self.since {
            None if used > self.most => {
                self.since = Some(Instant::now());
                Some(Event::MemoryShort { used, most: self.most })
            }
            // A little less, so that the two do not take turns.
            Some(since) if used < self.most / 10 * 9 => {
                self.since = None;
                Some(Event::MemoryEnough { used, seconds: since.elapsed().as_secs() })
            }
            _ => None,
        }
    }
}

struct TaskWatch {
    pulses: Pulses,
    /// The tasks that were reported, and the looks of their work at the last look.
    told: BTreeMap<(Arc<str>, &'static str), u64>,
}

impl TaskWatch {
    /// The events to tell, each hang once, and whether a task hangs for good.
    fn look(&mut self) -> (Vec<Event>, bool) {
        let hangs = self.pulses.look(HANGS);
        self.told.retain(|(part, task), looks| {
            // Tasks of one name count as one: the one that hangs for longest.
            hangs.iter().any(|hang| hang.part == *part && hang.task == *task && hang.looks > *looks)
        });
        let is_stuck = hangs.iter().any(|hang| hang.work == Work::Shared && hang.looks >= STUCK);
        let mut events = Vec::new();
        for Hang { part, task, looks, .. } in hangs {
            let last = self.told.entry((part.clone(), task)).or_default();
            let is_new = *last == 0;
            *last = looks.max(*last);
            if is_new {
                events.push(Event::PartHangs { part: part.to_string(), task, seconds: looks * LOOK.as_secs() });
            }
        }
        (events, is_stuck)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_short_until_a_tenth_below_its_limit() {
        let mut watch = MemoryWatch { most: 1000, since: None };
        assert_eq!(watch.look(1000), None);
        assert_eq!(watch.look(1001), Some(Event::MemoryShort { used: 1001, most: 1000 }));
        assert_eq!(watch.look(5000), None, "told once");
        assert_eq!(watch.look(900), None);
        assert_eq!(watch.look(899), Some(Event::MemoryEnough { used: 899, seconds: 0 }));
        assert_eq!(watch.look(1000), None);
    }

    #[test]
    fn a_hang_is_told_once_and_stuck_is_only_what_shares_its_thread() {
        let pulses = Pulses::default();
        let mut watch = TaskWatch { pulses: pulses.clone(), told: BTreeMap::new() };
        let (apart, shared) = (pulses.add("store", "commit", Work::Apart), pulses.add("sink.a", "run", Work::Shared));
        let slow = apart.begin();
        let mut told = Vec::new();
        let mut looks = |watch: &mut TaskWatch, times| {
            (0..times).map(|_| watch.look()).fold(false, |_, (events, is_stuck)| {
                told.extend(events.iter().map(Event::message));
                is_stuck
            })
        };
        assert!(!looks(&mut watch, 100), "a slow disk is no reason to start again");
        drop(slow);
        let _again = apart.begin();
        let _hangs = shared.begin();
        assert!(!looks(&mut watch, 50));
        assert!(looks(&mut watch, 20));
        assert_eq!(
            told,
            [
                "store: commit has not come to an end for 10 s",
                "store: commit has not come to an end for 10 s",
                "sink.a: run has not come to an end for 10 s"
            ]
        );
    }
}
