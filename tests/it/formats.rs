//! What devices and programs in the field write, each as its maker describes it, through the whole agent.

use crate::rig::{Agent, Mosquitto, Prometheus, append, append_lines, files, free_port, until, without_repeats};
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

/// A WeatherLink export of Davis, a file of an Ecowitt console, columns by width, and a receiver of GPS.
#[test]
fn files_of_stations_go_through_with_a_few_lines() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().display();
    let source =
        |name: &str, more: &str| format!("[source.{name}]\nkind = \"file\"\npath = \"{place}/{name}.txt\"\n{more}\n");
    let sources = [
        source(
            "davis",
            "decoder = \"csv\"\n\
             csv = { delimiter = \"\\t\", header_rows = 2, null = [\"---\"], trim = true }\n\
             time = { field = [\"Date\", \"Time\"], format = \"%m/%d/%y %I:%M%p\", zone = \"America/Denver\" }",
        ),
        source(
            "ecowitt",
            "decoder = \"csv\"\ncsv = { null = [\"--\"] }\ntime = { field = \"Time\", format = \"%Y-%m-%d %H:%M\" }",
        ),
        source("widths", "decoder = \"csv\"\ncsv = { widths = [10, 7, 4], header_rows = 2, units = true }"),
        source("gps", "decoder = \"nmea\""),
        source("notes", "decoder = \"csv\"\ncsv = { line_breaks = true }"),
    ];
    std::fs::write(
        dir.path().join("davis.txt"),
        " \t \tTemp\tHi\t \r\nDate\tTime\tOut\tTemp\tDir\r\n\
         5/01/26\t12:00a\t21.5\t22.0\tNNW\r\n5/01/26\t 3:05p\t---\t22.0\tN\r\n",
    )
    .unwrap();
    std::fs::write(
        dir.path().join("ecowitt.txt"),
        "\u{feff}Time,Outdoor Temperature(℃),Humidity(%)\n2026-05-01 12:00,21.5,--\n",
    )
    .unwrap();
    std::fs::write(
        dir.path().join("widths.txt"),
        "station   t      rh\n          C      %\nhall 1    21.5   55\nhall 10   -3\n",
    )
    .unwrap();
    std::fs::write(
        dir.path().join("gps.txt"),
        "$GPGGA,000000.25,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,\n\
         $GPZDA,235959.50,31,12,2025,00,00\n\
         $GPGGA,000000.25,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,\n",
    )
    .unwrap();
    let notes = dir.path().join("notes.txt");
    std::fs::write(&notes, "t,\"note\n(free)\"\r\n1,\"a\r\nb\"\r\n\r\n2,\"c\n").unwrap();
    let text = format!(
        "device = \"d\"\n[store]\nlinger = \"50ms\"\nreserve = \"16MiB\"\n{}\
         [sink.out]\nkind = \"directory\"\npath = \"{place}/out\"\nlinger = \"0s\"\n",
        sources.concat()
    );
    let agent = Agent::start(dir.path(), &text, "");
    until("all records are there", || records(dir.path()).len() >= 9);
    // A value that is not closed yet goes on, also after a kill.
    agent.kill();
    append(&notes, "d\"\r\n3,e\r\n");
    let agent = Agent::start(dir.path(), &text, "");
    until("its end is there", || records(dir.path()).len() >= 11);
    let all = records(dir.path());
    let payloads = |key: &str| of(&all, key).iter().map(|record| record["payload"].clone()).collect::<Vec<_>>();
    let times = |key: &str| of(&all, key).iter().map(|record| record["time"].clone()).collect::<Vec<_>>();
    let davis = serde_json::json!([
        { "Date": "5/01/26", "Time": "12:00a", "Temp Out": 21.5, "Hi Temp": 22.0, "Dir": "NNW" },
        { "Date": "5/01/26", "Time": "3:05p", "Temp Out": null, "Hi Temp": 22.0, "Dir": "N" },
    ]);
    assert_eq!(serde_json::Value::from(payloads("davis.txt")), davis);
    assert_eq!(times("davis.txt"), [1_777_615_200_000_000_u64, 1_777_669_500_000_000]);
    assert_eq!(times("ecowitt.txt"), [1_777_636_800_000_000_u64]);
    assert!(payloads("ecowitt.txt")[0]["Humidity(%)"].is_null());
    assert_eq!(payloads("widths.txt")[0], serde_json::json!({ "station": "hall 1", "t": 21.5, "rh": 55 }));
    assert_eq!(payloads("widths.txt")[1], serde_json::json!({ "station": "hall 10", "t": -3, "rh": null }));
    assert_eq!(of(&all, "widths.txt")[0]["attributes"], serde_json::json!({ "unit.t": "C", "unit.rh": "%" }));
    let note = |t: u64, note: &str| serde_json::json!({ "t": t, "note\n(free)": note });
    assert_eq!(payloads("notes.txt"), [note(1, "a\r\nb"), note(2, "c\nd"), note(3, "e")]);
    let midnight = 1_767_225_600_000_000_u64;
    assert_eq!(times("gps.txt"), [serde_json::Value::Null, (midnight - 500_000).into(), (midnight + 250_000).into()]);
    assert!(agent.stop().success());
}

/// A program that packs a file with zlib.
const ZLIB: &str =
    "python3 -c 'import sys, zlib; sys.stdout.buffer.write(zlib.compress(open(sys.argv[1], \"rb\").read()))'";

/// Packed messages, levels of the topic as members, and what a request brings beside its body.
#[test]
fn what_comes_packed_or_beside_the_message_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Mosquitto::start(dir.path(), "");
    let (place, port, http) = (dir.path().display(), broker.port, free_port());
    let text = format!(
        "device = \"d\"\n[store]\nlinger = \"50ms\"\nreserve = \"16MiB\"\n\
         [source.plant]\nkind = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{port}\"\ntopics = [\"plant/{{line}}/+\"]\n\
         members = [\"line\"]\nprefix = \"p.\"\n\
         [source.push]\nkind = \"http\"\nlisten = \"127.0.0.1:{http}\"\nquery = [\"station\"]\n\
         headers = {{ device = \"X-Device-Id\" }}\n\
         [sink.out]\nkind = \"directory\"\npath = \"{place}/out\"\nlinger = \"0s\"\n\
         from = [\"readings\", \"forebay.dead-letters\"]\n"
    );
    let agent = Agent::start(dir.path(), &text, "");
    until("it is subscribed and listens", || agent.log().matches("event=\"source_up\"").count() >= 2);
    std::fs::write(dir.path().join("plain"), "{\"t\":21.50}").unwrap();
    std::fs::write(dir.path().join("bomb"), vec![b' '; 3 << 20]).unwrap();
    for (topic, packer, file) in [
        ("plant/7/plain", "cat", "plain"),
        ("plant/7/gzip", "gzip -c", "plain"),
        ("plant/7/zstd", "zstd -cq", "plain"),
        ("plant/7/zlib", ZLIB, "plain"),
        ("plant/7/bomb", "gzip -c", "bomb"),
    ] {
        let shell = format!("{packer} {place}/{file}");
        let packed = Command::new("sh").args(["-c", &shell]).output().unwrap().stdout;
        std::fs::write(dir.path().join("packed"), packed).unwrap();
        broker.publish_file(topic, 1, &dir.path().join("packed"));
    }
    let send = |arguments: &[&str]| {
        let (out, code) = (["-s", "-o", "/dev/null", "-w", "%{http_code}"], arguments);
        String::from_utf8(Command::new("curl").args(out).args(code).output().unwrap().stdout).unwrap()
    };
    let url = format!("http://127.0.0.1:{http}/in?station=hall+3&other=1");
    assert_eq!(
        send(&["-H", "content-type: application/json", "-H", "X-Device-Id: d7", "-d", "{\"t\":1}", &url]),
        "202"
    );
    // CloudEvents: in a list, and in binary mode.
    let event =
        r#"{"specversion":"1.0","id":"1","source":"/hall","type":"t","time":"2026-05-01T12:00:00Z","data":{"t":2}}"#;
    let list = format!("[{event},{}]", event.replace("\"1\"", "\"2\""));
    assert_eq!(send(&["-H", "content-type: application/cloudevents-batch+json", "-d", &list, &url]), "202");
    let binary =
        ["-H", "content-type: application/json", "-H", "ce-id: 9", "-H", "ce-specversion: 1.0", "-d", "{}", &url];
    assert_eq!(send(&binary), "202");
    until("all records are there", || records(dir.path()).len() >= 8);
    let all = records(dir.path());
    for topic in ["plain", "gzip", "zstd", "zlib"] {
        assert_eq!(of(&all, topic)[0]["payload"], serde_json::json!({ "p.line": "7", "p.t": 21.5 }), "{topic}");
    }
    let posted = of(&all, "/in");
    assert_eq!(posted[0]["attributes"], serde_json::json!({ "station": "hall 3", "device": "d7" }));
    assert_eq!((&posted[1]["payload"]["id"], &posted[2]["payload"]["id"]), (&"1".into(), &"2".into()));
    assert_eq!(posted[1]["time"], 1_777_636_800_000_000_u64);
    assert_eq!(posted[3]["attributes"]["ce-id"], "9");
    until("the bomb is set aside", || agent.log().contains("more than 1048576 bytes unpacked"));
    assert!(agent.stop().success());
}

/// A real Prometheus, which scrapes itself and writes to Forebay.
#[test]
fn prometheus_writes_its_samples() {
    let dir = tempfile::tempdir().unwrap();
    let (place, port, own) = (dir.path().display(), free_port(), free_port());
    let text = format!(
        "device = \"d\"\n[store]\nlinger = \"50ms\"\nreserve = \"16MiB\"\n\
         [source.prometheus]\nkind = \"http\"\nlisten = \"127.0.0.1:{port}\"\n\
         [sink.out]\nkind = \"directory\"\npath = \"{place}/out\"\nlinger = \"0s\"\n"
    );
    let agent = Agent::start(dir.path(), &text, "");
    until("it listens", || agent.log().contains("event=\"source_up\""));
    let scrape = format!(
        "global: {{ scrape_interval: 1s }}\n\
         scrape_configs:\n  - job_name: own\n    static_configs: [{{ targets: ['127.0.0.1:{own}'] }}]\n\
         remote_write:\n  - url: http://127.0.0.1:{port}/\n    metadata_config: {{ send_interval: 1s }}\n"
    );
    let prometheus = Prometheus::start(dir.path(), own, &scrape);
    let up = |record: &serde_json::Value| record["payload"]["name"] == "up" && record["payload"]["value"] == 1;
    until("samples are there", || records(dir.path()).iter().filter(|record| up(record)).count() >= 2);
    drop(prometheus);
    let all = records(dir.path());
    let first = all.iter().find(|record| up(record)).unwrap();
    let labels = serde_json::json!({ "instance": format!("127.0.0.1:{own}"), "job": "own" });
    assert_eq!(first["payload"]["labels"], labels);
    let (time, arrival) = (first["time"].as_i64().unwrap(), first["arrival"].as_i64().unwrap());
    assert!((arrival * 1000 - time).abs() < 600_000_000, "{first}");
    assert!(!agent.log().contains("dead_letter"), "{}", agent.log());
    assert!(agent.stop().success());
}

/// Every reading is in one span, whatever is killed: the counts add up, and so do the sums.
#[test]
fn spans_of_time_lose_no_reading_over_kills() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().display();
    let text = format!(
        "device = \"d\"\n[store]\nlinger = \"20ms\"\nreserve = \"16MiB\"\n\
         [source.log]\nkind = \"file\"\npath = \"{place}/log.txt\"\npoll = \"20ms\"\ndecoder = \"csv\"\n\
         csv = {{ columns = [\"n\"] }}\nreduce = {{ every = \"1s\", take = [\"last\", \"mean\", \"min\", \"max\"] }}\n\
         [sink.out]\nkind = \"directory\"\npath = \"{place}/out\"\nlinger = \"0s\"\n"
    );
    let file = dir.path().join("log.txt");
    let mut lines = 0_u64;
    for _ in 0..6 {
        let agent = Agent::start(dir.path(), &text, "");
        for _ in 0..12 {
            append_lines(&file, lines..lines + 25);
            lines += 25;
            std::thread::sleep(std::time::Duration::from_millis(60));
        }
        agent.kill();
    }
    let agent = Agent::start(dir.path(), &text, "");
    let count = |record: &serde_json::Value| record["attributes"]["readings"].as_str().unwrap().parse::<u64>().unwrap();
    let sum = || records(dir.path()).iter().map(count).sum::<u64>();
    until("every reading is in a span", || sum() >= lines);
    let all = records(dir.path());
    assert!(agent.stop().success());
    assert_eq!(all.iter().map(count).sum::<u64>(), lines, "each once");
    let mut next = 0;
    for record in &all {
        let (payload, readings) = (&record["payload"], count(record));
        let number = |name: &str| payload[name].as_f64().unwrap();
        assert_eq!(
            (number("n_min"), number("n_max"), number("n")),
            (next as f64, (next + readings - 1) as f64, number("n_max")),
            "{record}"
        );
        assert!((number("n_mean") - f64::midpoint(number("n_min"), number("n_max"))).abs() < 0.01, "{record}");
        next += readings;
    }
    assert!(all.len() < 100, "{} records", all.len());
}

/// A span whose source or rule is gone ends as it began, also without a restart.
#[test]
fn an_open_span_ends_when_its_source_or_its_rule_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().display();
    let config = |name: &str, reduce: &str| {
        format!(
            "device = \"d\"\n[store]\nlinger = \"20ms\"\nreserve = \"16MiB\"\n\
             [source.{name}]\nkind = \"file\"\npath = \"{place}/{name}.txt\"\npoll = \"20ms\"\ndecoder = \"csv\"\n\
             csv = {{ columns = [\"n\"] }}\n{reduce}\n\
             [sink.out]\nkind = \"directory\"\npath = \"{place}/out\"\nlinger = \"0s\"\n"
        )
    };
    let hourly = "reduce = { every = \"24h\", take = \"max\" }";
    append_lines(&dir.path().join("one.txt"), [3, 9, 4]);
    let agent = Agent::start(dir.path(), &config("one", hourly), "");
    let saved = |source: &str| {
        let shown = crate::rig::forebay(&["buffer", "ls", dir.path().join("state").to_str().unwrap()]).stdout;
        String::from_utf8(shown).unwrap().contains(&format!("source {source}#reduce:"))
    };
    until("the span is saved", || saved("one"));
    assert!(records(dir.path()).is_empty());
    // The source is renamed while the agent runs.
    append_lines(&dir.path().join("two.txt"), [5, 8]);
    std::fs::write(dir.path().join("forebay.toml"), config("two", hourly)).unwrap();
    let hup = || assert!(Command::new("kill").args(["-HUP", &agent.pid().to_string()]).status().unwrap().success());
    hup();
    let ended = |n: u64, readings: &str| {
        let all = records(dir.path());
        all.iter().any(|record| record["payload"]["n"] == n && record["attributes"]["readings"] == readings)
    };
    until("its span has ended", || ended(9, "3"));
    until("the next one is saved", || saved("two") && !saved("one"));
    std::fs::write(dir.path().join("forebay.toml"), config("two", "")).unwrap();
    hup();
    until("so has the one without its rule", || ended(8, "2"));
    assert!(agent.stop().success());
}
