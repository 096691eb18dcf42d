//! What devices and programs in the field write, each as its maker describes it, through the whole agent.

use crate::rig::{Agent, Mosquitto, files, until, without_repeats};
use std::path::Path;
use std::process::Command;

fn records(dir: &Path) -> Vec<serde_json::Value> {
    let all = without_repeats(&files(&dir.join("out"), "readings"));
    all.into_iter().map(|reading| reading.line).collect()
}

fn of<'a>(records: &'a [serde_json::Value], key: &str) -> Vec<&'a serde_json::Value> {
    records.iter().filter(|record| record["key"].as_str().unwrap().ends_with(key)).collect()
}

/// A German Excel export, Tasmota's `nan`, zigbee2mqtt's `null` time, a ChirpStack uplink, bare values, and a list of
/// readings with times of their own.
#[test]
fn what_the_field_sends_goes_through_with_a_few_lines() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Mosquitto::start(dir.path(), "");
    let place = dir.path().display();
    let mqtt = |name: &str, topic: &str, more: &str| {
        let port = broker.port;
        format!(
            "[source.{name}]\nkind = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{port}\"\nclient_id = \"{name}\"\n\
             topics = [\"{topic}\"]\n{more}\n"
        )
    };
    let excel = format!(
        "[source.excel]\nkind = \"file\"\npath = \"{place}/excel.csv\"\ndecoder = \"csv\"\nencoding = \"windows-1252\"\n\
         csv = {{ delimiter = \";\", decimal = \",\", null = [\"-\"] }}\n\
         time = {{ field = [\"Datum\", \"Uhrzeit\"], format = \"%d.%m.%Y %H:%M:%S\", zone = \"Europe/Berlin\" }}\n"
    );
    let toa5 = format!(
        "[source.toa5]\nkind = \"file\"\npath = \"{place}/station.dat\"\ndecoder = \"csv\"\n\
         csv = {{ skip_rows = 1, skip_after_header = 2, null = [\"NAN\"] }}\n\
         time = {{ field = \"TIMESTAMP\", format = \"%Y-%m-%d %H:%M:%S\" }}\n"
    );
    let sources = [
        excel,
        toa5,
        mqtt("tasmota", "tele/#", "lenient = true\ntime = { field = \"Time\", format = \"rfc3339\" }"),
        mqtt(
            "z2m",
            "zigbee2mqtt/+",
            "time = { field = \"last_seen\", format = [\"rfc3339\", \"unix_ms\"], missing = \"arrival\" }",
        ),
        mqtt(
            "chirp",
            "application/#",
            "fields = { temperature = \"object.temperature\", eui = \"deviceInfo.devEui\", rssi = \"rxInfo.0.rssi\" }",
        ),
        mqtt("bare", "home/#", "decoder = \"value\"\nconstants = { site = \"hall 3\" }"),
        mqtt(
            "list",
            "list/#",
            "split = { at = \"readings\", keep = { gw = \"gateway.id\" } }\ntime = { field = \"t\", format = \"unix_s\" }",
        ),
    ];
    let text = format!(
        "device = \"d\"\n[store]\nlinger = \"50ms\"\nreserve = \"16MiB\"\n{}\
         [sink.out]\nkind = \"directory\"\npath = \"{place}/out\"\nlinger = \"0s\"\n",
        sources.concat()
    );
    let csv = b"Datum;Uhrzeit;Au\xdfen;Feuchte\r\n01.05.2024;14:00:00;-3,50;81\r\n01.05.2024;24:00:00;-4,0;-\r\n";
    std::fs::write(dir.path().join("excel.csv"), csv).unwrap();
    // Campbell Scientific's TOA5: environment, names, units, processing, data.
    let station = "\"TOA5\",\"CR1000\",\"CR1000\",\"1234\",\"CR1000.Std.32\",\"CPU:met.CR1\",\"5678\",\"Hour\"\r\n\
                   \"TIMESTAMP\",\"RECORD\",\"BattV_Min\",\"AirTC_Avg\"\r\n\"TS\",\"RN\",\"Volts\",\"Deg C\"\r\n\
                   \"\",\"\",\"Min\",\"Avg\"\r\n\"2024-05-01 12:00:00\",0,12.61,\"NAN\"\r\n";
    std::fs::write(dir.path().join("station.dat"), station).unwrap();
    let agent = Agent::start(dir.path(), &text, "");
    until("all are subscribed", || agent.log().matches("event=\"source_up\"").count() >= 7);
    let port = broker.port.to_string();
    for (topic, message) in [
        ("tele/d/SENSOR", r#"{"Time":"2024-05-01T12:00:00","DS18B20":{"Temperature":nan},"TempUnit":"C"}"#),
        ("zigbee2mqtt/door", r#"{"contact":false,"last_seen":null}"#),
        ("zigbee2mqtt/window", r#"{"contact":true,"last_seen":1714564800123}"#),
        (
            "application/1/device/70b3d5/event/up",
            r#"{"deviceInfo":{"devEui":"70b3d5"},"object":{"temperature":21.50},"rxInfo":[{"rssi":-57}]}"#,
        ),
        ("home/temperature", "21.50"),
        ("home/state", "on"),
        ("list/a", r#"{"gateway":{"id":"g1"},"readings":[{"t":1714564800,"v":1},{"v":2},{"t":1714564801,"v":3}]}"#),
    ] {
        let sent = Command::new("mosquitto_pub").args(["-p", &port, "-q", "1", "-t", topic, "-m", message]).status();
        assert!(sent.unwrap().success());
    }
    until("all records are there", || records(dir.path()).len() >= 11);
    let all = records(dir.path());
    let noon = 1_714_564_800_000_000_u64;
    let excel = of(&all, "excel.csv");
    assert_eq!((&excel[0]["payload"]["Außen"], &excel[0]["time"]), (&(-3.5).into(), &noon.into()));
    assert_eq!((&excel[1]["payload"]["Feuchte"], &excel[1]["time"]), (&().into(), &(noon + 36_000_000_000).into()));
    let toa5 = serde_json::json!({ "RECORD": 0, "BattV_Min": 12.61, "AirTC_Avg": null });
    let station = of(&all, "station.dat");
    assert_eq!((station.len(), &station[0]["time"]), (1, &noon.into()));
    for (member, value) in toa5.as_object().unwrap() {
        assert_eq!(&station[0]["payload"][member], value, "{}", station[0]);
    }
    let tasmota = of(&all, "SENSOR")[0];
    assert!(tasmota["payload"]["DS18B20"]["Temperature"].is_null() && tasmota["time"] == noon, "{tasmota}");
    assert!(of(&all, "door")[0]["time"].is_null() && of(&all, "window")[0]["time"] == noon + 123_000);
    let chirp = serde_json::json!({ "temperature": 21.5, "eui": "70b3d5", "rssi": -57 });
    assert_eq!(of(&all, "up")[0]["payload"], chirp);
    let bare = of(&all, "home/temperature")[0];
    assert_eq!((&bare["payload"]["value"], &bare["attributes"]["site"]), (&21.5.into(), &"hall 3".into()));
    assert_eq!(of(&all, "home/state")[0]["payload"]["value"], "on");
    let list: Vec<_> =
        of(&all, "list/a").into_iter().map(|record| (&record["payload"]["gw"], &record["time"])).collect();
    assert_eq!(list, [(&"g1".into(), &noon.into()), (&"g1".into(), &(noon + 1_000_000).into())]);
    until("the reading without a time is set aside", || agent.log().contains("there is no `t`"));
    assert!(agent.stop().success());
}
