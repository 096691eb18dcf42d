//! `kill -9` at random moments, brokers that restart and disks that stall, judged by value and by what
//! the broker received.

use crate::rig::{
    Aedes, Agent, Mosquitto, Mount, Proxy, append_lines, readings, runtime, until, until_none, without_repeats,
};
use forebay::hub::{Hub, Settings};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// For so long an acknowledgement may lie in the socket of a busy broker.
const UNREAD: Duration = Duration::from_secs(1);

/// Kills in the normal suite; `tests/run --long` sets more.
fn kills() -> u64 {
    std::env::var("FOREBAY_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(20)
}

fn config(port: u16, qos: u8, protocol: &str, log: &Path) -> String {
    format!(
        "device = \"killed\"\n[store]\nlinger = \"200ms\"\nreserve = \"16MiB\"\n\
         [source.plant]\nkind = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{port}\"\ntopics = [\"plant/#\"]\nqos = {qos}\nprotocol = \"{protocol}\"\n\
         [source.log]\nkind = \"file\"\npath = \"{}\"\npoll = \"50ms\"\nstream = \"lines\"\n\
         [sink.hub]\nkind = \"eventhubs\"\nconnection = {{ env = \"EVENTHUB_CONNECTION\" }}\nlinger = \"100ms\"\n",
        log.display()
    )
}

/// Messages and lines that are written while the agent is killed again and again.
struct Traffic {
    stop: Arc<AtomicBool>,
    published: Arc<AtomicU64>,
    written: Arc<AtomicU64>,
    /// The highest line at the hub: of two rotations without a look between, the second costs a file
    /// (docs/sources/file.md).
    seen: Arc<AtomicU64>,
    /// Held while messages are published, and while the broker is away.
    broker: Arc<Mutex<()>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Traffic {
    fn start(broker: u16, qos: u8, log: &Path) -> Self {
        let (stop, published, written) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let present: Arc<Mutex<()>> = Arc::default();
        let (stopped, count, is_present) = (stop.clone(), published.clone(), present.clone());
        let messages = std::thread::spawn(move || {
            while !stopped.load(SeqCst) {
                let from = count.load(SeqCst);
                let lines: Vec<String> = (from..from + 40).map(|n| format!("{{\"n\":{n}}}")).collect();
                let held = is_present.lock().unwrap();
                crate::rig::publish_at(broker, "plant/a", qos, &lines);
                count.store(from + 40, SeqCst);
                drop(held);
                // Whoever waits for the broker gets it.
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let seen = Arc::<AtomicU64>::default();
        let (stopped, count, looked, log) = (stop.clone(), written.clone(), seen.clone(), log.to_path_buf());
        let lines = std::thread::spawn(move || {
            let (mut number, mut first) = (0, 0);
            while !stopped.load(SeqCst) {
                append_lines(&log, (number..number + 25).map(|n| format!("line {n}")));
                number += 25;
                count.store(number, SeqCst);
                if number >= first + 2000 && looked.load(SeqCst) > first {
                    first = number;
                    // Rotation by rename, as logrotate does it.
                    let old = log.with_extension(format!("{number}"));
                    std::fs::rename(&log, old).unwrap();
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Self { stop, published, written, seen, broker: present, threads: vec![messages, lines] }
    }

    fn stop(self) -> (u64, u64) {
        self.stop.store(true, SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
        (self.published.load(SeqCst), self.written.load(SeqCst))
    }
}

/// What happens, round after round.
#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    Kills,
    /// Kills, restarts of the broker, and a disk on which nothing can be written for a while.
    All,
}

/// A broker that sessions survive.
enum Broker {
    Mosquitto(Mosquitto),
    Aedes(Aedes),
}

impl Broker {
    fn port(&self) -> u16 {
        match self {
            Self::Mosquitto(broker) => broker.port,
            Self::Aedes(broker) => broker.port,
        }
    }

    fn restart(&mut self) {
        let Self::Mosquitto(broker) = self else { panic!("what aedes knows is in its memory") };
        broker.stop();
        broker.start_again();
    }
}

fn storm(qos: u8, protocol: &str, trouble: Trouble) {
    let dir = tempfile::tempdir().unwrap();
    let broker = Mosquitto::start(dir.path(), "max_queued_messages 0\nmax_inflight_messages 100");
    storm_at(Broker::Mosquitto(broker), dir.path(), qos, protocol, trouble);
}

fn storm_at(mut broker: Broker, dir: &Path, qos: u8, protocol: &str, trouble: Trouble) {
    let runtime = runtime();
    let state = (trouble == Trouble::All).then(|| Mount::new(&dir.join("state"), 300));
    let log = dir.join("plant.log");
    let (proxy, hub) = runtime.block_on(async {
        let proxy = Proxy::start(broker.port(), protocol == "5").await;
        let settings = Settings { listen: "127.0.0.1:0".into(), partitions: 1, ..Settings::default() };
        (proxy, Hub::start(settings).await.unwrap())
    });
    let (config, connection) = (config(proxy.port, qos, protocol, &log), hub.connection_string("readings"));
    // The session must be there before the first message.
    let first = Agent::start(dir, &config, &connection);
    until("the agent subscribes", || first.log().contains("connected"));
    let mut agent = Some(first);
    let traffic = Traffic::start(broker.port(), qos, &log);
    let highest = || {
        let lines = readings(&hub, "readings").into_iter().filter(|reading| reading.lane.1 == "lines");
        lines.filter_map(|line| line.value().strip_prefix("line ")?.parse::<u64>().ok()).max().unwrap_or(0)
    };
    let mut at_a_kill = BTreeSet::new();
    for round in 0..kills() {
        // Any moment will do; these are spread over commits, deliveries, starts and recoveries.
        std::thread::sleep(Duration::from_millis(30 + round * 7919 % 700));
        traffic.seen.store(highest(), SeqCst);
        at_a_kill.append(&mut proxy.in_flight());
        // Of twelve rounds all sorts, and all together.
        let (kills, restarts, stalls) = match (trouble, round % 12) {
            (Trouble::All, sort) => (sort % 2 == 0, sort % 3 == 0, sort % 4 < 2),
            (Trouble::Kills, _) => (true, false, false),
        };
        let frozen = state.as_ref().filter(|_| stalls);
        frozen.inspect(|disk| disk.freeze());
        if stalls {
            std::thread::sleep(Duration::from_millis(round * 6151 % 500));
        }
        if restarts {
            let away = traffic.broker.lock().unwrap();
            let before = Instant::now();
            broker.restart();
            drop(away);
            // The broker may have ended without reading them; a kill would then be too early for its repeats.
            at_a_kill.append(&mut proxy.acknowledged_since(before.checked_sub(UNREAD).unwrap()));
        }
        at_a_kill.append(&mut proxy.in_flight());
        // A process that waits for its disk ends when that goes on.
        let doomed = agent.take_if(|_| kills).map(|doomed| std::thread::spawn(|| doomed.kill()));
        frozen.inspect(|disk| disk.thaw());
        if let Some(doomed) = doomed {
            doomed.join().unwrap();
            at_a_kill.append(&mut proxy.in_flight());
            agent = Some(Agent::start(dir, &config, &connection));
        }
    }
    let (published, written) = traffic.stop();
    assert!(published > 0 && written > 0);
    let values = |stream: &str| {
        let all: Vec<_> = readings(&hub, "readings").into_iter().filter(|reading| reading.lane.1 == stream).collect();
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for reading in without_repeats(&all) {
            *counts.entry(reading.value()).or_default() += 1;
        }
        counts
    };
    let all = |n: u64, name: fn(u64) -> String| (0..n).map(name).collect::<BTreeSet<_>>();
    let (messages, lines) = (all(published, |n| format!("{{\"n\":{n}}}")), all(written, |n| format!("line {n}")));
    let differ = |stream: &str, all: &BTreeSet<String>| {
        let there: BTreeSet<String> = values(stream).into_keys().collect();
        all.symmetric_difference(&there).cloned().collect::<Vec<_>>()
    };
    until_none("every message and every line is at the hub, and nothing else", || {
        [differ("readings", &messages), differ("lines", &lines)].concat()
    });
    agent.unwrap().stop();
    // A line is there exactly once after removing repeats by identity.
    let twice: Vec<_> = values("lines").into_iter().filter(|(_, count)| *count != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    // And in the order in which they were written, whatever was renamed when.
    let all: Vec<_> = readings(&hub, "readings").into_iter().filter(|reading| reading.lane.1 == "lines").collect();
    let in_order = (0..written).map(|n| format!("line {n}"));
    assert!(without_repeats(&all).iter().map(crate::rig::Reading::value).eq(in_order), "lines are out of order");
    // What the broker was told to be safe is there.
    let there: BTreeSet<String> = values("readings").into_keys().collect();
    let acknowledged = proxy.acknowledged();
    let lost: Vec<_> = acknowledged.difference(&there).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let twice: BTreeSet<String> = values("readings").into_iter().filter(|(_, n)| *n > 1).map(|(v, _)| v).collect();
    // Under two identities is only what the broker may not have known to be safe at a kill; at QoS 2 nothing
    // is. Not with aedes, which sends messages again within a connection, unmarked, and at QoS 2 after it was
    // told that they arrived.
    if matches!(broker, Broker::Mosquitto(_)) {
        if qos == 2 {
            assert!(twice.is_empty(), "stored twice at QoS 2: {twice:?}");
        }
        let unexplained: Vec<_> = twice.difference(&at_a_kill).collect();
        assert!(
            unexplained.is_empty(),
            "stored twice, and in flight neither at a kill nor at a restart: {unexplained:?}"
        );
    }
    eprintln!(
        "MQTT {protocol}, qos {qos}: {} kills, {published} messages ({} twice), {written} lines, {} acknowledged",
        kills(),
        twice.len(),
        acknowledged.len()
    );
    drop(hub);
}

#[test]
fn kill_9_loses_nothing_at_qos_1() {
    storm(1, "3.1.1", Trouble::Kills);
}

#[test]
fn kill_9_stores_each_message_once_at_qos_2() {
    storm(2, "3.1.1", Trouble::Kills);
}

#[test]
fn kill_9_loses_nothing_at_qos_1_with_mqtt_5() {
    storm(1, "5", Trouble::Kills);
}

#[test]
fn kill_9_stores_each_message_once_at_qos_2_with_mqtt_5() {
    storm(2, "5", Trouble::Kills);
}

#[test]
fn kills_with_broker_restarts_and_disk_stalls_lose_nothing_at_qos_1() {
    storm(1, "3.1.1", Trouble::All);
}

#[test]
fn kills_with_broker_restarts_and_disk_stalls_store_each_message_once_at_qos_2() {
    storm(2, "5", Trouble::All);
}

/// A broker that shares no code with mosquitto.
#[test]
fn kill_9_with_another_broker_loses_nothing() {
    for qos in [1, 2] {
        let dir = tempfile::tempdir().unwrap();
        storm_at(Broker::Aedes(Aedes::start(dir.path())), dir.path(), qos, "3.1.1", Trouble::Kills);
    }
}
