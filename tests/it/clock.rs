//! A gateway without a battery: it starts in 1970, and somebody sets its clock. The real binary under
//! libfaketime, which reads the time from a file.

use crate::rig::{Agent, Reading, files, free_port, until};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

fn library() -> PathBuf {
    let found = glob::glob("/usr/lib/*/faketime/libfaketime.so.1").unwrap().find_map(Result::ok);
    found.expect("libfaketime is not installed: tests/run installs it")
}

/// What the clock shows from now on: `@` and a time, or how far it is ahead.
fn set(dir: &Path, time: &str) {
    std::fs::write(dir.join("time.new"), time).unwrap();
    std::fs::rename(dir.join("time.new"), dir.join("time")).unwrap();
}

fn start(dir: &Path, config: &str, connection: &str) -> Agent {
    let faked = [
        "env".into(),
        format!("LD_PRELOAD={}", library().display()),
        format!("FAKETIME_TIMESTAMP_FILE={}", dir.join("time").display()),
        "FAKETIME_NO_CACHE=1".into(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".into(),
        // As older versions call it.
        "DONT_FAKE_MONOTONIC=1".into(),
    ];
    Agent::start_under(&faked, dir, config, connection)
}

fn config(dir: &Path, port: u16, more: &str) -> String {
    format!(
        "device = \"d\"\n[store]\nlinger = \"10ms\"\nreserve = \"16MiB\"\n\
         [source.push]\nkind = \"http\"\nlisten = \"127.0.0.1:{port}\"\npath = \"/in\"\n\
         [sink.out]\nkind = \"directory\"\npath = \"{}/out\"\nlinger = \"0s\"\nfrom = [\"readings\", \"forebay.events\"]\n{more}\n",
        dir.display()
    )
}

fn post(port: u16, key: &str, body: &str) -> u16 {
    let (url, key) = (format!("http://127.0.0.1:{port}/in"), format!("idempotency-key: {key}"));
    let answer = Command::new("curl")
        .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "content-type: application/json", "-H", &key])
        .args(["--data-binary", body, &url])
        .output()
        .unwrap();
    String::from_utf8(answer.stdout).unwrap().parse().unwrap()
}

fn values(dir: &Path) -> Vec<String> {
    files(dir, "readings").iter().map(Reading::value).collect()
}

#[test]
fn times_from_before_the_clock_was_set_are_marked_and_corrected_when_it_is() {
    let dir = tempfile::tempdir().unwrap();
    set(dir.path(), "@1970-01-02 00:00:00");
    let port = free_port();
    // Nothing can be delivered there as long as a file has the folder's name.
    let late = dir.path().join("late");
    std::fs::write(&late, "").unwrap();
    let more = format!(
        "[sink.late]\nkind = \"directory\"\npath = \"{}\"\nlinger = \"0s\"\nfrom = [\"readings\"]",
        late.display()
    );
    let agent = start(dir.path(), &config(dir.path(), port, &more), "");
    until("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    assert_eq!(post(port, "a", "1"), 202);
    let out = dir.path().join("out");
    until("it is delivered", || values(&out) == ["1"]);
    let line = files(&out, "readings").remove(0).line;
    assert!(line["arrival"].as_i64().unwrap() < 10 * 86_400_000, "{line}");
    let about = &line["attributes"];
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().replace('-', "");
    assert_eq!((&about["clock"], &about["boot"]), (&"unset".into(), &boot[..16].into()));
    let monotonic: i64 = about["monotonic_ms"].as_str().unwrap().parse().unwrap();
    set(dir.path(), "+0");
    until("it is told", || agent.log().contains("the clock was set"));
    // An event says what a consumer needs to correct what it has.
    let mut n = 0;
    until("an event says it", || {
        // libfaketime may let a thread that waits for its time sleep on: a commit takes the event along.
        n += 1;
        assert_eq!(post(port, &n.to_string(), "2"), 202);
        files(&out, "forebay.events").iter().any(|event| event.line["key"] == "clock_set")
    });
    let all = files(&out, "forebay.events");
    let event = &all.iter().find(|event| event.line["key"] == "clock_set").unwrap().line["payload"];
    assert_eq!(event["boot"], boot[..16]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let now = i64::try_from(now).unwrap();
    let number = |name: &str| event[name].as_i64().unwrap();
    let arrived = number("wall_ms") - (number("monotonic_ms") - monotonic);
    assert!((0..60_000).contains(&(now - arrived)), "{event} gives {arrived}");
    // What was not delivered yet is corrected before it is.
    std::fs::remove_file(&late).unwrap();
    until("the late ones too", || values(&late).len() >= 2);
    let line = files(&late, "readings").remove(0).line;
    assert!((line["arrival"].as_i64().unwrap() - arrived).abs() < 2000, "{line} instead of {arrived}");
    assert_eq!(line["attributes"], serde_json::json!({ "clock": "corrected" }));
    assert_eq!(files(&late, "readings")[1].line["attributes"], serde_json::Value::Null);
    assert!(agent.stop().success());
}

#[test]
fn a_key_is_known_whatever_is_done_to_the_clock() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let text = config(dir.path(), port, "");
    set(dir.path(), "@1970-01-02 00:00:00");
    let mut agent = start(dir.path(), &text, "");
    let out = dir.path().join("out");
    for (n, time) in ["+0", "+2h", "+0", "-2h", "+10y"].into_iter().enumerate() {
        until("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        let (key, body) = (format!("k{n}"), n.to_string());
        assert_eq!(post(port, &key, &body), 202);
        set(dir.path(), time);
        assert_eq!(post(port, &key, &body), 202);
        agent.kill();
        agent = start(dir.path(), &text, "");
        until("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        assert_eq!(post(port, &key, &body), 202);
    }
    assert_eq!(post(port, "last", "5"), 202);
    until("the last is there", || values(&out).contains(&"5".into()));
    assert!(agent.stop().success());
    let mut seen: Vec<String> =
        crate::rig::without_repeats(&files(&out, "readings")).iter().map(Reading::value).collect();
    seen.sort();
    assert_eq!(seen, ["0", "1", "2", "3", "4", "5"]);
}
