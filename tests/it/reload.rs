//! A running agent takes a changed configuration: what changed restarts, nothing else notices.

use crate::rig::{Agent, Mosquitto, Reading, append, append_lines, files, free_port, noise, until, without_repeats};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

fn hang_up(agent: &Agent) {
    assert!(Command::new("kill").args(["-HUP", &agent.pid().to_string()]).status().unwrap().success());
}

/// Writes a configuration and waits until it is in force, or refused.
fn reload(agent: &Agent, dir: &Path, text: &str) -> String {
    let told = |word: &str| agent.log().matches(word).count();
    let count = || told("config_applied") + told("config_refused");
    let before = count();
    std::fs::write(dir.join("forebay.toml"), text).unwrap();
    hang_up(agent);
    until("the change is told", || count() > before);
    let log = agent.log();
    log.lines().rfind(|line| line.contains("config_applied") || line.contains("config_refused")).unwrap().to_string()
}

fn config(dir: &Path, sources: &str, linger: &str) -> String {
    format!(
        "device = \"d\"\n[store]\nlinger = \"20ms\"\nreserve = \"16MiB\"\n\
         [source.log]\nkind = \"file\"\npath = \"{0}/*.log\"\npoll = \"20ms\"\n{sources}\n\
         [sink.out]\nkind = \"directory\"\npath = \"{0}/out\"\nlinger = \"{linger}\"\n",
        dir.display()
    )
}

fn values(dir: &Path, stream: &str) -> Vec<String> {
    files(&dir.join("out"), stream).iter().map(Reading::value).collect()
}

#[test]
fn sources_and_sinks_come_and_go_while_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let other = format!(
        "[source.more]\nkind = \"file\"\npath = \"{0}/*.txt\"\npoll = \"20ms\"\nstream = \"more\"\n",
        dir.path().display()
    );
    append(&dir.path().join("a.log"), "1\n");
    append(&dir.path().join("b.txt"), "x\n");
    let agent = Agent::start(dir.path(), &config(dir.path(), "", "0s"), "");
    until("the first line is there", || values(dir.path(), "readings") == ["1"]);
    let told = reload(&agent, dir.path(), &config(dir.path(), &other, "0s"));
    assert!(
        told.contains("started=\"source.more\"") && told.contains("kept=2") && told.contains("generation=2"),
        "{told}"
    );
    append(&dir.path().join("a.log"), "2\n");
    until("the new source is read", || values(dir.path(), "more") == ["x"]);
    // A sink of its own for what is new, from the oldest record on.
    let second = format!(
        "{}[sink.second]\nkind = \"directory\"\npath = \"{}/second\"\nlinger = \"0s\"\nfrom = [\"more\"]\n",
        config(dir.path(), &other, "0s"),
        dir.path().display()
    );
    let told = reload(&agent, dir.path(), &second);
    assert!(told.contains("started=\"sink.second\"") && told.contains("kept=3"), "{told}");
    append(&dir.path().join("b.txt"), "y\n");
    until("the new sink has what came", || {
        files(&dir.path().join("second"), "more")
            .iter()
            .any(|reading| reading.value() == "\"y\"" || reading.value() == "y")
    });
    // Back to what was: what is gone stops, and what it read stays read.
    let told = reload(&agent, dir.path(), &config(dir.path(), "", "0s"));
    assert!(told.contains("stopped=\"source.more sink.second\"") && told.contains("kept=2"), "{told}");
    append(&dir.path().join("b.txt"), "z\n");
    append(&dir.path().join("a.log"), "3\n");
    until("the others go on", || values(dir.path(), "readings") == ["1", "2", "3"]);
    assert_eq!(values(dir.path(), "more"), ["x", "y"]);
    reload(&agent, dir.path(), &config(dir.path(), &other, "0s"));
    until("it goes on where it was", || values(dir.path(), "more") == ["x", "y", "z"]);
    assert!(agent.stop().success());
}

#[test]
fn a_bad_configuration_changes_nothing_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let good = config(dir.path(), "", "0s");
    let agent = Agent::start(dir.path(), &good, "");
    until("it runs", || agent.log().contains("running"));
    for (text, expected) in [
        ("oops".to_string(), "config_refused"),
        (good.replace("*.log\"", "*.log\"\ncolour = 1"), "unknown key `colour`"),
        (good.replace("16MiB", "32MiB"), "store.reserve can only change at a restart"),
    ] {
        let told = reload(&agent, dir.path(), &text);
        assert!(told.contains("config_refused") && told.contains(expected), "{expected:?} is not in {told}");
    }
    std::fs::remove_file(dir.path().join("forebay.toml")).unwrap();
    let refused = || agent.log().matches("cannot be read").count();
    hang_up(&agent);
    until("it is told", || refused() == 1);
    append(&dir.path().join("a.log"), "1\n");
    until("the agent goes on", || values(dir.path(), "readings") == ["1"]);
    assert!(reload(&agent, dir.path(), &good).contains("generation=1"), "nothing has changed");
    assert!(agent.stop().success());
}

/// Sixty changes while files and a broker bring readings: each value is there, none of the file's twice.
#[test]
fn a_storm_of_changes_under_load_loses_nothing_and_repeats_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let broker = Mosquitto::start(elsewhere.path(), "");
    let mqtt = |keep_alive: u32| {
        format!(
            "[source.plant]\nkind = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{}\"\ntopics = [\"t/#\"]\nstream = \"plant\"\n\
             keep_alive = \"{keep_alive}s\"\n",
            broker.port
        )
    };
    let agent = Agent::start(dir.path(), &config(dir.path(), &mqtt(60), "0s"), "");
    until("it is connected", || agent.log().contains("connected"));
    let (done, written, published) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(SeqCst) {
                let first = written.fetch_add(50, SeqCst);
                append_lines(&dir.path().join("a.log"), first..first + 50);
                // A pace that can be read back in time.
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        });
        scope.spawn(|| {
            while !done.load(SeqCst) {
                let first = published.fetch_add(20, SeqCst);
                let lines: Vec<String> = (first..first + 20).map(|n| n.to_string()).collect();
                broker.publish("t/a", 1, &lines);
            }
        });
        for n in 0..60 {
            let keep_alive = if n % 5 == 4 { 61 + n } else { 60 };
            let linger = ["0s", "10ms", "20ms"][n as usize % 3];
            let mut text = config(dir.path(), &mqtt(keep_alive), linger);
            if n % 4 == 0 {
                text = text.replace("poll = \"20ms\"", "poll = \"25ms\"");
            }
            if n % 7 == 0 {
                let second = dir.path().join("second");
                text = format!(
                    "{text}[sink.second]
kind = \"directory\"
path = \"{}\"
",
                    second.display()
                );
            }
            if n % 11 == 0 {
                text.push_str("oops");
            }
            reload(&agent, dir.path(), &text);
        }
        done.store(true, SeqCst);
    });
    let all = |stream: &str| values(dir.path(), stream).len() as u64;
    eprintln!("{} lines, {} messages were written", written.load(SeqCst), published.load(SeqCst));
    until("every line is there", || all("readings") >= written.load(SeqCst));
    let is_whole = || {
        let there: BTreeSet<u64> = values(dir.path(), "plant").iter().map(|value| value.parse().unwrap()).collect();
        there.len() as u64 == published.load(SeqCst)
    };
    until("every message is there", is_whole);
    assert!(agent.stop().success());
    let lines: Vec<u64> = values(dir.path(), "readings").iter().map(|value| value.parse().unwrap()).collect();
    let expected: Vec<u64> = (0..written.load(SeqCst)).collect();
    assert_eq!(lines.len(), expected.len());
    assert!(lines == expected, "in order, each once");
    let plant = files(&dir.path().join("out"), "plant");
    assert_eq!(plant.len(), without_repeats(&plant).len(), "no record is delivered twice");
}

/// A source that is changed while nothing more can be stored waits until what it handed over is safe.
#[test]
fn a_change_at_a_full_store_repeats_nothing_and_more_room_is_used_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().display();
    let store =
        |cap: &str| format!("device = \"d\"\n[store]\nlinger = \"20ms\"\nreserve = \"16MiB\"\ncap = \"{cap}\"\n");
    let source = |poll: u32| format!("[source.log]\nkind = \"file\"\npath = \"{here}/*.log\"\npoll = \"{poll}ms\"\n");
    let nowhere = format!("[sink.out]\nkind = \"kafka\"\nbrokers = [\"127.0.0.1:{}\"]\ntopic = \"t\"\n", free_port());
    let agent = Agent::start(dir.path(), &format!("{}{}{nowhere}", store("32MiB"), source(20)), "");
    // Words that do not compress: 40 MiB of them are more than the store takes.
    let lines = 40_000;
    append_lines(&dir.path().join("a.log"), (0..lines).map(|n| noise(n, 128)));
    until("the store is full", || agent.log().contains("the store is full"));
    reload(&agent, dir.path(), &format!("{}{}{nowhere}", store("32MiB"), source(25)));
    assert!(agent.log().contains("did not end in time"), "{}", agent.log());
    reload(&agent, dir.path(), &format!("{}{}{nowhere}", store("256MiB"), source(25)));
    until("there is room", || agent.log().contains("takes data again"));
    let folder = format!("[sink.out]\nkind = \"directory\"\npath = \"{here}/out\"\nlinger = \"0s\"\n");
    reload(&agent, dir.path(), &format!("{}{}{folder}", store("256MiB"), source(25)));
    let count = || values(dir.path(), "readings").len() as u64;
    until("every line is there", || count() >= lines);
    assert!(agent.stop().success());
    let expected: Vec<String> = (0..lines).map(|n| noise(n, 128)).collect();
    assert!(values(dir.path(), "readings") == expected, "{} lines: in order, each once", count());
}

/// What systemd would see on its socket.
#[test]
fn systemd_is_told_of_readiness_health_changes_and_the_stop() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let heard = |wanted: &str| {
        let mut all = String::new();
        let mut buffer = [0; 4096];
        while !all.contains(wanted) {
            let n =
                manager.recv(&mut buffer).unwrap_or_else(|error| panic!("{wanted:?} was not told ({error}): {all}"));
            all.push_str(&String::from_utf8_lossy(&buffer[..n]));
            all.push('\n');
        }
        all
    };
    let nowhere = free_port();
    let sources = format!("[source.plant]\nkind = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{nowhere}\"\ntopics = [\"a\"]\n");
    let text = config(dir.path(), &sources, "0s");
    let program: Vec<String> =
        ["env", &format!("NOTIFY_SOCKET={}", socket.display()), "WATCHDOG_USEC=200000"].map(String::from).to_vec();
    let agent = Agent::start_under(&program, dir.path(), &text, "");
    heard("READY=1");
    append(&dir.path().join("a.log"), "1\n");
    let told = heard("2 of 3 up; source.plant waiting: 127.0.0.1");
    assert!(told.contains("WATCHDOG=1"), "{told}");
    hang_up(&agent);
    heard("RELOADING=1\nMONOTONIC_USEC=");
    heard("READY=1");
    assert!(agent.stop().success());
    heard("STOPPING=1");
}
