//! Reads the sources and keeps the picture of `docs/design/architecture.md` true: who imports whom,
//! which folder may name which crate, how long files are, who makes proofs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A folder and the folders that it may import.
const IMPORTS: &[(&str, &[&str])] = &[
    ("section", &["flow", "platform"]),
    ("source", &["flow", "platform", "telemetry", "section"]),
    ("decode", &["flow", "platform", "telemetry", "section"]),
    ("encode", &["flow", "platform"]),
    ("sink", &["flow", "platform", "telemetry", "section"]),
    ("intake", &["decode", "store", "flow", "platform", "telemetry", "section"]),
    ("courier", &["store", "encode", "sink", "flow", "platform", "telemetry"]),
    ("store", &["flow", "platform", "telemetry"]),
    ("flow", &[]),
    ("platform", &[]),
    ("telemetry", &[]),
    // The whole stands above the parts: it sees the tables of kinds, and what the parts have read.
    ("config", &["section", "flow", "source", "intake", "sink", "store", "monitor", "dashboard", "control"]),
    // A watched stream is read from the store, and what begins and ends is written there.
    ("monitor", &["store", "flow", "platform", "telemetry", "section"]),
    ("dashboard", &["control", "monitor", "store", "flow", "platform", "telemetry", "section"]),
    // A trial is judged by what the agent shows of itself.
    ("control", &["monitor", "flow", "platform", "telemetry", "section"]),
    ("hub", &["platform", "telemetry"]),
];

/// A crate and the folders that may name it. `hub`, `cli` and tests count apart: the hub shares
/// nothing with the agent, and the demo's devices and judge are outsiders.
const CRATES: &[(&str, &[&str])] = &[
    ("redb", &["store"]),
    ("zstd", &["store", "source", "sink", "platform"]), // bodies and rotated files come packed; Kafka compresses batches
    ("postcard", &["store", "source"]),                 // file positions are the source's own encoding
    ("rumqttc5", &["source"]),
    ("rumqttc", &["source", "monitor", "control"]),
    ("fe2o3_amqp", &["sink"]),
    ("fe2o3_amqp_types", &["sink"]),
    ("serde_amqp", &["sink"]),
    ("flate2", &["encode", "sink", "source", "platform", "monitor"]), // the directory sink unpacks bodies, as do HTTP and rotated files
    ("ring", &["sink", "source", "platform"]),                        // pinned keys
    ("zeroize", &["section"]),
    ("kafka_protocol", &["sink"]),
    ("lz4_flex", &["sink"]),
    ("snap", &["sink", "platform"]),
    ("base64", &["encode", "sink", "source", "section", "platform"]), // pins are written in it
    ("rustls", &["platform", "sink"]),                                // the sink names the server
    ("tokio_rustls", &["sink", "source", "platform"]),
    ("x509_cert", &["platform"]),
    ("rustls_native_certs", &["platform"]),
    ("rustix", &["platform"]),
    ("getrandom", &["platform"]),
    ("glob", &["source", "section", "config", "monitor", "control"]), // included files; which sources read what sinks write; keys
    ("toml", &["section"]),
    ("strsim", &["section"]),
    ("jiff", &["decode", "platform"]), // times in messages, and for people
    ("csv_core", &["decode"]),
    ("form_urlencoded", &["decode", "source", "dashboard"]),
    ("cobs", &["source"]),
    ("crc", &["source"]),
    ("serial2", &["source"]), // the one that switches RS-485
    ("tokio_serial", &["source"]),
    ("tokio_modbus", &["source"]),
    ("regex_lite", &["source", "section", "decode"]), // patterns of secrets
    ("hyper", &["source", "sink", "platform", "dashboard"]), // platform/http is the listener
    ("reqwest", &["sink", "monitor", "control"]),
    ("async_tungstenite", &["platform"]),
    ("hyper_util", &["sink", "platform"]),
    ("http_body_util", &["source", "sink", "platform", "dashboard"]),
    ("crc32c", &["store", "source", "flow"]), // the log; files; dead letters and lanes
    ("minisign_verify", &["control"]),
    ("diff", &["control"]),
    ("clap", &[]),
    ("ratatui", &[]),
    ("tar", &[]),
    ("rumqttd", &[]),
    ("socket2", &["platform"]), // what ends a connection from elsewhere
];

/// Longer files are cut, or are in this list with a reason.
const LINES: usize = 330;
const LONG: &[(&str, &str)] = &[
    ("store/commit/mod.rs", "one thread, one loop: its steps are read together"),
    ("platform/sim.rs", "a whole disk, with all that can happen to it"),
    ("store/tests/model.rs", "one machine: operations and what must hold after each"),
    ("store/log/recover.rs", "one walk, with the findings that it can make"),
];

fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(&root).unwrap().to_path_buf(), text));
            }
        }
    }
    assert!(found.len() > 50, "the sources were not found");
    found
}

fn folder(path: &Path) -> String {
    path.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_string()
}

/// The code without unit tests and comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..end].lines().filter(|line| !line.trim_start().starts_with("//"))
}

fn is_test(path: &Path) -> bool {
    path.iter().any(|part| part == "tests") || path.ends_with("sim.rs")
}

#[test]
fn folders_import_only_what_they_may() {
    let rules: BTreeMap<&str, &[&str]> = IMPORTS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| !is_test(path)) {
        let own = folder(path);
        let Some(allowed) = rules.get(own.as_str()) else { continue };
        for line in code(text) {
            for part in line.split("crate::").skip(1) {
                let name: String = part.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                if name != own && !allowed.contains(&name.as_str()) {
                    wrong.push(format!("{}: crate::{name}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn crates_are_named_only_where_they_belong() {
    let mut wrong = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| !is_test(path)) {
        let own = folder(path);
        for (name, allowed) in CRATES {
            let apart = own == "hub" || own == "cli";
            if apart || allowed.contains(&own.as_str()) {
                continue;
            }
            let named = code(text).any(|line| {
                line.match_indices(&format!("{name}::")).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    !before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
                })
            });
            if named {
                wrong.push(format!("{}: {name}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_module_says_what_it_is_for_and_no_file_is_long() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        if !text.starts_with("//!") {
            wrong.push(format!("{} does not open with //!", path.display()));
        }
        let lines = code(&text).count();
        let known = LONG.iter().any(|(long, _)| Path::new(long) == path);
        if lines > LINES && !known {
            wrong.push(format!("{} has {lines} lines of code", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn proofs_are_made_in_one_place_each() {
    let made = |constructor: &str| {
        let mut places: Vec<String> = Vec::new();
        for (path, text) in sources().iter().filter(|(path, _)| !is_test(path)) {
            if code(text).any(|line| line.contains(constructor)) {
                places.push(folder(path));
            }
        }
        places.sort();
        places.dedup();
        places
    };
    assert_eq!(made("Durable::synced("), ["store"]);
    assert_eq!(made("Durable::given_up("), ["store"]);
    assert_eq!(made("Accepted::by_target("), ["sink"]);
    assert_eq!(made("Accepted::nothing_left("), ["courier"]);
}

#[test]
fn names_say_what_things_are() {
    let vague = ["util", "utils", "common", "manager", "helper", "helpers", "misc"];
    for (path, _) in sources() {
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(!vague.contains(&name), "{} says nothing", path.display());
    }
}

/// A kind of source, sink or decoder is its own file or folder and one row: nothing else names it.
#[test]
fn kinds_are_named_in_one_row() {
    // A Modbus line is a serial line; Event Hubs speaks Kafka too; the checks and the lookups of HTTP name formats.
    let shared = [("serial", "source/modbus"), ("kafka", "sink/eventhubs")];
    for (room, row) in [("source", "source/mod.rs"), ("sink", "sink/mod.rs"), ("decode", "decode/mod.rs")] {
        let all = sources();
        let (_, table) = all.iter().find(|(path, _)| path == Path::new(row)).unwrap();
        let table: String = code(table).collect::<Vec<_>>().join(" ");
        let rows = &table[table.find("const KINDS").unwrap()..];
        let rows = &rows[..rows.find(';').unwrap()];
        let kinds: Vec<&str> =
            rows.split(['[', ',', ' ']).filter_map(|word| word.split_once("::").map(|(kind, _)| kind)).collect();
        assert!(kinds.len() >= 3, "{room}: {rows}");
        for kind in kinds.iter().filter(|kind| **kind != "plain") {
            let own = format!("{room}/{kind}");
            for (path, text) in all.iter().filter(|(path, _)| !is_test(path)) {
                let shown = path.display().to_string();
                let apart = ["cli", "hub", "lib.rs"].iter().any(|room| shown.starts_with(room));
                if apart
                    || shown.starts_with(&own)
                    || shown == row
                    || shared.iter().any(|(k, p)| k == kind && shown.starts_with(p))
                {
                    continue;
                }
                let named = code(text).any(|line| line.contains(&format!("{room}::{kind}::")));
                assert!(!named, "{shown} names {room}::{kind}");
            }
        }
    }
}

/// Decisions and changes tell of files that may be gone.
fn text_is_of_the_past(document: &Path) -> bool {
    document.components().any(|part| part.as_os_str() == "decisions") || document.ends_with("CHANGELOG.md")
}

/// A link or a path in a document, and a document that a comment names, exist.
#[test]
fn what_is_pointed_at_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root.join(name)).into();
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|ending| ending == "md") {
                documents.push(entry);
            }
        }
    }
    assert!(documents.len() > 30, "{documents:?}");
    let mut wrong = Vec::new();
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next()) {
            let inside = !link.is_empty() && !link.contains("://") && !link.starts_with("mailto:");
            if inside && !document.parent().unwrap().join(link).exists() {
                wrong.push(format!("{}: {link}", document.display()));
            }
        }
        for name in text.split('`').filter(|span| ["src/", "tests/", "configs/"].iter().any(|f| span.starts_with(f))) {
            let is_path = !name.contains(['*', ' ', '<', '\n']);
            if is_path && !root.join(name).exists() && !text_is_of_the_past(&document) {
                wrong.push(format!("{}: {name}", document.display()));
            }
        }
    }
    for (path, text) in sources() {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        for name in text.split(|c| !is_name(c)).filter(|word| Path::new(word).extension().is_some_and(|e| e == "md")) {
            if !root.join(name).exists() {
                wrong.push(format!("{}: {name}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
