//! What a person is told, and what is kept from others.

use crate::rig::{
    Agent, Mount, Reading, append_lines, files, forebay, free_port, readings, runtime, until, without_repeats,
};
use forebay::hub::{Hub, Settings};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

fn config(dir: &Path, source: &str, sinks: &str) -> String {
    format!(
        "device = \"d\"\n[store]\nlinger = \"20ms\"\nreserve = \"16MiB\"\n\
         [source.log]\nkind = \"file\"\npath = \"{0}/a.log\"\npoll = \"20ms\"\n{source}\n{sinks}\n",
        dir.display()
    )
}

fn directory(dir: &Path, more: &str) -> String {
    format!("[sink.out]\nkind = \"directory\"\npath = \"{}/out\"\nlinger = \"0s\"\n{more}", dir.display())
}

fn hub_sink(more: &str) -> String {
    format!(
        "[sink.hub]\nkind = \"eventhubs\"\nconnection = {{ env = \"EVENTHUB_CONNECTION\" }}\nlinger = \"50ms\"\n{more}"
    )
}

fn write(dir: &Path, lines: std::ops::Range<u32>) {
    append_lines(&dir.join("a.log"), lines.map(|n| format!("line {n}")));
}

fn values(dir: &Path) -> Vec<String> {
    without_repeats(&files(&dir.join("out"), "readings")).iter().map(Reading::value).collect()
}

fn lines(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| format!("line {n}")).collect()
}

const NOWHERE: &str =
    "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=k;SharedAccessKey=c2VjcmV0;EntityPath=e;UseDevelopmentEmulator=true";

/// Whoever collects files may take them at any time: what comes then is in another one, and nothing is lost.
#[test]
fn files_that_are_collected_while_they_are_written_cost_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::start(dir.path(), &config(dir.path(), "", &directory(dir.path(), "")), "");
    let (out, taken) = (dir.path().join("out"), dir.path().join("taken"));
    std::fs::create_dir(&taken).unwrap();
    let names = |dir: &Path| -> Vec<String> {
        let found = std::fs::read_dir(dir).into_iter().flatten();
        found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    for round in 0..6 {
        write(dir.path(), round * 10..round * 10 + 10);
        let all = || {
            [values(dir.path()), without_repeats(&files(&taken, "readings")).iter().map(Reading::value).collect()]
                .concat()
                .len()
        };
        until("they are there", || all() >= usize::try_from(round + 1).unwrap() * 10);
        assert!(names(&out).iter().all(|name| name.ends_with(".ndjson.writing")), "{:?}", names(&out));
        for name in names(&out) {
            std::fs::rename(out.join(&name), taken.join(format!("{name}.{round}"))).unwrap();
        }
        if round % 2 == 1 {
            std::fs::remove_dir(&out).unwrap();
        }
    }
    write(dir.path(), 60..70);
    // A batch whose file was taken just then is written again.
    until("the last are there", || values(dir.path()).ends_with(&lines(60..70)));
    assert!(agent.stop().success());
    assert!(names(&out).iter().all(|name| name.ends_with(".ndjson")), "finished at the stop: {:?}", names(&out));
    let mut all = files(&taken, "readings");
    all.extend(files(&out, "readings"));
    let all = without_repeats(&all).iter().map(Reading::value).collect::<Vec<_>>();
    assert_eq!(all, lines(0..70));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&out), mode(&out.join(&names(&out)[0]))), (0o700, 0o600));
    // Nor is the store for others to read.
    let state = dir.path().join("state");
    assert_eq!(mode(&state), 0o700);
    for entry in std::fs::read_dir(&state).unwrap().chain(std::fs::read_dir(state.join("log")).unwrap()) {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
    }
}

#[test]
fn packed_files_roll_by_age_and_are_whole_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let text =
        config(dir.path(), "", &directory(dir.path(), "compression = \"gzip\"\nroll = \"1s\"\nmode = \"0644\"\n"));
    let agent = Agent::start(dir.path(), &text, "");
    write(dir.path(), 0..100);
    let finished = || {
        let found = std::fs::read_dir(dir.path().join("out")).into_iter().flatten();
        found.filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().ends_with(".ndjson.gz")).count()
    };
    until("a file is finished by its age", || finished() == 1);
    write(dir.path(), 100..200);
    until("they are there", || values(dir.path()).len() == 200);
    agent.kill();
    let agent = Agent::start(dir.path(), &text, "");
    write(dir.path(), 200..300);
    until("all are there", || values(dir.path()) == lines(0..300));
    assert!(agent.stop().success());
    let gunzip =
        Command::new("bash").args(["-c", "zcat out/*.ndjson.gz | wc -l"]).current_dir(dir.path()).output().unwrap();
    assert!(String::from_utf8(gunzip.stdout).unwrap().trim().parse::<u32>().unwrap() >= 300);
}

/// A portal that answers 200 or 204 to everything, in front of the hub for a while.
#[test]
fn a_portal_that_answers_for_the_hub_takes_nothing() {
    let runtime = runtime();
    let hub = runtime.block_on(Hub::start(Settings { listen: "127.0.0.1:0".into(), ..Settings::default() })).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, target) = (listener.local_addr().unwrap().port(), hub.address());
    std::thread::spawn(move || {
        for (n, client) in listener.incoming().enumerate() {
            let Ok(mut client) = client else { return };
            if n >= 4 {
                let server = TcpStream::connect(target).unwrap();
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || std::io::copy(&mut from, &mut to));
                }
                continue;
            }
            let mut request = vec![0; 65_536];
            let _ = client.read(&mut request);
            let answer: &[u8] = match n {
                0 => b"HTTP/1.1 204 No Content\r\n\r\n",
                1 => b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n<html/>login",
                2 => b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n",
                _ => b"HTTP/1.1 206 Partial Content\r\ncontent-length: 0\r\n\r\n",
            };
            let _ = client.write_all(answer);
            // It closes: the next request comes on a connection of its own.
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let connection = hub.connection_string("readings").replace(&target.port().to_string(), &port.to_string());
    let agent = Agent::start(dir.path(), &config(dir.path(), "", &hub_sink("transport = \"https\"")), &connection);
    write(dir.path(), 0..50);
    until("all are at the hub", || without_repeats(&readings(&hub, "readings")).len() == 50);
    let log = agent.log();
    assert!(log.contains("Event Hubs answers 201"), "{log}");
    assert!(agent.stop().success());
}

#[test]
fn a_sink_that_is_too_far_behind_gives_up_the_oldest_and_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let sinks = directory(dir.path(), "") + &hub_sink("max_behind = \"1MiB\"\n");
    let text = config(dir.path(), "", &sinks).replace("reserve = \"16MiB\"", "reserve = \"16MiB\"\ncap = \"40MiB\"");
    let agent = Agent::start(dir.path(), &text, NOWHERE);
    // Four times the cap of the store, which nothing compresses.
    let mut written = 0;
    for n in 0..1600_u64 {
        append_lines(&dir.path().join("a.log"), (0..10).map(|i| crate::rig::noise(n * 10 + i, 1250)));
        written += 10;
        if n % 100 == 99 {
            until("the other sink has them", || {
                let held: u64 = std::fs::read_dir(dir.path().join("out"))
                    .into_iter()
                    .flatten()
                    .map(|entry| entry.unwrap().metadata().map_or(0, |meta| meta.len()))
                    .sum();
                held > written * 20_000
            });
        }
    }
    until("it is told", || agent.log().contains("given up: the sink is further behind"));
    let log = agent.log();
    let line = log.lines().find(|line| line.contains("given up: the sink")).unwrap();
    assert!(
        line.contains("sink=\"hub\"") && line.contains("stream=\"readings\"") && line.contains("from=1 "),
        "{line}"
    );
    assert!(!log.contains("the store is full"), "{log}");
    assert!(agent.stop().success());
    // What is left of the backlog is within the limit.
    let shown =
        String::from_utf8(forebay(&["buffer", "ls", dir.path().join("state").to_str().unwrap()]).stdout).unwrap();
    let reader = shown.lines().find(|line| line.contains("reader hub")).unwrap();
    let behind: u64 = reader.split_once(", ").unwrap().1.split(' ').next().unwrap().parse().unwrap();
    assert!(behind > 10 && behind < 200, "{shown}");
}

#[test]
fn dead_letters_are_told_with_a_sample_and_shown_as_text() {
    let dir = tempfile::tempdir().unwrap();
    let sinks = directory(dir.path(), "from = [\"readings\", \"forebay.dead-letters\"]\n");
    let agent = Agent::start(
        dir.path(),
        &config(dir.path(), "decoder = \"json\"\ntime = { field = \"t\", format = \"unix_s\" }", &sinks),
        "",
    );
    append_lines(&dir.path().join("a.log"), (0..500).map(|n| format!("{{\"t\": oops {n}")));
    append_lines(&dir.path().join("a.log"), ["{\"t\":1764547200000}"]);
    let dead = || files(&dir.path().join("out"), "forebay.dead-letters");
    until("all are set aside", || dead().len() == 500 && values(dir.path()).len() == 1);
    let log = agent.log();
    assert_eq!(log.matches("set aside: not a reading").count(), 1, "{log}");
    assert!(log.contains("oops 0") && log.contains("source=\"log\"") && log.contains("not JSON"), "{log}");
    assert_eq!(dead()[7].line["payload"], "{\"t\": oops 7");
    assert!(log.contains("the values are milliseconds (unix_ms)"), "{log}");
    assert!(agent.stop().success());
}

#[test]
fn a_start_says_what_there_is_and_signals_that_are_not_meant_do_not_end_it() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Mount::new(&dir.path().join("state"), 64);
    let text =
        config(dir.path(), "", &hub_sink("")).replace("reserve = \"16MiB\"", "cap = \"1GiB\"\nreserve = \"16MiB\"");
    let mut agent = Agent::start(dir.path(), &text, NOWHERE);
    write(dir.path(), 0..30);
    until("they are read", || agent.log().contains("cannot deliver"));
    for signal in ["-HUP", "-USR1", "-USR2", "-ALRM"] {
        assert!(Command::new("kill").args([signal, &agent.pid().to_string()]).status().unwrap().success());
    }
    until("the configuration is read again", || agent.log().contains("in force"));
    assert!(agent.is_running());
    let log = agent.log();
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    for expected in [version.as_str(), "forebay.toml\"", "a new store", "`cap` is more than the disk has"] {
        assert!(log.contains(expected), "{expected:?} is not in {log}");
    }
    assert!(agent.stop().success());
    // The sink is renamed.
    let agent = Agent::start(dir.path(), &text.replace("sink.hub", "sink.cloud"), NOWHERE);
    until("it is told", || agent.log().contains("all that is kept goes to it"));
    let log = agent.log();
    assert!(log.contains("a store that was there") && log.contains("sink=\"cloud\" records=30"), "{log}");
    assert!(agent.stop().success());
    drop(disk);
}

#[test]
fn readers_are_listed_as_they_are_and_one_that_is_gone_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let http = format!("[source.push]\nkind = \"http\"\nlisten = \"127.0.0.1:{port}\"\n");
    let both = config(dir.path(), "", &(directory(dir.path(), "") + &hub_sink("") + &http));
    let agent = Agent::start(dir.path(), &both, NOWHERE);
    write(dir.path(), 0..10);
    until("one has them", || values(dir.path()).len() == 10);
    until("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    for n in 0..20 {
        let key = format!("idempotency-key: k{n}");
        let url = format!("http://127.0.0.1:{port}/");
        assert!(Command::new("curl").args(["-s", "-H", &key, "-d", "1", &url]).status().unwrap().success());
    }
    until("one has them", || values(dir.path()).len() == 30);
    let state = dir.path().join("state");
    let state = state.to_str().unwrap();
    let ls = || String::from_utf8(forebay(&["buffer", "ls", state]).stdout).unwrap();
    assert!(ls().contains("30 not delivered: it has delivered nothing yet"), "{}", ls());
    assert!(ls().contains("source push: 20 positions"), "{}", ls());
    assert!(agent.stop().success());
    let output = forebay(&["buffer", "forget", state, "out"]);
    assert!(!output.status.success(), "it is configured");
    // One sink is taken away.
    let agent = Agent::start(dir.path(), &config(dir.path(), "", &(hub_sink("") + &http)), NOWHERE);
    write(dir.path(), 10..20);
    until("they are read", || agent.log().matches("cannot deliver").count() == 2);
    until("and stored", || ls().contains("40 not delivered"));
    assert!(agent.stop().success());
    let shown = ls();
    assert!(shown.contains("reader out") && shown.contains("not configured: holds nothing back"), "{shown}");
    assert!(forebay(&["buffer", "forget", state, "out"]).status.success());
    assert!(!ls().contains("reader out") && ls().contains("reader hub"), "{}", ls());
    let output = forebay(&["buffer", "forget", state, "out"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("there is no reader `out`; there are: hub"));
    assert!(forebay(&["buffer", "verify", state]).status.success());
}

/// Somebody removes what a running agent writes to.
#[test]
fn a_segment_that_is_removed_while_it_is_written_to_gets_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let text = config(dir.path(), "", &directory(dir.path(), ""));
    let agent = Agent::start(dir.path(), &text, "");
    write(dir.path(), 0..10);
    until("they are there", || values(dir.path()).len() == 10);
    let log = dir.path().join("state/log");
    for entry in std::fs::read_dir(&log).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    write(dir.path(), 10..20);
    until("what comes is there", || values(dir.path()).len() == 20);
    assert!(agent.log().contains("was removed or replaced by somebody"), "{}", agent.log());
    agent.kill();
    let agent = Agent::start(dir.path(), &text, "");
    write(dir.path(), 20..30);
    until("and what comes then", || values(dir.path()) == lines(0..30));
    assert!(agent.stop().success());
}
