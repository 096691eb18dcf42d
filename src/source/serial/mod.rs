//! Reads frames from serial ports: one port, or all ports that match a pattern.
//!
//! Invariants: a port that was unplugged is opened again when it is back. While the store is blocked, bytes
//! wait in the device if flow control is configured. Without flow control they are lost, counted and reported
//! (`lost_bytes` on the next record). Garbage costs only the frames that it hits.

mod checksum;
mod framer;
mod port;
mod read;
mod settings;

pub use checksum::proven;
pub use framer::{Found, Framer};
pub use port::open;
pub use read::BYTE_ORDERS;
pub use settings::{Checksum, Flow, Framing, KIND, Line, Parity, Poll, Rs485, Settings};

use super::Context;
use crate::flow::health::Reporter;
use crate::telemetry::event;
use port::Port;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// At most this many frames of all ports wait here. More frames wait in the handover, which is bounded by bytes.
const WAITING: usize = 64;
/// The source looks for new ports this often.
const LOOK: Duration = Duration::from_secs(2);

/// Opens every port once.
pub(super) fn probe(settings: &Settings) -> Result<String, String> {
    let paths = matching(&settings.path);
    if paths.is_empty() {
        return Err(format!("no port matches {}; is the device plugged in?", settings.path));
    }
    for path in &paths {
        open(std::path::Path::new(path), &settings.line).map_err(|error| format!("{path}: {error}"))?;
    }
    Ok(format!("{} can be opened", paths.join(", ")))
}

pub(super) async fn run(settings: Settings, context: Context) {
    let Context { name, mut giver, mut stop, metrics, health, .. } = context;
    let settings = Arc::new(settings);
    let ports_health = PortsHealth::new(health.clone());
    let (frames_to, mut frames) = mpsc::channel(WAITING);
    let mut ports = JoinSet::new();
    let mut known = BTreeSet::new();
    let mut look = tokio::time::interval(LOOK);
    let mut missed = false;
    loop {
        tokio::select! {
            _ = look.tick() => {
                let paths = matching(&settings.path);
                if paths.is_empty() && !std::mem::replace(&mut missed, true) {
                    let path = &settings.path;
                    tracing::warn!(event = event::SOURCE_DOWN, source = %name, path, "no such port yet; waiting for it");
                    health.waiting(format_args!("no port matches {path}"));
                }
                ports_health.matching(&paths);
                for path in paths {
                    if known.insert(path.clone()) {
                        let (settings, frames_to, metrics) = (settings.clone(), frames_to.clone(), metrics.clone());
                        let health = ports_health.clone();
                        ports.spawn(Port { path: path.into(), settings, frames_to, metrics, health, lost: 0 }.run(stop.clone()));
                    }
                }
            }
            frame = frames.recv() => match frame {
                Some(frame) => tokio::select! {
                    pushed = giver.push(frame) => if pushed.is_none() { return },
                    () = stop.requested() => return,
                },
                None => return,
            },
            Some(Err(ended)) = ports.join_next() => if let Ok(panic) = ended.try_into_panic() {
                // The supervisor starts the source again.
                std::panic::resume_unwind(panic);
            },
            () = stop.requested() => break,
        }
    }
    // The frames that were read are handed over.
    ports.shutdown().await;
    while let Ok(frame) = frames.try_recv() {
        if giver.try_push(frame).is_err() {
            return;
        }
    }
}

/// The states of several ports, which together are the health of their source.
#[derive(Debug, Clone)]
struct PortsHealth {
    source: Reporter,
    /// By path: the trouble with the port, or `None` if the port is read.
    ports: Arc<Mutex<BTreeMap<Arc<str>, Option<String>>>>,
}

impl PortsHealth {
    fn new(source: Reporter) -> Self {
        Self { source, ports: Arc::default() }
    }

    /// Takes the paths that the pattern matches now. An adapter may come back under another name. Its old path
    /// is then forgotten, as long as some port is read.
    fn matching(&self, paths: &[String]) {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        if ports.values().any(Option::is_none) {
            ports.retain(|path, wrong| wrong.is_none() || paths.iter().any(|now| **now == **path));
            self.say(&ports);
        }
    }

    /// Sets the trouble with a port, or `None` if the port is read.
    fn set(&self, port: &Arc<str>, wrong: Option<String>) {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.insert(port.clone(), wrong);
        self.say(&ports);
    }

    fn say(&self, ports: &BTreeMap<Arc<str>, Option<String>>) {
        let bad: Vec<String> =
            ports.iter().filter_map(|(path, why)| Some(format!("{path}: {}", why.as_ref()?))).collect();
        if bad.is_empty() {
            self.source.up();
        } else {
            self.source.waiting(format_args!("{} of {} ports: {}", bad.len(), ports.len(), bad.join("; ")));
        }
    }
}

/// The path itself if it is no pattern, even when nothing is there yet; else the paths that the pattern matches.
fn matching(path: &str) -> Vec<String> {
    if !path.contains(['*', '?', '[']) {
        return vec![path.to_string()];
    }
    let found = glob::glob(path).map(|paths| paths.filter_map(Result::ok).collect::<Vec<_>>()).unwrap_or_default();
    found.into_iter().filter_map(|path| path.to_str().map(String::from)).collect()
}
