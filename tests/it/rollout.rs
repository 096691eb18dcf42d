//! Many simulated gateways at a real broker: documents, decisions, state on disk and reports are those of the agent; only
//! what a configuration does is made up.

use crate::rig::{Mosquitto, until};
use forebay::control::carrier::{self, Handled, Wish};
use forebay::control::document::{Document, Key, Who};
use forebay::control::ledger::{Decision, Ledger};
use forebay::control::trial::Snapshot;
use forebay::control::{Mqtt, Report, Settings};
use forebay::flow::stop::stop;
use forebay::monitor::view::View;
use forebay::section::{ClientTls, Place};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

fn minisign(dir: &Path, arguments: &[&str]) {
    let mut minisign = Command::new("minisign");
    let done = minisign.args(arguments).current_dir(dir).stdin(Stdio::null()).output();
    let done = done.expect("minisign is not installed: tests/run installs it");
    assert!(done.status.success(), "{done:?}");
}

/// A gateway that takes documents. Those with the word `bad` do worse, and are given up.
async fn gateway(name: String, settings: Settings, dir: std::path::PathBuf) {
    let (sender, mut arrived) = mpsc::channel(4);
    let (report, reported) = watch::channel(String::new());
    let (_stop, stopped) = stop();
    let mut ledger = Ledger::open(&dir).0;
    let around = carrier::Around { device: name.clone(), arrived: sender, report: reported, stop: stopped };
    let _carriers = carrier::start(&settings, ledger.inbox().unwrap(), &around);
    let view = View { device: name.clone(), generation: 1, ..View::default() };
    let tell = |ledger: &Ledger| {
        let json = serde_json::to_string(&Report::of(&ledger.state, &settings.labels, &view)).unwrap();
        report.send_replace(json);
    };
    tell(&ledger);
    while let Some(wish) = arrived.recv().await {
        let Wish::Take(bytes) = wish.wish else { panic!("nobody goes back") };
        let document = Document::read(&bytes, &settings.keys, 1).unwrap();
        let who = Who { device: &name, fleet: &settings.fleet, labels: &settings.labels };
        if document.header.is_for(who).is_ok() && ledger.state.decide(&document, Some(1)) == Decision::Take {
            ledger.begin_trial(&document, Snapshot::default(), 1).unwrap();
            tell(&ledger);
            tokio::time::sleep(Duration::from_millis(500)).await;
            if document.text.contains("bad") {
                ledger.give_up("made up".into(), 2).unwrap();
            } else {
                ledger.confirm(false).unwrap();
            }
            tell(&ledger);
        }
        let _ = wish.answer.send(Handled::Done);
    }
}

#[test]
fn a_push_reaches_many_gateways_and_a_bad_one_is_stopped_at_the_first_step() {
    let count: usize = std::env::var("FOREBAY_GATEWAYS").map_or(200, |count| count.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    minisign(dir, &["-G", "-W", "-f", "-p", "fleet.pub", "-s", "fleet.key"]);
    let key = std::fs::read_to_string(dir.join("fleet.pub")).unwrap();
    let broker = Mosquitto::start(dir, "max_queued_messages 100000\n");
    let mqtt = Mqtt {
        place: Place { host: "127.0.0.1".into(), port: broker.port },
        is_tls: false,
        prefix: "forebay".into(),
        login: None,
        tls: ClientTls::default(),
    };
    let settings = Settings {
        keys: key.lines().filter_map(Key::parse).collect(),
        required: 1,
        fleet: "plant".into(),
        labels: Vec::new(),
        probation: Duration::from_secs(1),
        web: None,
        mqtt: Some(mqtt),
        opamp: None,
        iothub: None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    std::fs::write(dir.join("next.toml"), "[fleet]\nserial = 1\nfleet = \"plant\"\n").unwrap();
    let url = format!("mqtt://127.0.0.1:{}", broker.port);
    let alone = Command::new(env!("CARGO_BIN_EXE_forebay"))
        .args(["fleet", "canary", "next.toml", "--secret-key", "fleet.key", "--key", "fleet.pub", "--no-password"])
        .args(["--mqtt", &url])
        .current_dir(dir)
        .output()
        .unwrap();
    let why = String::from_utf8_lossy(&alone.stderr);
    assert!(
        alone.status.code() == Some(2) && why.contains("no gateway of the fleet `plant` has reported"),
        "{alone:?}"
    );
    for n in 0..count {
        let name = format!("gw-{n}");
        runtime.spawn(gateway(name.clone(), settings.clone(), dir.join("state").join(name)));
    }
    let fleet = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
        let done = command.arg("fleet").args(arguments).args(["--mqtt", &url]).current_dir(dir).output().unwrap();
        (done.status.code(), String::from_utf8(done.stdout).unwrap() + &String::from_utf8(done.stderr).unwrap())
    };
    let told = |what: &str| fleet(&["status", "plant"]).1.contains(&format!("{count} gateways: {what}"));
    until("all report", || told(&format!("{count} local")));
    let roll = |text: &str| {
        std::fs::write(dir.join("next.toml"), text).unwrap();
        let began = Instant::now();
        let key = ["--secret-key", "fleet.key", "--key", "fleet.pub", "--no-password"];
        let done = fleet(&[&["canary", "next.toml"], &key[..], &["--steps", "1,10,100"]].concat());
        eprintln!("{count} gateways, {:.1} s:\n{}", began.elapsed().as_secs_f32(), done.1);
        done
    };
    let document = "[fleet]\nserial = 1\nfleet = \"plant\"\n";
    let good = roll(document);
    assert!(good.0 == Some(0) && good.1.contains("document 3 for 100 %"), "{good:?}");
    assert!(told(&format!("{count} applied")));
    let bad = roll(&format!("{document}# bad\n"));
    assert!(bad.0 == Some(1) && bad.1.contains("did not keep document 4"), "{bad:?}");
    assert!(bad.1.contains("rolled-back: made up") && !bad.1.contains("document 5"), "{bad:?}");
    let status = fleet(&["status", "plant"]).1;
    let last = status.lines().last().unwrap();
    let backs: usize = last.split(", ").find_map(|part| part.strip_suffix(" rolled-back")).unwrap().parse().unwrap();
    assert!(backs > 0 && backs <= count / 20, "{last}");
    runtime.shutdown_background();
}
