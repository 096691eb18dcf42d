//! Dead letters that are replayed or discarded while the agent runs.

use crate::rig::{Agent, append_lines, files, until};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

fn config(dir: &Path, decoder: &str) -> String {
    let here = dir.display();
    format!(
        "device = \"d\"\n[store]\nlinger = \"20ms\"\nreserve = \"16MiB\"\n[page]\nsocket = \"{here}/api.sock\"\n\
         [source.log]\nkind = \"file\"\npath = \"{here}/*.log\"\npoll = \"20ms\"\ndecoder = \"{decoder}\"\n\
         [sink.out]\nkind = \"directory\"\npath = \"{here}/out\"\nlinger = \"0s\"\nfrom = [\"readings\"]\n"
    )
}

/// Asks the local API by its socket.
fn ask(dir: &Path, path: &str, more: &[&str]) -> serde_json::Value {
    let url = format!("http://localhost/api/v1/{path}");
    let mut curl = Command::new("curl");
    curl.args(["-s", "--fail-with-body", "--max-time", "20", "--unix-socket"]).arg(dir.join("api.sock"));
    let done = curl.args(more).arg(url).output().unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text))
}

fn take(dir: &Path, fate: &str, upto: &str) -> serde_json::Value {
    ask(dir, &format!("dead-letters/{fate}"), &["-X", "POST", "--data", upto])
}

/// The bad lines that the sink has.
fn bad(dir: &Path) -> Vec<String> {
    let payloads = files(&dir.join("out"), "readings").into_iter().map(|reading| reading.line["payload"].clone());
    payloads.filter_map(|payload| payload.as_str().map(String::from)).collect()
}

#[test]
fn dead_letters_are_replayed_once_or_discarded() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    append_lines(&dir.join("a.log"), ["{\"t\":1}", "bad 1", "bad 2", "{\"t\":2}", "bad 3"]);
    append_lines(&dir.join("a.log"), ["x".repeat(70 << 10)]);
    let agent = Agent::start(dir, &config(dir, "json"), "");
    until("the good ones are there", || files(&dir.join("out"), "readings").len() == 2);
    let open = || ask(dir, "status", &[])["open_dead_letters_from"].as_u64().unwrap();
    let last = || {
        let status = ask(dir, "status", &[]);
        let streams = status["streams"].as_array().unwrap().clone();
        streams
            .iter()
            .find(|stream| stream["name"] == "forebay.dead-letters")
            .map_or(0, |s| s["last"].as_u64().unwrap())
    };
    until("the others are set aside", || last() == 4);
    assert_eq!(open(), 1);
    let letter = &ask(dir, "records/forebay.dead-letters", &[])[0];
    assert_eq!(letter["attributes"]["stream"], "readings", "{letter}");
    assert!(take(dir, "replay", "all").as_str().unwrap().contains("the sequence of the last dead letter"));

    // Without another configuration they are as bad as before: a new dead letter says so.
    let taken = take(dir, "replay", "1");
    assert_eq!((&taken["again"], &taken["replayed"], &taken["upto"]), (&1.into(), &0.into(), &1.into()), "{taken}");
    assert_eq!((open(), last()), (2, 5));

    // With another decoder they are readings. The long one is cut, and cannot be replayed.
    std::fs::write(dir.join("forebay.toml"), config(dir, "text")).unwrap();
    assert!(Command::new("kill").args(["-HUP", &agent.pid().to_string()]).status().unwrap().success());
    until("the change is in force", || agent.log().contains("event=\"config_applied\""));
    let taken = take(dir, "replay", "99");
    assert_eq!((&taken["replayed"], &taken["left"], &taken["upto"]), (&3.into(), &1.into(), &5.into()), "{taken}");
    until("they are delivered", || bad(dir).len() == 3);
    assert_eq!(bad(dir), ["bad 2", "bad 3", "bad 1"]);
    assert_eq!(take(dir, "replay", "99")["replayed"], 0, "each once");
    assert!(agent.log().contains("event=\"dead_letters_taken\""));

    // What was taken stays taken after a kill.
    agent.kill();
    let agent = Agent::start(dir, &config(dir, "json"), "");
    until("it answers", || ask(dir, "status", &[]).is_object());
    assert_eq!(open(), 6);
    append_lines(&dir.join("a.log"), ["bad 4", "bad 5"]);
    until("they are set aside", || last() == 7);
    let taken = take(dir, "discard", "6");
    assert_eq!((&taken["discarded"], open()), (&1.into(), 7), "{taken}");
    // After a kill a record may be delivered once more, with its sequence; it is not a new one.
    let sequences: BTreeSet<u64> = files(&dir.join("out"), "readings").iter().map(|reading| reading.sequence).collect();
    assert_eq!(sequences, (1..=5).collect());
    assert!(agent.stop().success());
}
