//! Every way to the hub under faults by rule; what goes where, and what goes first.

use crate::rig::{Agent, Reading, append_lines, certificates, noise, readings, runtime, until, without_repeats};
use forebay::hub::fault::Fault;
use forebay::hub::{Hub, Settings};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn start_hub(settings: Settings) -> (tokio::runtime::Runtime, Hub) {
    let runtime = runtime();
    let settings = Settings { listen: "127.0.0.1:0".into(), ..settings };
    let hub = runtime.block_on(Hub::start(settings)).unwrap();
    (runtime, hub)
}

fn config(dir: &Path, source: &str, sink: &str) -> String {
    format!(
        "device = \"gateway-7\"\n[store]\nlinger = \"20ms\"\nreserve = \"16MiB\"\n\
         [source.log]\nkind = \"file\"\npath = \"{}/a.log\"\npoll = \"20ms\"\n{source}\n\
         [sink.hub]\nkind = \"eventhubs\"\nconnection = {{ env = \"EVENTHUB_CONNECTION\" }}\nlinger = \"0s\"\n{sink}\n",
        dir.display()
    )
}

fn write(dir: &Path, lines: impl IntoIterator<Item = String>) {
    append_lines(&dir.join("a.log"), lines);
}

/// A line that does not compress to nothing.
fn line(n: u64) -> String {
    noise(n, 20)
}

fn lines(count: u64) -> Vec<String> {
    (0..count).map(line).collect()
}

/// What a consumer keeps, in the order of sequences; no record may be in two lanes.
fn kept(hub: &Hub) -> Vec<Reading> {
    let mut kept = without_repeats(&readings(hub, "readings"));
    kept.sort_by_key(|reading| reading.sequence);
    assert!(kept.windows(2).all(|two| two[0].sequence < two[1].sequence), "a record came in two lanes");
    kept
}

fn values(hub: &Hub) -> Vec<String> {
    kept(hub).iter().map(Reading::value).collect()
}

/// A bad day: answers that are lost, connections that are cut, refusals that pass, an outage.
const BAD_DAY: &str = "
    chance 0.08 lose-answer
    chance 0.05 drop
    every 17 error amqp:internal-error
    at 9 error com.microsoft:timeout
    at 14 busy
    at 20 detach amqp:link:detach-forced
    at 26 offline 700ms
    chance 0.1 delay 40ms";

/// Whatever goes wrong, and with a kill in between: each record once, by identity, in the order of its lane.
fn survives_a_bad_day(tls: bool, sink: &str) {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let files = tls.then(|| (dir.path().join("server.pem"), dir.path().join("server.key")));
    let faults = Fault::script(BAD_DAY).unwrap();
    let (_runtime, hub) = start_hub(Settings { tls: files, faults, ..Settings::default() });
    let secured = format!("port = {}\nca = \"{}\"", hub.address().port(), dir.path().join("ca.pem").display());
    let sink = format!("{sink}\n{}", if tls { &secured } else { "" });
    let start = || Agent::start(dir.path(), &config(dir.path(), "", &sink), &hub.connection_string("readings"));
    let mut agent = start();
    let all = lines(3000);
    for (round, part) in all.chunks(50).enumerate() {
        write(dir.path(), part.iter().cloned());
        if round == 40 {
            agent.kill();
            agent = start();
        }
        until("it goes on", || values(&hub).len() >= round * 50 + 50);
    }
    assert_eq!(values(&hub), all);
    assert!(hub.faulted() >= 15, "{} faults", hub.faulted());
    assert!(agent.stop().success());
}

#[test]
fn a_bad_day_over_amqp() {
    survives_a_bad_day(false, "");
}

#[test]
fn a_bad_day_over_amqp_with_live_data_first() {
    survives_a_bad_day(false, "drain = \"live-first\"");
}

#[test]
fn a_bad_day_over_a_websocket() {
    survives_a_bad_day(true, "transport = \"amqp-websocket\"");
}

#[test]
fn a_bad_day_over_https() {
    survives_a_bad_day(true, "transport = \"https\"");
}

/// While one batch is on its way the next is made: what is refused, cut or lost in between changes nothing.
#[test]
fn a_backlog_in_full_batches_survives_refusals_and_splits() {
    let dir = tempfile::tempdir().unwrap();
    // Long before the end: a single record that is refused would be a dead letter.
    let refusals = [7, 12, 19, 26].map(|at| format!("at {at} error com.microsoft:argument-error\n")).concat();
    let rules = refusals + "every 10 lose-answer\nat 5 detach amqp:link:detach-forced";
    let faults = Fault::script(&rules).unwrap();
    let (_runtime, hub) = start_hub(Settings { faults, max_message_size: 64 << 10, ..Settings::default() });
    let all = lines(16_000);
    write(dir.path(), all.iter().cloned());
    hub.cut(true);
    let agent = Agent::start(dir.path(), &config(dir.path(), "", ""), &hub.connection_string("readings"));
    until("all is safe", || settled(&agent, 16_000));
    hub.cut(false);
    until("all are there", || values(&hub).len() == all.len());
    assert_eq!(values(&hub), all);
    assert!(hub.faulted() >= 8, "{} faults", hub.faulted());
    assert!(agent.stop().success());
}

/// What lane 0 has sent, though nobody knows that it arrived, must not go into the old part's lane.
#[test]
fn after_a_kill_nothing_that_was_sent_first_is_sent_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Fault::script("at 1 lose-answer\nat 2 lose-answer\nat 3 lose-answer").unwrap();
    let (_runtime, hub) = start_hub(Settings { partitions: 2, faults, ..Settings::default() });
    let sink = "drain = \"live-first\"";
    let start = || Agent::start(dir.path(), &config(dir.path(), "", sink), &hub.connection_string("readings"));
    let all = lines(10_000);
    let agent = start();
    write(dir.path(), all[..300].iter().cloned());
    until("some are there", || !readings(&hub, "readings").is_empty());
    hub.cut(true);
    write(dir.path(), all[300..].iter().cloned());
    until("all is safe", || settled(&agent, 10_000));
    agent.kill();
    let agent = start();
    until("it tries", || agent.log().matches("cannot deliver").count() > 1);
    hub.cut(false);
    until("all are there", || values(&hub).len() == all.len());
    assert_eq!(values(&hub), all);
    assert!(agent.stop().success());
}

#[test]
fn after_an_outage_what_comes_goes_first_and_what_waited_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let (_runtime, hub) = start_hub(Settings { partitions: 2, ..Settings::default() });
    // 500 kB a second: the backlog of 2.5 MB takes some seconds.
    let sink = "drain = \"live-first\"\nthroughput_units = 0.5";
    let start = || Agent::start(dir.path(), &config(dir.path(), "", sink), &hub.connection_string("readings"));
    let mut agent = start();
    let all = lines(15_000);
    write(dir.path(), all[..100].iter().cloned());
    until("it delivers", || values(&hub).len() == 100);
    hub.cut(true);
    write(dir.path(), all[100..14_000].iter().cloned());
    until("the outage is noticed", || agent.log().contains("sink_down"));
    until("all is safe", || !agent.log().is_empty() && settled(&agent, 14_000));
    hub.cut(false);
    until("it is split", || agent.log().contains("live data goes first"));
    // By value: the newest is there while older ones are missing.
    write(dir.path(), all[14_000..14_100].iter().cloned());
    until("the newest are there", || values(&hub).contains(&all[14_099]));
    assert!(values(&hub).len() < 14_100, "the backlog was there before them");
    agent.kill();
    agent = start();
    write(dir.path(), all[14_100..].iter().cloned());
    until("all are there", || values(&hub).len() >= 15_000);
    assert_eq!(values(&hub), all);
    let lanes: BTreeSet<i64> = kept(&hub).iter().map(|reading| reading.lane.3).collect();
    assert_eq!(lanes, BTreeSet::from([0, 1]), "the older part is a lane of its own");
    assert!(agent.stop().success());
}

/// Whether so many records are in the store; `forebay buffer` reads it while the agent runs.
fn settled(agent: &Agent, count: u64) -> bool {
    let state = agent.log_file.parent().unwrap().join("state");
    let told = crate::rig::forebay(&["buffer", "ls", state.to_str().unwrap()]);
    String::from_utf8_lossy(&told.stdout).contains(&count.to_string())
}

#[test]
fn records_go_to_partitions_by_attribute_device_or_in_turn() {
    for (by, keys, partitions) in [
        (
            "partition_by = \"attribute\"\npartition_attribute = \"line\"",
            vec!["a", "b", "c", "gateway-7/readings/0"],
            0,
        ),
        ("partition_by = \"device\"", vec!["gateway-7"], 1),
        ("partition_by = \"round-robin\"", vec![], 4),
        ("publisher = \"press-7\"", vec!["press-7"], 1),
        ("partition = \"2\"", vec![], 1),
        (
            "partition_by = \"attribute\"\npartition_attribute = \"line\"\ntransport = \"https\"",
            vec!["a", "b", "c", "gateway-7/readings/0"],
            0,
        ),
        ("publisher = \"press-7\"\ntransport = \"https\"", vec!["press-7"], 1),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (_runtime, hub) = start_hub(Settings::default());
        let source = "decoder = \"json\"\nattributes = { line = \"line\" }";
        let agent = Agent::start(dir.path(), &config(dir.path(), source, by), &hub.connection_string("readings"));
        let text = |n: u64| match n % 4 {
            3 => format!("{{\"n\":{n}}}"),
            line => format!("{{\"line\":\"{}\",\"n\":{n}}}", ["a", "b", "c"][usize::try_from(line).unwrap()]),
        };
        for n in 0..8 {
            write(dir.path(), (n * 100..n * 100 + 100).map(text));
            let wanted = usize::try_from(n * 100 + 100).unwrap();
            until("they are there", || readings(&hub, "readings").len() >= wanted);
        }
        let numbers = |all: &[Reading]| -> Vec<u64> {
            all.iter().map(|reading| reading.line["payload"]["n"].as_u64().unwrap()).collect()
        };
        let mut got = numbers(&readings(&hub, "readings"));
        got.sort_unstable();
        assert_eq!(got, (0..800).collect::<Vec<_>>(), "{by}");
        let events = || (0..4).flat_map(|partition| hub.events("readings", partition));
        let found: BTreeSet<String> = events().filter_map(|event| event.key.clone()).collect();
        assert_eq!(found, keys.iter().map(ToString::to_string).collect(), "{by}");
        let used = (0..4).filter(|partition| !hub.events("readings", *partition).is_empty()).count();
        assert!(partitions == 0 || used == partitions, "{by}: {used} partitions");
        if by.contains("partition_by = \"attribute\"") {
            // Each value has an order of its own, and one partition.
            let mut lanes: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
            for reading in readings(&hub, "readings") {
                lanes.entry(reading.lane.3).or_default().push(reading.line["payload"]["n"].as_u64().unwrap());
            }
            assert_eq!(lanes.len(), 4);
            assert!(lanes.values().all(|numbers| numbers.len() == 200 && numbers.is_sorted()), "{by}");
        }
        assert!(agent.stop().success());
    }
}

#[test]
fn a_partition_that_is_not_there_sets_nothing_aside() {
    for transport in ["amqp", "https"] {
        let dir = tempfile::tempdir().unwrap();
        let (_runtime, hub) = start_hub(Settings::default());
        write(dir.path(), lines(10));
        let sink = format!("partition = \"99\"\ntransport = \"{transport}\"");
        let agent = Agent::start(dir.path(), &config(dir.path(), "", &sink), &hub.connection_string("readings"));
        until("it is said", || agent.log().contains("cannot deliver"));
        assert!(!agent.log().contains("set aside"), "{}", agent.log());
        assert!(agent.stop().success());
    }
}

#[test]
fn a_key_that_is_rotated_counts_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (_runtime, hub) = start_hub(Settings::default());
    for transport in ["amqp", "https"] {
        let folder = dir.path().join(transport);
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("connection");
        std::fs::write(&file, hub.connection_string("readings").replace("SAS_KEY_VALUE", "old")).unwrap();
        let reference = format!("{{ file = \"{}\" }}", file.display());
        let text = config(&folder, "", &format!("transport = \"{transport}\""));
        let text = text.replace("{ env = \"EVENTHUB_CONNECTION\" }", &reference);
        write(&folder, [transport.to_string()]);
        let agent = Agent::start(&folder, &text, "");
        until("the old one is refused", || agent.log().contains("check the connection string's key"));
        std::fs::write(&file, hub.connection_string("readings")).unwrap();
        until("the new one is taken", || values_of_any(&hub).contains(&transport.to_string()));
        assert!(agent.log().contains("a secret was written anew"), "{}", agent.log());
        assert!(!agent.log().contains("SAS_KEY_VALUE"));
        assert!(agent.stop().success());
    }
}

fn values_of_any(hub: &Hub) -> Vec<String> {
    readings(hub, "readings").iter().map(Reading::value).collect()
}

#[test]
fn a_pinned_key_is_asked_for_and_named_when_it_is_another() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let tls = Some((dir.path().join("server.pem"), dir.path().join("server.key")));
    let (_runtime, hub) = start_hub(Settings { tls, ..Settings::default() });
    let ca = dir.path().join("ca.pem").display().to_string();
    let sink = |pin: &str| format!("port = {}\nca = \"{ca}\"\npins = [\"{pin}\"]", hub.address().port());
    write(dir.path(), ["1".into()]);
    let other = "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let agent = Agent::start(dir.path(), &config(dir.path(), "", &sink(other)), &hub.connection_string("readings"));
    until("it is refused", || agent.log().contains("is not in `pins`"));
    let log = agent.log();
    let named = log.split("the server's key ").nth(1).unwrap().split_whitespace().next().unwrap();
    assert!(agent.stop().success());
    assert!(values(&hub).is_empty());
    // As `openssl x509 -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64` has it.
    let shell = format!(
        "openssl x509 -in {}/server.pem -noout -pubkey | openssl pkey -pubin -outform der | \
         openssl dgst -sha256 -binary | base64",
        dir.path().display()
    );
    let done = std::process::Command::new("sh").args(["-c", &shell]).output().unwrap();
    assert_eq!(named, format!("sha256/{}", String::from_utf8_lossy(&done.stdout).trim()));
    let agent = Agent::start(dir.path(), &config(dir.path(), "", &sink(named)), &hub.connection_string("readings"));
    until("it is delivered", || values(&hub) == ["1"]);
    assert!(agent.stop().success());
}
