//! The command line as a person uses it.

use crate::rig::{Agent, Mosquitto, forebay, readings, runtime, until};
use forebay::hub::{Hub, Settings};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

/// README's first screen has the same text.
const MINIMAL: &str = r#"[source.plant]
kind   = "mqtt"
url    = "mqtt://localhost"
topics = ["plant/#"]

[sink.hub]
kind       = "eventhubs"
connection = { env = "EVENTHUB_CONNECTION" }
"#;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_minimal_configuration_of_the_readme_runs() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    assert!(readme.contains(MINIMAL), "README's first screen and the design have drifted apart");
    let dir = tempfile::tempdir().unwrap();
    // The text names no port: it is 1883. A mosquitto that runs there already will do.
    let broker = TcpStream::connect("127.0.0.1:1883").is_err().then(|| Mosquitto::start_on(dir.path(), 1883, ""));
    let runtime = runtime();
    let settings = Settings { listen: "127.0.0.1:0".into(), ..Settings::default() };
    let hub = runtime.block_on(Hub::start(settings)).unwrap();
    let agent = Agent::start(dir.path(), MINIMAL, &hub.connection_string("readings"));
    let topic = format!("plant/{}", std::process::id());
    until("a reading is at the hub", || {
        crate::rig::publish_at(1883, &topic, 1, &["{\"temperature\":21.5}".into()]);
        readings(&hub, "readings").iter().any(|reading| reading.line["key"] == topic)
    });
    assert!(agent.stop().success());
    drop(broker);
}

#[test]
fn check_reports_every_problem_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad.toml");
    std::fs::write(
        &path,
        "colour = 1\n\n[source.plant]\nkind = \"mqtt\"\ntopic = [\"a\"]\nqos = 7\n\n[source.log]\nkind = \"flie\"\n\n\
         [sink.hub]\nkind = \"eventhubs\"\nconnection = { env = \"SURELY_NOT_SET\" }\nlinger = 5\n",
    )
    .unwrap();
    let output = forebay(&["check", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    for expected in [
        "line 1, column 1: unknown key `colour`",
        "line 5, column 1: unknown key `topic`",
        "did you mean `topics`?",
        "line 3, column 1: `url` is missing",
        "line 6, column 7: `qos` must be 0, 1 or 2",
        "line 9, column 8: unknown kind `flie`",
        "did you mean \"file\"?",
        "line 13, column 14: the environment variable SURELY_NOT_SET is not set",
        "line 14, column 10: ",
        "6 | qos = 7\n  |       ^",
    ] {
        assert!(shown.contains(expected), "{expected:?} is not in\n{shown}");
    }
}

#[test]
fn check_says_what_is_assumed_and_shows_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("good.toml");
    std::fs::write(
        dir.path().join("cs"),
        "Endpoint=sb://x/;SharedAccessKeyName=k;SharedAccessKey=hunter2;EntityPath=e",
    )
    .unwrap();
    let secret = dir.path().join("cs");
    std::fs::write(
        &path,
        MINIMAL.replace("env = \"EVENTHUB_CONNECTION\"", &format!("file = \"{}\"", secret.display())),
    )
    .unwrap();
    let output = forebay(&["check", path.to_str().unwrap()]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    for expected in ["device = ", "stream = \"readings\"", "qos = 1", "client_id = \"forebay-", "every stream"] {
        assert!(shown.contains(expected), "{expected:?} is not in\n{shown}");
    }
    assert!(!shown.contains("hunter2"));
}

#[test]
fn check_refuses_rules_for_full_streams_that_make_no_sense() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("full.toml");
    std::fs::write(
        &path,
        "[store]\nwhen_full = \"drop\"\n[stream.readings]\ncap = \"1KiB\"\npriority = 12\n\
         [stream.\"forebay.events\"]\nwhen_full = \"block\"\n\
         [source.log]\nkind = \"file\"\npath = \"/a\"\n[sink.out]\nkind = \"directory\"\npath = \"/b\"\n",
    )
    .unwrap();
    let output = forebay(&["check", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    for expected in [
        "line 2, column 13: unknown value `drop`",
        "one of: block, drop-oldest, drop-newest",
        "line 4, column 7: `cap` of a stream is out of range",
        "line 5, column 12: `priority` is out of range",
        "line 7, column 13: `when_full` of `forebay.events` is fixed",
    ] {
        assert!(shown.contains(expected), "{expected:?} is not in\n{shown}");
    }
}

#[test]
fn check_of_what_cannot_be_read_ends_with_2_and_of_no_toml_with_1() {
    assert_eq!(forebay(&["check", "/nonexistent"]).status.code(), Some(2));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broken.toml");
    std::fs::write(&path, "[source.a\nkind = mqtt\n").unwrap();
    let output = forebay(&["check", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("line 1"), "{}", text(&output.stdout));
}

#[cfg(feature = "lab")]
#[test]
fn the_demo_loses_nothing_over_an_outage() {
    let output = forebay(&["demo", "--for", "6s", "--outage", "2s..4s", "--summary", "json"]);
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{shown}{}", text(&output.stderr));
    let result: serde_json::Value = serde_json::from_str(shown.lines().last().unwrap()).unwrap();
    let number = |name: &str| result[name].as_u64().unwrap_or_else(|| panic!("{name} is not in {result}"));
    assert!(number("sent") > 500);
    assert_eq!((number("lost"), number("wrong")), (0, 0));
    assert_eq!(number("delivered") + number("backlog"), number("sent"));
    assert_eq!(number("durable"), number("sent") + number("redelivered_by_source"));
    assert!(number("rss_peak_bytes") > 0 && result["bytes_per_reading"].as_f64().unwrap() > 0.0);
    assert!(number("repeated_on_wire") <= number("sent") && shown.contains("uplink CUT"));
}

/// Lines of the log, in the formats that programs read.
#[test]
fn logs_are_written_in_the_format_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    let text = "[source.a]\nkind = \"file\"\npath = \"/a\"\n[sink.d]\nkind = \"directory\"\npath = \"/proc/nowhere\"\n";
    std::fs::write(&path, text).unwrap();
    let log = |format: &str| {
        let state = dir.path().join(format);
        let ended = Command::new("timeout")
            .args(["-s", "TERM", "2", env!("CARGO_BIN_EXE_forebay"), "--log-format", format, "run"])
            .args([path.to_str().unwrap(), "--state", state.to_str().unwrap()])
            .output()
            .unwrap();
        String::from_utf8(ended.stderr).unwrap()
    };
    for line in log("json").lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["timestamp"].is_string() && line["level"].is_string() && line["event"].is_string(), "{line}");
    }
    let logfmt = log("logfmt");
    assert!(logfmt.contains("event=started") && logfmt.contains("version="), "{logfmt}");
    for line in logfmt.lines() {
        assert!(line.starts_with("ts=") && line.contains(" level=") && line.contains(" event="), "{line}");
    }
}

/// The fields of an entry: `NAME=value`, or a name, eight bytes of length and the value (systemd's "Journal Native
/// Protocol").
fn journal_entry(mut bytes: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        let (line, rest) = (String::from_utf8_lossy(&bytes[..end]).into_owned(), &bytes[end + 1..]);
        if let Some((name, value)) = line.split_once('=') {
            fields.insert(name.into(), value.into());
            bytes = rest;
        } else {
            let length = usize::try_from(u64::from_le_bytes(rest[..8].try_into().unwrap())).unwrap();
            fields.insert(line, String::from_utf8_lossy(&rest[8..8 + length]).into_owned());
            bytes = &rest[8 + length + 1..];
        }
    }
    fields
}

/// The journal's socket in a mount namespace of its own; standard error says that it is the journal's.
#[test]
fn under_systemd_log_lines_are_entries_of_the_journal_with_their_fields() {
    let dir = tempfile::tempdir().unwrap();
    let (path, journal) = (dir.path().join("c.toml"), dir.path().join("journal"));
    std::fs::create_dir(&journal).unwrap();
    let socket = std::os::unix::net::UnixDatagram::bind(journal.join("socket")).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let text = "[source.a]\nkind = \"file\"\npath = \"/a\"\n[sink.d]\nkind = \"directory\"\npath = \"/proc/nowhere\"\n";
    std::fs::write(&path, text).unwrap();
    let script = "mkdir -p /run/systemd/journal && mount --bind \"$1\" /run/systemd/journal && exec 2>\"$2\" && \
                  JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec timeout -s TERM 2 \"$3\" run \"$4\" --state \"$5\"";
    let stderr = dir.path().join("stderr");
    // Read while it runs: a journal that takes nothing would hold it up.
    let reading = std::thread::spawn(move || {
        let mut bytes = vec![0; 64 << 10];
        let mut entries: Vec<BTreeMap<String, String>> = Vec::new();
        while entries.last().is_none_or(|entry| entry.get("EVENT").is_none_or(|event| event != "stopped")) {
            let length = socket.recv(&mut bytes).unwrap_or_else(|error| panic!("{error} after {entries:?}"));
            entries.push(journal_entry(&bytes[..length]));
        }
        entries
    });
    let ended = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .args([&journal, &stderr])
        .arg(env!("CARGO_BIN_EXE_forebay"))
        .args([&path, &dir.path().join("state")])
        .output()
        .unwrap();
    assert!(ended.stderr.is_empty(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(std::fs::read_to_string(stderr).unwrap(), "", "nothing goes to the error output as well");
    let entries = reading.join().unwrap();
    let entry = |event: &str| entries.iter().find(|entry| entry.get("EVENT").is_some_and(|is| is == event)).unwrap();
    let started = entry("started");
    assert_eq!((&*started["PRIORITY"], &*started["SYSLOG_IDENTIFIER"]), ("5", "forebay"));
    assert_eq!(started["CONFIG"], path.display().to_string());
    assert_eq!(entry("store_opened")["STATE"], dir.path().join("state").display().to_string());
}

#[test]
fn help_lists_every_command() {
    let shown = text(&forebay(&["--help"]).stdout);
    for command in ["run", "check", "buffer", "hub", "bench"] {
        assert!(shown.contains(command), "{shown}");
    }
}

#[test]
fn every_example_configuration_is_good() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/configs");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let secret = "Endpoint=sb://x/;SharedAccessKeyName=k;SharedAccessKey=c2VjcmV0;EntityPath=readings";
        let output = Command::new(env!("CARGO_BIN_EXE_forebay"))
            .args(["check", path.to_str().unwrap()])
            .env("EVENTHUB_CONNECTION", secret)
            .env("MQTT_PASSWORD", "p")
            .env("KAFKA_PASSWORD", "p")
            .env("AZURE_CLIENT_SECRET", "p")
            .env("PROXY_PASSWORD", "p")
            .env("INGEST_TOKEN", "t")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}: {}", path.display(), text(&output.stdout));
        seen += 1;
    }
    assert!(seen >= 7, "{seen}");
}

#[test]
fn check_says_what_is_wrong_with_sources() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sources.toml");
    let wrong = "[source.a]
kind = \"serial\"
path = \"/dev/ttyS0\"
baud = 5
framing = \"fixed\"
delimiter = \"x\"
[source.b]
kind = \"modbus\"
[[source.b.slave]]
unit = 1
registers = [{ name = \"x\", address = 65535, type = \"f32\" }, { name = \"y\", table = \"coil\", address = 1, type = \"u16\" }]
[source.c]
kind = \"http\"
listen = \"0.0.0.0:80\"
[source.d]
kind = \"mqtt\"
url = \"http://x\"
topics = [\"a/#/b\"]
receive_maximum = 5
decoder = \"text\"
fields = [\"a\"]
[source.e]
kind = \"file\"
path = \"/a\"
decoder = \"json\"
message_start = \"(\"
time = { field = \"t\", format = \"%H\", zone = \"Mars/Base\" }
[[source.e.check]]
field = \"x\"
min = 5
max = 1
[[source.e.check]]
field = \"y\"
[sink.out]
kind = \"directory\"
path = \"/b\"
";
    std::fs::write(&path, wrong).unwrap();
    let output = forebay(&["check", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    for expected in [
        "line 4, column 8: `baud` must be from 50 to 4000000",
        "`length` is missing",
        "this belongs to framing = \"delimiter\"",
        "give `tcp` or `path`, one of them",
        "it would end behind address 65535",
        "coils and discrete inputs are `bool`",
        "anybody who reaches this address could write here",
        "`http://x` is not a broker's address",
        "`a/#/b` is not a topic filter",
        "this belongs to protocol = \"5\"",
        "decoder \"text\" has no members",
        "`message_start` is no pattern",
        "`%H` cannot be read as a time",
        "`Mars/Base` is no time zone known here",
        "`min` is above `max`",
        "this check checks nothing",
    ] {
        assert!(shown.contains(expected), "{expected:?} is not in\n{shown}");
    }
}

/// A core dump would hold keys and passwords. That this machine makes any is shown beside it.
#[test]
fn an_agent_that_crashes_leaves_no_core_dump() {
    let dir = tempfile::tempdir().unwrap();
    let allowed = "cd \"$0\" && ulimit -c unlimited && exec \"$@\"";
    let prefix: Vec<String> = ["bash", "-c", allowed].map(String::from).to_vec();
    let there = dir.path().display().to_string();
    let crash = |pid: u32| Command::new("kill").args(["-ABRT", &pid.to_string()]).status().unwrap();
    let mut other = Command::new("bash").args(["-c", allowed, &there, "sleep", "60"]).spawn().unwrap();
    let is_sleep = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n");
    until("it sleeps", || is_sleep(other.id()));
    crash(other.id());
    let ended = other.wait().unwrap();
    assert!(ended.core_dumped(), "this machine makes no core dumps: {ended}");
    let config = format!(
        "[source.log]\nkind = \"file\"\npath = \"{there}/a.log\"\n[sink.out]\nkind = \"directory\"\npath = \"{there}/out\"\n"
    );
    std::fs::write(dir.path().join("a.log"), "1\n").unwrap();
    let program: Vec<String> = prefix.into_iter().chain([there.clone()]).collect();
    let agent = Agent::start_under(&program, dir.path(), &config, "");
    until("it delivers", || dir.path().join("out").exists());
    crash(agent.pid());
    let ended = agent.ended();
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(6), false));
}

/// What `check` prints of a configuration, and what `run` does, with its exit code.
fn checked(text: &str) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    let state = dir.path().join("state");
    let check = forebay(&["check", path]);
    let mut shown = self::text(&check.stdout) + &self::text(&check.stderr);
    if check.status.code() != Some(0) {
        let run = forebay(&["run", "--config", path, "--state", state.to_str().unwrap()]);
        shown += &(self::text(&run.stdout) + &self::text(&run.stderr));
    }
    (check.status.code(), shown)
}

#[test]
fn no_secret_is_printed_whatever_the_mistake() {
    let source = "[source.a]\nkind = \"mqtt\"\nurl = \"mqtt://h\"\ntopics = [\"a\"]\n";
    let sink = "[sink.d]\nkind = \"directory\"\npath = \"/x\"\n";
    let key = "SharedAccessKeyName=k;SharedAccessKey=hunter2hunter2";
    for wrong in [
        format!("{source}[sink.h]\nkind = \"eventhubs\"\nconnection = \"Endpoint=sb://x/;{key}\"\n"),
        format!("{source}[sink.h]\nkind = \"eventhubs\"\nconection = \"Endpoint=sb://x/;{key}\"\n"),
        format!("{source}[sink.h]\nkind = \"eventhubs\"\nconnection = \"Endpoint=sb://x/;{key}\nevent_hub = 1\n"),
        format!("{source}[sink.\"hunter2hunter2;Pwd=hunter2hunter2\"]\nkind = \"directory\"\npath = 1\n")
            .replace("hunter2hunter2;", ""),
        format!("{sink}{source}username = \"u\"\npassword = \"hunter2hunter2\"\n"),
        format!("{sink}{source}username = \"u\"\npasword = \"hunter2hunter2\"\n"),
        format!("{sink}{}", source.replace("mqtt://h", "mqtt://user:hunter2hunter2@h")),
        format!("{sink}{}", source.replace("mqtt://h\"", "mqtt://user:hunter2hunter2@h\"\nqos = 9")),
        format!("{sink}{source}fallback = [\"mqtt://u:hunter2hunter2@h\"]\n"),
        format!(
            "{source}[sink.k]\nkind = \"kafka\"\nbrokers = [\"a\"]\ntopic = \"t\"\nsasl = {{ mechanism = \"plain\", username = \"u\", password = \"hunter2hunter2\" }}\n"
        ),
        format!(
            "{source}[sink.h]\nkind = \"eventhubs\"\nnamespace = \"n\"\ncredential = {{ kind = \"client-secret\", secret = \"hunter2hunter2\" }}\n"
        ),
        format!("{sink}[source.p]\nkind = \"http\"\nlisten = \"0.0.0.0:1\"\ntoken = \"hunter2hunter2\"\n"),
        format!("device = \"AccountKey=hunter2hunter2\"\n{source}{sink}"),
    ] {
        let (code, shown) = checked(&wrong);
        assert_eq!(code, Some(1), "{wrong}{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let (_, shown) =
        checked(&format!("{source}[sink.h]\nkind = \"eventhubs\"\nconnection = \"Endpoint=sb://x/;{key}\"\n"));
    assert!(shown.contains("{ env = \"NAME\" }") && !shown.contains("struct"), "{shown}");
}

#[test]
fn types_are_told_in_words_and_not_in_those_of_rust() {
    let (_, shown) = checked(
        "[source.a]\nkind = \"mqtt\"\nurl = 7\ntopics = \"a\"\nqos = \"one\"\nclean_session = 3\n\
         [[source.p.slave]]\nunit = 300\n[sink.h]\nkind = \"kafka\"\nbrokers = [1]\ntopic = \"t\"\ntls = true\n\
         [source.p]\nkind = \"modbus\"\ntcp = \"h\"\n",
    );
    for expected in [
        "7 stands here, and text in quotes is wanted",
        "text stands here, and a list in brackets is wanted",
        "true or false is wanted",
        "300 stands here, and a whole number from 0 to 255 is wanted",
        "and a table is wanted",
    ] {
        assert!(shown.contains(expected), "{expected:?} is not in\n{shown}");
    }
    for rust in ["struct", "u8", "expected", "sequence", "invalid type"] {
        assert!(!shown.contains(rust), "{rust:?} is in\n{shown}");
    }
}

#[test]
fn check_finds_what_parts_say_of_each_other_and_prints_where_sinks_send() {
    let http = |name: &str, listen: &str| {
        format!("[source.{name}]\nkind = \"http\"\nlisten = \"{listen}\"\ntoken = {{ env = \"HOME\" }}\n")
    };
    let out = "[sink.out]\nkind = \"directory\"\npath = \"/out\"\n";
    let hub = |connection: &str, more: &str| {
        let path = std::env::temp_dir().join(format!("forebay-it-{}-{}", std::process::id(), connection.len()));
        std::fs::write(&path, connection).unwrap();
        format!("[sink.hub]\nkind = \"eventhubs\"\nconnection = {{ file = \"{}\" }}\n{more}", path.display())
    };
    let file = "[source.log]\nkind = \"file\"\npath = \"/a/*.log\"\n";
    for (text, expected) in [
        (http("a", "127.0.0.1:8080") + &http("b", "0.0.0.0:8080") + out, "listens where `a` does"),
        ("[source.a]\nkind = \"serial\"\npath = \"/dev/ttyS0\"\n[source.b]\nkind = \"modbus\"\npath = \"/dev/../dev/ttyS0\"\n[[source.b.slave]]\nunit = 1\nregisters = [{ name = \"t\", address = 1 }]\n".to_string() + out, "uses the serial port of `a`"),
        (format!("{file}{out}from = [\"reading\"]\n"), "which no source writes"),
        (format!("state = \"/s\"\n{file}{}", out.replace("/out", "/s/./out")), "writes into the state directory"),
        (format!("{}{out}", file.replace("/a/*.log", "/out/*.ndjson")), "would read what sink `out` writes"),
        (format!("{file}{}", hub("Endpoint=sb://x/;SharedAccessSignature=SharedAccessSignature sr=x&sig=y&se=1600000000&skn=k;EntityPath=e", "")), "the signature has ended at 2020-09-13"),
        (format!("{file}{}", hub("Endpoint=sb://n.servicebus.windows.net;SharedAccessKeyName=k;SharedAccessKey=s;EntityPath=e;UseDevelopmentEmulator=true", "")), "is not the emulator"),
        (format!("{file}decoder = \"json\"\nfields = [\"t\"]\n[[source.log.check]]\nfield = \"p\"\nmax = 1\n{out}"), "`p` is not among `fields`"),
        (format!("{file}decoder = \"json\"\nfields = [\"t\"]\ntypes = {{ p = \"float\" }}\n{out}"), "`p` is not among `fields`"),
        (format!("[source.m]\nkind = \"modbus\"\ntcp = \"h\"\n[[source.m.slave]]\nunit = 1\nregisters = [{{ name = \"t\", address = 400101 }}]\n{out}"), "holding register 400101 of a manual is address 100"),
    ] {
        let (code, shown) = checked(&text);
        assert!(code == Some(1) && shown.contains(expected), "{expected:?} is not in\n{shown}");
    }
    for (text, expected) in [
        ("[source.m]\nkind = \"modbus\"\ntcp = \"h\"\n[[source.m.slave]]\nunit = 1\nregisters = [{ name = \"t\", address = 40101 }]\n".to_string() + out, "register 40101 is address 100"),
        ("[source.m]\nkind = \"mqtt\"\nurl = \"mqtt://h\"\ntopics = [\"a/#\", \"+/t\"]\n".to_string() + out, "a topic may fall under both `a/#` and `+/t`"),
        (format!("{file}{out}"), "out: files in /out"),
        (format!("{file}{}", hub("Endpoint=sb://x/;SharedAccessKeyName=k;SharedAccessKey=s;EntityPath=one", "event_hub = \"two\"\n")), "the connection string is for `one`"),
        (format!("{file}{}", hub("Endpoint=sb://n.servicebus.windows.net/;SharedAccessKeyName=k;SharedAccessKey=s;EntityPath=e", "transport = \"amqp-websocket\"\n")), "hub: event hub `e` at n.servicebus.windows.net:443, by AMQP over a WebSocket"),
        (format!("{file}[sink.k]\nkind = \"kafka\"\nbrokers = [\"[fd00::5]:9093\", \"b\"]\ntopic = \"t\"\n"), "k: topic `t` at [fd00::5]:9093, b:9092, without TLS"),
    ] {
        let (code, shown) = checked(&text);
        assert!(code == Some(0) && shown.contains(expected), "{expected:?} is not in\n{shown}");
    }
}

/// Messages of the standard input are decoded as the source would; what is refused is shown with its reason.
#[test]
fn decode_shows_what_a_source_makes_of_a_message() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("forebay.toml");
    let text = "device = \"d\"\nstate = \"s\"\n[source.log]\nkind = \"file\"\npath = \"/tmp/x\"\ndecoder = \"regex\"\n\
                regex = { pattern = '%{WORD:device} T=%{NUMBER:t}' }\n\
                [sink.out]\nkind = \"directory\"\npath = \"/tmp/out\"\n";
    std::fs::write(&path, text).unwrap();
    let decode = |arguments: &[&str], input: &[u8]| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_forebay"))
            .args(["decode", "log"])
            .arg(&path)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that refuses its arguments reads no input.
        let _ = child.stdin.take().unwrap().write_all(input);
        let ended = child.wait_with_output().unwrap();
        (ended.status.code(), self::text(&ended.stdout), self::text(&ended.stderr))
    };
    let (code, shown, complaint) = decode(&["--lines", "--key", "press/7"], b"press7 T=-21.50\nwhat?\n");
    assert_eq!(code, Some(0), "{complaint}");
    let lines: Vec<&str> = shown.lines().collect();
    assert!(
        lines[0].contains(r#""key":"press/7""#) && lines[0].contains(r#"{"device":"press7","t":-21.50}"#),
        "{shown}"
    );
    assert!(lines[1].starts_with("forebay.dead-letters ") && lines[1].contains("no `pattern` fits"), "{shown}");
    let (code, _, complaint) = decode(&["--route", "1"], b"");
    assert!(code == Some(2) && complaint.contains("the source has 1"), "{complaint}");
}

#[test]
fn whoever_stops_reading_ends_a_command_without_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, MINIMAL.replace("env = \"EVENTHUB_CONNECTION\"", "env = \"CONNECTION\"")).unwrap();
    let connection =
        "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=k;SharedAccessKey=s;EntityPath=e;UseDevelopmentEmulator=true";
    let config = path.to_str().unwrap();
    let store = dir.path().join("state");
    assert!(forebay(&["bench", "fill", store.to_str().unwrap(), "--mib", "1"]).status.success());
    let store = store.to_str().unwrap();
    for arguments in [
        vec!["check", config],
        vec!["send-test", "hub", "--config", config],
        vec!["buffer", "ls", store],
        vec!["buffer", "verify", store],
        vec!["buffer", "show", store],
        vec!["buffer", "export", store],
    ] {
        let line = format!(
            "exec 3>&1; {{ {} {} 2>&1 >&4 | cat >&3; }} 4>&1 | true",
            env!("CARGO_BIN_EXE_forebay"),
            arguments.join(" ")
        );
        let output = Command::new("bash").args(["-c", &line]).env("CONNECTION", connection).output().unwrap();
        let told = text(&output.stdout) + &text(&output.stderr);
        assert!(!told.contains("panicked"), "{arguments:?}: {told}");
    }
}
