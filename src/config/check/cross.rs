//! What parts of a configuration say of each other.

use super::Checker;
use crate::config::problem::nearest;
use crate::config::value::ModbusLink;
use crate::config::{Sink, Source, StoreConfig};
use crate::flow::record::is_own_stream;
use crate::sink;
use crate::source::Kind;
use crate::store::Selection;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

impl Checker<'_> {
    fn place(&self, label: &str) -> Range<usize> {
        self.places.get(label).cloned().unwrap_or(0..0)
    }

    /// What a sink reads must come from somewhere.
    pub(super) fn unknown_streams(&mut self, produced: &BTreeSet<String>, sinks: &[Sink], store: &StoreConfig) {
        for sink in sinks {
            let Selection::Named(names) = &sink.reader.streams else { continue };
            let is_known = |name: &String| {
                produced.contains(name) || is_own_stream(name) || store.streams.iter().any(|(known, _)| known == name)
            };
            for name in names.iter().filter(|name| !is_known(name)) {
                let near =
                    nearest(name, produced.iter().map(String::as_str)).map(|near| format!("did you mean \"{near}\"?"));
                let all = || format!("there are: {}", produced.iter().cloned().collect::<Vec<_>>().join(", "));
                let message = format!("sink `{}` reads the stream `{name}`, which no source writes", sink.name);
                let (at, hint) = (self.place(&format!("sink.{}", sink.name)), Some(near.unwrap_or_else(all)));
                // The store may still hold one that was written before; a sink that reads nothing else is a mistake.
                if names.iter().any(is_known) {
                    self.warn(at, message, hint);
                } else {
                    self.problem(at, message, hint);
                }
            }
        }
    }

    /// What two sources may not have in common: a client id at one broker, an address, a line.
    pub(super) fn shared_names(&mut self, sources: &[Source]) {
        let mut sessions = BTreeSet::new();
        let mut lines: BTreeMap<PathBuf, &str> = BTreeMap::new();
        let mut listeners: Vec<(SocketAddr, &str)> = Vec::new();
        for source in sources {
            let at = self.place(&format!("source.{}", source.name));
            let line = match &source.kind {
                Kind::Mqtt(mqtt) => {
                    // One source may name a broker twice.
                    let brokers: BTreeSet<_> = mqtt.brokers.iter().collect();
                    if brokers.into_iter().any(|broker| !sessions.insert((broker, &mqtt.client_id))) {
                        let message =
                            format!("source `{}` has the client id of another one at the same broker", source.name);
                        let hint =
                            "a broker ends the older of two connections with one id; set client_id in one of them";
                        self.problem(at.clone(), message, Some(hint.into()));
                    }
                    None
                }
                Kind::Http(http) => {
                    let ip = http.listen.ip();
                    let is_same = |other: &&(SocketAddr, &str)| {
                        let there = other.0.ip();
                        // `[::]` is all addresses, `0.0.0.0` those of IPv4.
                        let covers =
                            |all: IpAddr, one: IpAddr| all.is_unspecified() && (all.is_ipv6() || one.is_ipv4());
                        other.0.port() == http.listen.port()
                            && http.listen.port() != 0
                            && (ip == there || covers(ip, there) || covers(there, ip))
                    };
                    if let Some((address, other)) = listeners.iter().find(is_same) {
                        let message = format!("source `{}` listens where `{other}` does ({address})", source.name);
                        self.problem(at.clone(), message, Some("give one of them another port".into()));
                    }
                    listeners.push((http.listen, &source.name));
                    None
                }
                Kind::Serial(serial) => Some(serial.path.clone()),
                Kind::Modbus(modbus) => match &modbus.link {
                    ModbusLink::Rtu(path, _) => Some(path.clone()),
                    ModbusLink::Tcp(_) => None,
                },
                Kind::File(_) => None,
            };
            if let Some(other) = line.and_then(|line| lines.insert(plain(Path::new(&line)), &source.name)) {
                let message = format!("source `{}` uses the serial port of `{other}`", source.name);
                let hint = "one port, one source: several Modbus devices are `slave`s of one source";
                self.problem(at, message, Some(hint.into()));
            }
        }
    }

    /// A folder that a sink writes to is nobody else's.
    pub(super) fn folders(&mut self, state: &Path, sources: &[Source], sinks: &[Sink]) {
        let mut folders: BTreeMap<PathBuf, &str> = BTreeMap::new();
        for sink in sinks {
            let sink::Kind::Directory(directory) = &sink.kind else { continue };
            let at = self.place(&format!("sink.{}", sink.name));
            let folder = plain(&directory.path);
            if folder.starts_with(plain(state)) {
                let message = format!("sink `{}` writes into the state directory {}", sink.name, state.display());
                self.problem(at.clone(), message, Some("give it a folder of its own".into()));
            }
            for source in sources {
                let Kind::File(file) = &source.kind else { continue };
                if pattern_reaches(&plain(Path::new(&file.path)), &folder) {
                    let message =
                        format!("source `{}` ({}) would read what sink `{}` writes", source.name, file.path, sink.name);
                    self.problem(at.clone(), message, Some("give the sink another folder".into()));
                }
            }
            if let Some(other) = folders.insert(folder, &sink.name) {
                let message = format!("sink `{}` writes to the folder of `{other}`", sink.name);
                self.problem(at, message, Some("give one of them another folder".into()));
            }
        }
    }

    /// A broker may send a message once for each filter that it falls under.
    pub(super) fn overlaps(&mut self, sources: &[Source]) {
        for source in sources {
            let Kind::Mqtt(mqtt) = &source.kind else { continue };
            if mqtt.v5 {
                continue;
            }
            for (one, two) in mqtt.overlaps() {
                let message = format!(
                    "source `{}`: a topic may fall under both `{}` and `{}`; some brokers send it twice then, and it is \
                     stored twice",
                    source.name, one.filter, two.filter
                );
                let hint = "with protocol = \"5\" copies are known as such; or take one filter that covers both";
                self.warn(self.place(&format!("source.{}", source.name)), message, Some(hint.into()));
            }
        }
    }
}

/// The whole path without `.` and `..`, as far as that can be said without looking at the disk.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.into());
    for part in whole.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

/// Whether a pattern may lead to a file in a folder.
fn pattern_reaches(pattern: &Path, folder: &Path) -> bool {
    let name = "readings.0000000000000001.00000000000000000001.ndjson";
    let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
    glob::Pattern::new(&pattern.to_string_lossy()).is_ok_and(|pattern| {
        let reaches = |ending: &str| pattern.matches_path_with(&folder.join(format!("{name}{ending}")), options);
        reaches("") || reaches(".gz")
    })
}
