//! A Modbus server in another language (pymodbus), over TCP and over a pseudo terminal.

use crate::clients::interpreter;
use crate::rig::{Agent, Reading, files, free_port, until};
use crate::serial::Cable;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

struct Server(Child);

impl Server {
    fn start(kind: &str, place: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/python/modbus_server.py");
        let child = Command::new(interpreter())
            .args([script, kind, place])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Devices 1 and 3 answer, 2 does not; a register of 3 does not exist.
fn config(dir: &Path, link: &str) -> String {
    let known = "{ name = \"temperature\", address = 100, type = \"i16\", scale = 0.1, unit = \"C\" },\n\
                 { name = \"level\", address = 101, type = \"i16\" },\n\
                 { name = \"flow\", address = 102, type = \"f32\" },\n\
                 { name = \"total\", address = 104, type = \"u32\" },\n\
                 { name = \"drift\", address = 106, type = \"f64\" },\n\
                 { name = \"open\", table = \"coil\", address = 1 },\n\
                 { name = \"door\", table = \"discrete\", address = 0 },\n\
                 { name = \"raw\", table = \"input\", address = 0 },\n";
    format!(
        "device = \"d\"\n[store]\nlinger = \"10ms\"\nreserve = \"16MiB\"\n\
         [source.plc]\nkind = \"modbus\"\n{link}\nevery = \"100ms\"\ntimeout = \"300ms\"\n\
         [[source.plc.slave]]\nname = \"press\"\nunit = 1\nregisters = [\n{known}]\n\
         [[source.plc.slave]]\nname = \"dead\"\nunit = 2\nregisters = [\n{known}]\n\
         [[source.plc.slave]]\nname = \"odd\"\nunit = 3\nregisters = [\n{{ name = \"good\", address = 100 }},\n{{ name = \"gone\", address = 5000 }},\n]\n\
         [sink.out]\nkind = \"directory\"\npath = \"{}/out\"\n",
        dir.display()
    )
}

fn of(dir: &Path, key: &str) -> Vec<Reading> {
    files(&dir.join("out"), "readings").into_iter().filter(|reading| reading.line["key"] == key).collect()
}

fn judge(dir: &Path, agent: Agent) {
    until("both devices speak, in spite of the dead one", || of(dir, "press").len() > 9 && of(dir, "odd").len() > 9);
    let line = of(dir, "press").remove(0).line;
    let text = line["payload"].to_string();
    let expected = serde_json::json!({
        "temperature": 21.7, "level": -5, "flow": 21.7, "total": 3_000_000_000_u64, "drift": -0.125,
        "open": true, "door": true, "raw": 1234
    });
    assert_eq!(line["payload"], expected, "{text}");
    assert_eq!(line["attributes"]["unit.temperature"], "C");
    let odd = &of(dir, "odd")[0].line["payload"];
    assert_eq!((&odd["good"], &odd["gone"]), (&217.into(), &serde_json::Value::Null));
    assert!(odd["gone.exception"].as_str().unwrap().to_lowercase().contains("address"), "{odd}");
    assert_eq!(of(dir, "dead").len(), 0);
    assert!(agent.log().contains("does not answer"));
    assert!(agent.stop().success());
}

#[test]
fn registers_of_many_kinds_are_read_over_tcp_and_a_lost_server_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let server = Server::start("tcp", &port.to_string());
    let agent = Agent::start(dir.path(), &config(dir.path(), &format!("tcp = \"127.0.0.1:{port}\"")), "");
    until("values come", || of(dir.path(), "press").len() > 2);
    drop(server);
    until("the loss is noticed", || agent.log().contains("no connection"));
    let before = of(dir.path(), "press").len();
    let _server = Server::start("tcp", &port.to_string());
    until("values come again", || of(dir.path(), "press").len() > before + 2);
    judge(dir.path(), agent);
}

#[test]
fn registers_are_read_over_a_serial_line() {
    let dir = tempfile::tempdir().unwrap();
    let _cable = Cable::plug(dir.path());
    let _server = Server::start("rtu", dir.path().join("device").to_str().unwrap());
    let link = format!("path = \"{}/agent\"\nbaud = 115200", dir.path().display());
    let agent = Agent::start(dir.path(), &config(dir.path(), &link), "");
    judge(dir.path(), agent);
}

/// A device that answers each request as `answer` says: words, or an exception code. It closes the connection
/// after each answer if it `hangs_up`. How many requests there were.
fn device(hangs_up: bool, answer: fn(u16, u16, u32) -> Result<Vec<u16>, u8>) -> (u16, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::<AtomicU32>::default();
    let count = asked.clone();
    let serve = move |mut stream: TcpStream| {
        let mut request = [0; 12];
        while stream.read_exact(&mut request).is_ok() {
            let number = |at: usize| u16::from_be_bytes([request[at], request[at + 1]]);
            let pdu = match answer(number(8), number(10), count.fetch_add(1, SeqCst)) {
                Ok(words) => {
                    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
                    [&[request[7], u8::try_from(bytes.len()).unwrap()][..], &bytes].concat()
                }
                Err(code) => vec![request[7] | 0x80, code],
            };
            let length = u16::try_from(pdu.len() + 1).unwrap().to_be_bytes();
            let whole = [&request[..4], &length, &request[6..7], &pdu].concat();
            if stream.write_all(&whole).is_err() || hangs_up {
                return;
            }
        }
    };
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream.unwrap()));
        }
    });
    (port, asked)
}

fn poll(dir: &Path, port: u16, more: &str, registers: &str) -> Agent {
    let text = format!(
        "device = \"d\"\n[store]\nlinger = \"10ms\"\nreserve = \"16MiB\"\n\
         [source.plc]\nkind = \"modbus\"\ntcp = \"127.0.0.1:{port}\"\nevery = \"50ms\"\n{more}\n\
         [[source.plc.slave]]\nname = \"m\"\nunit = 1\nregisters = [{registers}]\n\
         [sink.out]\nkind = \"directory\"\npath = \"{}/out\"\n",
        dir.display()
    );
    Agent::start(dir, &text, "")
}

fn registers(addresses: impl Iterator<Item = u16>) -> String {
    addresses.map(|at| format!("{{ name = \"r{at}\", address = {at} }}")).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_peer_that_closes_after_each_answer_costs_no_poll_and_no_warning() {
    let dir = tempfile::tempdir().unwrap();
    let (port, _) = device(true, |at, count, _| Ok((at..at + count).collect()));
    // Two requests a round: the registers do not touch.
    let agent = poll(dir.path(), port, "", &registers([1, 2, 9].into_iter()));
    until("many rounds", || of(dir.path(), "m").len() > 20);
    let log = agent.log();
    assert!(!log.contains("WARN"), "{log}");
    assert!(agent.stop().success());
    let all = of(dir.path(), "m");
    assert!(all.iter().all(|reading| reading.line["payload"] == serde_json::json!({ "r1": 1, "r2": 2, "r9": 9 })));
}

#[test]
fn an_address_that_does_not_exist_and_a_small_device_cost_nothing_but_themselves() {
    let dir = tempfile::tempdir().unwrap();
    // Ten registers at once, none at 37, and busy now and then.
    let (port, asked) = device(false, |at, count, n| match (at..at + count).contains(&37) {
        _ if n % 7 == 3 => Err(6),
        _ if count > 10 => Err(3),
        true => Err(2),
        false => Ok((at..at + count).collect()),
    });
    let agent = poll(dir.path(), port, "", &registers(20..60));
    until("some rounds", || of(dir.path(), "m").len() > 5);
    let payload = of(dir.path(), "m").remove(0).line["payload"].clone();
    for at in (20..60).filter(|at| *at != 37) {
        assert_eq!(payload[format!("r{at}")], at, "{payload}");
    }
    assert_eq!(payload["r37"], serde_json::Value::Null);
    assert!(payload["r37.exception"].as_str().unwrap().to_lowercase().contains("address"), "{payload}");
    let log = agent.log();
    assert_eq!(log.matches("WARN").count(), 1, "{log}");
    assert!(log.contains("the device refuses this address") && log.contains("address=37"), "{log}");
    // What was found out is remembered: nothing is split again.
    let (rounds, before) = (of(dir.path(), "m").len(), asked.load(SeqCst));
    until("more rounds", || of(dir.path(), "m").len() > rounds + 10);
    let a_round = f64::from(asked.load(SeqCst) - before) / 10.0;
    assert!(a_round < 15.0, "{a_round} requests a round");
    assert!(agent.stop().success());
}

#[test]
fn no_request_asks_for_more_than_max_registers() {
    let dir = tempfile::tempdir().unwrap();
    let (port, _) = device(false, |at, count, _| if count > 16 { Err(4) } else { Ok((at..at + count).collect()) });
    let agent = poll(dir.path(), port, "max_registers = 16", &registers(0..100));
    until("a round", || !of(dir.path(), "m").is_empty());
    let payload = of(dir.path(), "m").remove(0).line["payload"].clone();
    assert!((0..100).all(|at| payload[format!("r{at}")] == at), "{payload}");
    assert!(agent.stop().success());
}
