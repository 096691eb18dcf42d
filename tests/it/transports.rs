//! Event Hubs over TLS, over WebSockets and through a proxy; Microsoft's clients the same ways.

use crate::clients::python;
use crate::rig::{Agent, certificates, free_port, readings, runtime, until, without_repeats};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use forebay::hub::{Hub, Settings};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

fn hub(tls: Option<&Path>) -> (tokio::runtime::Runtime, Hub) {
    let tls = tls.map(|dir| (dir.join("server.pem"), dir.join("server.key")));
    hub_with(Settings { tls, ..Settings::default() })
}

fn hub_with(settings: Settings) -> (tokio::runtime::Runtime, Hub) {
    let runtime = runtime();
    let settings = Settings { listen: "127.0.0.1:0".into(), ..settings };
    let hub = runtime.block_on(Hub::start(settings)).unwrap();
    (runtime, hub)
}

fn start(dir: &Path, hub: &Hub, sink: &str) -> Agent {
    let text = format!(
        "device = \"gateway-7\"\n[store]\nlinger = \"20ms\"\nreserve = \"16MiB\"\n\
         [source.log]\nkind = \"file\"\npath = \"{}/a.log\"\npoll = \"20ms\"\n\
         [sink.hub]\nkind = \"eventhubs\"\nconnection = {{ env = \"EVENTHUB_CONNECTION\" }}\nlinger = \"0s\"\n{sink}\n",
        dir.display()
    );
    let lines: Vec<String> = (0..500).map(|n| format!("line {n}\n")).collect();
    std::fs::write(dir.join("a.log"), lines.concat()).unwrap();
    Agent::start(dir, &text, &hub.connection_string("readings"))
}

fn delivered(hub: &Hub) -> usize {
    without_repeats(&readings(hub, "readings")).len()
}

/// The real tinyproxy, which wants a password.
struct Proxy {
    child: Child,
    port: u16,
}

impl Proxy {
    fn start(dir: &Path, hub: u16) -> Self {
        let port = free_port();
        let path = dir.join("tinyproxy.conf");
        let text = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 60\nAllow 127.0.0.1\nBasicAuth gateway secret\nConnectPort {hub}\n"
        );
        std::fs::write(&path, text).unwrap();
        let program = ["/usr/bin/tinyproxy", "/usr/sbin/tinyproxy"].into_iter().find(|path| Path::new(path).exists());
        let child = Command::new(program.expect("tinyproxy is not installed: tests/run installs it"))
            .args(["-d", "-c", path.to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("the proxy listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { child, port }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn tls_websockets_and_a_proxy_deliver_the_same() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let ca = format!("ca = \"{}\"", dir.path().join("ca.pem").display());
    for (name, tls, transport, proxied) in [
        ("tls", true, "amqp", false),
        ("ws", false, "amqp-websocket", false),
        ("wss", true, "amqp-websocket", false),
        ("proxy", true, "amqp-websocket", true),
        ("proxy-amqp", true, "amqp", true),
    ] {
        let (_runtime, hub) = hub(tls.then_some(dir.path()));
        let port = hub.address().port();
        let folder = dir.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        let proxy = proxied.then(|| Proxy::start(&folder, port));
        std::fs::write(folder.join("password"), "secret").unwrap();
        let through = proxy.as_ref().map(|proxy| {
            format!(
                "proxy = {{ address = \"127.0.0.1:{}\", username = \"gateway\", password = {{ file = \"{}\" }} }}",
                proxy.port,
                folder.join("password").display()
            )
        });
        let more = through.unwrap_or_default();
        let ca = if tls { &ca } else { "" };
        let agent = start(&folder, &hub, &format!("transport = \"{transport}\"\nport = {port}\n{ca}\n{more}"));
        until("all are at the hub", || delivered(&hub) == 500);
        assert_eq!(agent.log().matches("cannot deliver").count(), 0, "{name}: {}", agent.log());
        assert!(agent.stop().success());
    }
}

#[test]
fn whom_nobody_vouches_for_and_what_refuses_is_said() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let (_runtime, hub) = hub(Some(dir.path()));
    let port = hub.address().port();
    let proxy = Proxy::start(dir.path(), port);
    let other = format!("ca = \"{}\"", dir.path().join("other-ca.pem").display());
    let ca = format!("ca = \"{}\"", dir.path().join("ca.pem").display());
    std::fs::write(dir.path().join("wrong-password"), "wrong").unwrap();
    let login = format!("username = \"gateway\", password = {{ file = \"{}/wrong-password\" }}", dir.path().display());
    let at = |port: u16, more: &str| format!("proxy = {{ address = \"127.0.0.1:{port}\"{more} }}");
    let closed = free_port();
    for (name, sink, told) in [
        ("other-ca", format!("port = {port}\n{other}"), "UnknownIssuer".to_string()),
        ("no-login", format!("port = {port}\n{ca}\n{}", at(proxy.port, "")), "check `username` and `password`".into()),
        ("wrong", format!("port = {port}\n{ca}\n{}", at(proxy.port, &format!(", {login}"))), "check `username`".into()),
        ("no-proxy", format!("port = {port}\n{ca}\n{}", at(closed, "")), format!("127.0.0.1:{closed}")),
        ("not-http", format!("port = {port}\n{ca}\n{}", at(port, "")), "proxy 127.0.0.1".into()),
    ] {
        let folder = dir.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        let agent = start(&folder, &hub, &sink);
        until(&told, || agent.log().contains(&told));
        assert!(!agent.log().contains("wrong\"") && !agent.log().contains("secret"), "{}", agent.log());
        assert!(agent.stop().success());
    }
    assert_eq!(delivered(&hub), 0);
}

#[test]
fn microsofts_javascript_client_sends_and_receives_over_amqp_and_websockets() {
    let clients = std::env::var("FOREBAY_NODE").expect("FOREBAY_NODE is not set: tests/run sets it");
    for transport in ["amqp", "websocket"] {
        let dir = tempfile::tempdir().unwrap();
        // Over WebSockets this client always speaks TLS.
        certificates(dir.path());
        let is_tls = transport == "websocket";
        let (_runtime, hub) = hub(is_tls.then_some(dir.path()));
        let (ca, port) = (dir.path().join("ca.pem"), hub.address().port());
        let sink = if is_tls { format!("port = {port}\nca = \"{}\"", ca.display()) } else { String::new() };
        let agent = start(dir.path(), &hub, &sink);
        until("all are at the hub", || delivered(&hub) == 500);
        assert!(agent.stop().success());
        let events: usize = (0..hub.partitions()).map(|partition| hub.events("readings", partition).len()).sum();
        // It takes a port for the emulator only.
        let connection = hub.connection_string("readings") + if is_tls { ";UseDevelopmentEmulator=true" } else { "" };
        let done = Command::new("node")
            .env("NODE_EXTRA_CA_CERTS", ca)
            .args([&format!("{clients}/eventhubs.mjs"), &connection, transport])
            .arg((events + 6).to_string())
            .output()
            .unwrap();
        assert!(done.status.success(), "{transport}: {}", String::from_utf8_lossy(&done.stderr));
        let seen: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(seen["partitions"], serde_json::json!(["0", "1", "2", "3"]));
        assert_eq!(seen["keyed"], serde_json::json!(["js-0", "js-1", "js-2", "js-3", "js-4"]));
        assert_eq!((&seen["keyed_partitions"], &seen["key"]), (&1.into(), &"press-7".into()));
        assert_eq!(seen["large"], true);
        let expected: Vec<String> = (0..500).map(|n| format!("line {n}")).collect();
        assert_eq!(seen["readings"], serde_json::json!(expected));
        assert_eq!(seen["reading_key"], "gateway-7/readings/0");
        assert_eq!((&seen["about"]["device"], &seen["about"]["first"]), (&"gateway-7".into(), &1.into()));
    }
}

#[test]
fn microsofts_rust_client_sends_and_receives() {
    rust_client_sends_and_receives(false);
}

#[test]
fn microsofts_rust_client_sends_and_receives_over_websockets() {
    rust_client_sends_and_receives(true);
}

/// Over AMQP as it is, or in a WebSocket, where it always speaks TLS.
fn rust_client_sends_and_receives(websocket: bool) {
    let client = std::env::var("FOREBAY_RUST_CLIENT").expect("FOREBAY_RUST_CLIENT is not set: tests/run sets it");
    let dir = tempfile::tempdir().unwrap();
    // The AMQP library below this SDK (fe2o3-amqp 0.16.2) does not bear an answer that comes before it has
    // noted its own question, which no real network gives: docs/hub.md.
    let latency = Some(Duration::from_millis(50));
    certificates(dir.path());
    let tls = websocket.then(|| (dir.path().join("server.pem"), dir.path().join("server.key")));
    let (_runtime, hub) = hub_with(Settings { latency, tls, ..Settings::default() });
    let (ca, port) = (dir.path().join("ca.pem"), hub.address().port());
    let sink = if websocket { format!("port = {port}\nca = \"{}\"", ca.display()) } else { String::new() };
    let agent = start(dir.path(), &hub, &sink);
    until("all are at the hub", || delivered(&hub) == 500);
    assert!(agent.stop().success());
    let own: usize = (0..hub.partitions()).map(|partition| hub.events("readings", partition).len()).sum();
    let endpoint = if websocket { format!("wss://localhost:{port}") } else { format!("amqp://{}", hub.address()) };
    let connection = hub.connection_string("readings");
    let expected = (own + 6).to_string();
    let done =
        Command::new(&client).args([&connection, &endpoint, &expected]).env("SSL_CERT_FILE", ca).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let seen: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(seen["partitions"], serde_json::json!(["0", "1", "2", "3"]));
    let body = |event: &serde_json::Value| STANDARD.decode(event["body"].as_str().unwrap()).unwrap();
    let of = |key: &str| {
        let events = seen["events"].as_array().unwrap().iter();
        events.filter(|event| event["key"] == key).cloned().collect::<Vec<_>>()
    };
    let keyed: Vec<String> = of("press-7").iter().map(|event| String::from_utf8(body(event)).unwrap()).collect();
    assert_eq!(keyed, ["rust-0", "rust-1", "rust-2", "rust-3", "rust-4"]);
    assert!(seen["events"].as_array().unwrap().iter().any(|event| body(event).len() == 400_000));
    let ours = of("gateway-7/readings/0");
    let mut text = String::new();
    for event in &ours {
        assert_eq!((&event["content_type"], &event["properties"]), (&"application/x-ndjson".into(), &12.into()));
        GzDecoder::new(&body(event)[..]).read_to_string(&mut text).unwrap();
    }
    let values = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["payload"].clone());
    assert_eq!(values.collect::<Vec<_>>(), (0..500).map(|n| format!("line {n}")).collect::<Vec<_>>());
}

#[test]
fn microsofts_python_client_over_websockets_with_tls() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let (_runtime, hub) = hub(Some(dir.path()));
    let port = hub.address().port().to_string();
    let ca = dir.path().join("ca.pem");
    let seen = python("over_websocket.py", &[&hub.connection_string("readings"), &port, ca.to_str().unwrap()]);
    assert_eq!(seen, serde_json::json!(["py-0", "py-1", "py-2", "py-3", "py-4"]));
}

/// What `forebay send-test` prints, and whether it succeeded.
fn send_test(dir: &Path, sink: &str, connection: &str) -> (bool, String) {
    let path = dir.join("send-test.toml");
    let text = format!(
        "[source.log]\nkind = \"file\"\npath = \"/nothing\"\n[sink.hub]\nkind = \"eventhubs\"\n\
         connection = {{ env = \"EVENTHUB_CONNECTION\" }}\n{sink}\n"
    );
    std::fs::write(&path, text).unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_forebay"))
        .args(["send-test", "--config", path.to_str().unwrap()])
        .env("EVENTHUB_CONNECTION", connection)
        .output()
        .unwrap();
    assert!(done.stderr.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
    (done.status.success(), String::from_utf8(done.stdout).unwrap())
}

#[test]
fn send_test_shows_every_step_and_where_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let (_runtime, hub) = hub(Some(dir.path()));
    let connection = hub.connection_string("readings");
    let port = hub.address().port();
    let ca = format!("port = {port}\nca = \"{}\"", dir.path().join("ca.pem").display());
    let (good, told) = send_test(dir.path(), &format!("transport = \"amqp-websocket\"\n{ca}"), &connection);
    let steps: Vec<&str> = told.lines().map(|line| line.split_whitespace().nth(2).unwrap()).collect();
    assert!(good, "{told}");
    assert_eq!(steps, ["clock", "dns", "tcp", "tls", "websocket", "amqp", "token", "link", "send"], "{told}");
    assert!(told.contains("TLSv1_3, certificate for localhost, good until 20"), "{told}");
    assert!(told.contains("up to 1048576 bytes") && told.contains("localhost is 127.0.0.1"), "{told}");
    let events: usize = (0..hub.partitions()).map(|partition| hub.events("readings", partition).len()).sum();
    assert_eq!(events, 1);
    let wrong = connection.replace("SAS_KEY_VALUE", "hunter2");
    for (sink, connection, told_last) in [
        (ca.clone(), &wrong, "the hub refuses the token (401"),
        (format!("{ca}\nevent_hub = \"other\""), &connection, "check the event hub's name"),
        (format!("port = {}", free_port()), &connection, "Connection refused"),
        (format!("port = {port}"), &connection, "UnknownIssuer"),
    ] {
        let (good, told) = send_test(dir.path(), &sink, connection);
        let last = told.lines().last().unwrap();
        assert!(!good && last.starts_with("FAILED: ") && last.contains(told_last), "{told}");
        assert!(!told.contains("SAS_KEY_VALUE") && !told.contains("hunter2"), "{told}");
    }
}

/// `LD_PRELOAD` with a library of the system's.
fn library(name: &str) -> String {
    let folders = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path().join(name));
    let found = folders.into_iter().find(|path| path.exists()).expect("tests/run installs it");
    format!("LD_PRELOAD={}", found.display())
}

/// A gateway without a battery for its clock: the real binary under faketime.
#[test]
fn a_clock_that_says_1970_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    for tls in [true, false] {
        let (_runtime, hub) = hub(tls.then_some(dir.path()));
        let folder = dir.path().join(tls.to_string());
        std::fs::create_dir(&folder).unwrap();
        let ca = format!("port = {}\nca = \"{}\"", hub.address().port(), dir.path().join("ca.pem").display());
        let text = format!(
            "device = \"d\"\n[store]\nreserve = \"16MiB\"\n[source.log]\nkind = \"file\"\npath = \"{}/a.log\"\n\
             [sink.hub]\nkind = \"eventhubs\"\nconnection = {{ env = \"EVENTHUB_CONNECTION\" }}\n{}\n",
            folder.display(),
            if tls { &ca } else { "" }
        );
        std::fs::write(folder.join("a.log"), "1\n").unwrap();
        // Only the wall clock: timers run as they do.
        let found = library("faketime/libfaketime.so.1");
        let faked = ["env", &found, "FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME=@1970-01-02 00:00:00"];
        let faked = faked.map(String::from);
        let agent = Agent::start_under(&faked, &folder, &text, &hub.connection_string("readings"));
        let told = if tls { "this machine's clock says 1970-01-0" } else { "and this machine's clock" };
        until(told, || agent.log().contains(told));
        // When somebody has set it, all is well.
        assert!(agent.stop().success());
        let agent = Agent::start(&folder, &text, &hub.connection_string("readings"));
        until("it is delivered", || delivered(&hub) == 1);
        assert!(agent.stop().success());
    }
}
