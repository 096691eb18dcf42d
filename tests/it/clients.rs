//! Microsoft's own Python client against the hub, and against what Forebay sent.

use crate::rig::{Agent, readings, runtime, until};
use forebay::hub::{Hub, Settings};
use std::path::Path;
use std::process::Command;

/// The interpreter that `tests/run` has set up.
pub fn interpreter() -> String {
    let interpreter = std::env::var("FOREBAY_PYTHON")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/target/clients/venv/bin/python").into());
    assert!(Path::new(&interpreter).exists(), "{interpreter} is missing: run `tests/run clients` once");
    interpreter
}

/// Runs a script of `tests/clients/python`.
pub fn python(script: &str, arguments: &[&str]) -> serde_json::Value {
    let path = format!("{}/tests/clients/python/{script}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(interpreter()).arg(path).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

fn hub() -> (tokio::runtime::Runtime, Hub) {
    let runtime = runtime();
    let settings = Settings { listen: "127.0.0.1:0".into(), ..Settings::default() };
    let hub = runtime.block_on(Hub::start(settings)).unwrap();
    (runtime, hub)
}

#[test]
fn microsofts_client_sends_to_the_hub_and_receives_from_it() {
    let (_runtime, hub) = hub();
    let result = python("roundtrip.py", &[&hub.connection_string("readings")]);
    assert_eq!(result["partitions"], serde_json::json!(["0", "1", "2", "3"]));
    assert_eq!(result["to_partition"], serde_json::json!((0..10).map(|n| format!("one-{n}")).collect::<Vec<_>>()));
    assert_eq!(result["keyed_partitions"], 1, "one key leads to one partition");
    assert_eq!(result["keyed"], 5);
    assert_eq!(result["large"], 900_000);
    assert_eq!(result["single"], true);
    assert_eq!(result["properties"], serde_json::json!({"n": 3, "text": "ü"}));
    assert_eq!(result["from_sequence"], serde_json::json!(["one-7", "one-8", "one-9"]));
    assert_eq!(result["from_offset"], serde_json::json!(["one-8", "one-9"]));
}

#[test]
fn a_wrong_key_and_an_unknown_hub_are_refused_as_the_client_expects() {
    let (_runtime, hub) = hub();
    let wrong = hub.connection_string("readings").replace("SAS_KEY_VALUE", "wrong");
    let result = python("refused.py", &[&wrong]);
    assert_eq!(result["error"], "AuthenticationError", "{result}");
    let result = python("refused.py", &[&hub.connection_string("other")]);
    assert_eq!(result["error"], "ConnectError", "{result}");
}

#[test]
fn microsofts_client_receives_what_forebay_sent() {
    let (_runtime, hub) = hub();
    let dir = tempfile::tempdir().unwrap();
    let lines: Vec<String> = (0..3000).map(|n| format!("{{\"n\":{n},\"text\":\"ü\"}}\n")).collect();
    std::fs::write(dir.path().join("a.log"), lines.concat()).unwrap();
    let config = format!(
        "device = \"gateway-7\"\n[store]\nreserve = \"16MiB\"\n\
         [source.log]\nkind = \"file\"\npath = \"{}/a.log\"\ndecoder = \"json\"\n\
         [sink.hub]\nkind = \"eventhubs\"\nconnection = {{ env = \"EVENTHUB_CONNECTION\" }}\n",
        dir.path().display()
    );
    let connection = hub.connection_string("readings");
    let agent = Agent::start(dir.path(), &config, &connection);
    until("all are at the hub", || readings(&hub, "readings").len() >= 3000);
    let result = python("receive.py", &[&connection, "3000"]);
    assert_eq!(result["numbers"], "0..2999 in order, each once");
    assert_eq!(result["content_type"], "application/x-ndjson");
    assert_eq!(result["partition_key"], "gateway-7/readings/0");
    let first = &result["first_properties"];
    assert_eq!((first["device"].as_str(), first["stream"].as_str()), (Some("gateway-7"), Some("readings")));
    assert_eq!(
        (first["first"].as_u64(), first["after"].as_u64(), first["schema"].as_u64()),
        (Some(1), Some(0), Some(1))
    );
    assert!(agent.stop().success());
}
