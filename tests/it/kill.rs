//! `kill -9` at random moments, judged by value and by what the broker received.

use crate::rig::{Agent, Mosquitto, Proxy, readings, runtime, until, without_repeats};
use forebay::hub::{Hub, Settings};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

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
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Traffic {
    fn start(broker: u16, qos: u8, log: &Path) -> Self {
        let (stop, published, written) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (stopped, count) = (stop.clone(), published.clone());
        let messages = std::thread::spawn(move || {
            while !stopped.load(SeqCst) {
                let from = count.load(SeqCst);
                let lines: Vec<String> = (from..from + 40).map(|n| format!("{{\"n\":{n}}}")).collect();
                crate::rig::publish_at(broker, "plant/a", qos, &lines);
                count.store(from + 40, SeqCst);
            }
        });
        let (stopped, count, log) = (stop.clone(), written.clone(), log.to_path_buf());
        let lines = std::thread::spawn(move || {
            let mut number = 0;
            while !stopped.load(SeqCst) {
                let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&log).unwrap();
                for _ in 0..25 {
                    writeln!(file, "line {number}").unwrap();
                    number += 1;
                }
                count.store(number, SeqCst);
                if number % 2000 == 0 {
                    // Rotation by rename, as logrotate does it.
                    let old = log.with_extension(format!("{number}"));
                    std::fs::rename(&log, old).unwrap();
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Self { stop, published, written, threads: vec![messages, lines] }
    }

    fn stop(self) -> (u64, u64) {
        self.stop.store(true, SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
        (self.published.load(SeqCst), self.written.load(SeqCst))
    }
}

fn storm(qos: u8, protocol: &str) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let broker = Mosquitto::start(dir.path(), "max_queued_messages 0\nmax_inflight_messages 100");
    let log = dir.path().join("plant.log");
    let (proxy, hub) = runtime.block_on(async {
        let proxy = Proxy::start(broker.port, protocol == "5").await;
        let settings = Settings { listen: "127.0.0.1:0".into(), partitions: 1, ..Settings::default() };
        (proxy, Hub::start(settings).await.unwrap())
    });
    let (config, connection) = (config(proxy.port, qos, protocol, &log), hub.connection_string("readings"));
    // The session must be there before the first message.
    let first = Agent::start(dir.path(), &config, &connection);
    until("the agent subscribes", || first.log().contains("connected"));
    let mut agent = Some(first);
    let traffic = Traffic::start(broker.port, qos, &log);
    let mut at_a_kill = BTreeSet::new();
    for round in 0..kills() {
        // Any moment will do; these are spread over commits, deliveries, starts and recoveries.
        std::thread::sleep(Duration::from_millis(30 + round * 7919 % 700));
        let doomed = agent.take().unwrap();
        at_a_kill.append(&mut proxy.in_flight());
        doomed.kill();
        at_a_kill.append(&mut proxy.in_flight());
        agent = Some(Agent::start(dir.path(), &config, &connection));
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
    until("every message and every line is at the hub", || {
        values("readings").keys().cloned().collect::<BTreeSet<_>>() == messages
            && values("lines").keys().cloned().collect::<BTreeSet<_>>() == lines
    });
    agent.unwrap().stop();
    // A line is there exactly once after removing repeats by identity.
    let twice: Vec<_> = values("lines").into_iter().filter(|(_, count)| *count != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    // What the broker was told to be safe is there.
    let there: BTreeSet<String> = values("readings").into_keys().collect();
    let acknowledged = proxy.acknowledged();
    let lost: Vec<_> = acknowledged.difference(&there).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    // Under two identities is only what was in flight at a kill; at QoS 2 nothing is.
    let twice: BTreeSet<String> = values("readings").into_iter().filter(|(_, n)| *n > 1).map(|(v, _)| v).collect();
    if qos == 2 {
        assert!(twice.is_empty(), "stored twice at QoS 2: {twice:?}");
    }
    let unexplained: Vec<_> = twice.difference(&at_a_kill).collect();
    assert!(unexplained.is_empty(), "stored twice without having been in flight at a kill: {unexplained:?}");
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
    storm(1, "3.1.1");
}

#[test]
fn kill_9_stores_each_message_once_at_qos_2() {
    storm(2, "3.1.1");
}

#[test]
fn kill_9_loses_nothing_at_qos_1_with_mqtt_5() {
    storm(1, "5");
}

#[test]
fn kill_9_stores_each_message_once_at_qos_2_with_mqtt_5() {
    storm(2, "5");
}
