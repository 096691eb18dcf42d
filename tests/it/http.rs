//! Devices that push: curl against the real agent.

use crate::rig::{Agent, Reading, files, free_port, until};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

fn config(dir: &Path, port: u16, more: &str) -> String {
    format!(
        "device = \"d\"\n[store]\nlinger = \"10ms\"\nreserve = \"16MiB\"\n\
         [source.push]\nkind = \"http\"\nlisten = \"127.0.0.1:{port}\"\npath = \"/in\"\n{more}\n\
         [sink.out]\nkind = \"directory\"\npath = \"{}/out\"\nfrom = [\"readings\", \"forebay.dead-letters\"]\n",
        dir.display()
    )
}

fn start(dir: &Path, port: u16, more: &str) -> Agent {
    let agent = Agent::start(dir, &config(dir, port, more), "");
    until("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    agent
}

/// The status, and the answer.
fn curl(arguments: &[&str]) -> (u16, String) {
    let output = Command::new("curl").args(["-s", "-w", "\n%{http_code}"]).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (answer, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), answer.to_string())
}

fn values(dir: &Path) -> Vec<String> {
    files(&dir.join("out"), "readings").iter().map(Reading::value).collect()
}

#[test]
fn bodies_of_every_type_are_records_when_202_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let agent = start(dir.path(), port, "");
    let url = format!("http://127.0.0.1:{port}/in/press");
    let send = |kind: &str, body: &str| curl(&["-H", &format!("content-type: {kind}"), "--data-binary", body, &url]).0;
    assert_eq!(send("application/json; charset=utf-8", "{\"t\":21.50}"), 202);
    assert_eq!(send("application/x-ndjson", "1\n2\n"), 202);
    assert_eq!(send("text/csv", "a,b\n1,x\n"), 202);
    assert_eq!(send("text/plain", "warm"), 202);
    assert_eq!(send("application/octet-stream", "raw"), 202);
    until("all are delivered", || values(dir.path()).len() == 6);
    let seen = values(dir.path());
    assert_eq!(seen[..5], ["{\"t\":21.5}", "1", "2", "{\"a\":1,\"b\":\"x\"}", "warm"]);
    let lines = files(&dir.path().join("out"), "readings");
    assert_eq!((&lines[0].line["key"], &lines[5].line["payload_base64"]), (&"/in/press".into(), &"cmF3".into()));
    // Packed bodies, made by other programs.
    std::fs::write(dir.path().join("body"), "{\"packed\":1}").unwrap();
    for (program, coding) in [("gzip", "gzip"), ("zstd", "zstd")] {
        let packed =
            Command::new(program).args(["-c", dir.path().join("body").to_str().unwrap()]).output().unwrap().stdout;
        std::fs::write(dir.path().join("packed"), packed).unwrap();
        let body = format!("@{}", dir.path().join("packed").display());
        let header = format!("content-encoding: {coding}");
        assert_eq!(curl(&["-H", "content-type: application/json", "-H", &header, "--data-binary", &body, &url]).0, 202);
    }
    until("packed ones too", || values(dir.path()).iter().filter(|value| value.contains("packed")).count() == 2);
    assert_eq!(send("application/senml+json", "[{\"bn\":\"urn:x:\",\"n\":\"senml\",\"v\":1}]"), 202);
    until("SenML too", || values(dir.path()).iter().any(|value| value.contains("urn:x:senml")));
    // What cannot be decoded is kept as a dead letter.
    assert_eq!(send("application/json", "{oops"), 202);
    until("it is set aside", || files(&dir.path().join("out"), "forebay.dead-letters").len() == 1);
    assert!(agent.stop().success());
}

#[test]
fn what_is_wrong_with_a_request_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    std::fs::write(dir.path().join("token"), "secret-1\n").unwrap();
    let more = format!("max_body = \"100B\"\ntoken = {{ file = \"{}/token\" }}", dir.path().display());
    let agent = start(dir.path(), port, &more);
    let url = format!("http://127.0.0.1:{port}/in");
    let bearer = ["-H", "authorization: Bearer secret-1"];
    let with = |arguments: &[&str]| curl(&[&bearer[..], arguments].concat());
    assert_eq!(curl(&["-d", "1", &url]).0, 401);
    assert_eq!(curl(&["-H", "authorization: Bearer wrong", "-d", "1", &url]).0, 401);
    assert_eq!(with(&["-d", "1", &url]).0, 202);
    assert_eq!(with(&[&url]), (405, "use POST\n".into()));
    assert_eq!(with(&["-d", "1", &format!("http://127.0.0.1:{port}/inside")]).0, 404);
    let (status, said) = with(&["-H", "content-type: image/png", "-d", "1", &url]);
    assert!(status == 415 && said.contains("application/json"), "{status} {said}");
    assert_eq!(with(&["-H", "content-encoding: br", "-d", "1", &url]).0, 415);
    assert_eq!(with(&["-d", &"1".repeat(101), &url]), (413, "at most 100 bytes, decompressed\n".into()));
    assert_eq!(with(&["-X", "POST", &url]).0, 400);
    assert!(!agent.log().contains("secret-1"));
    assert!(agent.stop().success());
}

#[test]
fn a_repeat_under_its_key_is_stored_once_also_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let agent = start(dir.path(), port, "");
    let url = format!("http://127.0.0.1:{port}/in");
    let send = |key: &str, body: &str| curl(&["-H", &format!("idempotency-key: {key}"), "-d", body, &url]).0;
    assert_eq!((send("a", "1"), send("a", "1"), send("b", "2")), (202, 202, 202));
    agent.kill();
    let agent = start(dir.path(), port, "");
    assert_eq!((send("a", "1"), send("b", "2"), send("c", "3")), (202, 202, 202));
    until("three are delivered", || {
        crate::rig::without_repeats(&files(&dir.path().join("out"), "readings")).len() >= 3
    });
    assert!(agent.stop().success());
    let all = crate::rig::without_repeats(&files(&dir.path().join("out"), "readings"));
    assert_eq!(all.iter().map(Reading::value).collect::<Vec<_>>(), ["1", "2", "3"]);
}

#[test]
fn under_back_pressure_429_is_said_and_later_202() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    // The stream takes 1 MiB and nobody can reach the hub.
    let text = format!(
        "device = \"d\"\n[store]\nlinger = \"10ms\"\nreserve = \"16MiB\"\n[stream.readings]\ncap = \"1MiB\"\n\
         [source.push]\nkind = \"http\"\nlisten = \"127.0.0.1:{port}\"\nheld = \"2MiB\"\ndecoder = \"bytes\"\n\
         [sink.hub]\nkind = \"eventhubs\"\nconnection = {{ env = \"EVENTHUB_CONNECTION\" }}\n"
    );
    let nowhere = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=k;SharedAccessKey=c2VjcmV0;EntityPath=e;UseDevelopmentEmulator=true";
    let agent = Agent::start(dir.path(), &text, nowhere);
    until("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let mut noise = vec![0; 500_000];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut noise).unwrap();
    // Each client waits for its commit; when all room is taken the next is sent away.
    let mut clients = Vec::new();
    let mut turned_away = String::new();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
        let head = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", noise.len());
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&noise).unwrap();
        let mut answer = [0; 1000];
        let n = stream.read(&mut answer).unwrap_or(0);
        let text = String::from_utf8_lossy(&answer[..n]).to_string();
        clients.push(stream);
        if text.contains("429") {
            turned_away = text;
            break;
        }
    }
    assert!(turned_away.to_lowercase().contains("retry-after: 1"), "{turned_away:?}");
    assert!(agent.stop().success());
}

#[test]
fn clients_without_the_right_certificate_stay_outside() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    crate::rig::certificates(dir.path());
    let port = free_port();
    let more = format!(
        "tls = {{ certificate = \"{}\", key = \"{}\", client_ca = \"{}\" }}",
        at("server.pem"),
        at("server.key"),
        at("ca.pem")
    );
    let agent = start(dir.path(), port, &more);
    let url = format!("https://localhost:{port}/in");
    let (ca, cert, key) = (at("ca.pem"), at("client.pem"), at("client.key"));
    assert_eq!(curl(&["--cacert", &ca, "--cert", &cert, "--key", &key, "-d", "1", &url]).0, 202);
    assert_eq!(curl(&["--cacert", &ca, "-d", "1", &url]).0, 0, "no certificate, no connection");
    assert!(agent.stop().success());
}

#[test]
fn a_key_that_is_none_is_refused_and_not_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let agent = start(dir.path(), port, "");
    let url = format!("http://127.0.0.1:{port}/in");
    let long = "k".repeat(256);
    for key in ["schlüssel", &long] {
        let (status, answer) = curl(&["-H", &format!("idempotency-key: {key}"), "-d", "1", &url]);
        assert!(status == 400 && answer.contains("1 to 255 ASCII"), "{status} {answer}");
    }
    assert_eq!(curl(&["-H", &format!("idempotency-key: {}", &long[..255]), "-d", "1", &url]).0, 202);
    assert!(agent.stop().success());
}

/// A client that keeps its connection.
struct Keeps(TcpStream);

impl Keeps {
    fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(stream)
    }

    fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
    }

    /// The first line of the answer; empty when the connection was closed instead.
    fn hear(&mut self) -> String {
        let mut bytes = [0; 2000];
        let n = self.0.read(&mut bytes).unwrap_or(0);
        String::from_utf8_lossy(&bytes[..n]).lines().next().unwrap_or_default().to_string()
    }

    fn post(&mut self, body: &str) -> String {
        self.say(&format!("POST /in HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        self.hear()
    }
}

#[test]
fn idle_connections_keep_nobody_out() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let agent = start(dir.path(), port, "");
    let mut kept: Vec<Keeps> = (0..128).map(|_| Keeps::open(port)).collect();
    for (n, client) in kept.iter_mut().enumerate() {
        assert_eq!(client.post(&n.to_string()), "HTTP/1.1 202 Accepted");
    }
    let mut more: Vec<Keeps> = (0..20).map(|_| Keeps::open(port)).collect();
    for (n, client) in more.iter_mut().enumerate() {
        assert_eq!(client.post(&(128 + n).to_string()), "HTTP/1.1 202 Accepted");
    }
    // Those that had to go had said nothing for longest; the others are there.
    assert_eq!(kept[0].hear(), "", "closed in order");
    assert_eq!(kept.last_mut().unwrap().post("148"), "HTTP/1.1 202 Accepted");
    until("all are delivered", || values(dir.path()).len() == 149);
    assert!(agent.stop().success());
}

#[test]
fn whoever_says_or_sends_too_much_is_told_at_once_and_keeps_nobody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let agent = start(dir.path(), port, "max_body = \"1000B\"");
    // It says that it has more than is taken, and sends nothing of it.
    let mut says = Keeps::open(port);
    says.say("POST /in HTTP/1.1\r\nhost: x\r\ncontent-length: 1001\r\n\r\n");
    assert_eq!(says.hear(), "HTTP/1.1 413 Payload Too Large");
    // Forty send a little and stop.
    let mut slow: Vec<Keeps> = (0..40).map(|_| Keeps::open(port)).collect();
    for client in &mut slow {
        client.say("POST /in HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n1");
    }
    assert_eq!(Keeps::open(port).post("7"), "HTTP/1.1 202 Accepted");
    drop(slow);
    assert!(agent.stop().success());
}

#[test]
fn a_request_does_not_wait_when_nobody_else_can_send() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    // Whoever waits for the linger waits for longer than this test has.
    let text = config(dir.path(), port, "").replace("linger = \"10ms\"", "linger = \"60s\"");
    let agent = Agent::start(dir.path(), &text, "");
    until("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let url = format!("http://127.0.0.1:{port}/in");
    for n in 0..5 {
        assert_eq!(curl(&["-d", &n.to_string(), &url]).0, 202);
    }
    let mut both = [Keeps::open(port), Keeps::open(port)];
    let head = "POST /in HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n";
    both[0].say(&format!("{head}5"));
    both[1].say(head);
    both[1].say("6");
    assert!(both.iter_mut().all(|client| client.hear() == "HTTP/1.1 202 Accepted"));
    assert!(agent.stop().success());
    assert_eq!(values(dir.path()).len(), 7);
}

#[test]
fn clients_of_influxdb_say_their_unit_and_their_token() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    std::fs::write(dir.path().join("token"), "secret-1\n").unwrap();
    let more = format!("decoder = \"influx\"\ntoken = {{ file = \"{}/token\" }}", dir.path().display());
    let agent = start(dir.path(), port, &more);
    let send = |query: &str, line: &str| {
        let url = format!("http://127.0.0.1:{port}/in/api/v2/write?org=o&bucket=b{query}");
        curl(&["-H", "authorization: Token secret-1", "--data-binary", line, &url])
    };
    for (query, time) in [
        ("", "1714564800000000000"),
        ("&precision=ns", "1714564800000000000"),
        ("&precision=us", "1714564800000000"),
        ("&precision=ms", "1714564800000"),
        ("&precision=s", "1714564800"),
        ("&precision=u", "1714564800000000"),
    ] {
        assert_eq!(send(query, &format!("weather t=1 {time}")).0, 202, "{query}");
    }
    let ping = curl(&["-I", &format!("http://127.0.0.1:{port}/in/ping")]);
    assert!(ping.0 == 204 && ping.1.to_ascii_lowercase().contains("x-influxdb-version"), "{ping:?}");
    let (status, said) = send("&precision=h", "weather t=1 1");
    assert!(status == 400 && said.contains("ns, n, us"), "{status} {said}");
    until("all are delivered", || values(dir.path()).len() == 6);
    let all = files(&dir.path().join("out"), "readings");
    assert!(all.iter().all(|reading| reading.line["time"] == 1_714_564_800_000_000_i64), "{all:?}");
    assert!(agent.stop().success());
}

/// An Ecowitt station posts a form, a Davis station sends one in the query of a GET request (Weather Underground's
/// protocol). Devices prove themselves with Basic or X-Api-Key.
#[test]
fn stations_send_forms_and_keys_in_their_own_ways() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    std::fs::write(dir.path().join("token"), "secret-1\n").unwrap();
    let more = format!(
        "decoder = \"form\"\ntoken = {{ file = \"{}/token\" }}\n\
         time = {{ field = \"dateutc\", format = \"%Y-%m-%d %H:%M:%S\" }}",
        dir.path().display()
    );
    let agent = start(dir.path(), port, &more);
    let report =
        "stationtype=GW1000B_V1.6.8&dateutc=2024-05-01+12:00:00&tempf=71.20&humidity=45&freq=868M&model=GW1000";
    let posted = format!("http://127.0.0.1:{port}/in/data/report");
    let got =
        format!("http://127.0.0.1:{port}/in/updateweatherstation.php?ID=K1&dateutc=2024-05-01%2012:00:01&tempf=71.3");
    assert_eq!(curl(&["-u", "station:secret-1", "-d", report, &posted]).0, 202);
    assert_eq!(curl(&["-H", "X-Api-Key: secret-1", &got]).0, 202);
    for (header, url) in [("X-Api-Key: secret", &got), ("Authorization: Basic c3RhdGlvbg==", &got), ("A: b", &posted)] {
        assert_eq!(curl(&["-H", header, url]).0, 401, "{header}");
    }
    let (status, said) = curl(&["-u", "x:secret-1", &posted]);
    assert!(status == 405 && said.contains("POST"), "a GET request without a form: {status} {said}");
    until("both are delivered", || values(dir.path()).len() == 2);
    let all = files(&dir.path().join("out"), "readings");
    let of = |key: &str| &all.iter().find(|reading| reading.line["key"] == key).unwrap().line;
    let noon = 1_714_564_800_000_000_i64;
    let (ecowitt, davis) = (of("/in/data/report"), of("/in/updateweatherstation.php"));
    assert!(ecowitt["payload"]["tempf"] == 71.2 && ecowitt["time"] == noon, "{ecowitt}");
    assert!(davis["payload"]["tempf"] == 71.3 && davis["time"] == noon + 1_000_000, "{davis}");
    assert!(agent.stop().success());
}
