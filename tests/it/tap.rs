//! `forebay tap` and `forebay check --connect`: looking without touching.

use crate::rig::{Mosquitto, forebay, free_port, publish_at, until};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

fn config(dir: &Path, broker: u16, listen: u16) -> String {
    let path = dir.join("forebay.toml");
    let text = format!(
        "device = \"d\"\nstate = \"{0}/state\"\n\
         [source.plant]\nkind = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{broker}\"\ntopics = [\"plant/{{line}}\"]\n\
         decoder = \"key-value\"\n\
         [source.log]\nkind = \"file\"\npath = \"{0}/*.txt\"\n\
         [source.push]\nkind = \"http\"\nlisten = \"127.0.0.1:{listen}\"\n\
         [source.port]\nkind = \"serial\"\npath = \"{0}/no-port\"\n\
         [sink.out]\nkind = \"directory\"\npath = \"{0}/out\"\n",
        dir.display()
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_string()
}

#[test]
fn what_a_source_brings_is_shown_and_the_store_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Mosquitto::start(dir.path(), "");
    let config = config(dir.path(), broker.port, free_port());
    let mut child = Command::new(env!("CARGO_BIN_EXE_forebay"))
        .args(["tap", "plant", "--config", &config, "--limit", "2"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // One that is no reading too: what would become a dead letter is shown as such.
    until("two lines are shown", || {
        publish_at(broker.port, "plant/7", 1, &["t=21.5".into(), "nonsense".into()]);
        child.try_wait().unwrap().is_some()
    });
    let lines: Vec<String> = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("readings {") && lines[0].contains("\"payload\":{\"t\":21.5}"), "{lines:?}");
    assert!(lines[0].contains("\"attributes\":{\"line\":\"7\"}"), "{lines:?}");
    assert!(lines[1].starts_with("forebay.dead-letters {"), "{lines:?}");
    assert!(!dir.path().join("state").exists());
    for (source, why) in [("push", "202"), ("nobody", "there are: log, plant, port, push")] {
        let output = forebay(&["tap", source, "--config", &config]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains(why), "{said}");
    }
}

#[test]
fn check_connect_tries_every_source_and_says_what_is_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Mosquitto::start(dir.path(), "");
    std::fs::write(dir.path().join("a.txt"), "1\n").unwrap();
    let config = config(dir.path(), broker.port, free_port());
    let output = forebay(&["check", &config, "--connect"]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains(&format!("plant: 127.0.0.1:{} accepts us", broker.port)), "{shown}");
    assert!(shown.contains("log: 1 file(s) can be read") && shown.contains("can be listened on"), "{shown}");
    assert!(shown.contains("port: FAILED") && shown.contains("is the device plugged in?"), "{shown}");
    drop(broker);
    let shown = String::from_utf8(forebay(&["check", &config, "--connect"]).stdout).unwrap();
    assert!(shown.contains("plant: FAILED") && shown.contains("is the broker running"), "{shown}");
}

/// Files that would be removed when they are done with are only looked at.
#[test]
fn files_are_shown_from_their_beginning_and_stay() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().display();
    let text = format!(
        "device = \"d\"\nstate = \"{place}/state\"\n\
         [source.drop]\nkind = \"file\"\npath = \"{place}/*.txt\"\nwhen_done = \"delete\"\ndone_after = \"100ms\"\n\
         [sink.out]\nkind = \"directory\"\npath = \"{place}/out\"\n"
    );
    let config = dir.path().join("forebay.toml");
    std::fs::write(&config, text).unwrap();
    std::fs::write(dir.path().join("a.txt"), "1\n2\n3\n").unwrap();
    let config = config.to_str().unwrap();
    let output = forebay(&["tap", "drop", config, "--from-beginning", "--limit", "2"]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.lines().count() == 2 && shown.contains("\"payload\":\"1\""), "{shown}");
    let shown = String::from_utf8(forebay(&["check", config, "--connect"]).stdout).unwrap();
    assert!(shown.contains("    readings {\"seq\":1,") && shown.contains("\"payload\":\"1\""), "{shown}");
    let shown = String::from_utf8(forebay(&["check", config, "--connect", "--wait", "0"]).stdout).unwrap();
    assert!(!shown.contains("readings {"), "{shown}");
    // Nor is one removed after it was shown whole.
    let mut child = Command::new(env!("CARGO_BIN_EXE_forebay"))
        .args(["tap", "drop", config, "--from-beginning"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (0..3).for_each(|_| assert!(lines.next().unwrap().is_ok()));
    std::fs::write(dir.path().join("b.txt"), "4\n").unwrap();
    assert!(lines.next().unwrap().unwrap().contains("b.txt"));
    std::thread::sleep(std::time::Duration::from_millis(1500));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(dir.path().join("a.txt").exists() && dir.path().join("b.txt").exists());
}
