//! `forebay buffer` on running, stopped and rotten stores.

use crate::rig::{Agent, append_lines, forebay, until};
use std::path::{Path, PathBuf};

fn config(dir: &Path) -> String {
    format!(
        "device = \"d\"\n[store]\nlinger = \"10ms\"\nreserve = \"16MiB\"\n[stream.readings]\nkeep = \"16MiB\"\n\
         [source.log]\nkind = \"file\"\npath = \"{0}/a.log\"\npoll = \"20ms\"\n\
         [sink.out]\nkind = \"directory\"\npath = \"{0}/out\"\n",
        dir.display()
    )
}

/// Exit code and what was printed.
fn buffer(arguments: &[&str]) -> (i32, String) {
    let output = forebay(&[&["buffer"], arguments].concat());
    let shown = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), shown)
}

fn write(dir: &Path, lines: std::ops::Range<u32>) {
    append_lines(&dir.join("a.log"), lines.map(|n| format!("line {n}")));
}

/// A store with three commits, and its folder.
fn stopped(dir: &Path) -> String {
    let agent = Agent::start(dir, &config(dir), "");
    let state = dir.join("state").to_str().unwrap().to_string();
    for n in 1..=3 {
        write(dir, (n - 1) * 10..n * 10);
        until("they are stored", || buffer(&["verify", &state]).1.contains(&format!("{} records in", n * 10)));
    }
    assert!(agent.stop().success());
    state
}

fn segment(state: &str) -> PathBuf {
    std::fs::read_dir(Path::new(state).join("log")).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn a_running_store_is_read_and_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::start(dir.path(), &config(dir.path()), "");
    let state = dir.path().join("state").to_str().unwrap().to_string();
    write(dir.path(), 0..3);
    until("three records are there", || buffer(&["export", &state]).1.lines().count() == 3);
    let (code, shown) = buffer(&["show", &state, "readings", "--from", "2", "--limit", "1"]);
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("readings 2") && shown.contains("line 1") && !shown.contains("line 2"), "{shown}");
    assert_eq!(buffer(&["verify", &state]).0, 0);
    for wish in [&["repair", &state][..], &["trim", &state, "readings", "--before", "2"]] {
        let (code, shown) = buffer(wish);
        assert_eq!(code, 2, "{shown}");
        assert!(shown.contains(&format!("in use by process {}", agent.pid())), "{shown}");
    }
    assert!(agent.stop().success());
}

#[test]
fn ls_show_and_export_tell_what_a_stopped_store_has() {
    let dir = tempfile::tempdir().unwrap();
    let state = stopped(dir.path());
    let (code, shown) = buffer(&["ls", &state]);
    assert_eq!(code, 0, "{shown}");
    for expected in ["closed in order", "readings", "reader out", "0 not delivered", "source log: position of"] {
        assert!(shown.contains(expected), "{expected:?} is not in\n{shown}");
    }
    let (_, shown) = buffer(&["export", &state, "readings", "--from", "5", "--to", "24"]);
    let lines: Vec<serde_json::Value> = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 20);
    for (line, sequence) in lines.iter().zip(5_u64..) {
        assert_eq!((line["stream"].as_str(), line["seq"].as_u64()), (Some("readings"), Some(sequence)));
        assert_eq!(line["payload"], format!("line {}", sequence - 1));
        assert!(line["epoch"].as_u64().unwrap() >> 32 == 1);
    }
}

#[test]
fn bad_input_is_answered_with_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let state = stopped(dir.path());
    let empty = tempfile::tempdir().unwrap();
    let empty = empty.path().to_str().unwrap();
    for (arguments, expected) in [
        (&["ls", "/nonexistent"][..], "is not a directory"),
        (&["ls", empty], "has no store"),
        (&["show", &state, "raedings"], "there is no stream `raedings`; there are: "),
        (&["trim", &state, "readings"], "required arguments"),
        (&["trim", &state, "readings", "--older-than", "7"], "needs a whole number and a unit"),
        (&["trim", &state, "none", "--before", "2"], "there is no stream `none`"),
    ] {
        let (code, shown) = buffer(arguments);
        assert_eq!(code, 2, "{arguments:?}: {shown}");
        assert!(shown.contains(expected), "{arguments:?}: {shown}");
    }
    assert_eq!(std::fs::read_dir(empty).unwrap().count(), 0, "looking makes nothing");
}

#[test]
fn rot_is_found_mended_and_what_is_lost_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let state = stopped(dir.path());
    let path = segment(&state);
    let mut bytes = std::fs::read(&path).unwrap();
    // The stored section of the second commit begins with zstd's magic number.
    let mut sections = bytes.windows(4).enumerate().filter(|(_, window)| *window == [0x28, 0xb5, 0x2f, 0xfd]);
    let at = sections.nth(1).unwrap().0;
    bytes[at + 20] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (code, shown) = buffer(&["verify", &state]);
    assert_eq!(code, 1, "{shown}");
    assert!(shown.contains("missing: stream readings, sequences 11 to 20 (10 records)"), "{shown}");
    assert_eq!(buffer(&["ls", &state]).0, 1);
    let (code, shown) = buffer(&["repair", &state]);
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("lost: stream readings, sequences 11 to 20 (10 records)"), "{shown}");
    assert!(std::fs::read_dir(Path::new(&state).join("damaged")).unwrap().count() > 0);
    assert_eq!(buffer(&["export", &state]).1.lines().count(), 20);
    // The agent goes on with it, and nothing that was there is read again.
    let agent = Agent::start(dir.path(), &config(dir.path()), "");
    write(dir.path(), 30..31);
    until("the next line is there", || buffer(&["export", &state]).1.contains("line 30"));
    assert!(agent.stop().success());
    let (_, shown) = buffer(&["export", &state]);
    assert_eq!(shown.lines().count(), 21);
    assert!(shown.lines().last().unwrap().contains("\"seq\":31"), "{shown}");
}

#[test]
fn trim_gives_up_what_it_is_told_to_and_tells_the_hub() {
    let dir = tempfile::tempdir().unwrap();
    let state = stopped(dir.path());
    let (code, shown) = buffer(&["trim", &state, "readings", "--before", "16"]);
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("records below 16 are given up, 0 of them were not delivered"), "{shown}");
    let (_, shown) = buffer(&["export", &state]);
    assert!(
        shown.lines().count() == 15 && shown.starts_with("{\"stream\":\"readings\"") || shown.contains("\"seq\":16")
    );
    assert_eq!(buffer(&["verify", &state]).0, 0, "what was trimmed is not missing");
    let (_, shown) = buffer(&["trim", &state, "readings", "--older-than", "1d"]);
    assert!(shown.contains("records below 0"), "{shown}");
}

#[test]
fn a_copied_store_is_noticed_and_said() {
    let dir = tempfile::tempdir().unwrap();
    stopped(dir.path());
    let copy = tempfile::tempdir().unwrap();
    let done = std::process::Command::new("cp").arg("-a").arg(dir.path().join("state")).arg(copy.path()).status();
    assert!(done.unwrap().success());
    let agent = Agent::start(copy.path(), &config(copy.path()), "");
    until("it says so", || agent.log().contains("store copied: it is a copy"));
    assert!(agent.stop().success());
    let agent = Agent::start(dir.path(), &config(dir.path()), "");
    until("the original runs", || agent.log().matches("running").count() == 2);
    assert!(!agent.log().contains("store copied"));
}
