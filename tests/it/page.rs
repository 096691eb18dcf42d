//! What a running agent tells whoever asks: metrics that Prometheus reads, and its state as JSON.

use crate::rig::{Agent, Prometheus, append_lines, files, forebay, free_port, until};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

fn config(dir: &Path, page: &str, broker: u16) -> String {
    let here = dir.display();
    format!(
        "device = \"d\"\n[store]\nlinger = \"20ms\"\nreserve = \"16MiB\"\n[page]\n{page}\n\
         [source.log]\nkind = \"file\"\npath = \"{here}/*.log\"\npoll = \"20ms\"\n\
         [sink.out]\nkind = \"directory\"\npath = \"{here}/out\"\nlinger = \"0s\"\n\
         [sink.away]\nkind = \"kafka\"\nbrokers = [\"127.0.0.1:{broker}\"]\ntopic = \"t\"\n"
    )
}

/// The answer of the page, with its head.
fn ask(port: u16, path: &str, more: &[&str]) -> String {
    let url = format!("http://127.0.0.1:{port}{path}");
    let done = Command::new("curl").args(["-s", "-i", "--max-time", "20"]).args(more).arg(url).output().unwrap();
    String::from_utf8(done.stdout).unwrap()
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

/// Fails on any complaint of Prometheus' own checker.
fn promtool(arguments: &[&str], input: &str) {
    let mut promtool = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is not installed: tests/run installs it with prometheus");
    promtool.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let checked = promtool.wait_with_output().unwrap();
    assert!(checked.status.success() && checked.stderr.is_empty(), "{checked:?}");
}

/// The names of all samples.
fn names(metrics: &str) -> BTreeSet<String> {
    let samples = metrics.lines().filter(|line| !line.starts_with('#'));
    samples.map(|line| line.split(['{', ' ']).next().unwrap().to_string()).collect()
}

/// The shipped alert rules and the dashboard use metrics that there are, in expressions that Prometheus understands.
fn rules_and_dashboard_name_only(known: &BTreeSet<String>, dir: &Path) {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/observability");
    let rules = shipped.join("forebay.rules.yml");
    promtool(&["check", "rules", rules.to_str().unwrap()], "");
    let dashboard: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(shipped.join("dashboard.json")).unwrap()).unwrap();
    let targets = dashboard["panels"].as_array().unwrap().iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let expressions: Vec<String> = targets.map(|target| target["expr"].as_str().unwrap().to_string()).collect();
    assert!(expressions.len() > 8);
    let as_rule = |(n, expression): (usize, &String)| {
        let expression = expression.replace("$__rate_interval", "5m").replace("$instance", "a");
        format!("  - record: dashboard:panel{n}\n    expr: '{expression}'\n")
    };
    let rules_of: String = expressions.iter().enumerate().map(as_rule).collect();
    let as_rules = format!("groups:\n- name: dashboard\n  rules:\n{rules_of}");
    let as_file = dir.join("dashboard.rules.yml");
    std::fs::write(&as_file, as_rules).unwrap();
    promtool(&["check", "rules", as_file.to_str().unwrap()], "");
    let text = expressions.join("\n") + &std::fs::read_to_string(rules).unwrap();
    let is_part = |c: char| c.is_ascii_lowercase() || c == '_';
    let used = text.split(|c| !is_part(c)).filter(|word| word.starts_with("forebay_"));
    let unknown: BTreeSet<&str> = used.filter(|word| !known.contains(*word)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn state_and_metrics_of_a_running_agent_can_be_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (port, broker) = (free_port(), free_port());
    append_lines(&dir.path().join("a.log"), 0..1000);
    let agent = Agent::start(dir.path(), &config(dir.path(), &format!("listen = \"127.0.0.1:{port}\""), broker), "");
    until("the readings are there", || files(&dir.path().join("out"), "readings").len() == 1000);
    let status = || serde_json::from_str::<serde_json::Value>(body(&ask(port, "/api/v1/status", &[]))).unwrap();
    until("the other sink waits", || status()["parts"][1]["health"] == "waiting");
    let now = status();
    assert_eq!((&now["device"], &now["generation"]), (&"d".into(), &1.into()), "{now}");
    let [source, away, out] = now["parts"].as_array().unwrap().as_slice() else { panic!("{now}") };
    assert!(source["kind"] == "source" && source["health"] == "up" && source["last_frame_ms"].is_u64(), "{source}");
    assert_eq!(away["waits"][0]["records"], 1000, "{away}");
    assert!(away["state"].as_str().unwrap().contains("refused"), "{away}");
    assert_eq!(out["waits"][0]["records"], 0, "{out}");

    let answer = ask(port, "/metrics", &[]);
    assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{answer}");
    for wanted in [
        "forebay_source_frames_total{source=\"log\"} ",
        "forebay_sink_records_total{sink=\"out\"} 1000\n",
        "forebay_part_up{sink=\"away\"} 0\n",
        "forebay_sink_backlog_records{sink=\"away\",stream=\"readings\"} 1000\n",
        "forebay_config_generation 1\n",
    ] {
        assert!(answer.contains(wanted), "{wanted} is not in {answer}");
    }
    promtool(&["check", "metrics"], body(&answer));
    rules_and_dashboard_name_only(&names(body(&answer)), dir.path());

    let told = forebay(&["status", dir.path().join("forebay.toml").to_str().unwrap()]);
    let text = String::from_utf8(told.stdout).unwrap();
    assert_eq!(told.status.code(), Some(1), "one sink waits: {text}");
    for wanted in
        ["d: forebay ", "  source  log   up ", "  sink    out   up ", "nothing waits", "1000 of readings wait"]
    {
        assert!(text.contains(wanted), "{wanted} is not in {text}");
    }

    for (more, path, wanted) in [
        (&["-H", "Host: evil.example"][..], "/metrics", "403 Forbidden"),
        (&["-H", "Host: evil.example:80"], "/api/v1/status", "403 Forbidden"),
        (&["-X", "POST"], "/metrics", "405 Method Not Allowed"),
        (&[], "/../../etc/passwd", "404 Not Found"),
    ] {
        let answer = ask(port, path, more);
        assert!(answer.contains(wanted), "{path} {more:?}: {answer}");
    }
    assert!(ask(port, "/metrics", &["-I"]).contains("200 OK"));
    assert!(agent.stop().success());
}

#[test]
fn a_real_prometheus_reads_both_forms() {
    let dir = tempfile::tempdir().unwrap();
    let (port, broker, own) = (free_port(), free_port(), free_port());
    append_lines(&dir.path().join("a.log"), 0..1000);
    let agent = Agent::start(dir.path(), &config(dir.path(), &format!("listen = \"127.0.0.1:{port}\""), broker), "");
    let scrape = format!(
        "global: {{ scrape_interval: 1s }}\nscrape_configs:\n- job_name: gateway\n  static_configs:\n  \
         - targets: ['127.0.0.1:{port}']\n"
    );
    let prometheus = Prometheus::start(dir.path(), own, &scrape);
    let query = |text: &str| {
        let answer = ask(own, "/api/v1/query", &["-G", "--data-urlencode", &format!("query={text}")]);
        let json: serde_json::Value = serde_json::from_str(body(&answer)).unwrap_or_default();
        json["data"]["result"][0]["value"][1].as_str().map(String::from)
    };
    until("what waits is seen", || {
        query("sum by (sink) (forebay_sink_backlog_records{sink=\"away\"})").as_deref() == Some("1000")
    });
    until("the counters are seen", || {
        query("sum(forebay_sink_records_total{sink=\"out\"})").as_deref() == Some("1000")
    });
    until("distributions are seen", || {
        query("histogram_quantile(0.99, sum by (le) (forebay_sink_delivery_seconds_bucket))").is_some()
    });
    drop(prometheus);
    // Prometheus asks for this form; here it is looked at.
    let open = ask(port, "/metrics", &["-H", "Accept: application/openmetrics-text; version=1.0.0"]);
    assert!(open.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"), "{open}");
    assert!(open.ends_with("# EOF\n"), "{open}");
    assert!(agent.stop().success());
}

#[test]
fn others_need_the_token_and_a_port_that_is_taken_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (port, broker) = (free_port(), free_port());
    std::fs::write(dir.path().join("token"), "secret-7").unwrap();
    let page = format!("listen = \"0.0.0.0:{port}\"\ntoken = {{ file = \"{}/token\" }}", dir.path().display());
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let agent = Agent::start(dir.path(), &config(dir.path(), &page, broker), "");
    until("it is said that the port is taken", || agent.log().contains("event=\"page_down\""));
    drop(taken);
    until("it listens", || agent.log().contains("event=\"page_up\""));
    let refused = ask(port, "/metrics", &[]);
    assert!(refused.contains("401 Unauthorized") && !refused.contains("forebay_"), "{refused}");
    for header in ["Authorization: Bearer secret-7", "X-Api-Key: secret-7"] {
        assert!(ask(port, "/metrics", &["-H", header]).contains("200 OK"), "{header}");
    }
    assert!(ask(port, "/metrics", &["-u", "me:secret-7", "-H", "Host: gateway.example"]).contains("200 OK"));
    assert!(ask(port, "/metrics", &["-H", "Authorization: Bearer secret-8"]).contains("401"));
    assert!(!agent.log().contains("secret-7"));
    let status = |more: &[&str]| {
        let file = dir.path().join("forebay.toml");
        let done = forebay(&[&["status", file.to_str().unwrap()], more].concat());
        (done.status.code(), String::from_utf8(done.stdout).unwrap() + &String::from_utf8(done.stderr).unwrap())
    };
    let json = status(&["--json"]);
    assert!(json.1.starts_with("{\"version\":") && !json.1.contains("secret-7"), "{json:?}");
    let wrong = std::fs::write(dir.path().join("token"), "secret-9").map(|()| status(&[])).unwrap();
    assert!(wrong.0 == Some(2) && wrong.1.contains("401 Unauthorized"), "{wrong:?}");
    assert!(agent.stop().success());
    let gone = status(&[]);
    assert!(gone.0 == Some(2) && gone.1.contains("no agent answers at 127.0.0.1"), "{gone:?}");
}

#[test]
fn the_page_in_a_real_browser() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let hostile = "<img src=x onerror=\"window.hacked=1\"><i>{{7*7}}</i>";
    let log = dir.path().join("<i>&a.log");
    append_lines(&log, (0..500).map(|n| if n % 7 == 0 { hostile.to_string() } else { format!("{{\"t\":{n}}}") }));
    let alert =
        "[alert.hot]\nstream = \"readings\"\nfield = \"t\"\nabove = 490\nmessage = \"<i>{about}</i> at {value}\"\n";
    let config = config(dir.path(), &format!("listen = \"127.0.0.1:{port}\"\n{alert}"), free_port());
    let agent = Agent::start(dir.path(), &config, "");
    until("the readings are there", || files(&dir.path().join("out"), "readings").len() == 500);
    let beyond = hostile.repeat((1 << 20) / hostile.len() + 1);
    append_lines(&log, ["{\"t\":499}", &beyond]);
    let clients = std::env::var("FOREBAY_NODE").expect("FOREBAY_NODE is not set: tests/run sets it");
    let shots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    std::fs::create_dir_all(&shots).unwrap();
    let looked = Command::new("node")
        .args([&format!("{clients}/page.mjs"), &format!("http://127.0.0.1:{port}/")])
        .args([&shots, &log])
        .output()
        .unwrap();
    assert!(
        looked.status.success(),
        "{}{}",
        String::from_utf8_lossy(&looked.stdout),
        String::from_utf8_lossy(&looked.stderr)
    );
    assert!(agent.stop().success());
}

/// The API is what its own document says, whatever it is asked.
#[test]
fn the_api_is_the_one_that_it_describes() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    std::fs::write(dir.path().join("token"), "secret-7").unwrap();
    let page = format!("listen = \"127.0.0.1:{port}\"\ntoken = {{ file = \"{}/token\" }}", dir.path().display());
    append_lines(&dir.path().join("a.log"), 0..1000);
    let agent = Agent::start(dir.path(), &config(dir.path(), &page, free_port()), "");
    until("the readings are there", || files(&dir.path().join("out"), "readings").len() == 1000);
    let python = std::env::var("FOREBAY_PYTHON").expect("FOREBAY_PYTHON is not set: tests/run sets it");
    let checked = Command::new(Path::new(&python).with_file_name("schemathesis"))
        .args(["run", &format!("http://127.0.0.1:{port}/openapi.json"), "-H", "Authorization: Bearer secret-7"])
        // Its answer does not end.
        .args([
            "--exclude-path",
            "/api/v1/events",
            "--max-examples",
            "30",
            "--checks",
            "all",
            "--seed",
            "1",
            "--no-color",
        ])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    let text = String::from_utf8_lossy(&checked.stdout);
    assert!(text.contains(" passed"), "{text}");
    assert!(agent.stop().success());
}

#[test]
fn the_log_can_say_more_while_it_runs_and_a_socket_needs_no_token() {
    let dir = tempfile::tempdir().unwrap();
    let (port, broker) = (free_port(), free_port());
    std::fs::write(dir.path().join("token"), "secret-7").unwrap();
    let socket = dir.path().join("api.sock");
    let page = format!(
        "listen = \"127.0.0.1:{port}\"\nsocket = \"{}\"\ntoken = {{ file = \"{}/token\" }}",
        socket.display(),
        dir.path().display()
    );
    // A file that is no socket is not touched.
    std::fs::write(&socket, "mine").unwrap();
    let agent = Agent::start(dir.path(), &config(dir.path(), &page, broker), "");
    until("it says that the socket cannot be made", || agent.log().contains("event=\"page_down\""));
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "mine");
    assert!(agent.stop().success());
    std::fs::remove_file(&socket).unwrap();
    // What a killed agent left behind.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let agent = Agent::start(dir.path(), &config(dir.path(), &page, broker), "");
    let put = |more: &[&str], level: &str| {
        let put = [&["-X", "PUT", "--data", level, "-H", "Content-Type: text/plain"], more].concat();
        ask(port, "/api/v1/log/level", &put)
    };
    let bearer = "Authorization: Bearer secret-7";
    until("it listens", || put(&["-H", bearer], "loud").contains("400 Bad Request"));
    assert!(put(&[], "debug").contains("401 Unauthorized"));
    assert!(put(&["-H", bearer, "-H", "Origin: http://evil.example"], "debug").contains("403 Forbidden"));
    let own = format!("Origin: http://127.0.0.1:{port}");
    assert!(!agent.log().contains("DEBUG"), "{}", agent.log());
    assert!(put(&["-H", bearer, "-H", &own], "debug").contains("200 OK"));
    append_lines(&dir.path().join("a.log"), ["1"]);
    until("it says more", || agent.log().contains("DEBUG"));
    assert!(agent.log().contains("event=\"log_level\""));
    let by_socket = |path: &str, more: &[&str]| {
        let url = format!("http://localhost{path}");
        let mut curl = Command::new("curl");
        curl.args(["-s", "-i", "--max-time", "20", "--unix-socket"]).arg(&socket).args(more).arg(url);
        let done = curl.output().unwrap();
        String::from_utf8(done.stdout).unwrap()
    };
    assert!(by_socket("/api/v1/log/level", &["-X", "PUT", "--data", "info"]).contains("200 OK"));
    assert!(by_socket("/api/v1/log", &[]).contains("log_level"));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&socket).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o660);
    // The token is not looked up when there is a socket.
    std::fs::remove_file(dir.path().join("token")).unwrap();
    let told = forebay(&["status", dir.path().join("forebay.toml").to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&told.stdout).starts_with("d: forebay "), "{told:?}");
    assert!(agent.stop().success());
    assert!(!socket.exists());
}
