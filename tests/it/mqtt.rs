//! The real mosquitto into a folder.

use crate::rig::{Agent, Mosquitto, files, until, without_repeats};
use std::path::Path;

fn config(dir: &Path, port: u16, topics: &str, more: &str) -> String {
    format!(
        "device = \"d\"\n[store]\nlinger = \"100ms\"\nreserve = \"16MiB\"\n\
         [source.plant]\nkind = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{port}\"\ntopics = {topics}\n{more}\n\
         [sink.out]\nkind = \"directory\"\npath = \"{}/out\"\nlinger = \"0s\"\n\
         from = [\"readings\", \"forebay.dead-letters\"]\n",
        dir.display()
    )
}

fn delivered(dir: &Path) -> Vec<(String, String)> {
    let all = without_repeats(&files(&dir.join("out"), "readings"));
    all.iter().map(|r| (r.line["key"].as_str().unwrap().to_string(), r.value())).collect()
}

fn values(dir: &Path) -> Vec<String> {
    delivered(dir).into_iter().map(|(_, value)| value).collect()
}

fn subscribed(agent: &Agent, times: usize) {
    until("the agent is connected", || agent.log().matches("connected").count() >= times);
}

#[test]
fn every_qos_and_wildcard_arrives_once() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Mosquitto::start(dir.path(), "");
    for qos in [0, 1, 2] {
        let dir = tempfile::tempdir().unwrap();
        let topics = format!("[\"q{qos}/+/temp\", \"deep{qos}/#\"]");
        let more = format!("qos = {qos}\nclient_id = \"it-{qos}\"");
        let agent = Agent::start(dir.path(), &config(dir.path(), broker.port, &topics, &more), "");
        subscribed(&agent, 1);
        // SUBSCRIBE follows the connection: messages are sent until the first one arrives.
        until("the subscription is in force", || {
            broker.publish(&format!("deep{qos}/probe"), 0, &["0".into()]);
            !delivered(dir.path()).is_empty()
        });
        let probes =
            |dir: &Path| delivered(dir).into_iter().filter(|(key, _)| !key.ends_with("probe")).collect::<Vec<_>>();
        broker.publish(&format!("q{qos}/a/temp"), qos, &["1".into(), "2".into()]);
        broker.publish(&format!("q{qos}/a/b/temp"), qos, &["no".into()]);
        broker.publish(&format!("deep{qos}/a/b/c"), qos, &["3".into()]);
        let expected: Vec<(String, String)> = [("a/temp", "1"), ("a/temp", "2"), ("a/b/c", "3")]
            .iter()
            .map(|(topic, value)| {
                (format!("{}{qos}/{topic}", if *value == "3" { "deep" } else { "q" }), value.to_string())
            })
            .collect();
        until("three readings are there", || probes(dir.path()).len() >= 3);
        assert_eq!(probes(dir.path()), expected, "qos {qos}");
        assert!(agent.stop().success());
    }
}

#[test]
fn payloads_that_are_no_readings_become_dead_letters() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Mosquitto::start(dir.path(), "");
    let agent = Agent::start(dir.path(), &config(dir.path(), broker.port, "[\"#\"]", ""), "");
    subscribed(&agent, 1);
    until("the subscription is in force", || {
        broker.publish("probe", 0, &["0".into()]);
        !delivered(dir.path()).is_empty()
    });
    let file = |bytes: &[u8]| {
        let path = dir.path().join("payload");
        std::fs::write(&path, bytes).unwrap();
        broker.publish_file("bad", 1, &path);
    };
    file(b"{\"a\":");
    file(b"\"\xc3\x28\"");
    file(b"");
    file(&vec![b'7'; 10 << 20]);
    // The longest topic that MQTT allows.
    let longest = "t".repeat(65_535);
    broker.publish(&longest, 1, &["41".into()]);
    broker.publish("good", 1, &["42".into()]);
    until("the good ones are there", || values(dir.path()).last().is_some_and(|value| value == "42"));
    assert!(delivered(dir.path()).iter().any(|(key, value)| key.len() == 65_535 && value == "41"));
    let dead = || files(&dir.path().join("out"), "forebay.dead-letters");
    until("four dead letters are there", || dead().len() >= 4);
    let reason = |n: usize| dead()[n].line["attributes"]["reason"].as_str().unwrap().to_string();
    assert!(reason(0).contains("not JSON") && reason(1).contains("UTF-8") && reason(2).contains("empty"));
    assert_eq!(dead()[3].line["attributes"]["length"], (10 << 20).to_string());
    assert_eq!(dead().len(), 4, "nothing came again: everything was acknowledged");
    drop(agent);
}

#[test]
fn a_broker_restart_loses_nothing_and_a_lost_session_is_subscribed_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Mosquitto::start(dir.path(), "");
    let agent = Agent::start(dir.path(), &config(dir.path(), broker.port, "[\"p/#\"]", ""), "");
    subscribed(&agent, 1);
    until("the subscription is in force", || {
        broker.publish("p/probe", 0, &["0".into()]);
        !delivered(dir.path()).is_empty()
    });
    broker.publish("p/a", 1, &["1".into()]);
    until("the first is there", || values(dir.path()).contains(&"1".into()));
    broker.stop();
    broker.start_again();
    broker.publish("p/a", 1, &["2".into()]);
    until("what came right after the restart is there", || values(dir.path()).contains(&"2".into()));
    // Now the broker forgets everything.
    broker.stop();
    std::fs::remove_dir_all(dir.path().join("mosquitto")).unwrap();
    std::fs::create_dir_all(dir.path().join("mosquitto")).unwrap();
    broker.start_again();
    until("subscribed again", || {
        broker.publish("p/a", 1, &["3".into()]);
        values(dir.path()).contains(&"3".into())
    });
    let once = |value: &str| values(dir.path()).iter().filter(|v| *v == value).count();
    assert_eq!((once("1"), once("2")), (1, 1));
    drop(agent);
}

#[test]
fn a_window_of_one_still_flows() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Mosquitto::start(dir.path(), "max_inflight_messages 1\nmax_queued_messages 0");
    let slow = config(dir.path(), broker.port, "[\"p\"]", "").replace("100ms", "2s");
    let agent = Agent::start(dir.path(), &slow, "");
    subscribed(&agent, 1);
    until("the subscription is in force", || {
        broker.publish("p", 1, &["0".into()]);
        !delivered(dir.path()).is_empty()
    });
    let lines: Vec<String> = (1..=60).map(|n| n.to_string()).collect();
    broker.publish("p", 1, &lines);
    // With a commit every 2 s this would take two minutes; the window is learned.
    until("all are there", || values(dir.path()).contains(&"60".into()));
    drop(agent);
}
