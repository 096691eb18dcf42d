//! A Modbus server in another language (pymodbus), over TCP and over a pseudo terminal.

use crate::clients::interpreter;
use crate::rig::{Agent, Reading, files, free_port, until};
use crate::serial::Cable;
use std::path::Path;
use std::process::{Child, Command, Stdio};

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
