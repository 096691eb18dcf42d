//! What a persistent session of a broker brings besides new messages: filters of an earlier configuration,
//! copies, retained messages, and messages that were over.

use crate::rig::{Agent, Cutter, Mosquitto, files, free_port, until, without_repeats};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

fn config(dir: &Path, port: u16, source: &str) -> String {
    format!(
        "device = \"d\"\n[store]\nlinger = \"50ms\"\nreserve = \"16MiB\"\n\
         [source.plant]\nkind = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{port}\"\nclient_id = \"it\"\n{source}\n\
         [sink.out]\nkind = \"directory\"\npath = \"{}/out\"\nlinger = \"0s\"\n",
        dir.display()
    )
}

fn values(dir: &Path) -> Vec<String> {
    let all = without_repeats(&files(&dir.join("out"), "readings"));
    all.iter().filter(|reading| reading.line["key"] != "probe").map(crate::rig::Reading::value).collect()
}

/// Sends until the subscription to `probe` is in force.
fn in_force(dir: &Path, broker: &Mosquitto) {
    let before = files(&dir.join("out"), "readings").len();
    until("the subscription is in force", || {
        broker.publish("probe", 1, &["0".into()]);
        files(&dir.join("out"), "readings").len() > before
    });
}

#[test]
fn topics_that_left_the_configuration_bring_nothing_any_more() {
    for protocol in ["3.1.1", "5"] {
        let dir = tempfile::tempdir().unwrap();
        let broker = Mosquitto::start(dir.path(), "");
        let source = |topics: &str| format!("protocol = \"{protocol}\"\ntopics = [{topics}]");
        let start = |topics: &str| Agent::start(dir.path(), &config(dir.path(), broker.port, &source(topics)), "");
        let agent = start("\"probe\", \"a/#\", \"b/#\"");
        in_force(dir.path(), &broker);
        assert!(agent.stop().success());
        // While nobody is there the broker keeps both.
        broker.publish("b/x", 1, &["1".into()]);
        broker.publish("a/x", 1, &["2".into()]);
        let agent = start("\"probe\", \"a/#\"");
        until("what is wanted is there", || values(dir.path()) == ["2"]);
        until("it is told", || {
            agent.log().contains("unsubscribing: not configured any more") && agent.log().contains("topics=\"b/#\"")
        });
        assert!(agent.log().contains("that no configured topic asks for"), "{}", agent.log());
        in_force(dir.path(), &broker);
        broker.publish("b/x", 1, &["3".into()]);
        broker.publish("a/x", 1, &["4".into()]);
        until("what is wanted is there", || values(dir.path()) == ["2", "4"]);
        let told = agent.log().matches("that no configured topic asks for").count();
        assert!(agent.stop().success());
        // The broker does not send it any more, and has nothing kept.
        let agent = start("\"probe\", \"a/#\"");
        in_force(dir.path(), &broker);
        assert_eq!(agent.log().matches("that no configured topic asks for").count(), told);
        assert!(agent.stop().success());
        assert_eq!(values(dir.path()), ["2", "4"]);
    }
}

#[test]
fn what_is_retained_comes_once_as_long_as_the_session_is_there() {
    for protocol in ["3.1.1", "5"] {
        let dir = tempfile::tempdir().unwrap();
        let mut broker = Mosquitto::start(dir.path(), "");
        let retain = |topic: &str, value: &str| {
            let port = broker.port.to_string();
            let done = std::process::Command::new("mosquitto_pub")
                .args(["-h", "127.0.0.1", "-p", &port, "-r", "-q", "1", "-t", topic, "-m", value])
                .status();
            assert!(done.unwrap().success());
        };
        retain("a/old", "1");
        retain("b/old", "2");
        let source = |topics: &str| format!("protocol = \"{protocol}\"\ntopics = [{topics}]");
        let one = config(dir.path(), broker.port, &source("\"probe\", \"a/#\""));
        for start in 0..3 {
            let agent = Agent::start(dir.path(), &one, "");
            in_force(dir.path(), &broker);
            if start == 0 {
                // It is known to have come when nothing came for a second.
                std::thread::sleep(std::time::Duration::from_secs(3));
            }
            assert!(agent.stop().success());
        }
        let agent = Agent::start(dir.path(), &one, "");
        in_force(dir.path(), &broker);
        agent.kill();
        assert_eq!(values(dir.path()), ["1"]);
        // A topic that is new brings what is retained for it, and only that.
        let two = config(dir.path(), broker.port, &source("\"probe\", \"a/#\", \"b/#\""));
        let agent = Agent::start(dir.path(), &two, "");
        until("what is new is there", || values(dir.path()) == ["1", "2"]);
        // A broker that restarts knows the session.
        broker.stop();
        broker.start_again();
        in_force(dir.path(), &broker);
        assert!(agent.stop().success());
        assert_eq!(values(dir.path()), ["1", "2"]);
    }
}

#[test]
fn a_message_under_overlapping_filters_is_stored_once_with_mqtt_5() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Mosquitto::start(dir.path(), "allow_duplicate_messages true");
    for qos in [0, 1, 2] {
        let dir = tempfile::tempdir().unwrap();
        let source = format!(
            "client_id = \"overlap-{qos}\"\nprotocol = \"5\"\nqos = {qos}\ntopics = [\"plant/#\", \"plant/+/t\", \"probe\", \"#\"]"
        );
        let text = config(dir.path(), broker.port, &source).replace("client_id = \"it\"\n", "");
        let agent = Agent::start(dir.path(), &text, "");
        in_force(dir.path(), &broker);
        // The same value again and again is as many messages.
        let sent: Vec<String> = (0..60).map(|n| (n / 20).to_string()).collect();
        broker.publish(&format!("plant/{qos}/t"), qos, &sent);
        until("all are there", || values(dir.path()).len() >= sent.len());
        in_force(dir.path(), &broker);
        assert_eq!(values(dir.path()), sent, "qos {qos}");
        assert!(agent.stop().success());
        assert!(agent_copies(dir.path()) >= 120, "the broker sends three of each");
    }
}

/// What the last status line in the log says of copies.
fn agent_copies(dir: &Path) -> u64 {
    let log = std::fs::read_to_string(dir.join("agent.out")).unwrap();
    let text = log.rsplit("source_copies_skipped_total=").next().unwrap();
    text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

fn packet(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).ok()?;
    assert!(head[1] < 0x80, "short packets only");
    let mut rest = vec![0; usize::from(head[1])];
    stream.read_exact(&mut rest).ok()?;
    Some([&head[..], &rest].concat())
}

fn publish(stream: &mut TcpStream, dup: bool, id: u8, text: &str) {
    let body = [&[0, 1, b't', 0, id], text.as_bytes()].concat();
    let head = [0x34 | u8::from(dup) << 3, u8::try_from(body.len()).unwrap()];
    stream.write_all(&[&head[..], &body].concat()).unwrap();
}

/// Answers CONNECT and SUBSCRIBE; then reads until a PUBREC or PUBCOMP with this id has come.
fn wait_for(stream: &mut TcpStream, kind: u8, id: u8) {
    loop {
        let packet = packet(stream).expect("the agent went away");
        match packet[0] >> 4 {
            8 => stream.write_all(&[0x90, 3, packet[2], packet[3], 2]).unwrap(),
            _ if packet[0] >> 4 == kind && packet[3] == id => return,
            _ => {}
        }
    }
}

/// mosquitto 2.0.11 does this after a cut while it sends PUBREL again.
#[test]
fn a_qos_2_message_that_was_released_and_is_sent_once_more_is_stored_once() {
    const PUBREC: u8 = 5;
    const PUBCOMP: u8 = 7;
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = config(dir.path(), listener.local_addr().unwrap().port(), "topics = [\"t\"]\nqos = 2");
    let accept = |session_present: u8| {
        let (mut stream, _) = listener.accept().unwrap();
        packet(&mut stream).unwrap();
        stream.write_all(&[0x20, 2, session_present, 0]).unwrap();
        stream
    };
    let agent = Agent::start(dir.path(), &text, "");
    let mut stream = accept(0);
    for (id, value) in [(7, "1"), (8, "2")] {
        publish(&mut stream, false, id, value);
        wait_for(&mut stream, PUBREC, id);
        stream.write_all(&[0x62, 2, 0, id]).unwrap();
        wait_for(&mut stream, PUBCOMP, id);
    }
    drop(stream);
    let mut stream = accept(1);
    publish(&mut stream, true, 7, "1");
    wait_for(&mut stream, PUBREC, 7);
    agent.kill();
    drop(stream);
    // Over a kill, and after it was released twice.
    let agent = Agent::start(dir.path(), &text, "");
    let mut stream = accept(1);
    for id in [7, 8] {
        publish(&mut stream, true, id, if id == 7 { "1" } else { "2" });
        wait_for(&mut stream, PUBREC, id);
        stream.write_all(&[0x62, 2, 0, id]).unwrap();
        wait_for(&mut stream, PUBCOMP, id);
    }
    // The id comes with another message; the same value under it is a message of its own then.
    for (dup, value) in [(false, "1"), (true, "3"), (false, "1")] {
        publish(&mut stream, dup, 7, value);
        wait_for(&mut stream, PUBREC, 7);
        stream.write_all(&[0x62, 2, 0, 7]).unwrap();
        wait_for(&mut stream, PUBCOMP, 7);
    }
    until("all are there", || values(dir.path()).len() >= 5);
    drop(stream);
    drop(listener);
    assert!(agent.stop().success());
    assert_eq!(values(dir.path()), ["1", "2", "1", "3", "1"]);
}

#[test]
fn qos_2_over_a_network_that_cuts_connections_brings_each_message_once() {
    for protocol in ["3.1.1", "5"] {
        let dir = tempfile::tempdir().unwrap();
        let broker = Mosquitto::start(dir.path(), "max_queued_messages 0\nmax_inflight_messages 200");
        let port = free_port();
        let cutter = Cutter::start(port, broker.port, 60_000);
        let source = format!("protocol = \"{protocol}\"\ntopics = [\"t\"]\nqos = 2");
        let agent = Agent::start(dir.path(), &config(dir.path(), port, &source), "");
        let sent: Vec<String> = (0..3000).map(|n| n.to_string()).collect();
        until("it is connected", || agent.log().contains("connected"));
        until("it has subscribed", || {
            broker.publish("t", 2, &["-1".into()]);
            values(dir.path()).contains(&"-1".into())
        });
        for part in sent.chunks(500) {
            broker.publish("t", 2, part);
        }
        let numbers = || {
            let mut numbers: Vec<u32> = values(dir.path()).iter().filter_map(|value| value.parse().ok()).collect();
            numbers.sort_unstable();
            numbers
        };
        until("all are there", || {
            let mut numbers = numbers();
            numbers.dedup();
            numbers.len() == sent.len()
        });
        assert!(agent.stop().success());
        assert!(cutter.cuts() >= 2, "{} cuts", cutter.cuts());
        let numbers = numbers();
        assert!(
            numbers.iter().copied().eq(0..3000),
            "{protocol}: {} instead of 3000, {} cuts",
            numbers.len(),
            cutter.cuts()
        );
    }
}
