//! The real Apache Kafka, and what librdkafka, kcat and Kafka's own consumer read of what Forebay wrote.

use crate::rig::{Agent, CONNECTION, Cutter, Issuer, Kafka, append_lines, kafka_readings, until, without_repeats};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

fn config(dir: &Path, sink: &str) -> String {
    format!(
        "device = \"gateway-7\"\n[store]\nlinger = \"20ms\"\nreserve = \"16MiB\"\n\
         [source.log]\nkind = \"file\"\npath = \"{}/a.log\"\npoll = \"20ms\"\n\
         [sink.kafka]\nkind = \"kafka\"\nlinger = \"50ms\"\n{sink}\n",
        dir.display()
    )
}

fn plain(kafka: &Kafka, topic: &str) -> String {
    let places: Vec<String> = kafka.plain.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
    format!("brokers = [{}]\ntopic = \"{topic}\"", places.join(", "))
}

fn write(dir: &Path, lines: std::ops::Range<u32>) {
    append_lines(&dir.join("a.log"), lines.map(|n| format!("line {n}")));
}

fn values(kafka: &Kafka, topic: &str) -> Vec<String> {
    without_repeats(&kafka_readings(&kafka.messages(topic))).iter().map(crate::rig::Reading::value).collect()
}

fn lines(count: u32) -> Vec<String> {
    (0..count).map(|n| format!("line {n}")).collect()
}

#[test]
fn what_we_write_in_every_compression_others_read() {
    let dir = tempfile::tempdir().unwrap();
    let kafka = Kafka::start(dir.path(), 1);
    for compression in ["none", "gzip", "snappy", "lz4", "zstd"] {
        kafka.topic(compression, &["--partitions", "4"]);
        let folder = dir.path().join(compression);
        std::fs::create_dir(&folder).unwrap();
        let sink = format!(
            "{}\nrecord_compression = \"{compression}\"\ncompression = \"{}\"",
            plain(&kafka, compression),
            if compression == "none" { "gzip" } else { "none" }
        );
        let agent = Agent::start(&folder, &config(&folder, &sink), "");
        write(&folder, 0..3000);
        until("all are there", || values(&kafka, compression) == lines(3000));
        let messages = kafka.messages(compression);
        let about = &messages[0].headers;
        assert!(messages.iter().all(|message| message.partition == messages[0].partition), "one lane, one partition");
        assert_eq!((messages[0].key.as_str(), about["device"].as_str()), ("gateway-7/readings/0", "gateway-7"));
        assert_eq!((about["first"].as_str(), about["schema"].as_str()), ("1", "1"));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        assert!(i64::try_from(now).unwrap() - messages[0].timestamp < 600_000);
        assert!(agent.stop().success());
        if compression == "none" {
            continue;
        }
        // Kafka's own consumer and kcat see plain lines, whatever Kafka compressed.
        let count = messages.len().to_string();
        let arguments = ["--topic", compression, "--from-beginning", "--max-messages", &count, "--timeout-ms", "60000"];
        let text = kafka.tool("org.apache.kafka.tools.consumer.ConsoleConsumer", &arguments);
        assert_eq!(text.lines().filter(|line| line.contains("\"payload\":\"line ")).count(), 3000);
        let place = format!("127.0.0.1:{}", kafka.plain[0]);
        let kcat = Command::new("kcat").args(["-b", &place, "-C", "-t", compression, "-e", "-q"]).output().unwrap();
        let text = String::from_utf8(kcat.stdout).unwrap();
        assert_eq!(text.lines().filter(|line| line.contains("\"payload\":\"line ")).count(), 3000);
    }
}

#[test]
fn every_way_to_say_who_we_are() {
    let dir = tempfile::tempdir().unwrap();
    let kafka = Kafka::start(dir.path(), 1);
    let ca = format!("ca = \"{}\"", kafka.certificate("ca.pem"));
    std::fs::write(dir.path().join("token"), unsecured()).unwrap();
    std::fs::write(dir.path().join("connection"), CONNECTION).unwrap();
    std::fs::write(dir.path().join("alice"), "alice-secret").unwrap();
    std::fs::write(dir.path().join("wrong"), "secret").unwrap();
    let secret = |name: &str| format!("{{ file = \"{}\" }}", dir.path().join(name).display());
    let sasl = |mechanism: &str, user: &str, file: &str| {
        let login = format!("mechanism = \"{mechanism}\", username = \"{user}\", password = {}", secret(file));
        (kafka.sasl, format!("tls = {{ {ca} }}\nsasl = {{ {login} }}"))
    };
    let bearer = format!("tls = {{ {ca} }}\nsasl = {{ mechanism = \"oauthbearer\", token = {} }}", secret("token"));
    let (certificate, key) = (kafka.certificate("client.pem"), kafka.certificate("client.key"));
    let mutual = format!("tls = {{ {ca}, certificate = \"{certificate}\", key = \"{key}\" }}");
    let good = [
        ("plain", sasl("plain", "$ConnectionString", "connection")),
        ("scram-256", sasl("scram-sha-256", "alice", "alice")),
        ("scram-512", sasl("scram-sha-512", "alice", "alice")),
        ("bearer", (kafka.sasl, bearer.clone())),
        ("mutual", (kafka.tls, mutual)),
    ];
    let start = |name: &str, port: u16, more: &str| {
        let folder = dir.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        let sink = format!("brokers = [\"localhost:{port}\"]\ntopic = \"{name}\"\n{more}");
        write(&folder, 0..10);
        Agent::start(&folder, &config(&folder, &sink), "")
    };
    for (name, (port, more)) in good {
        kafka.topic(name, &[]);
        let agent = start(name, port, &more);
        until("all are there", || values(&kafka, name) == lines(10));
        assert!(agent.stop().success());
    }
    let other = format!("tls = {{ ca = \"{}\" }}", kafka.certificate("other-ca.pem"));
    let bad = [
        ("bad-plain", sasl("plain", "$ConnectionString", "wrong"), "check the user and the password"),
        ("bad-scram", sasl("scram-sha-512", "alice", "wrong"), "check the user and the password"),
        ("bad-bearer", (kafka.sasl, bearer.replace("token\"", "wrong\"")), "does not take the token"),
        ("no-tls", (kafka.sasl, String::new()), "no Kafka broker"),
        ("no-certificate", (kafka.tls, format!("tls = {{ {ca} }}")), "wants a certificate that it knows"),
        ("other-ca", (kafka.tls, other), "UnknownIssuer"),
    ];
    for (name, (port, more), told) in bad {
        let agent = start(name, port, &more);
        until(told, || agent.log().contains(told));
        assert!(!agent.log().contains("alice-secret"), "a secret is shown: {}", agent.log());
        assert!(agent.stop().success());
    }
}

#[test]
fn broker_restarts_and_moving_leaders_lose_nothing_and_keep_the_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut kafka = Kafka::start(dir.path(), 2);
    // The second broker leads it, the first takes over.
    kafka.topic("readings", &["--replica-assignment", "1:0"]);
    let agent = Agent::start(dir.path(), &config(dir.path(), &plain(&kafka, "readings")), "");
    write(dir.path(), 0..1000);
    until("the first are there", || values(&kafka, "readings") == lines(1000));
    kafka.stop(1);
    write(dir.path(), 1000..2000);
    until("the other leader has them", || values(&kafka, "readings") == lines(2000));
    kafka.start_again(1);
    kafka.kill(0);
    write(dir.path(), 2000..3000);
    until("it is noticed", || agent.log().contains("cannot deliver"));
    kafka.start_again(0);
    write(dir.path(), 3000..4000);
    until("all are there", || values(&kafka, "readings") == lines(4000));
    assert!(agent.stop().success());
}

#[test]
fn what_is_too_large_is_cut_or_set_aside_and_a_missing_topic_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let kafka = Kafka::start(dir.path(), 1);
    let sink = format!("{}\ncompression = \"none\"\nfrom = [\"readings\"]", plain(&kafka, "small"));
    let more = "[stream.\"forebay.dead-letters\"]\nkeep = \"16MiB\"\n";
    write(dir.path(), 0..2000);
    let large = "x".repeat(30_000);
    append_lines(&dir.path().join("a.log"), [&large]);
    write(dir.path(), 2000..2500);
    let agent = Agent::start(dir.path(), &(config(dir.path(), &sink) + more), "");
    until("it is said what to do", || agent.log().contains("create the topic `small`"));
    assert!(agent.stop().success());
    kafka.topic("small", &["--config", "max.message.bytes=20000"]);
    let agent = Agent::start(dir.path(), &(config(dir.path(), &sink) + more), "");
    until("all but the large one are there", || values(&kafka, "small") == lines(2500));
    assert!(agent.log().contains("event=\"dead_letter\""), "{}", agent.log());
    assert!(agent.stop().success());
}

#[test]
fn a_quota_slows_us_down_and_nothing_is_sent_twice() {
    let dir = tempfile::tempdir().unwrap();
    let kafka = Kafka::start(dir.path(), 1);
    kafka.topic("readings", &[]);
    let quota =
        ["--alter", "--add-config", "producer_byte_rate=30000", "--entity-type", "clients", "--entity-name", "forebay"];
    kafka.tool("kafka.admin.ConfigCommand", &quota);
    let sink = format!("{}\ncompression = \"none\"", plain(&kafka, "readings"));
    write(dir.path(), 0..6000);
    let agent = Agent::start(dir.path(), &config(dir.path(), &sink), "");
    until("all are there", || values(&kafka, "readings") == lines(6000));
    assert_eq!(kafka_readings(&kafka.messages("readings")).len(), 6000, "each was sent once");
    write(dir.path(), 6000..6010);
    until("it goes on", || values(&kafka, "readings") == lines(6010));
    assert!(agent.log().matches("cannot deliver").count() == 0, "{}", agent.log());
    let log = agent.log_file.clone();
    assert!(agent.stop().success());
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("sink_throttles_total="), "{log}");
}

/// The sink of Event Hubs, as Event Hubs speaks Kafka: SASL_SSL, PLAIN, `$ConnectionString`.
#[test]
fn event_hubs_by_kafkas_protocol() {
    let dir = tempfile::tempdir().unwrap();
    let kafka = Kafka::start(dir.path(), 1);
    kafka.topic("telemetry", &["--partitions", "2"]);
    let text = config(dir.path(), "").replace(
        "kind = \"kafka\"",
        &format!(
            "kind = \"eventhubs\"\nconnection = {{ env = \"EVENTHUB_CONNECTION\" }}\nevent_hub = \"telemetry\"\n\
             transport = \"kafka\"\nport = {}\nca = \"{}\"",
            kafka.sasl,
            kafka.certificate("ca.pem")
        ),
    );
    write(dir.path(), 0..100);
    let agent = Agent::start(dir.path(), &text, CONNECTION);
    until("all are there", || values(&kafka, "telemetry") == lines(100));
    // The session ends after 5 s as the broker says: a new one is begun before.
    std::thread::sleep(std::time::Duration::from_secs(6));
    write(dir.path(), 100..200);
    until("it goes on", || values(&kafka, "telemetry") == lines(200));
    assert_eq!(agent.log().matches("cannot deliver").count(), 0, "{}", agent.log());
    assert!(agent.stop().success());
}

/// The same with Microsoft Entra: OAUTHBEARER, a token for the namespace.
#[test]
fn event_hubs_by_kafkas_protocol_with_entra() {
    let dir = tempfile::tempdir().unwrap();
    let kafka = Kafka::start(dir.path(), 1);
    kafka.topic("telemetry", &[]);
    let issuer = Issuer::giving(3600, unsecured);
    std::fs::write(dir.path().join("secret"), "right").unwrap();
    let text = config(dir.path(), "").replace(
        "kind = \"kafka\"",
        &format!(
            "kind = \"eventhubs\"\nnamespace = \"localhost\"\nevent_hub = \"telemetry\"\n\
             credential = {{ kind = \"client-secret\", tenant = \"t\", client_id = \"c\", \
             authority = \"http://127.0.0.1:{}\", secret = {{ file = \"{}\" }} }}\n\
             transport = \"kafka\"\nport = {}\nca = \"{}\"",
            issuer.port,
            dir.path().join("secret").display(),
            kafka.sasl,
            kafka.certificate("ca.pem")
        ),
    );
    write(dir.path(), 0..100);
    let agent = Agent::start(dir.path(), &text, "");
    until("all are there", || values(&kafka, "telemetry") == lines(100));
    let scope = "scope=https%3A%2F%2Flocalhost%2F.default";
    assert!(issuer.seen().iter().all(|request| request.contains(scope)), "{:?}", issuer.seen());
    assert!(agent.stop().success());
}

/// A token as Apache Kafka takes it for tests.
fn unsecured() -> String {
    let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
    format!("{}.{}.", part("{\"alg\":\"none\"}"), part("{\"sub\":\"forebay\",\"iat\":1,\"exp\":4102444800}"))
}

/// A network that cuts, and a kill: each record once, by identity, in the order of its lane; and where they go.
#[test]
fn a_bad_network_loses_nothing_and_records_go_to_partitions_by_attribute_and_in_turn() {
    let dir = tempfile::tempdir().unwrap();
    let kafka = Kafka::start(dir.path(), 1);
    let network = Cutter::start(kafka.detour.1, kafka.detour.0, 60_000);
    for (topic, by, keys, partitions) in [
        ("stream", "drain = \"live-first\"", 1, 1),
        ("attribute", "partition_by = \"attribute\"\npartition_attribute = \"line\"", 3, 0),
        ("turn", "partition_by = \"round-robin\"", 1, 4),
    ] {
        kafka.topic(topic, &["--partitions", "4"]);
        let folder = dir.path().join(topic);
        std::fs::create_dir(&folder).unwrap();
        let sink = format!("brokers = [\"127.0.0.1:{}\"]\ntopic = \"{topic}\"\n{by}", kafka.detour.1);
        let text =
            config(&folder, &sink).replace("poll = ", "decoder = \"json\"\nattributes = { line = \"line\" }\npoll = ");
        let start = || Agent::start(&folder, &text, "");
        let mut agent = start();
        let before = network.cuts();
        for round in 0..4_u32 {
            let line = |n: u32| format!("{{\"line\":\"{}\",\"n\":{n},\"x\":\"{:x}\"}}", n % 3, murmur(n));
            append_lines(&folder.join("a.log"), (round * 500..round * 500 + 500).map(line));
            if round == 2 {
                agent.kill();
                agent = start();
            }
            let wanted = usize::try_from(round * 500 + 500).unwrap();
            until("they are there", || kept(&kafka, topic).len() >= wanted);
        }
        assert_eq!(kept(&kafka, topic), (0..2000).collect::<Vec<_>>(), "{topic}");
        let messages = kafka.messages(topic);
        let of = |part: fn(&crate::rig::Message) -> String| messages.iter().map(part).collect::<BTreeSet<_>>().len();
        assert_eq!(of(|message| message.key.clone()), keys, "{topic}");
        assert!(partitions == 0 || of(|message| message.partition.to_string()) == partitions, "{topic}");
        if topic != "turn" {
            for lane in messages.iter().map(|message| message.headers["lane"].clone()).collect::<BTreeSet<_>>() {
                let own: Vec<_> = messages.iter().filter(|message| message.headers["lane"] == lane).collect();
                assert!(own.iter().all(|message| message.partition == own[0].partition), "{topic}: lane {lane}");
            }
        }
        assert!(network.cuts() > before, "{topic}: the network cut nothing");
        assert!(agent.stop().success());
    }
}

/// The numbers of what a consumer keeps: by identity.
fn kept(kafka: &Kafka, topic: &str) -> Vec<u64> {
    let seen: std::collections::BTreeMap<u64, u64> = kafka_readings(&kafka.messages(topic))
        .iter()
        .map(|reading| (reading.sequence, reading.line["payload"]["n"].as_u64().unwrap()))
        .collect();
    seen.into_values().collect()
}

/// Text that does not compress.
fn murmur(n: u32) -> u128 {
    u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

#[test]
fn send_test_shows_the_way_to_a_topic() {
    let dir = tempfile::tempdir().unwrap();
    let kafka = Kafka::start(dir.path(), 1);
    kafka.topic("readings", &["--partitions", "3"]);
    std::fs::write(dir.path().join("secret"), "alice-secret").unwrap();
    let path = dir.path().join("forebay.toml");
    let run = |topic: &str| {
        let sink = format!(
            "brokers = [\"localhost:{}\"]\ntopic = \"{topic}\"\ntls = {{ ca = \"{}\" }}\n\
             sasl = {{ mechanism = \"scram-sha-512\", username = \"alice\", password = {{ file = \"{}\" }} }}",
            kafka.sasl,
            kafka.certificate("ca.pem"),
            dir.path().join("secret").display()
        );
        std::fs::write(&path, config(dir.path(), &sink)).unwrap();
        let done = crate::rig::forebay(&["send-test", "kafka", "--config", path.to_str().unwrap()]);
        (done.status.success(), String::from_utf8(done.stdout).unwrap())
    };
    let (good, told) = run("readings");
    let steps: Vec<&str> = told.lines().map(|line| line.split_whitespace().nth(2).unwrap()).collect();
    assert!(good && told.contains("`readings` has 3 partitions"), "{told}");
    assert_eq!(steps, ["clock", "dns", "tcp", "tls", "kafka", "topic", "send"], "{told}");
    assert_eq!(kafka.messages("readings")[0].headers["stream"], "forebay.test");
    let (good, told) = run("other");
    assert!(!good && told.lines().last().unwrap().contains("create the topic `other`"), "{told}");
}
