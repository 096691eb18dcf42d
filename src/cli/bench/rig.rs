//! The equipment of measurements: a real mosquitto, the agent as a process of its own, and a temporary folder.

use crate::hub::Hub;
use std::fmt::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The time for mosquitto and the agent to start, and for the last readings to arrive.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// The time after the connection for the agent's SUBSCRIBE.
pub(super) const SUBSCRIBE: Duration = Duration::from_millis(500);

/// A child process that ends when this value is dropped.
pub(super) struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder that is removed when this value is dropped.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// Makes a new folder.
    pub fn new() -> Result<Self, String> {
        let dir = std::env::temp_dir().join(format!("forebay-bench-{}", std::process::id()));
        std::fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        Ok(Self(dir))
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // If the folder cannot be removed, it stays in the system's temporary folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Starts a broker on a port of its own: with its `defaults`, or with limits at which it drops nothing.
pub(super) fn mosquitto(dir: &Path, defaults: bool) -> Result<(Running, u16), String> {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let port = port.map_err(|error| error.to_string())?.port();
    let tuned = if defaults { "" } else { "max_inflight_messages 5000\nmax_queued_messages 0\n" };
    let data = dir.join("mosquitto");
    std::fs::create_dir_all(&data).map_err(|error| error.to_string())?;
    let text = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\npersistence_location {}/\n{tuned}",
        data.display()
    );
    let config = dir.join("mosquitto.conf");
    std::fs::write(&config, text).map_err(|error| error.to_string())?;
    let program = if Path::new("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" };
    let child = Command::new(program).arg("-c").arg(config).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let running = Running(child.map_err(|error| format!("mosquitto cannot be started: {error}"))?);
    let started = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if started.elapsed() > PATIENCE {
            return Err("mosquitto does not listen".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok((running, port))
}

/// An agent between a broker and the hub.
pub(super) struct Agent<'a> {
    /// The broker's port.
    pub port: u16,
    /// MQTT's version.
    pub protocol: &'a str,
    /// The `linger` of the store.
    pub linger: &'a str,
    /// More keys of the sink.
    pub sink: &'a [(&'a str, String)],
    /// The folder of the agent's store.
    pub state: &'a Path,
}

impl Agent<'_> {
    /// Starts the agent and waits until it has subscribed. Its log goes to the file `log`.
    pub async fn start(&self, dir: &Path, hub: &Hub, log: &Path) -> Result<Running, String> {
        let text = |error: std::io::Error| error.to_string();
        let mut written = format!(
            "device = \"bench\"\n[store]\ncap = \"64GiB\"\nlinger = \"{}\"\n\
             [source.plant]\nkind = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{}\"\ntopics = [\"plant/#\"]\nprotocol = \"{}\"\n\
             [sink.hub]\nkind = \"eventhubs\"\nconnection = {{ env = \"EVENTHUB_CONNECTION\" }}\n",
            self.linger, self.port, self.protocol
        );
        for (key, value) in self.sink {
            writeln!(written, "{key} = {value}").map_err(|error| error.to_string())?;
        }
        let config = dir.join("forebay.toml");
        std::fs::write(&config, written).map_err(text)?;
        let child = Command::new(std::env::current_exe().map_err(text)?)
            .args(["run", "--config"])
            .arg(config)
            .arg("--state")
            .arg(self.state)
            .env("EVENTHUB_CONNECTION", hub.connection_string("readings"))
            .stderr(std::fs::File::create(log).map_err(text)?)
            .spawn()
            .map_err(text)?;
        let running = Running(child);
        let started = Instant::now();
        while !std::fs::read_to_string(log).unwrap_or_default().contains("source=\"plant\"") {
            if started.elapsed() > PATIENCE {
                return Err(format!(
                    "the agent does not come up:\n{}",
                    std::fs::read_to_string(log).unwrap_or_default()
                ));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(running)
    }
}

/// The value in the middle; 0 of nothing.
pub(super) fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}
