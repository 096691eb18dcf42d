//! Real brokers: mosquitto, and aedes for Node.

use super::{free_port, until};
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running mosquitto with persistence.
pub struct Mosquitto {
    child: Child,
    config: PathBuf,
    /// Its port.
    pub port: u16,
}

impl Mosquitto {
    /// Starts one on a free port; `more` goes into its configuration.
    pub fn start(dir: &Path, more: &str) -> Self {
        Self::start_on(dir, free_port(), more)
    }

    /// Starts one on this port.
    pub fn start_on(dir: &Path, port: u16, more: &str) -> Self {
        let data = dir.join("mosquitto");
        std::fs::create_dir_all(&data).unwrap();
        let config = dir.join("mosquitto.conf");
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\n\
             persistence_location {}/\nautosave_interval 1\n{more}\n",
            data.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut broker = Self { child: run(&config), config, port };
        broker.wait();
        broker
    }

    fn wait(&mut self) {
        let port = self.port;
        until("mosquitto listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        assert!(self.child.try_wait().unwrap().is_none(), "mosquitto ended; is its port taken?");
    }

    /// Stops it in order, so that it saves its sessions.
    pub fn stop(&mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap();
    }

    /// Starts it again with what it saved.
    pub fn start_again(&mut self) {
        self.child = run(&self.config);
        self.wait();
    }

    /// Publishes messages, one a line.
    pub fn publish(&self, topic: &str, qos: u8, lines: &[String]) {
        publish_at(self.port, topic, qos, lines);
    }

    /// Publishes the bytes of a file as one message.
    pub fn publish_file(&self, topic: &str, qos: u8, file: &Path) {
        let status = self.command(topic, qos).arg("-f").arg(file).status().unwrap();
        assert!(status.success());
    }

    fn command(&self, topic: &str, qos: u8) -> Command {
        command(self.port, topic, qos)
    }
}

fn command(port: u16, topic: &str, qos: u8) -> Command {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", &qos.to_string(), "-t", topic]);
    command
}

/// Publishes messages at a port, one a line; returns when the broker has taken them.
pub fn publish_at(port: u16, topic: &str, qos: u8, lines: &[String]) {
    let mut child = command(port, topic, qos).arg("-l").stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    for line in lines {
        writeln!(input, "{line}").unwrap();
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

fn run(config: &Path) -> Child {
    let out = std::fs::File::create(config.with_extension("log")).unwrap();
    let path = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"].into_iter().find(|path| Path::new(path).exists());
    Command::new(path.expect("mosquitto is not installed: tests/run installs it"))
        .arg("-c")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(out)
        .spawn()
        .unwrap()
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running aedes; its sessions are in its memory.
pub struct Aedes {
    child: Child,
    /// Its port.
    pub port: u16,
}

impl Aedes {
    /// Starts one on a free port.
    pub fn start(dir: &Path) -> Self {
        let port = free_port();
        let clients = std::env::var("FOREBAY_NODE").expect("FOREBAY_NODE is not set: tests/run sets it");
        let out = std::fs::File::create(dir.join("aedes.log")).unwrap();
        let child = Command::new("node")
            .args([&format!("{clients}/broker.mjs"), &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(out)
            .spawn()
            .unwrap();
        until("aedes listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { child, port }
    }
}

impl Drop for Aedes {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
