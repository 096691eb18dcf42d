//! What a running agent tells without being asked: alerts to a stream, a broker and a server, heartbeats, OTLP.

use crate::rig::{Agent, Mosquitto, Mount, Receiver, append_lines, files, forebay, free_port, until};
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

fn config(dir: &Path, more: &str) -> String {
    let here = dir.display();
    std::fs::create_dir_all(dir.join("in")).unwrap();
    format!(
        "device = \"hall-3\"\n{more}\n[store]\nlinger = \"20ms\"\nreserve = \"16MiB\"\n\
         [source.log]\nkind = \"file\"\npath = \"{here}/in/*.log\"\npoll = \"20ms\"\n\
         [sink.out]\nkind = \"directory\"\npath = \"{here}/out\"\nlinger = \"0s\"\nroll = \"1s\"\n"
    )
}

/// The records of a stream that were delivered, as JSON.
fn delivered(dir: &Path, stream: &str) -> Vec<Value> {
    let lines = files(&dir.join("out"), stream);
    lines.iter().map(|line| serde_json::from_str(&line.value()).unwrap_or_else(|_| panic!("{line:?}"))).collect()
}

fn states(dir: &Path) -> Vec<String> {
    let records = delivered(dir, "alerts");
    records
        .iter()
        .map(|record| format!("{} {}", record["state"].as_str().unwrap(), record["name"].as_str().unwrap()))
        .collect()
}

#[test]
fn an_alert_is_told_once_over_a_kill_and_its_targets_hear_the_state_when_they_are_back() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Mosquitto::start(dir.path(), "");
    let server = Receiver::start("503 Service Unavailable");
    std::fs::write(dir.path().join("token"), "secret-7").unwrap();
    let more = format!(
        "[alerts]\nstream = \"alerts\"\nwebhook = {{ url = \"http://127.0.0.1:{}/hook?key=secret-8\", token = {{ file = \"{}/token\" }} }}\n\
         mqtt = {{ url = \"mqtt://127.0.0.1:{}\", topic = \"alerts/hall-3\" }}\n\
         [alert.hot]\nstream = \"readings\"\nfield = \"t.in\"\nabove = 30\nclear = 25\nseverity = \"critical\"\nmessage = \"{{about}} is at {{value}}\"\n",
        server.port,
        dir.path().display(),
        broker.port,
    );
    let config = config(dir.path(), &more);
    let agent = Agent::start(dir.path(), &config, "");
    let log = dir.path().join("in/a.log");
    let mut listener = Command::new("mosquitto_sub")
        .args(["-h", "127.0.0.1", "-p", &broker.port.to_string(), "-t", "alerts/#", "-v"])
        .stdout(std::fs::File::create(dir.path().join("heard")).unwrap())
        .spawn()
        .unwrap();
    append_lines(&log, ["{\"t\":{\"in\":20}}"]);
    until("the reading is delivered", || delivered(dir.path(), "readings").len() == 1);
    append_lines(&log, ["{\"t\":{\"in\":31}}", "{\"t\":{\"in\":28}}", "{\"t\":{\"in\":33}}"]);
    until("the beginning is at the target", || states(dir.path()) == ["begins hot"]);
    let begins = delivered(dir.path(), "alerts").remove(0);
    assert_eq!((&begins["severity"], &begins["state"]), (&"critical".into(), &"begins".into()), "{begins}");
    assert!(begins["message"].as_str().unwrap().ends_with("a.log is at 31"), "{begins}");
    until("the server was asked", || !server.seen().is_empty());
    until("it is said that the server refuses", || agent.log().contains("event=\"alert_target_down\""));

    agent.kill();
    server.answers("204 No Content");
    let agent = Agent::start(dir.path(), &config, "");
    until("the server is told", || server.seen().len() > 1);
    let (head, body) = server.seen().pop().unwrap();
    assert!(head.starts_with("POST /hook?key=secret-8 HTTP/1.1\r\n"), "{head}");
    assert!(head.to_lowercase().contains("authorization: bearer secret-7\r\n"), "{head}");
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&body["device"], &body["alerts"][0]["name"]), (&"hall-3".into(), &"hot".into()), "{body}");
    assert!(body["text"].as_str().unwrap().starts_with("hall-3: critical hot: "), "{body}");
    append_lines(&log, ["{\"t\":{\"in\":24}}"]);
    until("the end is at the target", || states(dir.path()) == ["begins hot", "ended hot"]);
    until("the server is told of the end", || {
        server.seen().last().is_some_and(|(_, body)| String::from_utf8_lossy(body).contains("\"ended\""))
    });
    let messages = || std::fs::read_to_string(dir.path().join("heard")).unwrap();
    until("the broker is told of the end", || messages().contains("\"ended\""));
    listener.kill().unwrap();
    listener.wait().unwrap();
    let messages = messages();
    let messages: Vec<&str> = messages.lines().collect();
    // The kill may have come between the message and the note that it was sent: at most one repeat.
    assert!(messages.len() <= 3, "{messages:?}");
    assert!(messages[0].starts_with("alerts/hall-3 {") && messages[0].contains("\"begins\""), "{messages:?}");
    let text = agent.log();
    assert!(text.contains("alert hot: stream readings, key ") && text.contains("event=\"alert_ended\""), "{text}");
    assert!(!text.contains("secret-"), "{text}");
    assert!(agent.stop().success());
    assert_eq!(states(dir.path()), ["begins hot", "ended hot"], "each once");
}

#[test]
fn what_comes_with_forebay_is_watched_and_an_outage_is_an_alert_on_the_page() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let away = "[sink.away]\nkind = \"kafka\"\nbrokers = [\"127.0.0.1:1\"]\ntopic = \"t\"\n";
    let more = format!(
        "heartbeat = \"10s\"\n[page]\nlisten = \"127.0.0.1:{port}\"\n[alert.part-down]\nfor = \"1s\"\n[alert.dead-letters]\nenabled = false\n"
    );
    let agent = Agent::start(dir.path(), &(config(dir.path(), &more) + away), "");
    append_lines(&dir.path().join("in/a.log"), ["1"]);
    let status = || {
        let url = format!("http://127.0.0.1:{port}/api/v1/status");
        let done = Command::new("curl").args(["-s", "--max-time", "20", &url]).output().unwrap();
        serde_json::from_slice::<Value>(&done.stdout).unwrap_or_default()
    };
    until("the alert is there", || status()["alerts"][0]["name"] == "part-down");
    let alert = status()["alerts"][0].clone();
    assert_eq!((&alert["about"], &alert["severity"]), (&"sink away".into(), &"critical".into()), "{alert}");
    until("a heartbeat says so", || {
        delivered(dir.path(), "heartbeat").iter().any(|beat| beat["alerts"][0]["name"] == "part-down")
    });
    let beat = delivered(dir.path(), "heartbeat").pop().unwrap();
    let sink = beat["parts"].as_array().unwrap().iter().find(|part| part["name"] == "away").unwrap();
    assert_eq!((&beat["event"], &sink["health"]), (&"heartbeat".into(), &"waiting".into()), "{beat}");
    assert!(beat["backlog"]["records"].as_u64().unwrap() > 0 && beat["uptime_s"].is_u64(), "{beat}");
    assert!(agent.stop().success());
}

#[test]
fn a_collector_of_opentelemetry_gets_all_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let server = Receiver::start("200 OK");
    let more = format!("[otlp]\nurl = \"http://127.0.0.1:{}\"\ninterval = \"5s\"\n", server.port);
    let agent = Agent::start(dir.path(), &config(dir.path(), &more), "");
    append_lines(&dir.path().join("in/a.log"), 0..1000);
    until("the readings are delivered", || files(&dir.path().join("out"), "readings").len() == 1000);
    let seen = server.seen().len();
    until("the collector was told since", || server.seen().len() > seen + 1);
    let (head, body) = server.seen().pop().unwrap();
    let lower = head.to_lowercase();
    assert!(head.starts_with("POST /v1/metrics HTTP/1.1\r\n"), "{head}");
    assert!(
        lower.contains("content-type: application/x-protobuf\r\n") && lower.contains("content-encoding: gzip\r\n"),
        "{head}"
    );
    let python = std::env::var("FOREBAY_PYTHON").expect("FOREBAY_PYTHON is not set: tests/run sets it");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/python/otlp_read.py");
    let mut reader = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    reader.stdin.take().unwrap().write_all(&body).unwrap();
    let read = reader.wait_with_output().unwrap();
    assert!(read.status.success());
    let samples: Vec<Value> =
        String::from_utf8(read.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let find = |name: &str| samples.iter().find(|sample| sample["name"] == name).unwrap_or_else(|| panic!("{name}"));
    let records = find("forebay_sink_records_total");
    assert_eq!((&records["kind"], &records["value"]), (&"sum".into(), &1000.into()), "{records}");
    assert_eq!((&records["labels"]["sink"], &records["of"]), (&"out".into(), &"hall-3".into()), "{records}");
    assert_eq!(find("forebay_uptime_seconds")["unit"], "s");
    assert_eq!(find("forebay_sink_delivery_seconds")["kind"], "histogram");
    assert_eq!(find("forebay_sink_batch_bytes")["unit"], "By");
    assert!(samples.len() > 60, "{}", samples.len());
    assert!(agent.stop().success());
}

/// The disk is what an alert may be about.
#[test]
fn a_disk_that_takes_no_write_holds_up_no_alert() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Mount::new(&dir.path().join("disk"), 96);
    let server = Receiver::start("200 OK");
    let more = format!(
        "[alerts]\nwebhook = {{ url = \"http://127.0.0.1:{}/\" }}\n\
         [alert.first]\nmetric = \"uptime_seconds\"\nabove = 5\n[alert.later]\nmetric = \"uptime_seconds\"\nabove = 15\n",
        server.port
    );
    std::os::unix::fs::symlink(&disk.at, dir.path().join("state")).unwrap();
    let agent = Agent::start(dir.path(), &config(dir.path(), &more), "");
    append_lines(&dir.path().join("in/a.log"), ["1"]);
    until("the reading is delivered", || delivered(dir.path(), "readings").len() == 1);
    disk.freeze();
    let told = |name: &str| {
        let name = format!("\"name\":\"{name}\"");
        server.seen().iter().any(|(_, body)| String::from_utf8_lossy(body).contains(&name))
    };
    let both = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        until("the first is told", || told("first"));
        until("the one after it is told", || told("later"));
    }));
    // Also when it fails: a process that waits for a frozen disk cannot be killed.
    disk.thaw();
    both.unwrap();
    assert!(agent.stop().success());
}

#[test]
fn alerts_that_watch_nothing_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    for (more, wanted) in [
        ("[alert.a]\nabove = 1\n", "alert `a` watches nothing"),
        ("[alert.a]\nmetric = \"sink_backlog_age_second\"\nabove = 1\n", "did you mean \"sink_backlog_age_seconds\"?"),
        ("[alert.a]\nmetric = \"clock_set\"\n", "nothing says when it begins"),
        ("[alert.a]\nmetric = \"clock_set\"\nabove = 1\nbelow = 0\n", "exclude each other"),
        ("[alert.a]\nmetric = \"clock_set\"\nabove = 1\nclear = 2\n", "`clear` is above `above`"),
        ("[alert.a]\nstream = \"reading\"\nabove = 1\n", "did you mean \"readings\"?"),
        ("[alert.a]\nfield = \"x\"\nabove = 1\n", "`field` goes with `stream`"),
        ("[alert.a]\nmetric = \"part_up\"\nbelow = 1\nof = \"sink.in\"\n", "there are: source.log, sink.out"),
        ("[alert.a]\nmetric = \"part_up\"\nbelow = \"x\"\n", "a number"),
        ("[alerts]\nstream = \"readings\"\n", "the stream of the alerts, `readings`, has another writer"),
        ("[alerts]\nwebhook = { url = \"ftp://x\" }\n", "no address of a web server"),
        ("[alerts]\nmqtt = { url = \"mqtt://x\", topic = \"a/#\" }\n", "cannot be published to"),
        ("[alerts]\nstream = \"heartbeat\"\n", "has another writer"),
        ("[alert.a]\nmetric = \"clock_set\"\nbelow = 1\nof = \"sink.out\"\n", "`sink.out` has no `forebay_clock_set`"),
        ("[alert.a]\nstream = \"readings\"\nabsent = \"0s\"\n", "`absent`"),
        ("[alerts]\nstreem = \"a\"\n", "did you mean `stream`?"),
    ] {
        let path = dir.path().join("forebay.toml");
        std::fs::write(&path, config(dir.path(), &format!("heartbeat = \"5m\"\n{more}"))).unwrap();
        let done = forebay(&["check", path.to_str().unwrap()]);
        let said = String::from_utf8(done.stdout).unwrap() + &String::from_utf8(done.stderr).unwrap();
        assert!(done.status.code() == Some(1) && said.contains(wanted), "{more}: {wanted} is not in\n{said}");
    }
}
