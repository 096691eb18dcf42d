//! `forebay doctor` and `forebay top`, as a person uses them.

use crate::rig::{Agent, append_lines, files, forebay, free_port, until};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn said(done: &Output) -> String {
    String::from_utf8(done.stdout.clone()).unwrap() + &String::from_utf8(done.stderr.clone()).unwrap()
}

/// A source of files and one of a serial port, a hub that is not there, and the page.
fn config(dir: &Path, port: u16, tty: &Path) -> String {
    let here = dir.display();
    format!(
        "device = \"d\"\nstate = \"{here}/state\"\n[store]\nlinger = \"20ms\"\nreserve = \"16MiB\"\n[alerts]\nwebhook = {{ url = \"https://127.0.0.1:1/services/T0/hook4321\" }}\n[page]\nlisten = \"127.0.0.1:{port}\"\n\
         [source.log]\nkind = \"file\"\npath = \"{here}/in/*.log\"\npoll = \"20ms\"\n\
         [source.scale]\nkind = \"serial\"\npath = \"{}\"\n\
         [sink.hub]\nkind = \"eventhubs\"\nconnection = {{ env = \"EVENTHUB_CONNECTION\" }}\nevent_hub = \"h\"\n\
         [sink.out]\nkind = \"directory\"\npath = \"{here}/out\"\nlinger = \"0s\"\n",
        tty.display()
    )
}

/// What a connection string for tests looks like; its key is a secret.
const KEY: &str = "c2VjcmV0LW9mLXRoZS10ZXN0LXdoaWNoLWlzLWxvbmc=";

fn connection(port: u16) -> String {
    format!("Endpoint=sb://127.0.0.1:{port};SharedAccessKeyName=send;SharedAccessKey={KEY};UseDevelopmentEmulator=true")
}

fn doctor(arguments: &[&str], connection: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forebay"))
        .arg("doctor")
        .args(arguments)
        .env("EVENTHUB_CONNECTION", connection)
        .output()
        .unwrap()
}

#[test]
fn the_doctor_finds_what_is_wrong_says_what_to_do_and_leaves_secrets_out_of_its_bundle() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("in")).unwrap();
    let (port, hub) = (free_port(), free_port());
    let (tty, other) = (dir.path().join("tty"), dir.path().join("other"));
    let links = [&tty, &other].map(|link| format!("pty,raw,echo=0,link={}", link.display()));
    let mut line = Command::new("socat").args(links).spawn().unwrap();
    until("the line is there", || tty.exists() && other.exists());
    let path = dir.path().join("forebay.toml");
    let file = path.to_str().unwrap();
    std::fs::write(&path, config(dir.path(), port, &tty)).unwrap();

    let before = doctor(&[file], &connection(hub));
    let text = said(&before);
    assert_eq!(before.status.code(), Some(1), "{text}");
    for wanted in [
        "good   configuration: ",
        "is made at the first start",
        // It has both ends of this line.
        &format!("BAD    source scale: {} is in use by socat ({})\n", tty.display(), line.id()),
        "doubt  agent: no agent answers at 127.0.0.1:",
        "       -> start it: `systemctl start forebay`",
        &format!("BAD    sink hub: no connection to 127.0.0.1:{hub}\n"),
    ] {
        assert!(text.contains(wanted), "{wanted} is not in\n{text}");
    }

    assert!(!said(&doctor(&[file, "--offline"], &connection(hub))).contains("sink hub"));

    let agent = Agent::start(dir.path(), &config(dir.path(), port, &tty), &connection(hub));
    append_lines(&dir.path().join("in/a.log"), ["password=hunter2hunter2"]);
    until("the reading is delivered", || files(&dir.path().join("out"), "readings").len() == 1);
    let bundle = dir.path().join("support.tar.gz");
    let done = doctor(&[file, "--bundle", bundle.to_str().unwrap()], &connection(hub));
    let text = said(&done);
    assert!(text.contains("good   agent: it runs") && text.contains("is open in the agent"), "{text}");
    assert!(text.contains("BAD    sink hub: "), "{text}");
    let unpacked = dir.path().join("unpacked");
    std::fs::create_dir(&unpacked).unwrap();
    let tar = Command::new("tar").arg("xzf").arg(&bundle).arg("-C").arg(&unpacked).status().unwrap();
    assert!(tar.success());
    let folder = unpacked.join("forebay-support");
    for entry in std::fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        assert!(text.contains(&format!("  {name}")), "{name} was not listed\n{text}");
        let content = std::fs::read_to_string(entry.path()).unwrap();
        assert!(!content.is_empty(), "{name}");
        assert!(
            !content.contains(KEY) && !content.contains("hunter2") && !content.contains("hook4321"),
            "{name}: {content}"
        );
    }
    for name in ["findings.txt", "config.toml", "status.json", "metrics.txt", "log.json", "store.txt"] {
        assert!(folder.join(name).exists(), "{name}");
    }
    let again = doctor(&[file, "--offline", "--bundle", bundle.to_str().unwrap()], &connection(hub));
    assert!(again.status.code() == Some(2) && said(&again).contains("File exists"), "{}", said(&again));

    // Another user's shell has no secrets of the service: everything else is looked at.
    let without = Command::new(env!("CARGO_BIN_EXE_forebay"))
        .args(["doctor", file, "--offline"])
        .env_remove("EVENTHUB_CONNECTION")
        .output()
        .unwrap();
    let text = said(&without);
    assert!(text.contains("the environment variable") && text.contains("good   state: "), "{text}");
    assert!(agent.stop().success());
    line.kill().unwrap();
    line.wait().unwrap();
}

#[test]
fn a_configuration_that_is_not_good_is_a_finding_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("forebay.toml");
    std::fs::write(&path, "[source.a]\nkind = \"mqttt\"\n").unwrap();
    let done = doctor(&[path.to_str().unwrap()], "");
    let text = said(&done);
    assert_eq!(done.status.code(), Some(1), "{text}");
    assert!(text.contains("BAD    configuration: line 2: ") && text.contains("\n       -> "), "{text}");
    assert_eq!(doctor(&["/nowhere/x.toml"], "").status.code(), Some(2));
}

#[test]
fn top_shows_the_agent_on_a_terminal_and_ends_with_q() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("in")).unwrap();
    let (port, hub) = (free_port(), free_port());
    let config = config(dir.path(), port, &dir.path().join("none"));
    let agent = Agent::start(dir.path(), &config, &connection(hub));
    append_lines(&dir.path().join("in/a.log"), 0..100);
    until("the readings are delivered", || files(&dir.path().join("out"), "readings").len() == 100);
    let file = dir.path().join("forebay.toml");
    // Without a terminal it says what to do.
    let piped = forebay(&["top", file.to_str().unwrap()]);
    assert!(piped.status.code() == Some(2), "{piped:?}");
    let command = format!(
        "stty rows 24 cols 80; EVENTHUB_CONNECTION='{}' {} top {}",
        connection(hub),
        env!("CARGO_BIN_EXE_forebay"),
        file.display()
    );
    let seen = dir.path().join("seen");
    let mut top = Command::new("script")
        .args(["-q", "-e", "-f", "-c", &command])
        .arg(&seen)
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let shown = || String::from_utf8_lossy(&std::fs::read(&seen).unwrap_or_default()).into_owned();
    until("it shows sources and sinks", || shown().contains("SOURCES") && shown().contains("ends"));
    until("it asks again", || shown().contains("0.0/s"));
    top.stdin.as_mut().unwrap().write_all(b"q").unwrap();
    assert!(top.wait().unwrap().success(), "{}", shown());
    // The screen of before comes back.
    assert!(shown().contains("\u{1b}[?1049h") && shown().contains("\u{1b}[?1049l"), "{}", shown());
    assert!(agent.stop().success());
}
