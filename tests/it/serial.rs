//! Real pseudo terminals, made by socat: the agent has one end, the test is the device at the other.

use crate::rig::{Agent, files, forebay, until};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A cable between two terminals: `agent` and `device` in a folder.
pub struct Cable {
    child: Child,
}

impl Cable {
    /// Both ends are there when it returns.
    pub fn plug(dir: &Path) -> Self {
        let end = |name: &str| format!("pty,raw,echo=0,link={}", dir.join(name).display());
        let child = Command::new("socat")
            .args([end("agent"), end("device")])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("socat is not installed: tests/run installs it");
        until("the terminals are there", || dir.join("agent").exists() && dir.join("device").exists());
        Self { child }
    }

    fn unplug(mut self, dir: &Path) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        for name in ["agent", "device"] {
            // socat removes its links unless it is killed.
            let _ = std::fs::remove_file(dir.join(name));
        }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn device(dir: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(dir.join("device")).unwrap()
}

fn config(dir: &Path, more: &str) -> String {
    format!(
        "device = \"d\"\n[store]\nlinger = \"10ms\"\nreserve = \"16MiB\"\n\
         [source.port]\nkind = \"serial\"\npath = \"{0}/agent\"\nbaud = 115200\n{more}\n\
         [sink.out]\nkind = \"directory\"\npath = \"{0}/out\"\nfrom = [\"readings\", \"forebay.dead-letters\"]\n",
        dir.display()
    )
}

fn values(dir: &Path) -> Vec<String> {
    files(&dir.join("out"), "readings").iter().map(crate::rig::Reading::value).collect()
}

fn sentence(n: u32) -> String {
    let body = format!("GPGLL,{:02}00.000,N,01130.000,E,120000,A", n % 80);
    let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
    format!("${body}*{sum:02X}\r\n")
}

#[test]
fn sentences_among_garbage_become_records_and_what_is_bad_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let _cable = Cable::plug(dir.path());
    let agent = Agent::start(dir.path(), &config(dir.path(), "decoder = \"nmea\"\nchecksum = \"nmea-xor\""), "");
    until("the port is read", || agent.log().contains("reading the port"));
    let mut port = device(dir.path());
    for n in 0..20 {
        port.write_all(sentence(n).as_bytes()).unwrap();
        port.write_all(&[0xff, 0x00, b'$', b'x', b'\n']).unwrap();
        let mut bad = sentence(n).into_bytes();
        bad[9] ^= 1;
        port.write_all(&bad).unwrap();
    }
    until("all good sentences are there", || values(dir.path()).len() == 20);
    let seen = values(dir.path());
    assert!(seen[7].contains("\"latitude\":7.0000000") || seen[7].contains("\"latitude\":7.0"), "{}", seen[7]);
    assert!(agent.stop().success());
    let log = std::fs::read_to_string(dir.path().join("agent.out")).unwrap();
    assert!(log.contains("serial_bad_frames_total=40"), "{log}");
}

#[test]
fn a_port_that_is_unplugged_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let cable = Cable::plug(dir.path());
    let agent = Agent::start(dir.path(), &config(dir.path(), "decoder = \"json\""), "");
    until("the port is read", || agent.log().contains("reading the port"));
    device(dir.path()).write_all(b"{\"n\":1}\n").unwrap();
    until("the first reading", || values(dir.path()).len() == 1);
    cable.unplug(dir.path());
    until("the loss is noticed", || agent.log().contains("port lost"));
    let _cable = Cable::plug(dir.path());
    until("it is read again", || agent.log().matches("reading the port").count() == 2);
    device(dir.path()).write_all(b"{\"n\":2}\n").unwrap();
    until("the second reading", || values(dir.path()) == ["{\"n\":1}", "{\"n\":2}"]);
    assert!(agent.stop().success());
}

#[test]
fn a_device_is_asked_and_its_silence_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let _cable = Cable::plug(dir.path());
    let more = "decoder = \"bytes\"\nframing = \"idle\"\nidle = \"20ms\"\nchecksum = \"crc16-modbus\"\n\
                poll = { send = \"0x010300000001840A\", every = \"50ms\", timeout = \"300ms\", expect = \"0x0103\" }";
    let agent = Agent::start(dir.path(), &config(dir.path(), more), "");
    let mut port = device(dir.path());
    let mut request = [0; 8];
    for round in 0..4 {
        port.read_exact(&mut request).unwrap();
        assert_eq!(request, *b"\x01\x03\0\0\0\x01\x84\x0a");
        // One register with the value 17; the CRC was computed by pymodbus. Every second time nothing.
        if round % 2 == 0 {
            port.write_all(b"\x01\x03\x02\x00\x11\x78\x48").unwrap();
        }
    }
    until("both answers are there", || files(&dir.path().join("out"), "readings").len() == 2);
    let line = &files(&dir.path().join("out"), "readings")[0].line;
    assert_eq!(line["payload_base64"], "AQMCABE=", "without its checksum");
    assert!(agent.stop().success());
    let log = std::fs::read_to_string(dir.path().join("agent.out")).unwrap();
    assert!(log.contains("source_timeouts_total="), "{log}");
}

#[test]
fn a_second_reader_is_refused_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let _cable = Cable::plug(dir.path());
    let first = Agent::start(dir.path(), &config(dir.path(), ""), "");
    until("the port is read", || first.log().contains("reading the port"));
    let other = tempfile::tempdir().unwrap();
    let text = config(dir.path(), "")
        .replace(&format!("{}/out", dir.path().display()), &format!("{}/out", other.path().display()));
    let second = Agent::start(other.path(), &text, "");
    until("it is refused", || second.log().contains("another program has it"));
    assert!(second.stop().success());
    assert!(first.stop().success());
}

#[test]
fn without_flow_control_a_blocked_store_loses_frames_and_says_how_many() {
    let dir = tempfile::tempdir().unwrap();
    let _cable = Cable::plug(dir.path());
    // Nobody can reach this hub: the stream fills up to its cap.
    let text = format!(
        "device = \"d\"\n[store]\nlinger = \"10ms\"\nreserve = \"16MiB\"\n[stream.readings]\ncap = \"1MiB\"\n\
         [source.port]\nkind = \"serial\"\npath = \"{}/agent\"\nheld = \"2MiB\"\ndecoder = \"bytes\"\n\
         [sink.hub]\nkind = \"eventhubs\"\nconnection = {{ env = \"EVENTHUB_CONNECTION\" }}\n",
        dir.path().display()
    );
    let nowhere = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=k;SharedAccessKey=c2VjcmV0;EntityPath=e;UseDevelopmentEmulator=true";
    let agent = Agent::start(dir.path(), &text, nowhere);
    until("the port is read", || agent.log().contains("reading the port"));
    let mut port = device(dir.path());
    let mut sent = 0;
    let mut random = 1_u64;
    while !agent.log().contains("frames are lost") {
        assert!(sent < 200_000, "nothing is lost after {sent} frames");
        for _ in 0..200 {
            // Bytes that do not compress.
            let mut line: Vec<u8> = (0..99)
                .map(|_| {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    u8::try_from(random >> 57).unwrap() | 0x80
                })
                .collect();
            line.push(b'\n');
            port.write_all(&line).unwrap();
            sent += 1;
        }
    }
    // What the terminal still holds is read.
    std::thread::sleep(Duration::from_millis(500));
    assert!(agent.stop().success());
    let log = std::fs::read_to_string(dir.path().join("agent.out")).unwrap();
    let lost: u64 = log.split("source_dropped_total=").last().unwrap().split(' ').next().unwrap().parse().unwrap();
    let shown =
        String::from_utf8(forebay(&["buffer", "ls", dir.path().join("state").to_str().unwrap()]).stdout).unwrap();
    assert!(lost > 0 && lost < sent, "{lost} of {sent}\n{shown}");
}
