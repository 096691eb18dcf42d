//! Event Hubs over TLS, over WebSockets and through a proxy; Microsoft's clients the same ways.

use crate::clients::python;
use crate::rig::{Agent, certificates, free_port, readings, runtime, until, without_repeats};
use forebay::hub::{Hub, Settings};
use std::path::Path;
use std::process::{Child, Command, Stdio};

fn hub(tls: Option<&Path>) -> (tokio::runtime::Runtime, Hub) {
    let tls = tls.map(|dir| (dir.join("server.pem"), dir.join("server.key")));
    let runtime = runtime();
    let settings = Settings { listen: "127.0.0.1:0".into(), tls, ..Settings::default() };
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
fn microsofts_python_client_over_websockets_with_tls() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let (_runtime, hub) = hub(Some(dir.path()));
    let port = hub.address().port().to_string();
    let ca = dir.path().join("ca.pem");
    let seen = python("over_websocket.py", &[&hub.connection_string("readings"), &port, ca.to_str().unwrap()]);
    assert_eq!(seen, serde_json::json!(["py-0", "py-1", "py-2", "py-3", "py-4"]));
}
