//! Real files into a folder: the oracle without a network.

use crate::rig::{Agent, append, files, until, without_repeats};
use std::path::Path;

fn config(dir: &Path, more: &str) -> String {
    format!(
        "device = \"d\"\n[store]\nlinger = \"50ms\"\nreserve = \"16MiB\"\n\
         [source.log]\nkind = \"file\"\npath = \"{0}/*.log\"\npoll = \"20ms\"\n{more}\n\
         [sink.out]\nkind = \"directory\"\npath = \"{0}/out\"\nlinger = \"0s\"\n",
        dir.display()
    )
}

fn delivered(dir: &Path) -> Vec<String> {
    without_repeats(&files(&dir.join("out"), "readings")).iter().map(crate::rig::Reading::value).collect()
}

#[test]
fn lines_arrive_in_order_over_rotation_and_restart() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("a.log");
    let agent = Agent::start(dir.path(), &config(dir.path(), ""), "");
    append(&log, "1\n2\n");
    until("two lines are there", || delivered(dir.path()) == ["1", "2"]);
    std::fs::rename(&log, dir.path().join("a.old")).unwrap();
    append(&log, "3\n");
    until("the new file is read", || delivered(dir.path()) == ["1", "2", "3"]);
    assert!(agent.stop().success());
    append(&log, "4\n");
    let agent = Agent::start(dir.path(), &config(dir.path(), ""), "");
    until("reading goes on", || delivered(dir.path()) == ["1", "2", "3", "4"]);
    drop(agent);
}

#[test]
fn a_last_line_without_newline_is_taken_when_its_time_is_up() {
    let dir = tempfile::tempdir().unwrap();
    append(&dir.path().join("a.log"), "whole\nhalf");
    let agent = Agent::start(dir.path(), &config(dir.path(), "unterminated_after = \"300ms\""), "");
    until("both are there", || delivered(dir.path()) == ["whole", "half"]);
    drop(agent);
}

#[test]
fn a_file_truncated_while_read_is_read_again_and_the_user_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("a.log");
    append(&log, "one line\nanother line\n");
    let agent = Agent::start(dir.path(), &config(dir.path(), ""), "");
    until("two lines are there", || delivered(dir.path()).len() == 2);
    std::fs::write(&log, "new\n").unwrap();
    until("the new line is there", || delivered(dir.path()).len() == 3);
    assert!(agent.log().contains("truncated or replaced"), "{}", agent.log());
}

#[test]
fn kill_9_repeats_no_line_in_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("a.log");
    let mut written = 0;
    for _ in 0..8 {
        let agent = Agent::start(dir.path(), &config(dir.path(), ""), "");
        let before = delivered(dir.path()).len();
        for _ in 0..300 {
            append(&log, &format!("{written}\n"));
            written += 1;
        }
        until("some of it is there", || delivered(dir.path()).len() > before);
        agent.kill();
    }
    let agent = Agent::start(dir.path(), &config(dir.path(), ""), "");
    until("all of it is there", || delivered(dir.path()).len() >= written);
    agent.stop();
    let expected: Vec<String> = (0..written).map(|n| n.to_string()).collect();
    assert_eq!(delivered(dir.path()), expected);
}

#[test]
fn bad_lines_go_to_the_dead_letters_and_the_stream_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let both = "decoder = \"json\"";
    let config =
        config(dir.path(), both).replace("[sink.out]", "[sink.out]\nfrom = [\"readings\", \"forebay.dead-letters\"]");
    let mut bytes = b"{\"a\":1}\nnot json\n\n\xff\xfe\n".to_vec();
    bytes.extend_from_slice("x".repeat((1 << 20) + 5).as_bytes());
    bytes.extend_from_slice(b"\n{\"a\":2}\n");
    std::fs::write(dir.path().join("a.log"), &bytes).unwrap();
    let agent = Agent::start(dir.path(), &config, "");
    until("both good lines are there", || delivered(dir.path()) == ["{\"a\":1}", "{\"a\":2}"]);
    let dead = || files(&dir.path().join("out"), "forebay.dead-letters");
    until("three dead letters are there", || dead().len() == 3);
    let reasons: Vec<String> =
        dead().iter().map(|r| r.line["attributes"]["reason"].as_str().unwrap().to_string()).collect();
    assert!(reasons[0].contains("not JSON") && reasons[1].contains("UTF-8"), "{reasons:?}");
    assert!(reasons[2].contains("more than the limit"), "{reasons:?}");
    assert_eq!(dead()[2].line["attributes"]["length"], ((1 << 20) + 5).to_string());
    drop(agent);
}

/// The real logrotate, by rename and by copytruncate, while lines are written all the time.
#[test]
fn logrotate_costs_no_line_and_repeats_none() {
    let ways = [
        ("create", "app.log"),
        ("create", "app.log*"),
        ("copytruncate", "app.log"),
        ("create\n  compress", "app.log"),
        ("create\n  compress", "app.log*"),
        ("create\n  compress\n  delaycompress", "app.log*"),
        ("copytruncate\n  compress", "app.log"),
    ];
    for (how, pattern) in ways {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("app.log");
        let text = format!(
            "device = \"d\"\n[store]\nlinger = \"20ms\"\nreserve = \"16MiB\"\n\
             [source.log]\nkind = \"file\"\npath = \"{0}/{pattern}\"\npoll = \"20ms\"\n\
             [sink.out]\nkind = \"directory\"\npath = \"{0}/out\"\nlinger = \"0s\"\n",
            dir.path().display()
        );
        let rule = dir.path().join("rotate.conf");
        std::fs::write(&rule, format!("{} {{\n  rotate 50\n  {how}\n  missingok\n}}\n", log.display())).unwrap();
        // logrotate asks that nobody else may write to the folder.
        let rotate = || {
            let state = dir.path().join("rotate.state");
            let done =
                std::process::Command::new("logrotate").arg("-f").arg("-s").arg(state).arg(&rule).output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        };
        let mut agent = Agent::start(dir.path(), &text, "");
        let mut written = 0;
        let mut write = |lines: u32| {
            let text: Vec<String> = (written..written + lines).map(|n| format!("line {n}\n")).collect();
            append(&log, &text.concat());
            written += lines;
            format!("line {}", written - 1)
        };
        for round in 0..8 {
            // A file that is rotated before anybody has seen it has another name than the pattern's.
            let seen = write(10);
            until("the file is known", || delivered(dir.path()).contains(&seen));
            for _ in 0..19 {
                write(10);
            }
            // copytruncate itself loses what is written between its copy and its cut: nothing is.
            if round % 3 == 1 {
                agent.kill();
                write(10);
                rotate();
                agent = Agent::start(dir.path(), &text, "");
            } else {
                rotate();
            }
        }
        let expected: Vec<String> = (0..written).map(|n| format!("line {n}")).collect();
        until("all lines are there", || delivered(dir.path()).len() >= expected.len());
        let mut seen = delivered(dir.path());
        seen.sort_by_key(|line| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap());
        assert_eq!(seen, expected, "{how} {pattern}");
        assert!(agent.stop().success());
    }
}

/// Files that other programs drop: each is one message, and goes to `done` when it is safe.
#[test]
fn dropped_files_are_messages_and_are_put_away_when_they_are_safe_also_over_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let inbox = dir.path().join("in");
    std::fs::create_dir(&inbox).unwrap();
    let text = config(dir.path(), "whole = true\nwhen_done = \"move\"\ndone_after = \"100ms\"\ndecoder = \"json\"")
        .replace("/*.log", "/in/*.json");
    let mut agent = Agent::start(dir.path(), &text, "");
    let mut written = Vec::new();
    for n in 0..12 {
        // As programs do that know of readers: another name first.
        std::fs::write(inbox.join("part"), format!("{{\n  \"n\": {n}\n}}\n")).unwrap();
        std::fs::rename(inbox.join("part"), inbox.join(format!("{n}.json"))).unwrap();
        written.push(format!("{{\n  \"n\": {n}\n}}\n"));
        if n % 4 == 3 {
            until("some are there", || delivered(dir.path()).len() > n / 2);
            agent.kill();
            agent = Agent::start(dir.path(), &text, "");
        }
    }
    let done = || std::fs::read_dir(inbox.join("done")).map_or(0, Iterator::count);
    until("all are put away", || done() == written.len());
    assert!(agent.stop().success());
    let mut seen = delivered(dir.path());
    seen.sort_by_key(|text| text.trim_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().unwrap());
    let seen: Vec<serde_json::Value> = seen.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    let written: Vec<serde_json::Value> = written.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    assert_eq!(seen, written);
    assert_eq!(std::fs::read_dir(&inbox).unwrap().count(), 1, "only `done` is left");
}
