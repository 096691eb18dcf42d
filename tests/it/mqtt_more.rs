//! MQTT 5, TLS, WebSocket, subscriptions with routes of their own, status and last will: the real
//! mosquitto.

use crate::rig::{Agent, Mosquitto, certificates, files, free_port, until, without_repeats};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

fn config(dir: &Path, source: &str) -> String {
    format!(
        "device = \"d\"\n[store]\nlinger = \"50ms\"\nreserve = \"16MiB\"\n[source.plant]\nkind = \"mqtt\"\n{source}\n\
         [sink.out]\nkind = \"directory\"\npath = \"{}/out\"\nlinger = \"0s\"\n\
         from = [\"readings\", \"alarms\", \"forebay.dead-letters\"]\n",
        dir.display()
    )
}

fn lines(dir: &Path, stream: &str) -> Vec<serde_json::Value> {
    let all = without_repeats(&files(&dir.join("out"), stream));
    all.into_iter()
        .map(|reading| reading.line)
        .filter(|line| !line["key"].as_str().unwrap().ends_with("probe"))
        .collect()
}

fn publish(port: u16, arguments: &[&str]) {
    let port = port.to_string();
    let all = [&["-h", "127.0.0.1", "-p", &port][..], arguments].concat();
    assert!(Command::new("mosquitto_pub").args(all).status().unwrap().success());
}

/// Sends until the subscription is in force.
fn in_force(dir: &Path, port: u16, topic: &str) {
    until("the subscription is in force", || {
        publish(port, &["-t", topic, "-m", "0"]);
        !files(&dir.join("out"), "readings").is_empty()
    });
}

#[test]
fn mqtt_5_brings_its_properties_at_every_qos_and_keeps_its_session() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Mosquitto::start(dir.path(), "");
    let source = |qos: u8| {
        format!(
            "url = \"mqtt://127.0.0.1:{}\"\nprotocol = \"5\"\ntopics = [\"five{qos}/#\"]\nqos = {qos}\n\
             client_id = \"five-{qos}\"\nreceive_maximum = 100\nsession_expiry = \"1h\"",
            broker.port
        )
    };
    let mut agents = Vec::new();
    for qos in [0, 1, 2] {
        let folder = dir.path().join(qos.to_string());
        std::fs::create_dir(&folder).unwrap();
        let agent = Agent::start(&folder, &config(&folder, &source(qos)), "");
        in_force(&folder, broker.port, &format!("five{qos}/probe"));
        let topic = format!("five{qos}/t");
        let level = qos.to_string();
        publish(
            broker.port,
            &[
                "-V",
                "5",
                "-q",
                &level,
                "-t",
                &topic,
                "-m",
                "21.5",
                "-D",
                "publish",
                "user-property",
                "unit",
                "C",
                "-D",
                "publish",
                "content-type",
                "text/plain",
            ],
        );
        until("it is there", || lines(&folder, "readings").len() == 1);
        let attributes = &lines(&folder, "readings")[0]["attributes"];
        assert_eq!((&attributes["unit"], &attributes["content-type"]), (&"C".into(), &"text/plain".into()));
        agents.push((folder, agent));
    }
    // What is published while the agent is away comes when it is back.
    let (folder, agent) = agents.remove(1);
    assert!(agent.stop().success());
    publish(broker.port, &["-q", "1", "-t", "five1/t", "-m", "22.5"]);
    let agent = Agent::start(&folder, &config(&folder, &source(1)), "");
    until("the kept one is there", || lines(&folder, "readings").len() == 2);
    // And a broker that restarts finds its session.
    broker.stop();
    broker.start_again();
    until("it is connected again", || agent.log().matches("session_present=true").count() >= 2);
    publish(broker.port, &["-q", "1", "-t", "five1/t", "-m", "23.5"]);
    until("the third is there", || lines(&folder, "readings").len() == 3);
    assert!(agent.stop().success());
}

#[test]
fn subscriptions_have_streams_decoders_and_named_levels_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Mosquitto::start(dir.path(), "");
    let source = format!(
        "url = \"mqtt://127.0.0.1:{}\"\n\
         [[source.plant.subscription]]\ntopics = [\"alarm/{{line}}\"]\nqos = 2\nstream = \"alarms\"\ndecoder = \"text\"\n\
         [[source.plant.subscription]]\ntopics = [\"plant/{{line}}/{{machine}}/+\", \"$share/g/shared/#\"]\n\
         decoder = \"key-value\"\n[[source.plant.subscription.check]]\nfield = \"t\"\nmax = 100",
        broker.port
    );
    let agent = Agent::start(dir.path(), &config(dir.path(), &source), "");
    until("the subscription is in force", || {
        publish(broker.port, &["-t", "plant/a/b/probe", "-m", "x=1"]);
        !files(&dir.path().join("out"), "readings").is_empty()
    });
    publish(broker.port, &["-q", "1", "-t", "plant/7/press/now", "-m", "t=101 unit=C"]);
    publish(broker.port, &["-q", "1", "-t", "shared/x", "-m", "t=1"]);
    publish(broker.port, &["-q", "2", "-t", "alarm/7", "-m", "too hot"]);
    publish(broker.port, &["-q", "1", "-t", "plant/7/press/now", "-m", "nonsense"]);
    until("all are there", || {
        (lines(dir.path(), "readings").len(), lines(dir.path(), "alarms").len()) == (2, 1)
            && lines(dir.path(), "forebay.dead-letters").len() == 1
    });
    let all = lines(dir.path(), "readings");
    let press = all.iter().find(|line| line["key"] == "plant/7/press/now").unwrap();
    assert_eq!(press["payload"], serde_json::json!({ "t": 101, "unit": "C" }));
    let about = &press["attributes"];
    assert_eq!(
        (&about["line"], &about["machine"], &about["quality"]),
        (&"7".into(), &"press".into(), &"range:t".into())
    );
    let alarm = &lines(dir.path(), "alarms")[0];
    assert_eq!((&alarm["payload"], &alarm["attributes"]["line"]), (&"too hot".into(), &"7".into()));
    let letter = &lines(dir.path(), "forebay.dead-letters")[0]["attributes"];
    assert!(letter["line"] == "7" && letter["reason"].as_str().unwrap().contains("no `=`"), "{letter}");
    assert!(agent.stop().success());
}

#[test]
fn tls_with_certificates_and_websockets_in_both_versions() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    let (tls, ws, wss) = (free_port(), free_port(), free_port());
    let files = format!("cafile {}\ncertfile {}\nkeyfile {}\n", at("ca.pem"), at("server.pem"), at("server.key"));
    let more = format!(
        "listener {tls} 127.0.0.1\n{files}require_certificate true\n\
         listener {ws} 127.0.0.1\nprotocol websockets\nlistener {wss} 127.0.0.1\nprotocol websockets\n{files}"
    );
    let broker = Mosquitto::start(dir.path(), &more);
    let identity = format!("certificate = \"{}\", key = \"{}\"", at("client.pem"), at("client.key"));
    let with_ca = |more: &str| format!("tls = {{ ca = \"{}\", {more} alpn = [\"mqtt\"] }}", at("ca.pem"));
    for (n, (url, rest)) in [
        (format!("mqtts://localhost:{tls}"), with_ca(&format!("{identity},"))),
        (format!("ws://localhost:{ws}/mqtt"), String::new()),
        (format!("wss://localhost:{wss}/mqtt"), format!("tls = {{ ca = \"{}\" }}", at("ca.pem"))),
    ]
    .into_iter()
    .enumerate()
    {
        for protocol in ["3.1.1", "5"] {
            let folder = dir.path().join(format!("{n}-{protocol}"));
            std::fs::create_dir(&folder).unwrap();
            let source = format!(
                "url = \"{url}\"\nprotocol = \"{protocol}\"\ntopics = [\"#\"]\nclient_id = \"{n}-{protocol}\"\n{rest}"
            );
            let agent = Agent::start(&folder, &config(&folder, &source), "");
            in_force(&folder, broker.port, "any/probe");
            publish(broker.port, &["-q", "1", "-t", "t", "-m", "7"]);
            until("it is there", || lines(&folder, "readings").len() == 1);
            assert!(agent.stop().success());
        }
    }
    // A broker that nobody vouches for is not trusted, and it is said why.
    let folder = dir.path().join("other");
    std::fs::create_dir(&folder).unwrap();
    let source =
        format!("url = \"wss://localhost:{wss}/mqtt\"\ntopics = [\"#\"]\ntls = {{ ca = \"{}\" }}", at("other-ca.pem"));
    let agent = Agent::start(&folder, &config(&folder, &source), "");
    until("it is refused", || agent.log().contains("UnknownIssuer"));
    assert!(agent.stop().success());
}

#[test]
fn a_status_topic_says_whether_the_agent_is_there_and_retained_messages_may_be_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Mosquitto::start(dir.path(), "");
    publish(broker.port, &["-r", "-t", "kept/old", "-m", "1"]);
    for protocol in ["3.1.1", "5"] {
        let folder = dir.path().join(protocol);
        std::fs::create_dir(&folder).unwrap();
        // Nothing answers at the first address.
        let source = format!(
            "url = \"mqtt://127.0.0.1:{}\"\nfallback = [\"mqtt://127.0.0.1:{}\"]\nprotocol = \"{protocol}\"\n\
             topics = [\"kept/#\"]\nretained = \"ignore\"\nclient_id = \"s{protocol}\"\nmax_payload = \"10B\"\n\
             status = {{ topic = \"status/{protocol}\", online = \"here\", offline = \"gone\" }}",
            free_port(),
            broker.port
        );
        let says = |wanted: &str| {
            let output = Command::new("mosquitto_sub")
                .args([
                    "-h",
                    "127.0.0.1",
                    "-p",
                    &broker.port.to_string(),
                    "-t",
                    &format!("status/{protocol}"),
                    "-C",
                    "1",
                    "-W",
                    "5",
                ])
                .stderr(Stdio::null())
                .output()
                .unwrap();
            String::from_utf8(output.stdout).unwrap().trim() == wanted
        };
        let agent = Agent::start(&folder, &config(&folder, &source), "");
        until("it says that it is there", || says("here"));
        in_force(&folder, broker.port, "kept/probe");
        publish(broker.port, &["-q", "1", "-t", "kept/new", "-m", "2"]);
        publish(broker.port, &["-q", "1", "-t", "kept/new", "-m", "12345678901"]);
        until("the new ones are there", || {
            lines(&folder, "readings").len() == 1 && lines(&folder, "forebay.dead-letters").len() == 1
        });
        assert_eq!(lines(&folder, "readings")[0]["key"], "kept/new", "what was kept is ignored");
        agent.kill();
        until("the broker says that it is gone", || says("gone"));
        let agent = Agent::start(&folder, &config(&folder, &source), "");
        until("it is back", || says("here"));
        assert!(agent.stop().success());
        assert!(says("gone"), "it says good-bye");
    }
}

/// A broker that accepts us and at once drops us: another one is tried.
#[test]
fn a_broker_that_accepts_and_drops_gives_way_to_the_fallback() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Mosquitto::start(dir.path(), "");
    let flighty = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = flighty.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in flighty.incoming() {
            let mut stream = stream.unwrap();
            let mut connect = [0; 512];
            if stream.read(&mut connect).is_ok_and(|n| n > 0) {
                // CONNACK, without a session; then nothing.
                let _ = stream.write_all(&[0x20, 2, 0, 0]);
            }
        }
    });
    let source = format!(
        "url = \"mqtt://127.0.0.1:{port}\"\nfallback = [\"mqtt://127.0.0.1:{}\"]\ntopics = [\"#\"]",
        broker.port
    );
    let agent = Agent::start(dir.path(), &config(dir.path(), &source), "");
    in_force(dir.path(), broker.port, "any/probe");
    publish(broker.port, &["-q", "1", "-t", "t", "-m", "7"]);
    until("it is there", || lines(dir.path(), "readings").len() == 1);
    assert!(agent.stop().success());
}

/// Addresses of the sixth version, wherever a host and a port stand.
#[test]
fn ipv6_addresses_are_reached() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let broker = Mosquitto::start(dir.path(), &format!("listener {port} ::1"));
    let runtime = crate::rig::runtime();
    let settings = forebay::hub::Settings { listen: "[::1]:0".into(), ..forebay::hub::Settings::default() };
    let hub = runtime.block_on(forebay::hub::Hub::start(settings)).unwrap();
    let connection = hub.connection_string("readings");
    assert!(connection.contains("sb://[::1]:"), "{connection}");
    for transport in ["amqp", "https", "amqp-websocket"] {
        let folder = dir.path().join(transport);
        std::fs::create_dir(&folder).unwrap();
        let text = format!(
            "device = \"d\"\n[store]\nlinger = \"50ms\"\nreserve = \"16MiB\"\n\
             [source.plant]\nkind = \"mqtt\"\nurl = \"mqtt://[::1]:{port}\"\ntopics = [\"#\"]\nclient_id = \"{transport}\"\n\
             [sink.hub]\nkind = \"eventhubs\"\nconnection = {{ env = \"EVENTHUB_CONNECTION\" }}\nlinger = \"0s\"\n\
             transport = \"{transport}\"\nport = {}\n",
            hub.address().port()
        );
        let agent = Agent::start(&folder, &text, &connection);
        until("a reading is at the hub", || {
            publish(broker.port, &["-q", "1", "-t", transport, "-m", "1"]);
            let all = crate::rig::readings(&hub, "readings");
            all.iter().any(|reading| reading.line["key"] == transport)
        });
        assert!(agent.stop().success());
    }
}
