//! Real disks that are full, fail or are slow: a small ext4 of our own (needs root, for mount), and
//! strace making system calls of the real agent fail.

use crate::rig::{Agent, Mosquitto, Mount, append_lines, noise, readings, runtime, until, without_repeats};
use forebay::hub::{Hub, Settings};
use std::io::Write;
use std::path::{Path, PathBuf};

fn config(dir: &Path) -> String {
    format!(
        "device = \"d\"\n[store]\nlinger = \"20ms\"\nreserve = \"16MiB\"\n\
         [source.log]\nkind = \"file\"\npath = \"{}/a.log\"\npoll = \"20ms\"\n\
         [sink.hub]\nkind = \"eventhubs\"\nconnection = {{ env = \"EVENTHUB_CONNECTION\" }}\nlinger = \"0s\"\n",
        dir.display()
    )
}

/// Fills a filesystem to the last block.
fn fill(dir: &Path) -> PathBuf {
    let path = dir.join("ballast");
    let mut file = std::fs::File::create(&path).unwrap();
    for size in [1 << 20, 4096, 512] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
    let _ = file.sync_all();
    path
}

/// Lines that do not compress.
fn write(dir: &Path, lines: std::ops::Range<u64>) {
    append_lines(&dir.join("a.log"), lines.map(|n| noise(n, 120)));
}

fn hub() -> (tokio::runtime::Runtime, Hub) {
    let runtime = runtime();
    let settings = Settings { listen: "127.0.0.1:0".into(), partitions: 2, ..Settings::default() };
    let hub = runtime.block_on(Hub::start(settings)).unwrap();
    (runtime, hub)
}

/// The numbers of the lines at the hub, without what was sent again.
fn numbers(hub: &Hub) -> Vec<u64> {
    let all = without_repeats(&readings(hub, "readings"));
    all.iter().map(|reading| reading.value().split(' ').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn a_full_filesystem_blocks_is_survived_by_a_kill_and_recovers_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mount = Mount::new(&dir.path().join("state"), 64);
    let (_runtime, hub) = hub();
    hub.cut(true);
    let agent = Agent::start(dir.path(), &config(dir.path()), &hub.connection_string("readings"));
    write(dir.path(), 0..100);
    until("it runs", || agent.log().contains("running"));
    let ballast = fill(&mount.at);
    // Inside the reserve it goes on: two files of 8 MiB were allocated before.
    write(dir.path(), 100..10_000);
    until("the disk is found full", || agent.log().contains("the disk is full"));
    agent.kill();
    let agent = Agent::start(dir.path(), &config(dir.path()), &hub.connection_string("readings"));
    until("it runs on the full disk", || agent.log().matches("running").count() == 2);
    std::fs::remove_file(ballast).unwrap();
    hub.cut(false);
    until("all are there", || numbers(&hub).len() >= 10_000);
    assert_eq!(numbers(&hub), (0..10_000).collect::<Vec<_>>(), "in order, each once");
    assert!(agent.stop().success());
}

#[test]
fn a_disk_that_stays_full_drains_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mount = Mount::new(&dir.path().join("state"), 64);
    let (_runtime, hub) = hub();
    hub.cut(true);
    let agent = Agent::start(dir.path(), &config(dir.path()), &hub.connection_string("readings"));
    until("it runs", || agent.log().contains("running"));
    fill(&mount.at);
    write(dir.path(), 0..12_000);
    until("the disk is found full", || agent.log().contains("the disk is full"));
    hub.cut(false);
    until("all are there, through what the reserve holds", || numbers(&hub).len() >= 12_000);
    assert_eq!(numbers(&hub), (0..12_000).collect::<Vec<_>>());
    assert!(agent.stop().success());
}

#[test]
fn a_stop_while_the_store_is_being_opened_is_one_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (_runtime, hub) = hub();
    let mount = Mount::new(&dir.path().join("state"), 100);
    mount.freeze();
    let agent = Agent::start(dir.path(), &config(dir.path()), &hub.connection_string("readings"));
    let listens = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        agent.listens()
    });
    let runs = agent.log().contains("running");
    let log = agent.log_file.clone();
    let stopping = std::thread::spawn(|| agent.stop());
    std::thread::sleep(std::time::Duration::from_millis(300));
    // Nothing may fail before: a process that waits for its disk does not end.
    mount.thaw();
    assert!(listens && !runs, "listens: {listens}, runs: {runs}");
    assert!(stopping.join().unwrap().success());
    assert!(std::fs::read_to_string(log).unwrap().contains("event=\"stopped\""));
}

/// Runs the agent while system calls fail, and sees everything arrive all the same.
fn inject(what: &str, expected: &str) {
    let dir = tempfile::tempdir().unwrap();
    let (_runtime, hub) = hub();
    let call = what.split(':').next().unwrap();
    let trace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e"].map(String::from);
    let program: Vec<String> =
        trace.into_iter().chain([format!("trace={call}"), "-e".into(), format!("inject={what}")]).collect();
    let agent = Agent::start_under(&program, dir.path(), &config(dir.path()), &hub.connection_string("readings"));
    until("it runs", || agent.log().contains("running"));
    let mut written = 0;
    until("the fault shows, and all are there", || {
        if written < 2000 {
            write(dir.path(), written..written + 20);
            written += 20;
        }
        agent.log().contains(expected) && written == 2000 && numbers(&hub).len() >= 2000
    });
    assert_eq!(numbers(&hub), (0..2000).collect::<Vec<_>>(), "{what}");
    drop(agent);
}

#[test]
fn eio_on_fdatasync_loses_nothing() {
    inject("fdatasync:error=EIO:when=6..9", "the log cannot be written");
}

#[test]
fn eio_on_write_loses_nothing() {
    inject("pwrite64:error=EIO:when=20..26", "the log cannot be written");
}

#[test]
fn a_filesystem_that_turns_read_only_blocks_until_it_is_writable_again() {
    inject("pwrite64:error=EROFS:when=20..28", "the store cannot be written");
}

#[test]
fn a_disk_that_takes_seconds_for_a_flush_keeps_the_connection_to_the_broker() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Mosquitto::start(dir.path(), "");
    let (_runtime, hub) = hub();
    let config = format!(
        "device = \"d\"\n[source.plant]\nkind = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{}\"\ntopics = [\"plant/#\"]\n\
         keep_alive = \"5s\"\n[sink.hub]\nkind = \"eventhubs\"\nconnection = {{ env = \"EVENTHUB_CONNECTION\" }}\nlinger = \"0s\"\n",
        broker.port
    );
    let slow = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e"];
    let mut program: Vec<String> = slow.iter().map(ToString::to_string).collect();
    program.push("inject=fdatasync:delay_enter=8000000:when=5..6".into());
    let agent = Agent::start_under(&program, dir.path(), &config, &hub.connection_string("readings"));
    until("it is connected", || agent.log().contains("connected"));
    let mut sent = 0;
    let there = || without_repeats(&readings(&hub, "readings")).len();
    until("the subscription is in force", || {
        broker.publish("plant/probe", 1, &["0".into()]);
        sent += 1;
        there() > 0
    });
    for _ in 0..5 {
        broker.publish("plant/a", 1, &["1".into(), "2".into(), "3".into()]);
    }
    until("all are there", || {
        let all = without_repeats(&readings(&hub, "readings"));
        all.iter().filter(|reading| reading.line["key"] == "plant/a").count() == 15
    });
    assert!(!agent.log().contains("source_down"), "a flush took longer than the keep-alive, and pings went on");
    drop(agent);
}

#[test]
fn what_a_full_stream_drops_is_told_at_the_hub_with_its_exact_range() {
    let dir = tempfile::tempdir().unwrap();
    let (_runtime, hub) = hub();
    let config = config(dir.path())
        + "from = [\"readings\", \"forebay.events\"]\n[stream.readings]\ncap = \"4MiB\"\nwhen_full = \"drop-oldest\"\n";
    hub.cut(true);
    let agent = Agent::start(dir.path(), &config, &hub.connection_string("readings"));
    write(dir.path(), 0..10_000);
    let stored = || agent.log().contains("store_records_total=10000");
    // The source never waits: all lines are taken while nothing can be delivered.
    until("all lines are stored or given up", || {
        let shown = crate::rig::forebay(&["buffer", "ls", dir.path().join("state").to_str().unwrap()]).stdout;
        stored()
            || String::from_utf8(shown).unwrap().lines().any(|l| l.starts_with("readings") && l.contains(" 10000 "))
    });
    assert!(agent.stop().success());
    hub.cut(false);
    let agent = Agent::start(dir.path(), &config, &hub.connection_string("readings"));
    let all = || without_repeats(&readings(&hub, "readings"));
    let is_event = |reading: &crate::rig::Reading| reading.line["payload"]["event"] == "store_dropped";
    let lines = || -> Vec<u64> {
        all().iter().filter(|r| r.line["payload"].is_string()).map(|r| r.line["seq"].as_u64().unwrap()).collect()
    };
    until("the last line is at the hub", || lines().last() == Some(&10_000));
    // What this life gave up at its start, of the last commit before, is told at its end.
    assert!(agent.stop().success());
    let agent = Agent::start(dir.path(), &config, &hub.connection_string("readings"));
    let first = lines()[0];
    assert!(first > 1 && lines() == (first..=10_000).collect::<Vec<_>>());
    until("every sequence that is missing was told", || {
        let all = all();
        let told = all.iter().filter(|reading| is_event(reading)).flat_map(|reading| {
            let number = |name: &str| reading.line["payload"][name].as_u64().unwrap();
            assert_eq!(number("records"), number("to") - number("from") + 1);
            number("from")..=number("to")
        });
        told.collect::<Vec<_>>() == (1..first).collect::<Vec<_>>()
    });
    drop(agent);
}
