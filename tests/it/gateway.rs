//! What a small machine must be spared: memory above its limit, wake-ups and writes while nothing comes.

use crate::rig::{
    Agent, Mosquitto, Reading, append, append_lines, files, free_port, noise, publish_at, until, without_repeats,
};
use forebay::hub::{Hub, Settings};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

/// Memory of a process for data, in bytes.
fn memory(agent: &Agent) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    let kib = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB"));
    kib.unwrap().parse::<u64>().unwrap() * 1024
}

fn values(dir: &Path) -> Vec<String> {
    without_repeats(&files(&dir.join("out"), "readings")).iter().map(Reading::value).collect()
}

/// Times that the kernel woke each thread of the process.
fn wake_ups(agent: &Agent) -> BTreeMap<OsString, u64> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", agent.pid())).unwrap();
    let of = |task: std::io::Result<std::fs::DirEntry>| {
        let task = task.ok()?;
        // A thread may have ended.
        let status = std::fs::read_to_string(task.path().join("status")).ok()?;
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        Some((task.file_name(), count.trim().parse().ok()?))
    };
    tasks.filter_map(of).collect()
}

fn written(agent: &Agent) -> String {
    let io = std::fs::read_to_string(format!("/proc/{}/io", agent.pid())).unwrap();
    io.lines().find(|line| line.starts_with("write_bytes:")).unwrap().to_string()
}

#[test]
fn an_idle_agent_wakes_seldom_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Mosquitto::start(dir.path(), "");
    let here = dir.path().display();
    // The agent's own log is not in a folder that a source watches.
    std::fs::create_dir(dir.path().join("in")).unwrap();
    let config = format!(
        "device = \"d\"\n[store]\nlinger = \"100ms\"\nreserve = \"16MiB\"\n\
         [source.log]\nkind = \"file\"\npath = \"{here}/in/*.log\"\n\
         [source.push]\nkind = \"http\"\nlisten = \"127.0.0.1:{}\"\n\
         [source.plant]\nkind = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{}\"\ntopics = [\"a\"]\n\
         [sink.out]\nkind = \"directory\"\npath = \"{here}/out\"\nlinger = \"0s\"\n\
         [sink.hub]\nkind = \"eventhubs\"\nconnection = {{ env = \"EVENTHUB_CONNECTION\" }}\nevent_hub = \"readings\"\n",
        free_port(),
        broker.port
    );
    let runtime = crate::rig::runtime();
    let hub = runtime.block_on(Hub::start(Settings { listen: "127.0.0.1:0".into(), ..Settings::default() })).unwrap();
    let agent = Agent::start(dir.path(), &config, &hub.connection_string("readings"));
    append(&dir.path().join("in/a.log"), "1\n");
    until("the broker is there", || agent.log().contains("connected"));
    let mut sent = 0;
    until("messages come", || {
        sent += 1;
        publish_at(broker.port, "a", 1, &[format!("7{sent}")]);
        values(dir.path()).iter().any(|value| value.starts_with('7'))
    });
    until("everything is in the hub", || crate::rig::readings(&hub, "readings").len() > values(dir.path()).len() / 2);
    // What is left to do after the last record: positions and files are saved, threads end.
    let mut seen = Vec::new();
    until("it rests", || {
        let before = (wake_ups(&agent), written(&agent));
        std::thread::sleep(Duration::from_secs(10));
        let now = wake_ups(&agent);
        seen.push(now.iter().map(|(thread, count)| count - before.0.get(thread).unwrap_or(&0)).sum::<u64>());
        eprintln!("wake-ups in 10 s: {seen:?}");
        // 4 a second, and nothing is written.
        seen.last() <= Some(&40) && written(&agent) == before.1
    });
    assert!(agent.stop().success());
}

/// The unit of systemd has `UMask=0027`.
#[test]
fn a_strict_umask_does_not_hide_the_folder_of_a_sink_from_those_who_collect() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().display();
    let config = format!(
        "device = \"d\"\n[store]\nlinger = \"20ms\"\nreserve = \"16MiB\"\n\
         [source.log]\nkind = \"file\"\npath = \"{here}/*.log\"\npoll = \"20ms\"\n\
         [sink.out]\nkind = \"directory\"\npath = \"{here}/new/out\"\nlinger = \"0s\"\nmode = \"0644\"\n"
    );
    append(&dir.path().join("a.log"), "1\n");
    let program = ["sh", "-c", "umask 0077; exec \"$@\"", "sh"].map(String::from);
    let agent = Agent::start_under(&program, dir.path(), &config, "");
    let out = dir.path().join("new/out");
    until("it is there", || files(&out, "readings").len() == 1);
    assert!(agent.stop().success());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let file = std::fs::read_dir(&out).unwrap().next().unwrap().unwrap().path();
    assert_eq!((mode(&dir.path().join("new")), mode(&out), mode(&file)), (0o755, 0o755, 0o644));
}

#[test]
fn sources_wait_when_memory_is_short_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().display();
    let config = |sink: &str| {
        format!(
            "device = \"d\"\nmemory_max = \"32MiB\"\n[store]\nlinger = \"20ms\"\nreserve = \"16MiB\"\ncap = \"32MiB\"\n\
             [source.log]\nkind = \"file\"\npath = \"{here}/*.log\"\npoll = \"20ms\"\nheld = \"256MiB\"\n{sink}"
        )
    };
    let nowhere = format!("[sink.out]\nkind = \"kafka\"\nbrokers = [\"127.0.0.1:{}\"]\ntopic = \"t\"\n", free_port());
    // 150 MiB: more than the store takes, and less than the source may hold.
    let lines = 10_000;
    let file = dir.path().join("a.log");
    (0..10).for_each(|part| append_lines(&file, (part * 1000..(part + 1) * 1000).map(|n| noise(n, 960))));
    let agent = Agent::start(dir.path(), &config(&nowhere), "");
    until("the store is full and memory is short", || {
        let log = agent.log();
        log.contains("the store is full") && log.contains("event=\"memory_short\"")
    });
    let mut sizes = Vec::new();
    until("it takes no more memory", || {
        std::thread::sleep(Duration::from_secs(1));
        sizes.push(memory(&agent) >> 20);
        sizes.len() > 5 && sizes[sizes.len() - 5].abs_diff(sizes[sizes.len() - 1]) <= 1
    });
    eprintln!("MiB: {sizes:?}");
    // A moment passes before it is seen; without the limit it is above 90 MiB.
    assert!(sizes.iter().all(|size| *size < 56), "MiB: {sizes:?}");
    assert_eq!(agent.log().matches("event=\"memory_short\"").count(), 1, "told once");
    agent.kill();
    let folder = format!("[sink.out]\nkind = \"directory\"\npath = \"{here}/out\"\nlinger = \"0s\"\n");
    let agent = Agent::start(dir.path(), &config(&folder), "");
    until("every line is there", || values(dir.path()).len() >= lines);
    let expected: Vec<String> = (0..lines as u64).map(|n| noise(n, 960)).collect();
    assert!(values(dir.path()) == expected, "in order, each once");
    assert!(agent.stop().success());
}

#[test]
fn a_packet_that_memory_does_not_allow_stops_its_source_only_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Mosquitto::start(dir.path(), "");
    let here = dir.path().display();
    std::fs::create_dir(dir.path().join("in")).unwrap();
    let config = format!(
        "device = \"d\"\nmemory_max = \"16MiB\"\n[store]\nlinger = \"20ms\"\nreserve = \"16MiB\"\n\
         [source.log]\nkind = \"file\"\npath = \"{here}/in/*.log\"\npoll = \"20ms\"\n\
         [source.plant]\nkind = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{0}\"\ntopics = [\"a\"]\nclient_id = \"a\"\n\
         [source.five]\nkind = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{0}\"\ntopics = [\"a\"]\nclient_id = \"b\"\n\
         protocol = \"5\"\nstream = \"five\"\n\
         [sink.out]\nkind = \"directory\"\npath = \"{here}/out\"\nlinger = \"0s\"\n",
        broker.port
    );
    let agent = Agent::start(dir.path(), &config, "");
    let five = || files(&dir.path().join("out"), "five").iter().map(Reading::value).collect::<Vec<_>>();
    until("both are subscribed", || {
        publish_at(broker.port, "a", 1, &["1".into()]);
        values(dir.path()).contains(&"1".into()) && five().contains(&"1".into())
    });
    let large = dir.path().join("large");
    std::fs::write(&large, vec![b'x'; 5 << 20]).unwrap();
    broker.publish_file("a", 1, &large);
    publish_at(broker.port, "a", 1, &["2".into()]);
    until("it says what to do", || agent.log().contains("a packet may take a quarter of `memory_max`"));
    append(&dir.path().join("in/a.log"), "other sources go on\n");
    until("the file is read", || values(dir.path()).contains(&"other sources go on".into()));
    // By MQTT 5 the broker knows the limit, and leaves the message out.
    until("MQTT 5 goes on", || five().contains(&"2".into()));
    assert!(memory(&agent) < 64 << 20);
    assert!(agent.stop().success());
}
