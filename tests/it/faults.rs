//! The hub goes, refuses, answers garbage.

use crate::rig::{Agent, append_lines, free_port, readings, runtime, until, without_repeats};
use forebay::hub::fault::Fault;
use forebay::hub::{Hub, Settings};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

fn config(dir: &Path, more: &str) -> String {
    format!(
        "device = \"d\"\n[store]\nlinger = \"50ms\"\nreserve = \"16MiB\"\n\
         [source.log]\nkind = \"file\"\npath = \"{}/a.log\"\npoll = \"20ms\"\n\
         [sink.hub]\nkind = \"eventhubs\"\nconnection = {{ env = \"EVENTHUB_CONNECTION\" }}\nlinger = \"0s\"\n{more}\n",
        dir.display()
    )
}

fn write(dir: &Path, lines: impl IntoIterator<Item = String>) {
    append_lines(&dir.join("a.log"), lines);
}

fn hub(settings: Settings) -> (tokio::runtime::Runtime, Hub) {
    let runtime = runtime();
    let hub = runtime.block_on(Hub::start(Settings { partitions: 2, ..settings })).unwrap();
    (runtime, hub)
}

fn anywhere() -> Settings {
    Settings { listen: "127.0.0.1:0".into(), ..Settings::default() }
}

fn values(hub: &Hub) -> Vec<String> {
    without_repeats(&readings(hub, "readings")).iter().map(crate::rig::Reading::value).collect()
}

#[test]
fn an_outage_of_the_hub_is_made_up_for_in_order_and_after_proves_it() {
    let dir = tempfile::tempdir().unwrap();
    let (_runtime, hub) = hub(anywhere());
    let agent = Agent::start(dir.path(), &config(dir.path(), ""), &hub.connection_string("readings"));
    write(dir.path(), (0..100).map(|n| n.to_string()));
    until("the first are there", || values(&hub).len() == 100);
    hub.cut(true);
    write(dir.path(), (100..5000).map(|n| n.to_string()));
    until("the agent notices", || agent.log().contains("sink_down"));
    hub.cut(false);
    until("all are there", || values(&hub).len() == 5000);
    assert_eq!(values(&hub), (0..5000).map(|n| n.to_string()).collect::<Vec<_>>());
    let mut sent = 0;
    for reading in without_repeats(&readings(&hub, "readings")) {
        assert!(reading.after <= sent, "after says {}, sent up to {sent}", reading.after);
        sent = i64::try_from(reading.sequence).unwrap();
    }
    assert!(agent.stop().success());
}

#[test]
fn a_hub_that_was_never_there_is_no_trouble_when_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let settings = Settings { listen: format!("127.0.0.1:{port}"), ..Settings::default() };
    let connection = format!(
        "Endpoint=sb://127.0.0.1:{port};SharedAccessKeyName={};SharedAccessKey={};UseDevelopmentEmulator=true;EntityPath=readings",
        settings.key_name, settings.key
    );
    write(dir.path(), ["1".into()]);
    let agent = Agent::start(dir.path(), &config(dir.path(), ""), &connection);
    until("the agent says so", || agent.log().contains("Connection refused"));
    let (_runtime, hub) = hub(settings);
    until("it is there", || values(&hub) == ["1"]);
}

#[test]
fn a_wrong_key_is_said_clearly_and_not_hammered_with() {
    let dir = tempfile::tempdir().unwrap();
    let (_runtime, hub) = hub(anywhere());
    let wrong = hub.connection_string("readings").replace("SAS_KEY_VALUE", "wrong");
    write(dir.path(), (0..50).map(|n| n.to_string()));
    let agent = Agent::start(dir.path(), &config(dir.path(), ""), &wrong);
    until("the agent says so", || agent.log().contains("refuses the token"));
    assert!(agent.log().contains("check the connection string's key"), "{}", agent.log());
    assert!(!agent.log().contains("wrong;"), "the key is not shown");
    // The least wait is 15 s: a second try within this time would be hammering.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(hub.connections(), 1);
    agent.stop();
    let agent = Agent::start(dir.path(), &config(dir.path(), ""), &hub.connection_string("readings"));
    until("with the right key all are there", || values(&hub).len() == 50);
    drop(agent);
}

#[test]
fn an_event_hub_that_does_not_exist_is_said_clearly() {
    let dir = tempfile::tempdir().unwrap();
    let (_runtime, hub) = hub(anywhere());
    write(dir.path(), ["1".into()]);
    let agent = Agent::start(dir.path(), &config(dir.path(), ""), &hub.connection_string("other"));
    until("the agent says so", || agent.log().contains("check the event hub's name"));
    assert_eq!(hub.connections(), 1);
    drop(agent);
}

#[test]
fn garbage_from_the_hub_is_survived() {
    let dir = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answered = Arc::new(AtomicU64::new(0));
    let count = answered.clone();
    std::thread::spawn(move || {
        let sasl = b"AMQP\x03\x01\x00\x00";
        let garbage: [&[u8]; 6] = [
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            &[0; 64],
            &[0xff; 4096],
            // A frame of five bytes, which makes the library panic.
            b"AMQP\x03\x01\x00\x00\x00\x00\x00\x05\x02",
            b"AMQP\x03\x01\x00\x00\xff\xff\xff\xff\x02\x01\x00\x00",
            b"",
        ];
        for (n, stream) in listener.incoming().enumerate() {
            let Ok(mut stream) = stream else { return };
            let mut first = [0; 8];
            let _ = stream.read_exact(&mut first);
            assert_eq!(&first, sasl);
            let _ = stream.write_all(garbage[n % garbage.len()]);
            count.fetch_add(1, SeqCst);
        }
    });
    write(dir.path(), ["1".into()]);
    let connection = format!(
        "Endpoint=sb://127.0.0.1:{port};SharedAccessKeyName=k;SharedAccessKey=s;UseDevelopmentEmulator=true;EntityPath=readings"
    );
    let mut agent = Agent::start(dir.path(), &config(dir.path(), ""), &connection);
    until("four kinds of garbage were answered", || answered.load(SeqCst) >= 4);
    assert!(agent.is_running());
    assert!(agent.stop().success());
}

#[test]
fn what_is_too_large_is_cut_and_what_cannot_be_cut_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let (_runtime, hub) = hub(Settings { max_message_size: 24 << 10, ..anywhere() });
    // Text that does not compress well, so that batches come out larger than the link takes.
    let line = |n: u64| {
        let mut seed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut text = format!("{n} ");
        for _ in 0..60 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            write!(text, "{seed:016x}").unwrap();
        }
        text
    };
    let large: String = (0..100).map(|n| line(1000 + n)).collect();
    let agent = Agent::start(dir.path(), &config(dir.path(), ""), &hub.connection_string("readings"));
    write(dir.path(), (0..200).map(line));
    write(dir.path(), [large]);
    write(dir.path(), (200..300).map(line));
    until("all that fit are there", || values(&hub).len() >= 300);
    assert_eq!(values(&hub), (0..300).map(line).collect::<Vec<_>>());
    until("the other is set aside", || agent.log().contains("set aside"));
    drop(agent);
}

#[test]
fn a_second_agent_on_the_same_store_is_refused_with_the_pid_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let (_runtime, hub) = hub(anywhere());
    let connection = hub.connection_string("readings");
    let first = Agent::start(dir.path(), &config(dir.path(), ""), &connection);
    until("the first runs", || first.log().contains("running"));
    let mut second = Agent::start(dir.path(), &config(dir.path(), ""), &connection);
    until("the second ends", || !second.is_running());
    assert!(first.log().contains(&format!("in use by process {}", first.pid())), "{}", first.log());
}

/// Lines of noise, so that a throughput unit is a bound.
fn noise(lines: u64) -> Vec<String> {
    let mut seed = 7_u64;
    let line = |n: u64| {
        let mut text = format!("{n} ");
        for _ in 0..60 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            write!(text, "{seed:016x}").unwrap();
        }
        text
    };
    (0..lines).map(line).collect()
}

#[test]
fn a_backlog_that_keeps_to_its_throughput_units_is_never_throttled_and_one_that_does_not_is() {
    for (more, keeps) in [("throughput_units = 0.5", true), ("", false)] {
        let dir = tempfile::tempdir().unwrap();
        let (_runtime, hub) = hub(Settings { throughput_units: Some(0.5), ..anywhere() });
        write(dir.path(), noise(4000));
        let agent = Agent::start(dir.path(), &config(dir.path(), more), &hub.connection_string("readings"));
        until("all are there", || values(&hub) == noise(4000));
        assert_eq!(hub.throttled() == 0, keeps, "throttled {} times", hub.throttled());
        assert!(agent.stop().success());
    }
}

#[test]
fn a_slow_stream_lingers_beside_a_busy_one() {
    let dir = tempfile::tempdir().unwrap();
    let faults = vec![Fault::parse("every 1 delay 50ms").unwrap()];
    let (_runtime, hub) = hub(Settings { faults, ..anywhere() });
    let text = config(dir.path(), "").replace("linger = \"0s\"", "linger = \"60s\"")
        + &format!(
            "[source.busy]\nkind = \"file\"\npath = \"{}/busy.txt\"\npoll = \"20ms\"\nstream = \"busy\"\n",
            dir.path().display()
        );
    let agent = Agent::start(dir.path(), &text, &hub.connection_string("readings"));
    let events = |stream: &str| {
        let all = readings(&hub, "readings");
        let of = all.iter().filter(|reading| reading.lane.1 == stream);
        of.map(|reading| (reading.lane.clone(), reading.after)).collect::<BTreeSet<_>>().len()
    };
    let (mut slow, mut busy) = (0, 0);
    // More than 32 KiB at a time, over and over: the busy stream is always worth sending. The slow one has a line for
    // every eight of these, long after its last event was delivered.
    while slow < 8 {
        append_lines(&dir.path().join("busy.txt"), (busy..busy + 100).map(|n| crate::rig::noise(n, 128)));
        busy += 100;
        if busy % 800 == 0 {
            append_lines(&dir.path().join("a.log"), [slow]);
            slow += 1;
        }
        std::thread::sleep(Duration::from_millis(60));
    }
    until("the busy stream is sent", || events("busy") >= 12);
    // What a new lane finds, and what comes while that is under way, goes at once. All later lines wait for more.
    assert!(events("readings") <= 2, "{} events for {slow} lines", events("readings"));
    assert!(agent.stop().success());
    assert!(events("readings") <= 3, "at the stop they go in one event");
}
