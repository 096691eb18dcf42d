//! Configurations that are pushed: signed by the real minisign, brought by a file, a web server and a broker, tried, and
//! rolled back.

use crate::rig::{Agent, Fleet, Mosquitto, Receiver, append_lines, certificates, free_port, until};
use serde_json::Value;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

/// Works while readings come all the time. They end when an assertion fails, too.
fn under_traffic(write: impl Fn() + Sync, pause: Duration, work: impl FnOnce()) {
    let flows = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while flows.load(SeqCst) {
                write();
                std::thread::sleep(pause);
            }
        });
        let worked = std::panic::catch_unwind(AssertUnwindSafe(work));
        flows.store(false, SeqCst);
        worked.unwrap_or_else(|why| std::panic::resume_unwind(why));
    });
}

#[test]
fn a_signed_document_is_tried_and_what_is_not_as_it_should_be_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::new(dir.path());
    let agent = Agent::start(dir.path(), &fleet.local(""), "");
    append_lines(&dir.path().join("in/a.log"), ["1"]);
    until("it waits for a document", || dir.path().join("state/config/inbox").exists());
    let first = fleet.signed(&fleet.document(5, "*.log", ""));
    let verified = fleet.config("verify", Some(&first));
    assert!(verified.0 == Some(0) && verified.1.contains("document 5 for * of the fleet plant-7"), "{verified:?}");
    let applied = fleet.config("apply", Some(&first));
    assert!(applied.0 == Some(0) && applied.1.contains("on trial: document 5"), "{applied:?}");
    until("it is read", || fleet.values() == ["1"]);
    until("it stays", || fleet.phase() == "applied");
    assert!(agent.log().contains("config_trial") && agent.log().contains("generation=2"), "{}", agent.log());

    // By the command line, and by the folder, as somebody who may write there would try it.
    let other = fleet.signed_by("other", &fleet.document(6, "*.log", ""));
    let told = fleet.config("apply", Some(&other));
    assert!(told.0 == Some(1) && told.1.contains("no key of `[remote] keys`"), "{told:?}");
    let inbox = dir.path().join("state/config/inbox");
    let push = |text: &str| {
        let before = agent.log().matches("event=\"config_refused").count();
        std::fs::write(inbox.join("x.part"), text).unwrap();
        std::fs::rename(inbox.join("x.part"), inbox.join("x.toml")).unwrap();
        until("it is refused", || agent.log().matches("event=\"config_refused").count() > before);
        let log = agent.log();
        log.lines().rfind(|line| line.contains("event=\"config_refused")).unwrap().to_string()
    };
    let document = |serial, more: &str| fleet.signed(&fleet.document(serial, "*.log", more));
    for (text, why) in [
        (other, "no key of"),
        (fleet.document(6, "*.log", ""), "not signed"),
        (document(6, "").replace("linger", "Linger"), "changed after it was signed"),
        (document(4, ""), "serial 4 is lower than 5"),
        (document(5, "# other\n"), "another document had the serial 5"),
        (fleet.signed(&fleet.document(6, "*.log", "").replace("plant-7", "plant-8")), "it is for the fleet `plant-8`"),
        (document(6, "[source.x]\nkind = \"nothing\"\n"), "nothing"),
        (document(6, "[page]\nlisten = \"0.0.0.0:80\"\n"), "`page` stands in the local file only"),
        ("x".repeat((1 << 20) + 1), "more than 1048576"),
    ] {
        let told = push(&text);
        assert!(told.contains(why), "{why}: {told}");
    }
    let status = fleet.config("status", None).1;
    assert!(status.starts_with("phase: applied\nin force: document 5") && status.contains("too-long"), "{status}");
    assert!(push(&document(7, "[alert.y]\nstream = \"nowhere\"\nfield = \"x\"\nabove = 1\n")).contains("line="));
    assert_eq!(fleet.phase(), "refused");
    append_lines(&dir.path().join("in/a.log"), ["2"]);
    until("nothing of it did harm", || fleet.values() == ["1", "2"]);

    // A change and the way back; the numbers go on over a stop.
    let second = fleet.signed(&fleet.document(8, "*.txt", ""));
    assert_eq!(fleet.config("apply", Some(&second)).0, Some(0));
    append_lines(&dir.path().join("in/b.txt"), ["3"]);
    until("the other files are read", || fleet.values() == ["1", "2", "3"]);
    until("it stays", || fleet.phase() == "applied");
    let changed = fleet.config("diff", None).1;
    assert!(changed.contains("-path = ") && changed.contains("*.txt"), "{changed}");
    let shown = fleet.config("show", None).1;
    assert!(shown.contains("*.txt") && shown.contains("[remote]"), "{shown}");
    let back = fleet.config("rollback", None);
    assert!(back.0 == Some(0) && back.1.contains("in force: document 5"), "{back:?}");
    append_lines(&dir.path().join("in/a.log"), ["4"]);
    until("the first files are read again", || fleet.values().contains(&"4".to_string()));
    assert!(agent.stop().success());
    let history = fleet.config("history", None).1;
    assert_eq!(history.lines().count(), 4, "{history}");
    let agent = Agent::start(dir.path(), &fleet.local(""), "");
    append_lines(&dir.path().join("in/a.log"), ["5"]);
    until("the document counts after a start, too", || fleet.values().contains(&"5".to_string()));
    assert_eq!(fleet.config("history", None).1, history, "nothing has changed");
    assert!(agent.stop().success());
}

#[test]
fn what_does_worse_is_rolled_back_and_not_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::new(dir.path());
    let agent = Agent::start(dir.path(), &fleet.local(""), "");
    until("it waits for a document", || dir.path().join("state/config/inbox").exists());
    let apply = |text: &str| fleet.config("apply", Some(&fleet.signed(text)));
    let log = dir.path().join("in/a.log");
    append_lines(&log, ["1"]);
    assert_eq!(apply(&fleet.document(1, "*.log", "")).0, Some(0));
    until("it stays", || fleet.phase() == "applied");

    // It reads where nothing is.
    for n in 2..8 {
        append_lines(&log, [n]);
        until("it flows", || fleet.values().len() == n);
        std::thread::sleep(Duration::from_millis(600));
    }
    let elsewhere = fleet.document(2, "*.nothing", "").replace("[source.log]", "[source.other]");
    assert_eq!(apply(&elsewhere).0, Some(0));
    append_lines(&log, ["8"]);
    until("it is given up", || fleet.phase() == "rolled-back");
    until("the readings of the time between are here", || fleet.values() == ["1", "2", "3", "4", "5", "6", "7", "8"]);
    assert!(agent.log().contains("no source brings anything since the change"), "{}", agent.log());
    let again = apply(&elsewhere);
    assert!(again.0 == Some(1) && again.1.contains("rolled-back"), "{again:?}");

    // It sends where nobody is, and readings wait.
    let away = fleet.document(3, "*.log", "").replace(
        &format!("kind = \"directory\"\npath = \"{}/out\"\nlinger = \"0s\"\n", dir.path().display()),
        &format!("kind = \"kafka\"\nbrokers = [\"127.0.0.1:{}\"]\ntopic = \"t\"\n", free_port()),
    );
    assert!(away.contains("kafka"));
    assert_eq!(apply(&away).0, Some(0));
    append_lines(&log, ["9"]);
    until("it is given up", || agent.log().contains("sink.out delivers nothing since the change"));
    until("what waited is delivered", || fleet.values().len() == 9);

    // It ends the agent each time: after three starts the one before comes back. The kills stand for the crashes.
    assert_eq!(
        apply(&fleet.document(4, "*.log", "[source.more]\nkind = \"file\"\npath = \"/nowhere/*\"\n")).0,
        Some(0)
    );
    let mut agent = agent;
    for _ in 0..3 {
        agent.kill();
        agent = Agent::start(dir.path(), &fleet.local(""), "");
        until("it runs", || agent.listens());
    }
    until("it is given up", || fleet.phase() == "rolled-back");
    assert!(agent.log().contains("the agent ended 3 times"), "{}", agent.log());
    append_lines(&log, ["10"]);
    until("the last good one runs", || fleet.values().contains(&"10".to_string()));
    assert!(agent.stop().success());
}

#[test]
fn an_uplink_that_was_down_before_is_no_fault_of_a_document() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::new(dir.path());
    let broker = free_port();
    let away = |serial: u64, topic: &str| {
        let sink = format!("[sink.away]\nkind = \"kafka\"\nbrokers = [\"127.0.0.1:{broker}\"]\ntopic = \"{topic}\"\n");
        let text = fleet.document(serial, "*.log", "");
        text[..text.find("[sink").unwrap()].to_string() + &sink
    };
    let sink = away(1, "t");
    let local = fleet.local(&sink[sink.find("[source").unwrap()..]);
    let agent = Agent::start(dir.path(), &local, "");
    append_lines(&dir.path().join("in/a.log"), ["1"]);
    until("the hub is away", || agent.log().contains("event=\"sink_down\""));
    assert_eq!(fleet.config("apply", Some(&fleet.signed(&away(1, "other")))).0, Some(0));
    append_lines(&dir.path().join("in/a.log"), ["2"]);
    until("it stays, and says so", || fleet.phase() == "applied-unconfirmed");
    assert!(agent.stop().success());
}

/// A static web server.
struct Web(Child, u16);

impl Web {
    fn start(dir: &Path) -> Self {
        let port = free_port();
        let child = Command::new("python3")
            .args(["-m", "http.server", "--bind", "127.0.0.1", "--directory", dir.to_str().unwrap(), &port.to_string()])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.join("web.log")).unwrap())
            .spawn()
            .unwrap();
        until("the web server listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self(child, port)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_web_server_and_a_broker_bring_documents_and_get_reports() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::new(dir.path());
    let served = dir.path().join("served");
    std::fs::create_dir(&served).unwrap();
    let web = Web::start(&served);
    let reports = Receiver::start("204 No Content");
    let broker = Mosquitto::start(dir.path(), "");
    let remote = format!(
        "[remote.https]\nurl = \"http://127.0.0.1:{}/{{fleet}}-{{device}}.toml\"\nevery = \"1s\"\n\
         report = \"http://127.0.0.1:{}/reports/{{device}}\"\n\
         [remote.mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\n",
        web.1, reports.port, broker.port
    );
    let agent = Agent::start(dir.path(), &fleet.local(&remote), "");
    append_lines(&dir.path().join("in/a.log"), ["1"]);
    until("the server has no document yet", || agent.log().contains("the server answers 404"));
    let document = fleet.signed(&fleet.document(1, "*.log", ""));
    std::fs::write(served.join("plant-7-hall-3.toml"), &document).unwrap();
    until("it is read", || fleet.values() == ["1"]);
    let phases = || {
        let bodies = reports.seen().into_iter().map(|(_, body)| serde_json::from_slice::<Value>(&body).unwrap());
        bodies.map(|report| report["phase"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    until("the server is told", || phases().last().is_some_and(|phase| phase == "applied"));
    assert!(reports.seen()[0].0.starts_with("PUT /reports/hall-3 HTTP/1.1"), "{:?}", reports.seen()[0].0);
    let asked = || std::fs::read_to_string(served.join("web.log")).unwrap();
    until("what has not changed is not sent again", || asked().matches("304").count() >= 2);
    assert_eq!(asked().matches(" 200 ").count(), 1, "{}", asked());

    // By the broker, for all devices of the fleet; and for a part of them that this device is not of.
    let publish = |topic: &str, text: &str| {
        let path = dir.path().join("message");
        std::fs::write(&path, text).unwrap();
        let sent = Command::new("mosquitto_pub")
            .args(["-h", "127.0.0.1", "-p", &broker.port.to_string(), "-t", topic, "-r", "-q", "1", "-f"])
            .arg(&path)
            .status()
            .unwrap();
        assert!(sent.success());
    };
    let elsewhere = fleet.document(2, "*.nothing", "").replace("serial = 2", "serial = 2\ntarget = \"hall-4\"");
    publish("forebay/plant-7/all/desired", &fleet.signed(&elsewhere));
    until("it is said whom it is for", || agent.log().contains("it is for hall-4"));
    publish("forebay/plant-7/all/desired", &fleet.signed(&fleet.document(3, "*.txt", "")));
    append_lines(&dir.path().join("in/b.txt"), ["2"]);
    until("it is read", || fleet.values() == ["1", "2"]);
    let reported = || {
        let heard = Command::new("mosquitto_sub")
            .args(["-h", "127.0.0.1", "-p", &broker.port.to_string(), "-t", "forebay/plant-7/hall-3/reported"])
            .args(["-C", "1", "-W", "5"])
            .output()
            .unwrap();
        serde_json::from_slice::<Value>(&heard.stdout).unwrap_or_default()
    };
    until("the broker is told", || reported()["phase"] == "applied" && reported()["production"]["serial"] == 3);
    assert_eq!((&reported()["device"], &reported()["last_error"]), (&"hall-3".into(), &Value::Null));
    // The web server still has the one before: that is no replay. An older one is, and is told once.
    std::thread::sleep(Duration::from_secs(2));
    assert!(!agent.log().contains("config_refused\""), "{}", agent.log());
    std::fs::write(served.join("plant-7-hall-3.toml"), fleet.signed(&fleet.document(2, "*.csv", ""))).unwrap();
    until("the old one is refused", || agent.log().contains("serial 2 is lower than 3"));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(agent.log().matches("serial 2 is lower than 3").count(), 1);
    // A document that is much too long ends at the limit, and the connection to the broker goes on.
    publish("forebay/plant-7/hall-3/desired", &"x".repeat(2 << 20));
    until("it is said", || agent.log().contains("has more than 1048576 bytes: take it away"));
    assert_eq!(fleet.values(), ["1", "2"]);
    assert!(agent.stop().success());
}

/// Several gateways: a good change reaches all, a bad one is stopped at the first step and named.
#[test]
fn a_change_is_rolled_out_step_by_step_and_stopped_at_the_first_fault() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::new(dir.path());
    let broker = Mosquitto::start(dir.path(), "");
    let names: Vec<String> = (0..6).map(|n| format!("gw-{n}")).collect();
    let agents: Vec<Agent> = names
        .iter()
        .map(|name| {
            let own = dir.path().join(name);
            std::fs::create_dir_all(own.join("in")).unwrap();
            append_lines(&own.join("in/a.log"), ["1"]);
            let mqtt = format!("[remote.mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\n", broker.port);
            let (all, here) = (dir.path().display().to_string(), own.display().to_string());
            // Each finds its files below a folder of the same name in its working folder.
            let local =
                fleet.local(&mqtt).replace("hall-3", name).replace(&format!("{all}/state"), &format!("{here}/state"));
            Agent::start(&own, &local, "")
        })
        .collect();
    let url = format!("mqtt://127.0.0.1:{}", broker.port);
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
        let done =
            command.arg("fleet").args(arguments).args(["--mqtt", &url]).current_dir(dir.path()).output().unwrap();
        (done.status.code(), String::from_utf8(done.stdout).unwrap() + &String::from_utf8(done.stderr).unwrap())
    };
    until("all report", || run(&["status", "plant-7"]).1.contains("6 gateways: 6 local"));
    // All of them read all files of all gateways: what matters here is who runs what.
    let document = |serial, source: &str, pattern: &str| {
        let text = fleet.document(serial, pattern, "").replace("/in/", "/*/in/").replace("source.log", source);
        text.replace("/out\"", "/out\"\nroll = \"1h\"")
    };
    let each = |text: String| {
        // A folder belongs to one agent: documents differ in nothing but the name, so the sink goes to a port nobody has.
        let at = text.find("[sink").unwrap();
        text[..at].to_string()
            + &format!("[sink.hub]\nkind = \"kafka\"\nbrokers = [\"127.0.0.1:{}\"]\ntopic = \"t\"\n", free_port())
    };
    let first = each(document(1, "source.log", "*.log"));
    std::fs::write(dir.path().join("push.toml"), fleet.signed(&first)).unwrap();
    let wrong = run(&["push", "push.toml", "--key", "other.pub"]);
    assert!(wrong.0 == Some(2) && wrong.1.contains("no key of"), "{wrong:?}");
    let pushed = run(&["push", "push.toml", "--key", "fleet.pub"]);
    assert!(pushed.0 == Some(0) && pushed.1.contains("document 1 is there for all gateways"), "{pushed:?}");
    // Nobody could reach the target before: it cannot be confirmed, and stays.
    until("all keep it", || run(&["status", "plant-7"]).1.contains("6 gateways: 6 applied-unconfirmed"));

    let canary = |text: &str, steps: &str| {
        std::fs::write(dir.path().join("next.toml"), text).unwrap();
        run(&[
            "canary",
            "next.toml",
            "--secret-key",
            "fleet.key",
            "--key",
            "fleet.pub",
            "--no-password",
            "--steps",
            steps,
        ])
    };
    let write = || {
        for name in &names {
            append_lines(&dir.path().join(name).join("in/a.log"), ["2"]);
        }
    };
    under_traffic(write, Duration::from_millis(200), || {
        let good = canary(&each(document(1, "source.log", "*.l*")), "50,100");
        assert!(
            good.0 == Some(0) && good.1.contains("document 2 for 50 %") && good.1.contains("rolled out"),
            "{good:?}"
        );
        let bad = canary(&each(document(1, "source.other", "*.nothing")), "50,100");
        assert!(bad.0 == Some(1) && bad.1.contains("document 4 for 50 %"), "{bad:?}");
        assert!(bad.1.contains("did not keep document 4") && bad.1.contains("no source brings anything"), "{bad:?}");
    });
    let status = run(&["status", "plant-7", "--json"]);
    assert_eq!(status.0, Some(1), "{status:?}");
    let serials: Vec<u64> = status
        .1
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["production"]["serial"].as_u64().unwrap())
        .collect();
    assert_eq!(serials, [3; 6], "nobody keeps the bad one");
    let rolled_back = run(&["status", "plant-7"]).1;
    assert!(rolled_back.contains("rolled-back") && rolled_back.contains("applied-unconfirmed"), "{rolled_back}");
    for agent in agents {
        assert!(agent.stop().success());
    }
}

/// A server of OpAMP, on the package of its authors: it offers documents, and hears what becomes of them.
#[test]
fn a_server_of_opamp_brings_documents_and_hears_what_became_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::new(dir.path());
    let port = free_port();
    let program = std::env::var("FOREBAY_OPAMP").expect("FOREBAY_OPAMP is not set: tests/run sets it");
    let offered = dir.path().join("offered.toml");
    let mut server = Command::new(program)
        .arg(format!("127.0.0.1:{port}"))
        .arg(&offered)
        .stdout(std::fs::File::create(dir.path().join("heard")).unwrap())
        .spawn()
        .unwrap();
    let remote = format!("[remote.opamp]\nurl = \"http://127.0.0.1:{port}/v1/opamp\"\nevery = \"1s\"\n");
    let agent = Agent::start(dir.path(), &fleet.local(&remote), "");
    let heard = || -> Vec<Value> {
        let text = std::fs::read_to_string(dir.path().join("heard")).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let status = || heard().last().map_or(Value::Null, |message| message["remoteConfigStatus"].clone());
    until("the server hears the agent", || !heard().is_empty());
    let first = heard().remove(0);
    let about = first["agentDescription"].to_string();
    assert!(about.contains("\"forebay\"") && about.contains("hall-3") && about.contains("plant-7"), "{first}");
    append_lines(&dir.path().join("in/a.log"), ["1"]);
    std::fs::write(&offered, fleet.signed(&fleet.document(1, "*.log", ""))).unwrap();
    until("it is read", || fleet.values() == ["1"]);
    until("the server hears that it is tried", || {
        heard().iter().any(|message| message["remoteConfigStatus"]["status"] == "RemoteConfigStatuses_APPLYING")
    });
    until("and that it stays", || status()["status"] == "RemoteConfigStatuses_APPLIED");
    assert_eq!(heard().last().unwrap()["health"]["healthy"], true);
    std::fs::write(&offered, "no document").unwrap();
    until("it hears why another one is refused", || {
        status()["errorMessage"].as_str().is_some_and(|why| why.contains("not signed"))
    });
    assert_eq!(status()["status"], "RemoteConfigStatuses_FAILED");
    assert_eq!(agent.log().matches("event=\"config_refused\"").count(), 1);
    server.kill().unwrap();
    server.wait().unwrap();
    until("it is said that the server is away", || agent.log().contains("event=\"control_down\" by=\"opamp\""));
    assert!(agent.stop().success());
}

/// Traffic without a pause: what the old parts still do while they stop does not make a bad document good.
#[test]
fn a_busy_gateway_is_judged_by_what_the_new_parts_do() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::new(dir.path());
    let agent = Agent::start(dir.path(), &fleet.local(""), "");
    until("it waits for a document", || dir.path().join("state/config/inbox").exists());
    let write = || append_lines(&dir.path().join("in/a.log"), 0..5);
    under_traffic(write, Duration::from_millis(5), || {
        let apply = |text: &str| fleet.config("apply", Some(&fleet.signed(text))).0;
        assert_eq!(apply(&fleet.document(1, "*.log", "")), Some(0));
        until("it stays", || fleet.phase() == "applied");
        let elsewhere = fleet.document(2, "*.nothing", "").replace("source.log", "source.other");
        assert_eq!(apply(&elsewhere), Some(0));
        until("it is given up", || fleet.phase() == "rolled-back");
        let out = format!("kind = \"directory\"\npath = \"{}/out\"\nlinger = \"0s\"\n", dir.path().display());
        let hub = format!("kind = \"kafka\"\nbrokers = [\"127.0.0.1:{}\"]\ntopic = \"t\"\n", free_port());
        assert_eq!(apply(&fleet.document(3, "*.log", "").replace(&out, &hub)), Some(0));
        until("it is given up", || fleet.config("status", None).1.contains("document 3: rolled-back"));
    });
    assert!(agent.stop().success());
}

/// What was good may not be so any more: the device must stay within reach.
#[test]
fn a_device_starts_with_less_rather_than_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::new(dir.path());
    let agent = Agent::start(dir.path(), &fleet.local(""), "");
    until("it waits for a document", || dir.path().join("state/config/inbox").exists());
    let first = fleet.signed(&fleet.document(1, "*.log", ""));
    assert_eq!(fleet.config("apply", Some(&first)).0, Some(0));
    until("it stays", || fleet.phase() == "applied");
    // A key that only a restart can change: the next document waits for that.
    let local = fleet.local("").replace("device =", "memory_max = \"512MiB\"\ndevice =");
    std::fs::write(dir.path().join("forebay.toml"), &local).unwrap();
    let next = fleet.config("apply", Some(&fleet.signed(&fleet.document(2, "*.txt", ""))));
    assert!(next.0 == Some(1) && next.1.contains("needs-restart"), "{next:?}");
    assert!(agent.stop().success());

    // The local file allows less now: the document in force is not good any more.
    let agent = Agent::start(dir.path(), &(local + "[restrict]\nfiles = [\"/nowhere/*\"]\n"), "");
    until("it runs without it", || agent.log().contains("the agent starts without it"));
    until("it says so", || fleet.config("status", None).1.contains("cannot-start"));
    assert!(agent.stop().success());

    // A document that is given up while the one in force is not good: the local file's parts come back.
    let own = fleet.document(3, "*.log", "").replace("source.log", "source.own");
    let own = own[own.find("[source").unwrap()..].to_string();
    let strict =
        fleet.local(&format!("[restrict]\nfiles = [\"{0}/in/*.nothing\", \"{0}/out\"]\n{own}", dir.path().display()));
    let agent = Agent::start(dir.path(), &strict, "");
    let write = || append_lines(&dir.path().join("in/a.log"), ["2"]);
    under_traffic(write, Duration::from_millis(100), || {
        until("the local parts run", || !fleet.values().is_empty());
        let silent = fleet.document(4, "*.nothing", "").replace("source.log", "source.other");
        assert_eq!(fleet.config("apply", Some(&fleet.signed(&silent))).0, Some(0));
        until("it is given up", || fleet.phase() == "rolled-back");
        let before = fleet.values().len();
        until("the local parts run again", || fleet.values().len() > before);
    });
    assert!(agent.stop().success());
    let there = fleet.values().len();

    // What is remembered is damaged: the local file counts.
    std::fs::write(dir.path().join("state/config/state.json"), "{").unwrap();
    let agent = Agent::start(dir.path(), &fleet.local(""), "");
    until("it runs", || agent.log().contains("is damaged and put aside"));
    assert_eq!(fleet.config("apply", Some(&first)).0, Some(0));
    append_lines(&dir.path().join("in/a.log"), ["1"]);
    until("it takes a document again", || fleet.values().len() > there);
    assert!(agent.stop().success());
}

/// The steps of `docs/fleet.md`, as they are printed. Only what a person has in another place is put in: the key has no
/// password, and the gateway's files are in a folder of the test.
#[test]
fn the_steps_of_the_page_work_as_printed() {
    let page = include_str!("../../docs/fleet.md");
    let steps = &page[page.find("## In six steps").unwrap()..page.find("## What happens").unwrap()];
    let code: Vec<&str> = steps.lines().filter_map(|line| line.strip_prefix("        ")).collect();
    let code = code.join("\n");
    let from = |text: &str, begin: &str, end: &str| {
        let at = text.find(begin).unwrap_or_else(|| panic!("{begin} is not in {text}"));
        text[at..].split(end).next().unwrap().to_string()
    };
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().display().to_string();
    let run = |line: &str| {
        let line = line.replace("minisign -G", "minisign -G -W").replace("minisign -S", "minisign -S -W");
        let path = format!(
            "{}:{}",
            Path::new(env!("CARGO_BIN_EXE_forebay")).parent().unwrap().display(),
            std::env::var("PATH").unwrap()
        );
        let mut shell = Command::new("sh");
        let local = dir.path().join("forebay.toml");
        let done = shell.args(["-c", &line]).current_dir(dir.path()).env("PATH", path).env("FOREBAY_CONFIG", local);
        let done = done.stdin(Stdio::null()).output().unwrap();
        assert!(done.status.success(), "{line}: {done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    run(code.lines().find(|line| line.starts_with("minisign -G")).unwrap());
    let key = std::fs::read_to_string(dir.path().join("fleet.pub")).unwrap().lines().nth(1).unwrap().to_string();
    let local = from(&code, "[remote]", "[fleet]");
    let example = from(&local, "RW", "\"");
    let local = local.replace(&example, &key).replace("https://example.com", "http://127.0.0.1:9");
    let local = local.replace("/etc/forebay", &here);
    let connection = "Endpoint=sb://127.0.0.1;SharedAccessKeyName=k;SharedAccessKey=aGk=;EntityPath=e";
    std::fs::write(dir.path().join("hub-connection"), connection).unwrap();
    let local = format!("device = \"hall-3\"\nstate = \"{here}/state\"\n[store]\nreserve = \"16MiB\"\n{local}");
    std::fs::write(dir.path().join("hall.toml"), from(&code, "[fleet]", "minisign -S").trim_end().to_string() + "\n")
        .unwrap();
    let agent = Agent::start(dir.path(), &local, "");
    until("it waits for a document", || dir.path().join("state/config/inbox").exists());
    for begin in ["minisign -S", "forebay config seal"] {
        run(code.lines().find(|line| line.starts_with(begin)).unwrap());
    }
    let words = |begin: &str| from(&steps[steps.find(&format!("`{begin}")).unwrap() + 1..], begin, "`");
    let applied = run(&words("forebay config apply"));
    assert!(applied.contains("on trial: document 1"), "{applied}");
    assert!(run(&words("forebay config status")).starts_with("phase: probation"));
    for begin in ["forebay config history", "forebay config diff", "forebay config show"] {
        let whole = &page[page.find(&format!("`{begin}`")).unwrap() + 1..];
        assert!(!run(&from(whole, begin, "`")).is_empty());
    }
    assert!(run(&words("forebay config rollback")).starts_with("phase: "));
    // Two signatures on one document.
    run("cp fleet.key first.key; minisign -G -p second.pub -s second.key");
    let two = from(&page[page.find("With `required = 2`").unwrap()..], "minisign -S", "\n\n");
    two.lines().for_each(|line| drop(run(line.trim())));
    let second = std::fs::read_to_string(dir.path().join("second.pub")).unwrap();
    for key in [&key, second.lines().nth(1).unwrap()] {
        assert!(run(&format!("forebay config verify hall.signed.toml --key {key}")).contains("signed; document 1"));
    }
    assert!(agent.stop().success());
}

/// The device twin of an IoT Hub. The service itself is not here: a mosquitto with TLS, and what stands beside it answers
/// as Microsoft documents it.
#[test]
fn the_twin_of_an_iot_hub_names_documents_and_gets_reports() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::new(dir.path());
    certificates(dir.path());
    let tls = free_port();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let files = format!("cafile {}\ncertfile {}\nkeyfile {}\n", at("ca.pem"), at("server.pem"), at("server.key"));
    let broker = Mosquitto::start(dir.path(), &format!("listener {tls} 127.0.0.1\n{files}"));
    let port = broker.port.to_string();
    let publish = |topic: &str, text: &str| {
        let sent =
            Command::new("mosquitto_pub").args(["-h", "127.0.0.1", "-p", &port, "-t", topic, "-m", text]).status();
        assert!(sent.unwrap().success());
    };
    // Everything that the device says, a line each.
    let mut listener = Command::new("mosquitto_sub")
        .args(["-h", "127.0.0.1", "-p", &port, "-t", "$iothub/twin/GET/#"])
        .args(["-t", "$iothub/twin/PATCH/properties/reported/#", "-F", "%t %p"])
        .stdout(std::fs::File::create(dir.path().join("heard")).unwrap())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let heard = || std::fs::read_to_string(dir.path().join("heard")).unwrap();
    std::fs::write(dir.path().join("hub"), "HostName=localhost;DeviceId=hall-3;SharedAccessKey=aGFsbA==\n").unwrap();
    let remote = format!(
        "[remote.iothub]\nconnection = {{ file = \"{}\" }}\nport = {tls}\nca = \"{}\"\n",
        at("hub"),
        at("ca.pem")
    );
    let agent = Agent::start(dir.path(), &fleet.local(&remote), "");
    append_lines(&dir.path().join("in/a.log"), ["1"]);
    until("the device asks for its twin", || heard().contains("$iothub/twin/GET/?$rid=1"));
    let document = fleet.signed(&fleet.document(1, "*.log", ""));
    // Texts of a twin have a limit: the document comes in pieces.
    let parts: Vec<String> =
        document.as_bytes().chunks(300).map(|part| String::from_utf8(part.to_vec()).unwrap()).collect();
    let twin = serde_json::json!({ "desired": { "forebay": { "parts": parts }, "$version": 1 }, "reported": {} });
    publish("$iothub/twin/res/200/?$rid=1", &twin.to_string());
    until("it is read", || fleet.values() == ["1"]);
    until("the hub gets reports", || heard().contains("\"phase\":\"applied\""));
    assert!(
        heard().lines().last().unwrap().starts_with("$iothub/twin/PATCH/properties/reported/?$rid="),
        "{}",
        heard()
    );

    // A change names another one by its address.
    let served = dir.path().join("served");
    std::fs::create_dir(&served).unwrap();
    let web = Web::start(&served);
    let next = fleet.signed(&fleet.document(2, "*.txt", ""));
    std::fs::write(served.join("next.toml"), &next).unwrap();
    append_lines(&dir.path().join("in/b.txt"), ["2"]);
    let url = format!("http://127.0.0.1:{}/next.toml", web.1);
    let change =
        |sha256: &str| serde_json::json!({ "forebay": { "url": url, "sha256": sha256 }, "$version": 2 }).to_string();
    publish("$iothub/twin/PATCH/properties/desired/?$version=2", &change("00"));
    until("another content is refused", || agent.log().contains("has another SHA-256"));
    let sum = Command::new("sha256sum").arg(served.join("next.toml")).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap()[..64].to_string();
    publish("$iothub/twin/PATCH/properties/desired/?$version=3", &change(&sum));
    until("it is read", || fleet.values() == ["1", "2"]);
    assert!(agent.stop().success());
    listener.kill().unwrap();
    listener.wait().unwrap();
    let log = std::fs::read_to_string(dir.path().join("agent.out")).unwrap();
    assert!(!log.contains("aGFsbA") && !log.contains("sig="), "{log}");
}
