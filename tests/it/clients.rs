//! Microsoft's own Python and JavaScript clients, and plain HTTP, against the hub and what Forebay sent.

use crate::rig::{Agent, readings, runtime, until};
use forebay::hub::fault::Fault;
use forebay::hub::{Hub, Settings, Stored};
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
fn microsofts_asynchronous_client_processes_with_checkpoints_and_epochs_displace() {
    let (_runtime, hub) = hub();
    let result = python("processor.py", &[&hub.connection_string("readings")]);
    let of = |part: &str| result[part].as_array().unwrap().iter().map(|body| body.as_str().unwrap().to_string());
    let mut all: Vec<String> = of("first").chain(of("second")).collect();
    all.sort();
    let expected: Vec<String> =
        (0..4).flat_map(|partition| (0..10).map(move |n| format!("aio-{partition}-{n}"))).collect();
    assert_eq!(all, expected, "each once, the second processor begins where the first ended");
    let displaced = result["displaced"].as_array().unwrap();
    let is_told = |error: &serde_json::Value| error.as_str().is_some_and(|text| text.contains("higher epoch"));
    assert!(displaced.len() == 1 && is_told(&displaced[0]), "{result}");
}

#[test]
fn a_repeat_of_microsofts_idempotent_producer_is_known() {
    let clients = std::env::var("FOREBAY_NODE").expect("FOREBAY_NODE is not set: tests/run sets it");
    let runtime = runtime();
    // Stored, and the answer lost: the client sends it again, after a minute, which is the least that it waits.
    let faults = vec![Fault::parse("at 2 lose-answer").unwrap()];
    let settings = Settings { listen: "127.0.0.1:0".into(), faults, ..Settings::default() };
    let hub = runtime.block_on(Hub::start(settings)).unwrap();
    let done = Command::new("node")
        .args([&format!("{clients}/idempotent.mjs"), &hub.connection_string("readings"), "4"])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(String::from_utf8(done.stdout).unwrap().trim(), "[]");
    assert_eq!((hub.faulted(), hub.connections()), (1, 2), "it had to connect again");
    assert_eq!(hub.events("readings", 0).len(), 4, "each once");
}

#[test]
fn what_comes_over_http_from_elsewhere_is_taken_as_azures_interface_takes_it() {
    let (_runtime, hub) = hub();
    let result = python("https_send.py", &[&hub.connection_string("readings"), &format!("http://{}", hub.address())]);
    assert_eq!(result, serde_json::json!([201, 201, 201, 401]));
    let events: Vec<_> = (0..4).flat_map(|partition| hub.events("readings", partition)).collect();
    let has = |event: &Stored, text: &str| event.message.windows(text.len()).any(|at| at == text.as_bytes());
    let with = |text: &str| events.iter().filter(|event| has(event, text)).cloned().collect::<Vec<_>>();
    assert_eq!((events.len(), with("batch-").len(), with("never").len()), (5, 3, 0));
    assert_eq!(with("single")[0].key.as_deref(), Some("press-7"));
    assert!(with("colour").len() == 1 && with("red").len() == 1, "properties come as headers");
    assert!(hub.events("readings", 2).iter().any(|event| has(event, "placed")));
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

/// A key leads where Microsoft's client for JavaScript says that the service places it.
#[test]
fn partition_keys_are_placed_as_microsofts_client_says() {
    let node = std::env::var("FOREBAY_NODE")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/target/clients/node").into());
    let mapper = format!("{node}/node_modules/@azure/event-hubs/dist/esm/impl/partitionKeyToIdMapper.js");
    let mut keys: Vec<String> = (0..200).map(|n| format!("gateway-{n}/readings/0")).collect();
    keys.extend((0..40).map(|n| "x".repeat(n)));
    keys.extend(["W\u{e4}rme".into(), "\u{1f600}".into(), "a".into()]);
    let script = format!(
        "import {{ mapPartitionKeyToId }} from {mapper:?};\nconst keys = {};\n\
         console.log(JSON.stringify([1, 2, 4, 5, 32].map((count) => keys.map((key) => mapPartitionKeyToId(key, count)))));",
        serde_json::to_string(&keys).unwrap()
    );
    let output = Command::new("node").args(["--input-type=module", "-e", &script]).output().unwrap();
    let told: Vec<Vec<u16>> = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let ours: Vec<Vec<u16>> =
        [1, 2, 4, 5, 32].map(|count| keys.iter().map(|key| forebay::hub::partition::of(key, count)).collect()).to_vec();
    assert_eq!(ours, told);
}
